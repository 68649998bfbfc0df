// Puts a gate before each video slot, and asks the page before anybody new is let in.
//
// A slot whose gate does not work shows nothing, and a browser does not take a gate away again. So the worker is started
// early, connections made before it runs have no gates, and when it fails they are made anew without.
import type { Admission, Arrival, GateOptions, Health } from './gate';

export interface Guarded {
  /** Frames of someone else wait, from `rtpTimestamp` on, until they are admitted. */
  comes(contributor: number, rtpTimestamp: number, admit: () => void): void;
  /** No more frames will come. */
  failed(): void;
}

/** A page that joins as soon as it is there waits for the worker as long as this. */
const READY_WITHIN_MS = 500;

export class Gatekeeper {
  /** Done when it is known whether there will be gates. */
  readonly settled: Promise<void>;
  #settle: () => void = () => undefined;
  #worker: Worker | undefined;
  #ready = false;
  #last = 0;
  readonly #slots = new Map<number, Guarded>();

  constructor() {
    this.settled = new Promise((resolve) => (this.#settle = resolve));
    // Not every browser has it: there, frames come as they come.
    if ('RTCRtpScriptTransform' in globalThis) this.#hire();
    else this.#settle();
  }

  /** Guards the frames of a receiver that has had none yet. Returns how to forget it. */
  guard(receiver: RTCRtpReceiver, slot: Guarded): () => void {
    if (this.#worker === undefined || !this.#ready) return () => undefined;
    const number = ++this.#last;
    const options: GateOptions = { slot: number };
    this.#slots.set(number, slot);
    receiver.transform = new RTCRtpScriptTransform(this.#worker, options);
    return () => void this.#slots.delete(number);
  }

  #hire(): void {
    const worker = new Worker(new URL('./gate.worker.ts', import.meta.url), { type: 'module' });
    worker.onmessage = ({ data }: MessageEvent<Arrival | Health>) => this.#told(data);
    worker.onerror = () => this.#fail();
    setTimeout(this.#settle, READY_WITHIN_MS);
    this.#worker = worker;
  }

  #told(message: Arrival | Health): void {
    if (message.type === 'comes') {
      const { slot, contributor, rtpTimestamp } = message;
      const admission: Admission = { slot, contributor };
      this.#slots.get(slot)?.comes(contributor, rtpTimestamp, () => this.#worker?.postMessage(admission));
    } else if (message.type === 'ready') {
      this.#ready = true;
      this.#settle();
    } else {
      this.#fail();
    }
  }

  #fail(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#settle();
    for (const slot of [...this.#slots.values()]) slot.failed();
  }
}

/** One for the page: connections come and go. */
export const gatekeeper = new Gatekeeper();
