// A meeting as its page sees it: reactive state, fed by one session after another.
import { LocalMedia } from '../devices/media.svelte';
import { saveUserToken } from '../devices/prefs';
import type { Close, Interest, Joined, SlotAnnouncement, TrackInfo } from '../protocol/messages';
import { SignalError, type Wire } from '../protocol/signal';
import { ApiError, browserName, type Api, type Grant } from '../rest/api';
import { backoffMs } from './backoff';
import { contributor } from './contributor';
import { Covers } from './covers';
import { gatekeeper } from './gatekeeper';
import { applyRoster, EMPTY_ROSTER, rosterOf, type Roster } from './roster';
import { Session, type SessionEvents } from './session';
import { SlotTable, type SlotKind, type SlotView } from './slots';
import { tilesOf } from './tiles';

export type Phase = 'idle' | 'joining' | 'live' | 'reconnecting' | 'ended';

export interface SlotStream {
  mid: string;
  kind: SlotKind;
  stream: MediaStream;
}

/** What cannot be mended by trying again. */
const FINAL = ['MEETING_ENDED', 'MEETING_NOT_FOUND', 'ACCESS_DENIED', 'MEETING_FULL', 'INVALID_MEETING_PASSWORD'];
/** The room token is of no more use; a new one is. */
const NEW_TOKEN = ['TOKEN_EXPIRED', 'INVALID_TOKEN', 'TOKEN_MEETING_MISMATCH', 'PARTICIPANT_NOT_FOUND'];
/** An attempt that takes longer is given up for another one. */
const ATTEMPT_MS = 10_000;

export class Call {
  phase = $state<Phase>('idle');
  participant = $state<string | undefined>();
  meetingName = $state('');
  roster = $state.raw<Roster>(EMPTY_ROSTER);
  slots = $state.raw<SlotView[]>([]);
  streams = $state.raw<SlotStream[]>([]);
  speakers = $state.raw<string[]>([]);
  /** What every node knows that we send. */
  published = $state.raw<TrackInfo[] | undefined>();
  /** A picture of someone else was on the screen since the join. */
  seen = $state(false);
  /** Why the call is over. */
  close = $state.raw<Close | undefined>();
  tiles = $derived(tilesOf(this.roster, this.participant));

  #session: Session | undefined;
  #table = new SlotTable();
  #covers = new Covers();
  #grant: Grant | undefined;
  #request = { name: '', password: undefined as string | undefined };
  #interest: Interest | undefined;
  #retryNow: (() => void) | undefined;
  #attempting = false;
  /** What the node gave as its reason while a session was being opened. */
  #refusal: Close | undefined;

  constructor(
    readonly meeting: string,
    readonly media: LocalMedia,
    private readonly api: Api,
    private readonly wire: () => Wire,
  ) {
    media.onlost = (kind) => void this.#replace(kind);
  }

  get pc(): RTCPeerConnection | undefined {
    return this.#session?.pc;
  }

  get offers(): number {
    return this.#session?.offers ?? 0;
  }

  /** Joins; throws what stood in the way (`ApiError`, `SignalError`). */
  async join(name: string, password: string | undefined): Promise<void> {
    this.phase = 'joining';
    this.close = undefined;
    this.#request = { name, password };
    this.seen = false;
    await gatekeeper.settled;
    if (!this.#isJoining()) return;
    try {
      await this.#attempt(this.#fetchGrant());
    } catch (error) {
      this.phase = 'idle';
      throw error;
    }
  }

  async leave(): Promise<void> {
    const session = this.#session;
    this.#finish({ code: 'left', message: 'You left the meeting.', rejoin: true });
    await session?.leave();
  }

  async setMic(on: boolean): Promise<void> {
    const before = this.media.microphone;
    await this.media.setMic(on);
    if (this.media.microphone !== before) await this.#session?.replace('microphone', this.media.microphone);
    this.#declare();
  }

  async setCamera(on: boolean): Promise<void> {
    await this.media.setCamera(on);
    await this.#replace('camera');
  }

  /** What the page shows now. */
  setInterest(interest: Interest): void {
    this.#interest = interest;
    this.#session?.interest(interest);
  }

  /** A frame of a video slot is on the screen. */
  frameShown(mid: string, rtpTimestamp: number | undefined): void {
    if (!this.seen) {
      this.seen = true;
      performance.mark('plenary:first-remote-frame');
    }
    if (this.#table.frameShown(mid, rtpTimestamp)) this.#showSlots();
  }

  /** Whose picture a frame of a video slot is; undefined when the browser does not tell which frame it is. */
  ownerOf(mid: string, rtpTimestamp: number | undefined): string | undefined {
    return rtpTimestamp === undefined ? undefined : this.#table.ownerOf(mid, rtpTimestamp);
  }

  slotOf(participant: string, source: 'camera' | 'screen'): string | undefined {
    // Read for its dependency: the table itself is not reactive.
    void this.slots;
    return this.#table.videoSlotOf(participant, source);
  }

  /** Ends the wait for the next attempt. */
  reconnectNow(): void {
    this.#retryNow?.();
  }

  dispose(): void {
    this.#session?.dispose();
    this.#session = undefined;
    this.phase = 'idle';
    this.#retryNow?.();
    this.media.onlost = undefined;
  }

  async #replace(kind: 'camera' | 'microphone'): Promise<void> {
    await this.#session?.replace(kind, this.media[kind]);
    this.#declare();
  }

  #declare(): void {
    this.#session?.publish(this.#sending());
  }

  #sending(): TrackInfo[] {
    const tracks: TrackInfo[] = [];
    if (this.media.microphone !== undefined) tracks.push({ source: 'microphone', muted: !this.media.micOn });
    if (this.media.camera !== undefined && this.media.cameraOn) tracks.push({ source: 'camera', muted: false });
    return tracks;
  }

  async #fetchGrant(): Promise<Grant> {
    const request = {
      ...this.#request,
      audio: this.media.microphone !== undefined,
      video: this.media.camera !== undefined,
      browser: browserName(navigator.userAgent),
    };
    try {
      this.#grant = await this.api.join(this.meeting, request);
    } catch (error) {
      const stale = error instanceof ApiError && error.status === 401 && error.code !== 'INVALID_MEETING_PASSWORD';
      if (!stale || this.api.userToken === undefined) throw error;
      // A user token from an earlier day: come as a guest.
      this.api.userToken = undefined;
      saveUserToken(undefined);
      this.#grant = await this.api.join(this.meeting, request);
    }
    return this.#grant;
  }

  async #attempt(granted: Promise<Grant>): Promise<void> {
    const { microphone, camera } = this.media;
    const tracks = { ...(microphone && { microphone }), ...(camera && { camera }) };
    const table = new SlotTable();
    const streams: SlotStream[] = [];
    const session: Session = new Session(this.wire(), tracks, this.#events(() => session, table, streams));
    const late = setTimeout(() => session.dispose(), ATTEMPT_MS);
    this.#session?.dispose();
    this.#session = session;
    this.#attempting = true;
    this.#refusal = undefined;
    const sending = this.#sending();
    try {
      await session.start(this.meeting, granted, sending);
    } catch (error) {
      session.dispose();
      throw this.#refusal === undefined ? error : new SignalError(this.#refusal);
    } finally {
      this.#attempting = false;
      clearTimeout(late);
    }
    // What was switched while the offer was under way.
    if (this.media.microphone !== microphone) await session.replace('microphone', this.media.microphone);
    if (this.media.camera !== camera) await session.replace('camera', this.media.camera);
    if (JSON.stringify(this.#sending()) !== JSON.stringify(sending)) session.publish(this.#sending());
  }

  #events(session: () => Session, table: SlotTable, streams: SlotStream[]): SessionEvents {
    const current = (): boolean => this.#session === session() && this.phase !== 'ended';
    const guard =
      <A extends unknown[]>(act: (...args: A) => void) =>
      (...args: A): void => {
        if (current()) act(...args);
      };
    return {
      joined: guard((joined) => this.#joined(joined, table, streams)),
      roster: guard((push) => (this.roster = applyRoster(this.roster, push))),
      slots: guard((slots) => this.#announced(slots)),
      switching: guard((mids) => {
        table.expect(mids);
        this.#showSlots();
      }),
      comes: guard((mid, source, rtpTimestamp, admit) => {
        table.comes(mid, source, contributor(source, this.roster.members.keys()), rtpTimestamp);
        this.#showSlots();
        void this.#covers.unseen(mid).then(admit);
      }),
      slotStream: guard((mid, kind, stream) => {
        table.add(mid, kind);
        streams.push({ mid, kind, stream });
        if (this.phase === 'live') this.#showStreams(streams);
      }),
      speakers: guard((speakers) => (this.speakers = speakers)),
      published: guard((tracks) => (this.published = tracks)),
      ended: guard(() => this.#finish({ code: 'meeting_ended', message: 'The meeting has ended.', rejoin: false })),
      over: guard((close) => this.#over(close)),
    };
  }

  #joined(joined: Joined, table: SlotTable, streams: SlotStream[]): void {
    this.#table = table;
    this.#covers = new Covers();
    this.participant = joined.participant;
    this.meetingName = joined.meeting.name;
    this.roster = rosterOf(joined.revision, joined.roster);
    this.speakers = [];
    this.published = undefined;
    this.phase = 'live';
    this.#showStreams(streams);
    if (this.#interest !== undefined) this.#session?.interest(this.#interest);
  }

  #showStreams(streams: SlotStream[]): void {
    this.streams = [...streams];
    this.#showSlots();
  }

  #showSlots(): void {
    this.slots = this.#table.view();
    this.#covers.update(this.slots);
  }

  #announced(slots: SlotAnnouncement[]): void {
    for (const slot of slots) this.#table.announce(slot);
    this.#showSlots();
  }

  #over(close: Close | undefined): void {
    if (this.#attempting) this.#refusal = close; // the attempt itself fails with it
    else if (close !== undefined && !close.rejoin) this.#finish(close);
    else void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    this.phase = 'reconnecting';
    for (let attempt = 0; this.phase === 'reconnecting'; attempt++) {
      await this.#pause(backoffMs(attempt, Math.random()));
      if (!this.#mayRetry()) return;
      try {
        const grant = this.#grant;
        await this.#attempt(grant === undefined ? this.#fetchGrant() : Promise.resolve(grant));
        return;
      } catch (error) {
        const code = error instanceof ApiError || error instanceof SignalError ? error.code : '';
        if (NEW_TOKEN.includes(code)) this.#grant = undefined;
        if (FINAL.includes(code) || this.#refusal?.rejoin === false) this.#finish({ code, message: (error as Error).message, rejoin: false });
        else this.#stillReconnecting();
      }
    }
  }

  /** An attempt failed, perhaps after the node had let us in. */
  #stillReconnecting(): void {
    if (this.phase === 'live') this.phase = 'reconnecting';
  }

  /** Nobody has left meanwhile. */
  #isJoining(): boolean {
    return this.phase === 'joining';
  }

  #mayRetry(): boolean {
    return this.phase === 'reconnecting';
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#retryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #finish(close: Close): void {
    this.phase = 'ended';
    this.close = close;
    this.streams = [];
    this.slots = [];
    this.roster = EMPTY_ROSTER;
    if (close.code !== 'left') this.#session?.dispose();
    this.#session = undefined;
    this.#retryNow?.();
    this.media.close();
  }
}
