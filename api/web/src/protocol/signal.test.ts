import { describe, expect, it } from 'vitest';

import type { Push } from './messages';
import { Signal, SignalError, type Wire } from './signal';

class FakeWire implements Wire {
  sent: Record<string, unknown>[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.closed = true;
  }
  says(frame: object): void {
    this.onmessage?.({ data: JSON.stringify({ v: 1, ...frame }) });
  }
}

function connected(): { wire: FakeWire; signal: Signal; pushes: Push[]; ends: number[] } {
  const wire = new FakeWire();
  const pushes: Push[] = [];
  const ends: number[] = [];
  const signal = new Signal(wire, { push: (push) => pushes.push(push), closed: () => ends.push(1) });
  return { wire, signal, pushes, ends };
}

describe('Signal', () => {
  it('keeps requests until the connection is open and sends them in order', () => {
    const { wire, signal } = connected();
    void signal.join('meeting_1', 'token', '1').catch(() => undefined);
    void signal.offer({ sdp: 'v=0', tracks: [], slots: ['4'] }).catch(() => undefined);
    expect(wire.sent).toEqual([]);
    wire.onopen?.();
    expect(wire.sent.map(({ v, id, type }) => [v, id, type])).toEqual([
      [1, 1, 'join'],
      [1, 2, 'offer'],
    ]);
  });

  it('matches replies by number, whatever their order', async () => {
    const { wire, signal } = connected();
    wire.onopen?.();
    const published = signal.publish([{ source: 'camera' }]);
    const answer = signal.offer({ sdp: 'v=0', tracks: [], slots: [] });
    wire.says({ re: 2, type: 'answer', sdp: 'theirs' });
    wire.says({ re: 1, type: 'ok' });
    await expect(answer).resolves.toBe('theirs');
    await expect(published).resolves.toBeUndefined();
  });

  it('rejects with the code the server gave', async () => {
    const { wire, signal } = connected();
    wire.onopen?.();
    const joined = signal.join('meeting_1', 'old', '1');
    wire.says({ re: 1, type: 'error', code: 'TOKEN_EXPIRED', message: 'token: has expired, join again' });
    await expect(joined).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' });
    await expect(joined).rejects.toBeInstanceOf(SignalError);
  });

  it('hands on pushes and ignores what it cannot read', () => {
    const { wire, pushes } = connected();
    wire.onmessage?.({ data: 'not json' });
    wire.onmessage?.({ data: new ArrayBuffer(2) });
    wire.says({ re: 99, type: 'ok' });
    wire.says({ seq: 1, type: 'speakers', speakers: ['participant_1'] });
    expect(pushes).toMatchObject([{ type: 'speakers', speakers: ['participant_1'] }]);
  });

  it('fails what waits when the connection goes, and says so once', async () => {
    const { wire, signal, ends } = connected();
    wire.onopen?.();
    const ping = signal.ping();
    wire.onclose?.();
    signal.close();
    await expect(ping).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    await expect(signal.ping()).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(ends).toHaveLength(1);
  });
});
