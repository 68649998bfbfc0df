import { describe, expect, it } from 'vitest';

import type { Member } from '../protocol/messages';
import { rosterOf } from './roster';
import { hueOf, initials, interestOf, MAX_TILES, pageOf, tilesOf } from './tiles';

function member(id: string, sources: Member['tracks'][number]['source'][] = []): Member {
  return { id, name: `Name of ${id}`, role: 'attendee', tracks: sources.map((source) => ({ source })) };
}

describe('tilesOf', () => {
  it('shows screens first and ourselves last', () => {
    const roster = rosterOf(1, [member('me', ['screen']), member('ada', ['microphone']), member('bob', ['screen'])]);
    expect(tilesOf(roster, 'me').map((tile) => tile.key)).toEqual(['bob/screen', 'ada/camera', 'bob/camera', 'me/camera']);
  });
});

describe('pageOf', () => {
  const tiles = tilesOf(rosterOf(1, Array.from({ length: 60 }, (_, index) => member(`p${index}`))), undefined);

  it('never shows more than a page', () => {
    expect(pageOf(tiles, 0).tiles).toHaveLength(MAX_TILES);
    expect(pageOf(tiles, 2)).toMatchObject({ page: 2, pages: 3 });
    expect(pageOf(tiles, 2).tiles).toHaveLength(10);
  });

  it('falls back to the last page when people have left', () => {
    expect(pageOf(tiles.slice(0, 3), 2)).toMatchObject({ page: 0, pages: 1 });
  });
});

it('asks for what the tiles show, in device pixels, and not for ourselves', () => {
  const tiles = tilesOf(rosterOf(1, [member('me'), member('ada'), member('bob', ['screen'])]), 'me');
  const rect = { left: 0, top: 0, width: 320, height: 180 };
  const { video, audio } = interestOf(tiles, tiles.map(() => rect), 1.5);
  expect(audio).toBe(true);
  expect(video).toEqual({
    mode: 'tracks',
    tracks: [
      { participant: 'bob', source: 'screen', width: 480, height: 270 },
      { participant: 'ada', source: 'camera', width: 480, height: 270 },
      { participant: 'bob', source: 'camera', width: 480, height: 270 },
    ],
  });
});

it('makes initials of any name', () => {
  expect(initials('Ada Lovelace')).toBe('AL');
  expect(initials('  grace ')).toBe('G');
  expect(initials('Jean-Luc van der Berg')).toBe('JB');
  expect(initials('李 小龙')).toBe('李小');
  expect(initials('')).toBe('?');
});

it('gives the same person the same colour', () => {
  expect(hueOf('participant_1', 6)).toBe(hueOf('participant_1', 6));
  expect(hueOf('participant_2', 6)).toBeLessThan(6);
});
