import { describe, expect, it } from 'vitest';

import type { SlotAnnouncement, SourceName } from '../protocol/messages';
import { csrc } from './contributor';
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
    expect(table.frameShown('4', 1000)).toBe(true);
    table.announce(said('4', 2, 'bob', 91_000));
    expect(table.frameShown('4', 88_000)).toBe(false);
    expect(shown(table, '4')).toBe('ada');
    expect(table.videoSlotOf('ada', 'camera')).toBe('4');
    expect(table.frameShown('4', 94_000)).toBe(true);
    expect(shown(table, '4')).toBe('bob');
    expect(table.videoSlotOf('ada', 'camera')).toBeUndefined();
  });

  it('walks through several announcements as their frames come', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 100));
    table.announce(said('4', 2, 'bob', 200));
    table.announce(said('4', 3, 'cyd', 300));
    table.frameShown('4', 150);
    expect(shown(table, '4')).toBe('ada');
    table.frameShown('4', 310);
    expect(shown(table, '4')).toBe('cyd');
    expect(table.view()[0]?.pending).toBe(false);
  });

  it('holds a picture from the announcement of someone else until their first frame, and for nothing else', () => {
    const table = new SlotTable();
    const held = (): boolean | undefined => table.view()[0]?.held;
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 100));
    expect(held()).toBe(false);
    table.frameShown('4', 100);
    table.announce(said('4', 2, 'ada', 200));
    expect(held()).toBe(false);
    table.announce(said('4', 3, 'bob', 300));
    expect(held()).toBe(true);
    table.frameShown('4', 250);
    expect(held()).toBe(true);
    table.frameShown('4', 300);
    expect(held()).toBe(false);
    table.expect(['4']);
    expect(held()).toBe(true);
    table.expect([]);
    expect(held()).toBe(false);
    table.expect(['4']);
    table.announce(said('4', 4, 'cyd', 400));
    table.frameShown('4', 400);
    expect(held()).toBe(false);
  });

  it('knows whose a frame is', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 1000));
    table.frameShown('4', 1000);
    expect(table.ownerOf('4', 88_000)).toBe('ada');
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
    table.frameShown('4', 10);
    table.announce(said('4', 2, 'bob', 99_999));
    table.announce(said('4', 3));
    expect(shown(table, '4')).toBeUndefined();
    expect(table.frameShown('4', 99_999)).toBe(false);
  });

  it('ignores generations it has seen', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 2, 'bob', 10));
    table.announce(said('4', 1, 'ada', 5));
    table.frameShown('4', 10);
    expect(shown(table, '4')).toBe('bob');
  });

  it('remembers an announcement that comes before the slot itself', () => {
    const table = new SlotTable();
    table.announce(said('9', 1, 'ada', 10));
    table.add('9', 'video');
    table.frameShown('9', 12);
    expect(table.videoSlotOf('ada', 'camera')).toBe('9');
  });

  it('believes the newest announcement where the browser tells no timestamps', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 10));
    table.frameShown('4', undefined);
    expect(shown(table, '4')).toBe('ada');
  });

  it('of two slots with one person takes the one that stays', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.add('5', 'video');
    table.announce(said('4', 1, 'ada', 10));
    table.frameShown('4', 10);
    table.announce(said('4', 2, 'bob', 500));
    table.announce(said('5', 1, 'ada', 10));
    table.frameShown('5', 10);
    expect(table.videoSlotOf('ada', 'camera')).toBe('5');
  });

  it('believes a late announcement at once when its frame is on the screen already', () => {
    const table = new SlotTable();
    table.add('4', 'video');
    table.announce(said('4', 1, 'ada', 1000));
    table.frameShown('4', 1000);
    table.frameShown('4', 94_000);
    table.announce(said('4', 2, 'bob', 91_000));
    expect(shown(table, '4')).toBe('bob');
  });

  describe('told by packets', () => {
    const ADA = 'participant_0000000000000000000000000000000a';
    const BOB = 'participant_0000000000000000000000000000000b';
    const CYD = 'participant_0000000000000000000000000000000c';

    function showing(who: string, rtp: number): SlotTable {
      const table = new SlotTable();
      table.add('4', 'video');
      table.announce(said('4', 1, who, rtp));
      table.frameShown('4', rtp);
      return table;
    }
    const held = (table: SlotTable): boolean | undefined => table.view()[0]?.held;
    const comes = (table: SlotTable, who: string, rtp: number): void => table.comes('4', csrc(who), who, rtp);

    it('believes them before the announcement, and stays right when it comes', () => {
      const table = showing(ADA, 1000);
      comes(table, ADA, 2000);
      expect(held(table)).toBe(false);
      comes(table, BOB, 91_000);
      expect(held(table)).toBe(true);
      expect(table.frameShown('4', 88_000)).toBe(false);
      expect(table.frameShown('4', 91_000)).toBe(true);
      expect(shown(table, '4')).toBe(BOB);
      table.announce(said('4', 2, BOB, 91_000, 'screen'));
      expect(held(table)).toBe(false);
      expect(table.videoSlotOf(BOB, 'screen')).toBe('4');
    });

    it('puts those that were not announced in their order', () => {
      const table = showing(ADA, 1000);
      table.announce(said('4', 2, BOB, 2000));
      table.announce(said('4', 4, ADA, 4000));
      comes(table, BOB, 2003);
      comes(table, CYD, 3000);
      comes(table, ADA, 4000);
      for (const [at, whose] of [[1900, ADA], [2003, BOB], [3000, CYD], [4000, ADA]] as const) {
        expect(table.ownerOf('4', at)).toBe(whose);
        table.frameShown('4', at);
        expect(shown(table, '4')).toBe(whose);
      }
    });

    it('is not misled by announcements of those who have gone since', () => {
      const table = showing(ADA, 1000);
      comes(table, BOB, 2000);
      comes(table, CYD, 3000);
      table.frameShown('4', 2000);
      table.announce(said('4', 2, BOB, 2000));
      expect(held(table)).toBe(true);
      table.frameShown('4', 3000);
      expect(shown(table, '4')).toBe(CYD);

      const late = showing(ADA, 1000);
      comes(late, BOB, 2000);
      comes(late, CYD, 3000);
      late.frameShown('4', 3000);
      late.announce(said('4', 2, BOB, 2000));
      expect(shown(late, '4')).toBe(CYD);
    });

    it('is not misled by word of packets that were dropped', () => {
      const table = showing(ADA, 1000);
      table.frameShown('4', 9000);
      comes(table, BOB, 2000);
      table.frameShown('4', 9033);
      expect(shown(table, '4')).toBe(ADA);
    });

    it('shows someone whom the roster does not know yet as they were announced, or under no name', () => {
      const announced = showing(ADA, 1000);
      announced.announce(said('4', 2, BOB, 2000));
      announced.comes('4', csrc(BOB), undefined, 2000);
      announced.frameShown('4', 2000);
      expect(shown(announced, '4')).toBe(BOB);

      const table = showing(ADA, 1000);
      table.comes('4', csrc(BOB), undefined, 2000);
      expect(held(table)).toBe(true);
      table.frameShown('4', 2000);
      expect(shown(table, '4')).toBeUndefined();
      table.announce(said('4', 2, BOB, 2000));
      expect(shown(table, '4')).toBe(BOB);
    });
  });
});
