// Who is here. Pure: a roster and a push make the next roster.
import type { Member, RosterPush } from '../protocol/messages';

export interface Roster {
  /** Directory revision that this roster shows. */
  readonly revision: number;
  /** In the order of coming. */
  readonly members: ReadonlyMap<string, Member>;
}

export const EMPTY_ROSTER: Roster = { revision: 0, members: new Map() };

export function rosterOf(revision: number, members: readonly Member[]): Roster {
  return { revision, members: new Map(members.map((member) => [member.id, member])) };
}

/** Pushes that are older than what is known change nothing. */
export function applyRoster(roster: Roster, push: RosterPush): Roster {
  if (push.revision < roster.revision && push.reset !== true) return roster;
  const members = new Map(push.reset === true ? [] : roster.members);
  for (const change of push.changes) {
    switch (change.change) {
      case 'set':
        members.set(change.member.id, change.member);
        break;
      case 'left':
        members.delete(change.id);
        break;
    }
  }
  return { revision: push.revision, members };
}

export function hasTrack(member: Member, source: Member['tracks'][number]['source']): boolean {
  return member.tracks.some((track) => track.source === source);
}

/** True when the server says that nothing is heard of them: no microphone, or a muted one. */
export function isMuted(member: Member): boolean {
  return !member.tracks.some((track) => track.source === 'microphone' && track.muted !== true);
}
