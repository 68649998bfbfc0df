// Keeps a slot's next person out until the page is ready for them. Pure; it runs in a worker (`gate.worker.ts`).
//
// A browser shows a frame on its own time and tells the page afterwards, and the page may be late with what it does about
// it. So frames are stopped before they are decoded: those of someone else wait until the page has covered the old picture.

/** What the worker is told of a slot when it gets it. */
export interface GateOptions {
  slot: number;
}

/** From the worker: someone else's first frame waits at a slot. */
export interface Arrival {
  slot: number;
  /** CSRC of whoever comes. */
  contributor: number;
  rtpTimestamp: number;
}

/** To the worker: the page is ready for them. */
export interface Admission {
  slot: number;
  contributor: number;
}

/** As many wait at most: two seconds of a fluent picture. */
export const MAX_WAITING = 60;

interface Waiting<F> {
  owner: number;
  frame: F;
}

export interface GateEvents<F> {
  pass(frame: F): void;
  /** Someone else comes: `frame` is their first one. Answer with `admit`. */
  comes(owner: number, frame: F): void;
  /** More waited than there is room for, all were dropped: nothing can be decoded until a whole picture comes. */
  overflowed(): void;
}

export class Gate<F> {
  #inside: number | undefined;
  #waiting: Waiting<F>[] = [];

  constructor(private readonly events: GateEvents<F>) {}

  /** A frame of `owner`; one of nobody known goes with those before it. */
  arrive(owner: number | undefined, frame: F): void {
    const whose = owner ?? this.#waiting.at(-1)?.owner ?? this.#inside;
    if (whose === undefined || (this.#waiting.length === 0 && whose === this.#inside)) {
      this.events.pass(frame);
      return;
    }
    this.#waiting.push({ owner: whose, frame });
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting = [];
      this.events.overflowed();
    } else if (this.#waiting.length === 1) {
      this.#announce();
    }
  }

  /** The page is ready for `owner`; says nothing when it is someone else's turn. */
  admit(owner: number): void {
    if (this.#waiting[0]?.owner !== owner) return;
    this.#inside = owner;
    const next = this.#waiting.findIndex((one) => one.owner !== owner);
    const through = next === -1 ? this.#waiting.splice(0) : this.#waiting.splice(0, next);
    for (const { frame } of through) this.events.pass(frame);
    this.#announce();
  }

  #announce(): void {
    const first = this.#waiting[0];
    if (first !== undefined) this.events.comes(first.owner, first.frame);
  }
}
