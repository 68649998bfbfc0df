// One attempt at being in a meeting: one WebSocket, one RTCPeerConnection, from the join to the loss of either.
import { Latest } from '../protocol/latest';
import type { Close, Interest, Joined, PoolSize, Push, RosterPush, SlotAnnouncement, TrackInfo } from '../protocol/messages';
import { Signal, SignalError, type Wire } from '../protocol/signal';
import type { Grant } from '../rest/api';
import { Peer, type LocalTracks } from './peer';
import type { SlotKind } from './slots';

export interface SessionEvents {
  joined(joined: Joined): void;
  roster(push: RosterPush): void;
  slots(slots: SlotAnnouncement[]): void;
  switching(mids: string[]): void;
  slotStream(mid: string, kind: SlotKind, stream: MediaStream): void;
  /** Frames of someone else wait at a video slot, from `rtpTimestamp` on, until they are admitted. */
  comes(mid: string, contributor: number, rtpTimestamp: number, admit: () => void): void;
  speakers(participants: string[]): void;
  published(tracks: TrackInfo[]): void;
  ended(): void;
  /** The session is over; said once. `close` is what the node gave as its reason, if it gave one. */
  over(close: Close | undefined): void;
}

const VERSION = '0.1.0';
/** Keeps middleboxes from closing an idle connection, and finds out when it is dead. */
const PING_EVERY_MS = 10_000;
const PONG_WITHIN_MS = 5_000;
/** ICE says "disconnected" for hiccups too; this long it is believed to be one. */
const HICCUP_MS = 4_000;

export class Session {
  /** Offers sent so far: nobody's coming and going may add to it. */
  offers = 0;
  #peer: Peer;
  readonly #signal: Signal;
  readonly #publish: Latest<TrackInfo[]>;
  readonly #interest: Latest<Interest>;
  #negotiation: Promise<void> = Promise.resolve();
  #negotiated = false;
  #joined = false;
  /** Candidates found before the session was open. */
  #early: string[] = [];
  #close: Close | undefined;
  #over = false;
  #pings: ReturnType<typeof setInterval> | undefined;
  #hiccup: ReturnType<typeof setTimeout> | undefined;

  /** Connects at once; `wire` is a WebSocket that is just opening. */
  constructor(
    wire: Wire,
    private readonly tracks: LocalTracks,
    private readonly events: SessionEvents,
  ) {
    this.#signal = new Signal(wire, { push: (push) => this.#pushed(push), closed: () => this.#end() });
    this.#publish = new Latest(async (tracks) => this.#sendPublish(tracks));
    this.#interest = new Latest(async (interest) => this.#signal.interest(interest).catch(ignoreRefusal));
    this.#peer = this.#newPeer([]);
  }

  get pc(): RTCPeerConnection {
    return this.#peer.pc;
  }

  /** Joins and negotiates; done when the node has answered both. The offer is made while `granted` is under way. */
  async start(meeting: string, granted: Promise<Grant>, publish: TrackInfo[]): Promise<void> {
    let made = this.#peer.offer();
    made.catch(() => undefined);
    const grant = await granted;
    // Only relays change what is offered: a node learns our address by itself.
    if (hasRelay(grant.iceServers)) {
      this.#peer.close();
      this.#peer = this.#newPeer(grant.iceServers);
      made = this.#peer.offer();
    }
    const joined = this.#signal.join(meeting, grant.accessToken, VERSION).then((reply) => this.#opened(reply));
    const answered = this.#negotiate(made);
    await Promise.all([joined, answered]);
    this.#negotiated = true;
    this.publish(publish);
  }

  publish(tracks: TrackInfo[]): void {
    if (this.#negotiated) this.#publish.declare(tracks);
  }

  interest(interest: Interest): void {
    if (this.#joined) this.#interest.declare(interest);
  }

  async replace(source: 'microphone' | 'camera', track: MediaStreamTrack | undefined): Promise<void> {
    await this.#peer.replace(source, track);
  }

  async leave(): Promise<void> {
    await Promise.race([this.#signal.leave().catch(() => undefined), wait(500)]);
    this.dispose();
  }

  /** Closes everything without a word. */
  dispose(): void {
    this.#over = true;
    clearInterval(this.#pings);
    clearTimeout(this.#hiccup);
    this.#peer.close();
    this.#signal.close();
  }

  #newPeer(iceServers: Grant['iceServers']): Peer {
    return new Peer(iceServers, this.tracks, {
      candidate: (candidate) => this.#candidate(candidate),
      slot: (mid, kind, stream) => this.events.slotStream(mid, kind, stream),
      comes: (mid, contributor, rtpTimestamp, admit) => this.events.comes(mid, contributor, rtpTimestamp, admit),
      connection: (state) => this.#connection(state),
    });
  }

  #opened(joined: Joined): void {
    this.#joined = true;
    this.#pings = setInterval(() => void this.#ping(), PING_EVERY_MS);
    for (const candidate of this.#early.splice(0)) this.#candidate(candidate);
    this.events.joined(joined);
    void this.#grow(joined.pool);
  }

  /** Offers and answers go one after the other, as they must. */
  #negotiate(made: Promise<Awaited<ReturnType<Peer['offer']>>>): Promise<void> {
    const turn = this.#negotiation.then(async () => {
      const offer = await made;
      this.offers += 1;
      try {
        await this.#peer.accept(await this.#signal.offer(offer));
      } catch (error) {
        await this.#peer.rollBack().catch(() => undefined);
        throw error;
      }
    });
    this.#negotiation = turn.catch(() => undefined);
    return turn;
  }

  async #grow(size: PoolSize): Promise<void> {
    await this.#negotiation;
    if (this.#over || !this.#peer.grow(size)) return;
    await this.#negotiate(this.#peer.offer()).catch(ignoreRefusal);
  }

  /** Nobody hears what the cluster does not know of: while it can't decide, ask again, unless there is something newer. */
  async #sendPublish(tracks: TrackInfo[]): Promise<void> {
    while (!this.#over && !this.#publish.superseded) {
      try {
        await this.#signal.publish(tracks);
        this.events.published(tracks);
        return;
      } catch (error) {
        if (!(error instanceof SignalError) || error.code !== 'NO_QUORUM') return ignoreRefusal(error);
        await wait(error.body.retry_after_ms ?? PUBLISH_AGAIN_MS);
      }
    }
  }

  #candidate(candidate: string): void {
    if (this.#joined) this.#signal.candidate(candidate).catch(ignoreRefusal);
    else this.#early.push(candidate);
  }

  #connection(state: RTCPeerConnectionState): void {
    clearTimeout(this.#hiccup);
    if (state === 'failed') this.#end();
    else if (state === 'disconnected') this.#hiccup = setTimeout(() => this.#end(), HICCUP_MS);
  }

  async #ping(): Promise<void> {
    const answered = this.#signal.ping().then(() => true, (error: unknown) => error instanceof SignalError && error.code !== 'CONNECTION_LOST');
    if (!(await Promise.race([answered, wait(PONG_WITHIN_MS).then(() => false)]))) this.#end();
  }

  #pushed(push: Push): void {
    switch (push.type) {
      case 'roster':
        return this.events.roster(push);
      case 'slots':
        return this.events.slots(push.slots);
      case 'switching':
        return this.events.switching(push.mids);
      case 'pool':
        void this.#grow(push.size);
        return;
      case 'speakers':
        return this.events.speakers(push.speakers);
      case 'meeting':
        if (push.state === 'ended') this.events.ended();
        return;
      case 'closed':
        this.#close = push;
        return this.#end();
      case 'media_connected':
        return;
    }
  }

  #end(): void {
    if (this.#over) return;
    this.dispose();
    this.events.over(this.#close);
  }
}

function hasRelay(servers: Grant['iceServers']): boolean {
  return servers.some(({ urls }) => urls.some((url) => url.startsWith('turn')));
}

/** A refused or lost request that the next one, or the reconnect, makes good. */
function ignoreRefusal(error: unknown): void {
  if (!(error instanceof Error)) throw error;
}

/** When the node does not say how soon to ask again. */
const PUBLISH_AGAIN_MS = 1000;

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
