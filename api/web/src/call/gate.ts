// Keeps a slot's next person out until the page is ready for them. Pure; it runs in a worker (`gate.worker.ts`).
//
// A browser shows a frame on its own time and tells the page afterwards, and the page may be late with what it does about
// it. So frames are stopped before they are decoded: those of someone else wait until the page has covered the old picture.
// Persons are kept apart, by the CSRC of their packets; several sources of one person are told apart by announcements only.
import { reached } from './slots';

/** What the worker is told of a slot when it gets it. */
export interface GateOptions {
  slot: number;
}

/** From the worker: someone else's first frame waits at a slot. */
export interface Arrival {
  type: 'comes';
  slot: number;
  /** CSRC of whoever comes. */
  contributor: number;
  rtpTimestamp: number;
}

/** From the worker: it runs; and: it can't do what it is for. */
export interface Health {
  type: 'ready' | 'failed';
}

/** To the worker: the page is ready for them. */
export interface Admission {
  slot: number;
  contributor: number;
}

/** RTP units of pictures in a second (RFC 7741 §4.1). */
const RATE = 90_000;
/** Frames of as long a time wait at most. */
export const ROOM = 2 * RATE;

export interface Arrived<F> {
  /** CSRC of whoever is in it; undefined when the browser does not say. */
  owner: number | undefined;
  rtpTimestamp: number;
  /** It can be decoded without those before it. */
  key: boolean;
  frame: F;
}

export interface GateEvents<F> {
  pass(frame: F): void;
  /** Someone else comes, with frames from `rtpTimestamp` on. Answer with `admit`. */
  comes(owner: number, rtpTimestamp: number): void;
  /** More waited than there is room for, all were dropped: nothing can be decoded until a key frame comes. */
  overflowed(): void;
}

export class Gate<F> {
  #inside: number | undefined;
  /** RTP timestamp of the newest frame that was let in. */
  #newest: number | undefined;
  #waiting: (Arrived<F> & { owner: number })[] = [];
  /** Whoever the page was told of and has not admitted yet. */
  #announced: number | undefined;

  constructor(private readonly events: GateEvents<F>) {}

  arrive(arrived: Arrived<F>): void {
    const owner = arrived.owner ?? this.#waiting.at(-1)?.owner ?? this.#inside;
    if (owner === undefined || this.#isLate(owner, arrived) || (this.#waiting.length === 0 && owner === this.#inside)) {
      this.#pass(arrived);
      return;
    }
    this.#waiting.push({ ...arrived, owner });
    const first = this.#waiting[0];
    if (first !== undefined && reached(arrived.rtpTimestamp, first.rtpTimestamp + ROOM)) this.#overflow();
    else this.#announce();
  }

  /** The page is ready for `owner`; says nothing when it is someone else's turn. */
  admit(owner: number): void {
    if (this.#announced !== owner) return;
    this.#announced = undefined;
    this.#inside = owner;
    const next = this.#waiting.findIndex((one) => one.owner !== owner);
    for (const arrived of this.#waiting.splice(0, next === -1 ? this.#waiting.length : next)) this.#pass(arrived);
    this.#announce();
  }

  /** A frame that took longer than those after it belongs to a picture that the page knows. */
  #isLate(owner: number, { rtpTimestamp }: Arrived<F>): boolean {
    const first = this.#waiting[0];
    if (first !== undefined) return owner === this.#inside && !reached(rtpTimestamp, first.rtpTimestamp);
    return this.#newest !== undefined && !reached(rtpTimestamp, this.#newest);
  }

  #pass({ frame, rtpTimestamp }: Arrived<F>): void {
    if (this.#newest === undefined || reached(rtpTimestamp, this.#newest)) this.#newest = rtpTimestamp;
    this.events.pass(frame);
  }

  /** A source begins with a key frame; frames that overtook it wait for it. */
  #announce(): void {
    const owner = this.#waiting[0]?.owner;
    const next = this.#waiting.findIndex((one) => one.owner !== owner);
    const first = this.#waiting.slice(0, next === -1 ? undefined : next).find(({ key }) => key);
    if (first === undefined || this.#announced !== undefined) return;
    this.#announced = first.owner;
    this.events.comes(first.owner, first.rtpTimestamp);
  }

  /** Whoever comes next is announced, whoever was inside before. */
  #overflow(): void {
    this.#waiting = [];
    this.#inside = undefined;
    this.#announced = undefined;
    this.events.overflowed();
  }
}
