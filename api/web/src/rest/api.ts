// The few REST calls that the client makes.
import type { IceServer } from '../protocol/messages';

/** What a join is answered with, as far as the client needs it. */
export interface Grant {
  accessToken: string;
  participant: string;
  meetingName: string;
  iceServers: IceServer[];
}

export interface JoinRequest {
  name: string;
  password: string | undefined;
  video: boolean;
  audio: boolean;
  browser: string;
}

/** A call was refused. `code` is stable, `message` is for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** A server that says nothing for so long is as good as unreachable. */
const ANSWER_WITHIN_MS = 10_000;

export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

export class Api {
  /** `userToken` is absent for a guest who came by link. */
  constructor(
    private readonly fetch: Fetch,
    public userToken?: string,
  ) {}

  /** Asks for a user token; refused where the operator allows no guests. */
  async signInAsGuest(name: string): Promise<string> {
    const data = await this.#post('/api/auth/guest', { name });
    const token = text(data, 'token') ?? text(data, 'access_token');
    if (token === undefined) throw new ApiError(200, 'UNREADABLE_REPLY', 'The server gave no token.');
    this.userToken = token;
    return token;
  }

  /** Makes a meeting that anyone with the link can join, and returns its id. */
  async createMeeting(name: string): Promise<string> {
    const data = await this.#post('/api/meeting', { meeting_name: name, meeting_type: 'instant', guests_allowed: true, meeting_meta_data: { virtual: true } });
    const id = text(data, 'id');
    if (id === undefined) throw new ApiError(200, 'UNREADABLE_REPLY', 'The server gave no meeting id.');
    return id;
  }

  async startMeeting(id: string): Promise<void> {
    await this.#post(`/api/meeting/${encodeURIComponent(id)}/start`, {});
  }

  async join(meeting: string, request: JoinRequest): Promise<Grant> {
    const data = await this.#post(`/api/meeting/${encodeURIComponent(meeting)}/join`, {
      participant_name: request.name,
      ...(request.password === undefined ? {} : { meeting_password: request.password }),
      device_info: {
        platform: 'web',
        browser: request.browser,
        capabilities: { video: request.video, audio: request.audio, screen_share: false },
      },
    });
    const accessToken = text(data, 'access_token');
    if (text(data, 'status') === 'waiting' || accessToken === undefined) {
      throw new ApiError(200, 'WAITING', 'The host has not let you in yet. Try again in a moment.');
    }
    return {
      accessToken,
      participant: text(data, 'participant_id') ?? '',
      meetingName: text(object(data, 'meeting_info'), 'name') ?? '',
      iceServers: iceServers(object(data, 'webrtc_config')),
    };
  }

  async #post(path: string, body: object): Promise<Record<string, unknown>> {
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (this.userToken !== undefined) headers['authorization'] = `Bearer ${this.userToken}`;
    let response: Response;
    try {
      response = await this.fetch(path, { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    } catch {
      throw new ApiError(0, 'UNREACHABLE', 'The server can’t be reached. Check your connection and try again.');
    }
    const reply = asObject(await response.json().catch(() => undefined));
    if (!response.ok) {
      const message = text(reply, 'message') ?? `The server answered ${response.status}.`;
      throw new ApiError(response.status, text(reply, 'code') ?? `HTTP_${response.status}`, message);
    }
    return object(reply, 'data');
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function object(of: Record<string, unknown>, key: string): Record<string, unknown> {
  return asObject(of[key]);
}

function text(of: Record<string, unknown>, key: string): string | undefined {
  const value = of[key];
  return typeof value === 'string' ? value : undefined;
}

function iceServers(config: Record<string, unknown>): IceServer[] {
  const list = config['ice_servers'];
  return Array.isArray(list) ? list.flatMap(iceServer) : [];
}

/** The specification allows one URL without a list. */
function iceServer(value: unknown): IceServer[] {
  const server = asObject(value);
  const urls = [server['urls']].flat().filter((url) => typeof url === 'string');
  return urls.length === 0 ? [] : [{ ...(server as Partial<IceServer>), urls }];
}

export function browserName(userAgent: string): string {
  if (/Firefox\//u.test(userAgent)) return 'firefox';
  if (/Edg\//u.test(userAgent)) return 'edge';
  if (/Chrome\//u.test(userAgent)) return 'chrome';
  return /Safari\//u.test(userAgent) ? 'safari' : 'other';
}
