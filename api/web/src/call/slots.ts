// What each receive slot shows, and when the picture in it has really changed. Pure.
//
// The server announces a new source together with the RTP timestamp of its first packet in the slot. The old source's
// frames are still on the screen then, so an announcement waits until a frame with that timestamp or a later one is shown.
// The packets themselves say whose they are, too (`gate.ts`), for when the announcement is late.
import type { SlotAnnouncement, SourceName } from '../protocol/messages';
import { csrc } from './contributor';

export type SlotKind = 'audio' | 'video';

/** Who is seen or heard in a slot. */
export interface Occupant {
  participant: string;
  source: SourceName;
  generation: number;
}

interface Slot {
  readonly mid: string;
  kind: SlotKind;
  announced: SlotAnnouncement | undefined;
  shown: Occupant | undefined;
  /** RTP timestamp from which on `shown` is in the slot. */
  since: number | undefined;
  /** Announced, by a message or by packets, and not on the screen yet; in the order of their timestamps. */
  pending: SlotAnnouncement[];
  /** Another source is waited for. */
  switching: boolean;
  /** RTP timestamp of the frame on the screen. */
  frame: number | undefined;
}

export interface SlotView {
  mid: string;
  kind: SlotKind;
  /** As announced last. */
  participant: string | null;
  source: SourceName | null;
  generation: number;
  rtpTimestamp: number | null;
  /** Who is on the screen now. */
  shown: Occupant | null;
  /** Announced, but its first frame is not on the screen yet. */
  pending: boolean;
  /** Someone else's picture is about to come: only frames of who is shown now may be seen. */
  held: boolean;
}

/** The longest queue of announcements that a slot keeps while no frame comes. */
const MAX_PENDING = 16;

export class SlotTable {
  readonly #slots = new Map<string, Slot>();

  /** A slot can be played. It may have been announced before: messages are quicker than session descriptions. */
  add(mid: string, kind: SlotKind): void {
    const slot = this.#slots.get(mid);
    if (slot === undefined) this.#slots.set(mid, { mid, kind, announced: undefined, shown: undefined, since: undefined, pending: [], switching: false, frame: undefined });
    else slot.kind = kind;
  }

  /** Takes in an announcement; one that is not newer than the last changes nothing. */
  announce(announcement: SlotAnnouncement): void {
    const { mid, generation, source } = announcement;
    if (!this.#slots.has(mid)) this.add(mid, source === 'camera' || source === 'screen' ? 'video' : 'audio');
    const slot = this.#slots.get(mid);
    if (slot === undefined || generation <= (slot.announced?.generation ?? -1)) return;
    slot.announced = announcement;
    slot.switching = false;
    const { rtp_timestamp: from } = announcement;
    if (slot.kind === 'audio' || from === undefined) {
      slot.pending = [];
      slot.shown = occupant(announcement);
      slot.since = undefined;
      return;
    }
    // Packets were quicker than the message: someone who came after this one is shown.
    const later = slot.since !== undefined && from !== slot.since && reached(slot.since, from);
    if (later && slot.shown?.participant !== announcement.participant) return;
    this.#await(slot, announcement);
    if (slot.frame !== undefined) this.frameShown(mid, slot.frame);
  }

  /** Just these slots wait for another source than the one they show. */
  expect(mids: readonly string[]): void {
    for (const slot of this.#slots.values()) slot.switching = mids.includes(slot.mid);
  }

  /**
   * Packets say that frames from `rtpTimestamp` on are of whoever has the CSRC `contributor`: of `participant`, if the
   * roster knows them. What has not been announced is taken for a camera until it is.
   */
  comes(mid: string, contributor: number, participant: string | undefined, rtpTimestamp: number): void {
    const slot = this.#slots.get(mid);
    // What an old message tells of is past.
    if (slot === undefined || (slot.frame !== undefined && reached(slot.frame, rtpTimestamp))) return;
    const before = slot.pending.findLast((next) => reached(rtpTimestamp, next.rtp_timestamp ?? rtpTimestamp)) ?? slot.shown;
    if (before?.participant !== undefined && csrc(before.participant) === contributor) return;
    const generation = slot.announced?.generation ?? 0;
    const whose = participant === undefined ? {} : { participant, source: 'camera' as const };
    this.#await(slot, { mid, generation, ...whose, rtp_timestamp: rtpTimestamp });
  }

  /** Whose picture a frame of a slot is. */
  ownerOf(mid: string, rtpTimestamp: number): string | undefined {
    const slot = this.#slots.get(mid);
    const next = slot?.pending.findLast(({ rtp_timestamp }) => rtp_timestamp !== undefined && reached(rtpTimestamp, rtp_timestamp));
    return next === undefined ? slot?.shown?.participant : next.participant;
  }

  /**
   * A frame is on the screen. `rtpTimestamp` is undefined where the browser does not tell: then the newest announcement
   * is believed. Returns true when the slot shows someone else now.
   */
  frameShown(mid: string, rtpTimestamp: number | undefined): boolean {
    const slot = this.#slots.get(mid);
    if (slot === undefined) return false;
    slot.frame = rtpTimestamp;
    const due = slot.pending.findLastIndex(
      (next) => rtpTimestamp === undefined || reached(rtpTimestamp, next.rtp_timestamp ?? rtpTimestamp),
    );
    const newest = slot.pending[due];
    if (newest === undefined) return false;
    slot.pending.splice(0, due + 1);
    slot.shown = occupant(newest);
    slot.since = newest.rtp_timestamp;
    return true;
  }

  /** The video slot that shows this source on the screen now. Of two, the newer announcement is right. */
  videoSlotOf(participant: string, source: SourceName): string | undefined {
    let best: Slot | undefined;
    for (const slot of this.#slots.values()) {
      if (slot.kind !== 'video' || slot.shown?.participant !== participant || slot.shown.source !== source) continue;
      const stays = slot.pending.length === 0;
      if (best === undefined || (stays && best.pending.length > 0)) best = slot;
    }
    return best?.mid;
  }

  view(): SlotView[] {
    return [...this.#slots.values()].map((slot) => ({
      mid: slot.mid,
      kind: slot.kind,
      participant: slot.announced?.participant ?? null,
      source: slot.announced?.source ?? null,
      generation: slot.announced?.generation ?? 0,
      rtpTimestamp: slot.announced?.rtp_timestamp ?? null,
      shown: slot.shown ?? null,
      pending: slot.pending.length > 0,
      held: slot.shown !== undefined && (slot.switching || slot.pending.some((next) => !isOf(next, slot.shown))),
    }));
  }

  /** Of two with one timestamp the later message is right. */
  #await(slot: Slot, next: SlotAnnouncement): void {
    const from = next.rtp_timestamp ?? 0;
    const after = slot.pending.findLastIndex((one) => reached(from, one.rtp_timestamp ?? from));
    slot.pending.splice(after + 1, 0, next);
    if (slot.pending.length > MAX_PENDING) slot.pending.shift();
  }
}

/** Whether `timestamp` is `goal` or later, modulo 2^32. */
export function reached(timestamp: number, goal: number): boolean {
  return (timestamp - goal) >>> 0 < 0x8000_0000;
}

function isOf(announcement: SlotAnnouncement, shown: Occupant | undefined): boolean {
  return announcement.participant === shown?.participant && announcement.source === shown?.source;
}

function occupant(announcement: SlotAnnouncement): Occupant | undefined {
  const { participant, source, generation } = announcement;
  return participant === undefined || source === undefined ? undefined : { participant, source, generation };
}
