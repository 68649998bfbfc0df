// The one RTCPeerConnection of a session.
//
// Its m-lines: four to send (microphone, camera, screen, screen sound), there from the beginning and filled by
// `replaceTrack`; and the pool of slots to receive in, which only ever grows.
import type { IceServer, Offer, OfferedTrack, PoolSize, SourceName } from '../protocol/messages';
import { gatekeeper } from './gatekeeper';
import type { SlotKind } from './slots';

export type LocalTracks = Partial<Record<SourceName, MediaStreamTrack>>;

export interface PeerEvents {
  candidate(candidate: string): void;
  /** A slot can be played from now on. */
  slot(mid: string, kind: SlotKind, stream: MediaStream): void;
  /** Frames of someone else wait at a video slot, from `rtpTimestamp` on, until they are admitted. */
  comes(mid: string, contributor: number, rtpTimestamp: number, admit: () => void): void;
  connection(state: RTCPeerConnectionState): void;
}

/** What is offered before the node has said what it would like. */
export const FIRST_POOL: PoolSize = { audio: 3, video: 4 };

/** 640x360 at 30 frames a second looks right from here on; one layer goes to everyone, so it is kept modest. */
const CAMERA_MAX_BPS = 900_000;
/** Text on a 1080p screen stays sharp. */
const SCREEN_MAX_BPS = 2_500_000;

/**
 * What is received is played this much later: slots stay in step with each other, and a picture that has to wait until the
 * one before it is covered is not late for it. Pictures have to be decoded and drawn yet when their time has come, which
 * takes longer than with sound.
 */
const PLAYOUT_LEAD_MS: Record<SlotKind, number> = { audio: 80, video: 90 };

interface Slot {
  kind: SlotKind;
  transceiver: RTCRtpTransceiver;
}

export class Peer {
  readonly pc: RTCPeerConnection;
  readonly #publish = new Map<SourceName, RTCRtpTransceiver>();
  readonly #slots: Slot[] = [];
  readonly #unguard: (() => void)[] = [];

  constructor(
    iceServers: IceServer[],
    tracks: LocalTracks,
    private readonly events: PeerEvents,
  ) {
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.pc.onicecandidate = ({ candidate }) => events.candidate(candidate?.candidate ?? '');
    this.pc.onconnectionstatechange = () => events.connection(this.pc.connectionState);
    this.pc.ontrack = (event) => this.#received(event);
    this.#addPublishers(tracks);
    this.grow(FIRST_POOL);
  }

  /** Adds slots up to `size`. Returns true when there are new ones, to be offered. */
  grow(size: PoolSize): boolean {
    const added = this.#growKind('audio', size.audio) + this.#growKind('video', size.video);
    return added > 0;
  }

  async offer(): Promise<Offer> {
    await this.pc.setLocalDescription();
    const sdp = this.pc.localDescription?.sdp;
    if (sdp === undefined) throw new Error('the browser made no session description');
    const tracks: OfferedTrack[] = [...this.#publish].map(([source, { mid }]) => ({ mid: known(mid), source }));
    return { sdp, tracks, slots: this.#slots.map(({ transceiver }) => known(transceiver.mid)) };
  }

  async accept(sdp: string): Promise<void> {
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
  }

  /** Takes back an offer that was refused. */
  async rollBack(): Promise<void> {
    if (this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' });
  }

  async replace(source: SourceName, track: MediaStreamTrack | undefined): Promise<void> {
    await this.#publish.get(source)?.sender.replaceTrack(track ?? null);
  }

  close(): void {
    this.pc.onicecandidate = null;
    this.pc.onconnectionstatechange = null;
    this.pc.ontrack = null;
    this.pc.close();
    for (const forget of this.#unguard.splice(0)) forget();
  }

  #addPublishers(tracks: LocalTracks): void {
    const person = new MediaStream();
    const shared = new MediaStream();
    const add = (source: SourceName, kind: SlotKind, stream: MediaStream, maxBitrate?: number): void => {
      const sendEncodings = maxBitrate === undefined ? [] : [{ maxBitrate }];
      const init: RTCRtpTransceiverInit = { direction: 'sendonly', streams: [stream], sendEncodings };
      this.#publish.set(source, this.pc.addTransceiver(tracks[source] ?? kind, init));
    };
    add('microphone', 'audio', person);
    add('camera', 'video', person, CAMERA_MAX_BPS);
    add('screen', 'video', shared, SCREEN_MAX_BPS);
    add('screen_audio', 'audio', shared);
  }

  #growKind(kind: SlotKind, wanted: number): number {
    const missing = wanted - this.#slots.filter((slot) => slot.kind === kind).length;
    for (let index = 0; index < missing; index++) {
      const transceiver = this.pc.addTransceiver(kind, { direction: 'recvonly' });
      // Not every browser has it; assigned to one that lacks it, it is an unused property.
      (transceiver.receiver as RTCRtpReceiver & { jitterBufferTarget: number | null }).jitterBufferTarget = PLAYOUT_LEAD_MS[kind];
      if (kind === 'video') this.#guard(transceiver);
      this.#slots.push({ kind, transceiver });
    }
    return Math.max(0, missing);
  }

  #guard(transceiver: RTCRtpTransceiver): void {
    const forget = gatekeeper.guard(transceiver.receiver, {
      comes: (contributor, rtpTimestamp, admit) => this.events.comes(known(transceiver.mid), contributor, rtpTimestamp, admit),
      failed: () => this.events.connection('failed'),
    });
    this.#unguard.push(forget);
  }

  #received({ transceiver, track }: RTCTrackEvent): void {
    const slot = this.#slots.find((one) => one.transceiver === transceiver);
    if (slot === undefined || transceiver.mid === null) return;
    // The browser keeps the tracks of one stream id in step by what the answer says, whatever elements play them. So a
    // slot's element gets its own track alone, and sound can go on where a picture is put away.
    this.events.slot(transceiver.mid, slot.kind, new MediaStream([track]));
  }
}

function known(mid: string | null): string {
  if (mid === null) throw new Error('an m-line has no mid after the offer was made');
  return mid;
}
