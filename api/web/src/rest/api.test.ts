import { describe, expect, it } from 'vitest';

import { Api, ApiError } from './api';

function answering(status: number, body: unknown): { api: Api; asked: { url: string; init: RequestInit | undefined }[] } {
  const asked: { url: string; init: RequestInit | undefined }[] = [];
  const api = new Api((url, init) => {
    asked.push({ url, init });
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  }, 'user-token');
  return { api, asked };
}

const REQUEST = { name: 'Ada', password: undefined, video: true, audio: false, browser: 'chrome' };

describe('Api.join', () => {
  it('reads the grant out of the envelope', async () => {
    const { api, asked } = answering(200, {
      success: true,
      data: {
        access_token: 'jwt',
        participant_id: 'participant_1',
        webrtc_config: { ice_servers: [{ urls: ['turn:a'], username: 'u', credential: 'c' }, 'junk'] },
        meeting_info: { name: 'Weekly' },
      },
    });
    await expect(api.join('meeting_1', REQUEST)).resolves.toEqual({
      accessToken: 'jwt',
      participant: 'participant_1',
      meetingName: 'Weekly',
      iceServers: [{ urls: ['turn:a'], username: 'u', credential: 'c' }],
    });
    expect(asked[0]?.url).toBe('/api/meeting/meeting_1/join');
    expect(asked[0]?.init?.headers).toMatchObject({ authorization: 'Bearer user-token' });
    expect(JSON.parse(asked[0]?.init?.body as string)).toMatchObject({
      participant_name: 'Ada',
      device_info: { platform: 'web', capabilities: { video: true, audio: false } },
    });
  });

  it('throws the code and the sentence of a refusal', async () => {
    const { api } = answering(410, { success: false, code: 'MEETING_ENDED', message: 'The meeting is over.' });
    await expect(api.join('meeting_1', REQUEST)).rejects.toMatchObject({ status: 410, code: 'MEETING_ENDED', message: 'The meeting is over.' });
  });

  it('says so when it has to wait to be let in', async () => {
    const { api } = answering(200, { success: true, data: { status: 'waiting', access_token: 'lobby' } });
    await expect(api.join('meeting_1', REQUEST)).rejects.toMatchObject({ code: 'WAITING' });
  });

  it('names a server that is not there', async () => {
    const api = new Api(() => Promise.reject(new TypeError('failed')));
    const refusal = api.join('meeting_1', REQUEST);
    await expect(refusal).rejects.toBeInstanceOf(ApiError);
    await expect(refusal).rejects.toMatchObject({ code: 'UNREACHABLE' });
  });
});
