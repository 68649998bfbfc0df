// Puts a gate before each video slot of a connection, and asks the page before anybody new is let in.
import type { Admission, Arrival, GateOptions } from './gate';

/** Someone else comes into slot number `slot`; `admit` lets them in. */
export type Announce = (arrival: Arrival, admit: () => void) => void;

/** Not every browser has it: there, frames come as they come. */
const SUPPORTED = 'RTCRtpScriptTransform' in globalThis;

export class Gatekeeper {
  readonly #worker: Worker | undefined;
  readonly #guarded: RTCRtpReceiver[] = [];

  constructor(announce: Announce) {
    if (!SUPPORTED) return;
    const worker = new Worker(new URL('./gate.worker.ts', import.meta.url), { type: 'module' });
    worker.onmessage = ({ data }: MessageEvent<Arrival>) => {
      const admission: Admission = { slot: data.slot, contributor: data.contributor };
      announce(data, () => worker.postMessage(admission));
    };
    // Without a worker nothing would be seen at all.
    worker.onerror = () => this.#open();
    this.#worker = worker;
  }

  guard(slot: number, receiver: RTCRtpReceiver): void {
    if (this.#worker === undefined) return;
    const options: GateOptions = { slot };
    receiver.transform = new RTCRtpScriptTransform(this.#worker, options);
    this.#guarded.push(receiver);
  }

  close(): void {
    this.#worker?.terminate();
  }

  #open(): void {
    for (const receiver of this.#guarded) receiver.transform = null;
  }
}
