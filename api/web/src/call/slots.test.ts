import { describe, expect, it } from 'vitest';

import type { SlotAnnouncement, SourceName } from '../protocol/messages';
import { reached, SlotTable } from './slots';

function said(mid: string, generation: number, participant?: string, rtp?: number, source: SourceName = 'camera'): SlotAnnouncement {
  return {
    mid,
    generation,
    ...(participant === undefined ? {} : { participant, source }),
    ...(rtp === undefined ? {} : { rtp_timestamp: rtp }),
  };
}

function shown(table: SlotTable, mid: string): string | undefined {
  return table.view().find((slot) => slot.mid === mid)?.shown?.participant;
}

describe('SlotTable', () => {
  it('relabels a picture with the first frame of the new source, not before', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 1000));
    expect(shown(table, '4')).toBeUndefined();
    expect(table.frameShown('4', 1000, undefined)).toBe(true);
    table.announce(said('4', 2, 'bob', 91_000));
    expect(table.frameShown('4', 88_000, undefined)).toBe(false);
    expect(shown(table, '4')).toBe('ada');
    expect(table.videoSlotOf('ada', 'camera')).toBe('4');
    expect(table.frameShown('4', 94_000, undefined)).toBe(true);
    expect(shown(table, '4')).toBe('bob');
    expect(table.videoSlotOf('ada', 'camera')).toBeUndefined();
  });

  it('walks through several announcements as their frames come', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 100));
    table.announce(said('4', 2, 'bob', 200));
    table.announce(said('4', 3, 'cyd', 300));
    table.frameShown('4', 150, undefined);
    expect(shown(table, '4')).toBe('ada');
    table.frameShown('4', 310, undefined);
    expect(shown(table, '4')).toBe('cyd');
    expect(table.view()[0]?.pending).toBe(false);
  });

  it('holds a picture from the announcement of someone else until their first frame, and for nothing else', () => {
    const table = new SlotTable();
    const held = (): boolean | undefined => table.view()[0]?.held;
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 100));
    expect(held()).toBe(false);
    table.frameShown('4', 100, undefined);
    table.announce(said('4', 2, 'ada', 200));
    expect(held()).toBe(false);
    table.announce(said('4', 3, 'bob', 300));
    expect(held()).toBe(true);
    table.frameShown('4', 250, undefined);
    expect(held()).toBe(true);
    table.frameShown('4', 300, undefined);
    expect(held()).toBe(false);
    table.await(['4']);
    expect(held()).toBe(true);
    table.await([]);
    expect(held()).toBe(false);
    table.await(['4']);
    table.announce(said('4', 4, 'cyd', 400));
    table.frameShown('4', 400, undefined);
    expect(held()).toBe(false);
  });

  it('knows whose a frame is by the announcements, and owns up to what it cannot know', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 1000));
    table.frameShown('4', 1000, undefined);
    expect(table.ownerOf('4', 88_000)).toBe('ada');
    table.await(['4']);
    expect(table.ownerOf('4', 88_000)).toBeUndefined();
    table.announce(said('4', 2, 'bob', 91_000));
    expect(table.ownerOf('4', 90_963)).toBe('ada');
    expect(table.ownerOf('4', 91_000)).toBe('bob');
    expect(table.ownerOf('5', 91_000)).toBeUndefined();
  });

  it('compares timestamps round the end of their range', () => {
    expect(reached(5, 0xffff_fff0)).toBe(true);
    expect(reached(0xffff_fff0, 5)).toBe(false);
    expect(reached(7, 7)).toBe(true);
  });

  it('switches sound at once and empties an idle slot at once', () => {
    const table = new SlotTable();
    table.add('1', 'audio');
    table.add('4', 'video');
    table.announce(said('1', 1, 'ada', 5, 'microphone'));
    expect(shown(table, '1')).toBe('ada');
    table.announce(said('4', 1, 'ada', 10));
    table.frameShown('4', 10, undefined);
    table.announce(said('4', 2, 'bob', 99_999));
    table.announce(said('4', 3));
    expect(shown(table, '4')).toBeUndefined();
    expect(table.frameShown('4', 99_999, undefined)).toBe(false);
  });

  it('ignores generations it has seen', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 2, 'bob', 10));
    table.announce(said('4', 1, 'ada', 5));
    table.frameShown('4', 10, undefined);
    expect(shown(table, '4')).toBe('bob');
  });

  it('remembers an announcement that comes before the slot itself', () => {
    const table = new SlotTable();
    table.announce(said('9', 1, 'ada', 10));
    table.add('9', 'video');
    table.frameShown('9', 12, undefined);
    expect(table.videoSlotOf('ada', 'camera')).toBe('9');
  });

  it('believes the newest announcement where the browser tells no timestamps', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 10));
    table.frameShown('4', undefined, undefined);
    expect(shown(table, '4')).toBe('ada');
  });

  it('of two slots with one person takes the one that stays', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.add('5', 'video');
    table.announce(said('4', 1, 'ada', 10));
    table.frameShown('4', 10, undefined);
    table.announce(said('4', 2, 'bob', 500));
    table.announce(said('5', 1, 'ada', 10));
    table.frameShown('5', 10, undefined);
    expect(table.videoSlotOf('ada', 'camera')).toBe('5');
  });

  it('believes a late announcement at once when its frame is on the screen already', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 1000));
    table.frameShown('4', 1000, undefined);
    table.frameShown('4', 94_000, undefined);
    table.announce(said('4', 2, 'bob', 91_000));
    expect(shown(table, '4')).toBe('bob');
  });

  it('believes the packets before the announcement, and stays right when it comes', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 1000));
    table.frameShown('4', 1000, 'ada');
    expect(table.frameShown('4', 91_000, 'bob')).toBe(true);
    expect(shown(table, '4')).toBe('bob');
    table.announce(said('4', 2, 'bob', 91_000));
    expect(table.frameShown('4', 94_000, 'bob')).toBe(false);
    expect(shown(table, '4')).toBe('bob');
  });
});
