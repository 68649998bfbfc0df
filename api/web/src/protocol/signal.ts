// The signalling client: numbers requests, matches replies, hands on pushes. Knows nothing of media.
import {
  VERSION,
  type ErrorBody,
  type Interest,
  type Joined,
  type Offer,
  type Push,
  type Reply,
  type Request,
  type ServerFrame,
  type TrackInfo,
} from './messages';

/** What the client needs of a WebSocket; a real one fits, a test brings its own. */
export interface Wire {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
}

export interface SignalEvents {
  push(push: Push): void;
  /** The connection is gone; said once. */
  closed(): void;
}

/** A request was answered with an error; act on `code`. */
export class SignalError extends Error {
  readonly code: string;
  constructor(readonly body: ErrorBody) {
    super(body.message);
    this.name = 'SignalError';
    this.code = body.code;
  }
}

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** How many requests may wait for the connection to open or for their replies. */
const MAX_WAITING = 256;

export class Signal {
  #nextId = 1;
  #open = false;
  #closed = false;
  #unsent: string[] = [];
  readonly #waiting = new Map<number, Waiting>();

  constructor(
    private readonly wire: Wire,
    private readonly events: SignalEvents,
  ) {
    wire.onopen = () => this.#opened();
    wire.onmessage = (event) => this.#received(event.data);
    wire.onclose = () => this.#gone();
  }

  async join(meeting: string, token: string, version: string): Promise<Joined> {
    const client = { name: 'plenary-web', version };
    const reply = await this.#request({ type: 'join', meeting, token, client });
    if (reply.type !== 'joined') throw unexpected('join', reply);
    return reply;
  }

  /** Answered with the session description of the node. */
  async offer(offer: Offer): Promise<string> {
    const reply = await this.#request({ type: 'offer', ...offer });
    if (reply.type !== 'answer') throw unexpected('offer', reply);
    return reply.sdp;
  }

  async publish(tracks: TrackInfo[]): Promise<void> {
    await this.#request({ type: 'publish', tracks });
  }

  async interest(interest: Interest): Promise<void> {
    await this.#request({ type: 'interest', ...interest });
  }

  async candidate(candidate: string): Promise<void> {
    await this.#request({ type: 'candidate', candidate });
  }

  async ping(): Promise<void> {
    await this.#request({ type: 'ping' });
  }

  async leave(): Promise<void> {
    await this.#request({ type: 'leave' });
  }

  close(): void {
    this.wire.close();
    this.#gone();
  }

  #request(request: Request): Promise<Reply> {
    if (this.#closed) return Promise.reject(lost());
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(new Error('too many requests wait for the server'));
    const id = this.#nextId++;
    const text = JSON.stringify({ v: VERSION, id, ...request });
    if (this.#open) this.wire.send(text);
    else this.#unsent.push(text);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #opened(): void {
    this.#open = true;
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const text of unsent) this.wire.send(text);
  }

  #received(data: unknown): void {
    const frame = parse(data);
    if (frame === undefined) return;
    if ('re' in frame) this.#reply(frame.re, frame);
    else if ('seq' in frame) this.events.push(frame);
  }

  #reply(id: number, reply: Reply): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    if (reply.type === 'error') waiting.reject(new SignalError(reply));
    else waiting.resolve(reply);
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const waiting of this.#waiting.values()) waiting.reject(lost());
    this.#waiting.clear();
    this.events.closed();
  }
}

function parse(data: unknown): ServerFrame | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const frame: unknown = JSON.parse(data);
    return typeof frame === 'object' && frame !== null ? (frame as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}

function lost(): SignalError {
  return new SignalError({ code: 'CONNECTION_LOST', message: 'the connection to the server was lost' });
}

function unexpected(request: string, reply: Reply): Error {
  return new Error(`the server answered ${request} with ${reply.type}`);
}
