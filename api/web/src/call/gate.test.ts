import { expect, it } from 'vitest';

import { Gate, ROOM } from './gate';

const [ADA, BOB, CYD] = [1, 2, 3];
const FRAME = 3000;

interface Door {
  gate: Gate<string>;
  arrive(owner: number | undefined, at: number, key?: boolean): void;
  /** What came of it since this was asked last. */
  log(): string[];
}

function door(): Door {
  const log: string[] = [];
  const gate = new Gate<string>({
    pass: (frame) => void log.push(frame),
    comes: (owner, rtpTimestamp) => void log.push(`comes ${String(owner)} at ${String(rtpTimestamp)}`),
    overflowed: () => void log.push('overflowed'),
  });
  const arrive = (owner: number | undefined, at: number, key = false): void =>
    gate.arrive({ owner, rtpTimestamp: at, key, frame: `${String(owner)}@${String(at)}` });
  return { gate, arrive, log: () => log.splice(0) };
}

it('lets nobody in before the page is ready, and then frames in their order', () => {
  const { gate, arrive, log } = door();
  arrive(ADA, 0, true);
  arrive(ADA, 3000);
  expect(log()).toEqual(['comes 1 at 0']);
  gate.admit(ADA);
  arrive(ADA, 6000);
  expect(log()).toEqual(['1@0', '1@3000', '1@6000']);
  arrive(BOB, 9000, true);
  arrive(BOB, 12_000);
  expect(log()).toEqual(['comes 2 at 9000']);
  gate.admit(ADA);
  gate.admit(CYD);
  expect(log()).toEqual([]);
  gate.admit(BOB);
  expect(log()).toEqual(['2@9000', '2@12000']);
});

it('stops at each one who comes while others wait', () => {
  const { gate, arrive, log } = door();
  arrive(ADA, 0, true);
  arrive(BOB, 3000, true);
  arrive(ADA, 6000, true);
  gate.admit(ADA);
  expect(log()).toEqual(['comes 1 at 0', '1@0', 'comes 2 at 3000']);
  gate.admit(BOB);
  expect(log()).toEqual(['2@3000', 'comes 1 at 6000']);
  gate.admit(ADA);
  expect(log()).toEqual(['1@6000']);
});

it('announces a source from its key frame on, which others may have overtaken', () => {
  const { gate, arrive, log } = door();
  arrive(ADA, 0, true);
  gate.admit(ADA);
  log();
  arrive(BOB, 6000);
  expect(log()).toEqual([]);
  arrive(BOB, 3000, true);
  expect(log()).toEqual(['comes 2 at 3000']);
  gate.admit(BOB);
  expect(log()).toEqual(['2@6000', '2@3000']);
});

it('takes a straggler of those before for no arrival', () => {
  const { gate, arrive, log } = door();
  arrive(ADA, 0, true);
  gate.admit(ADA);
  arrive(BOB, 9000, true);
  log();
  arrive(ADA, 3000);
  expect(log()).toEqual(['1@3000']);
  gate.admit(BOB);
  arrive(ADA, 6000);
  arrive(BOB, 12_000);
  expect(log()).toEqual(['2@9000', '1@6000', '2@12000']);
});

it('stops whoever comes after many hours of one picture, too', () => {
  const { gate, arrive, log } = door();
  arrive(ADA, 0, true);
  gate.admit(ADA);
  for (let at = 0; at < 2 ** 32; at += 2 ** 30) arrive(ADA, at);
  log();
  arrive(BOB, 2 ** 32 - FRAME, true);
  expect(log()).toEqual([`comes 2 at ${String(2 ** 32 - FRAME)}`]);
});

it('keeps frames of nobody known with those before them', () => {
  const { gate, arrive, log } = door();
  arrive(undefined, 0);
  expect(log()).toEqual(['undefined@0']);
  arrive(ADA, 3000, true);
  arrive(undefined, 6000);
  expect(log()).toEqual(['comes 1 at 3000']);
  gate.admit(ADA);
  arrive(undefined, 9000);
  expect(log()).toEqual(['1@3000', 'undefined@6000', 'undefined@9000']);
});

it('drops what waits when there is no more room, says so, and announces whoever is next', () => {
  const { gate, arrive, log } = door();
  arrive(ADA, 0, true);
  gate.admit(ADA);
  log();
  arrive(BOB, 3000, true);
  for (let at = 6000; at < 3000 + ROOM; at += FRAME) arrive(BOB, at);
  expect(log()).toEqual(['comes 2 at 3000']);
  arrive(BOB, 3000 + ROOM);
  expect(log()).toEqual(['overflowed']);
  gate.admit(BOB);
  expect(log()).toEqual([]);
  arrive(ADA, 600_000, true);
  expect(log()).toEqual(['comes 1 at 600000']);
  gate.admit(ADA);
  expect(log()).toEqual(['1@600000']);
});
