// The worker of `gate.ts`: stands between the network and the decoder of each video slot (W3C WebRTC Encoded Transform).
import { Gate, type Admission, type Arrival, type GateOptions, type Health } from './gate';

/** What the browser offers here, as far as it is used: a page's own types know nothing of workers. */
interface Transformer {
  readonly options: GateOptions;
  readonly readable: ReadableStream<RTCEncodedVideoFrame>;
  readonly writable: WritableStream<RTCEncodedVideoFrame>;
  sendKeyFrameRequest?(): Promise<unknown>;
}

interface Scope {
  onrtctransform: ((event: { transformer: Transformer }) => void) | null;
  onmessage: ((event: MessageEvent<Admission>) => void) | null;
  postMessage(message: Arrival | Health): void;
}

const scope = self as unknown as Scope;
const gates = new Map<number, Gate<RTCEncodedVideoFrame>>();

scope.onrtctransform = ({ transformer }) => {
  guard(transformer).catch(() => scope.postMessage({ type: 'failed' }));
};
scope.onmessage = ({ data }) => gates.get(data.slot)?.admit(data.contributor);
scope.postMessage({ type: 'ready' });

/** Done when the slot is closed. */
async function guard(transformer: Transformer): Promise<void> {
  const { slot } = transformer.options;
  const reader = transformer.readable.getReader();
  const writer = transformer.writable.getWriter();
  const gate = new Gate<RTCEncodedVideoFrame>({
    pass: (frame) => void writer.write(frame).catch(ignoreClosed),
    comes: (contributor, rtpTimestamp) => scope.postMessage({ type: 'comes', slot, contributor, rtpTimestamp }),
    overflowed: () => void transformer.sendKeyFrameRequest?.().catch(ignoreClosed),
  });
  gates.set(slot, gate);
  for (;;) {
    const { value: frame } = await reader.read();
    if (frame === undefined) break;
    const { contributingSources, rtpTimestamp } = frame.getMetadata();
    // A browser that does not say when a frame belongs can't be helped with it.
    const owner = rtpTimestamp === undefined ? undefined : contributingSources?.[0];
    gate.arrive({ owner, rtpTimestamp: rtpTimestamp ?? 0, key: frame.type === 'key', frame });
  }
  gates.delete(slot);
}

/** The connection is closed: nobody waits for its frames. */
function ignoreClosed(error: unknown): void {
  if (!(error instanceof Error)) throw error;
}
