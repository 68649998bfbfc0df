import { describe, expect, it } from 'vitest';

import type { Member } from '../protocol/messages';
import { applyRoster, isMuted, rosterOf } from './roster';

function member(id: string, tracks: Member['tracks'] = []): Member {
  return { id, name: id.toUpperCase(), role: 'attendee', tracks };
}

describe('applyRoster', () => {
  const start = rosterOf(10, [member('a'), member('b')]);

  it('adds, changes in place and removes', () => {
    const next = applyRoster(start, {
      revision: 12,
      changes: [
        { change: 'set', member: member('c') },
        { change: 'set', member: member('a', [{ source: 'camera' }]) },
        { change: 'left', id: 'b' },
      ],
    });
    expect([...next.members.keys()]).toEqual(['a', 'c']);
    expect(next.members.get('a')?.tracks).toEqual([{ source: 'camera' }]);
    expect(next.revision).toBe(12);
    expect([...start.members.keys()]).toEqual(['a', 'b']);
  });

  it('ignores what is older than it knows', () => {
    expect(applyRoster(start, { revision: 9, changes: [{ change: 'left', id: 'a' }] })).toBe(start);
  });

  it('starts anew on a reset, whatever its revision', () => {
    const next = applyRoster(start, { revision: 3, reset: true, changes: [{ change: 'set', member: member('z') }] });
    expect([...next.members.keys()]).toEqual(['z']);
    expect(next.revision).toBe(3);
  });
});

it('calls muted whoever sends no sound', () => {
  expect(isMuted(member('a'))).toBe(true);
  expect(isMuted(member('a', [{ source: 'microphone', muted: true }]))).toBe(true);
  expect(isMuted(member('a', [{ source: 'microphone' }]))).toBe(false);
});
