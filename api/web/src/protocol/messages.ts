// The signalling protocol, version 1, as `api/protocol` defines it. Types only.

export const VERSION = 1;

export type SourceName = 'microphone' | 'camera' | 'screen' | 'screen_audio';
export type VideoSource = 'camera' | 'screen';

export interface TrackInfo {
  source: SourceName;
  muted?: boolean;
}

export interface Member {
  id: string;
  name: string;
  role: string;
  tracks: TrackInfo[];
  reconnecting?: boolean;
}

export interface PoolSize {
  audio: number;
  video: number;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

export interface WantedTrack {
  participant: string;
  source: VideoSource;
  width: number;
  height: number;
}

export type VideoInterest = { mode: 'speakers'; max: number } | { mode: 'tracks'; tracks: WantedTrack[] };

export interface Interest {
  video: VideoInterest;
  audio: boolean;
}

export interface OfferedTrack {
  mid: string;
  source: SourceName;
}

export interface Offer {
  sdp: string;
  tracks: OfferedTrack[];
  slots: string[];
}

export type Request =
  | { type: 'join'; token: string; meeting: string; client: { name: string; version: string } }
  | ({ type: 'offer' } & Offer)
  | { type: 'candidate'; candidate: string }
  | { type: 'publish'; tracks: TrackInfo[] }
  | ({ type: 'interest' } & Interest)
  | { type: 'keyframe'; mid: string }
  | { type: 'leave' }
  | { type: 'ping' };

export interface Joined {
  participant: string;
  session: string;
  node: number;
  meeting: { id: string; name: string };
  roster: Member[];
  revision: number;
  ice_servers: IceServer[];
  pool: PoolSize;
}

export interface ErrorBody {
  code: string;
  message: string;
  errors?: { path: string; code: string; message: string }[];
  retry_after_ms?: number;
}

export type Reply =
  | { type: 'ok' }
  | ({ type: 'joined' } & Joined)
  | { type: 'answer'; sdp: string }
  | ({ type: 'error' } & ErrorBody);

export type RosterChange = { change: 'set'; member: Member } | { change: 'left'; id: string };

export interface RosterPush {
  revision: number;
  reset?: boolean;
  changes: RosterChange[];
}

export interface SlotAnnouncement {
  mid: string;
  generation: number;
  participant?: string;
  source?: SourceName;
  rtp_timestamp?: number;
}

export interface Close {
  code: string;
  message: string;
  rejoin: boolean;
}

export type Push =
  | ({ type: 'roster' } & RosterPush)
  | { type: 'slots'; slots: SlotAnnouncement[] }
  | { type: 'switching'; mids: string[] }
  | { type: 'pool'; size: PoolSize }
  | { type: 'speakers'; speakers: string[] }
  | { type: 'media_connected' }
  | { type: 'meeting'; state: 'scheduled' | 'live' | 'ended' }
  | ({ type: 'closed' } & Close);

export type ReplyFrame = { v: number; re: number } & Reply;
export type PushFrame = { v: number; seq: number } & Push;
export type ServerFrame = ReplyFrame | PushFrame;
