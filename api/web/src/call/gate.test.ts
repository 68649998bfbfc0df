import { expect, it } from 'vitest';

import { Gate, MAX_WAITING } from './gate';

const [ADA, BOB, CYD] = [1, 2, 3];

function gate(): { gate: Gate<string>; log: string[]; inside(): string[] } {
  const log: string[] = [];
  const events = {
    pass: (frame: string) => void log.push(frame),
    comes: (owner: number, frame: string) => void log.push(`comes ${String(owner)} with ${frame}`),
    overflowed: () => void log.push('overflowed'),
  };
  return { gate: new Gate<string>(events), log, inside: () => log.splice(0) };
}

it('lets nobody in before the page is ready, and then frames in their order', () => {
  const { gate: door, inside } = gate();
  door.arrive(ADA, 'a1');
  door.arrive(ADA, 'a2');
  expect(inside()).toEqual(['comes 1 with a1']);
  door.admit(ADA);
  door.arrive(ADA, 'a3');
  expect(inside()).toEqual(['a1', 'a2', 'a3']);
  door.arrive(BOB, 'b1');
  door.arrive(BOB, 'b2');
  expect(inside()).toEqual(['comes 2 with b1']);
  door.admit(ADA);
  door.admit(CYD);
  expect(inside()).toEqual([]);
  door.admit(BOB);
  expect(inside()).toEqual(['b1', 'b2']);
});

it('stops at each one who comes while others wait', () => {
  const { gate: door, inside } = gate();
  door.arrive(ADA, 'a1');
  door.arrive(BOB, 'b1');
  door.arrive(ADA, 'a2');
  door.admit(ADA);
  expect(inside()).toEqual(['comes 1 with a1', 'a1', 'comes 2 with b1']);
  door.admit(BOB);
  expect(inside()).toEqual(['b1', 'comes 1 with a2']);
  door.admit(ADA);
  expect(inside()).toEqual(['a2']);
});

it('keeps frames of nobody known with those before them', () => {
  const { gate: door, inside } = gate();
  door.arrive(undefined, 'x1');
  expect(inside()).toEqual(['x1']);
  door.arrive(ADA, 'a1');
  door.arrive(undefined, 'x2');
  expect(inside()).toEqual(['comes 1 with a1']);
  door.admit(ADA);
  door.arrive(undefined, 'x3');
  expect(inside()).toEqual(['a1', 'x2', 'x3']);
});

it('drops what waits when there is no more room, says so, and asks again', () => {
  const { gate: door, inside } = gate();
  for (let frame = 0; frame <= MAX_WAITING; frame++) door.arrive(BOB, `b${String(frame)}`);
  expect(inside()).toEqual(['comes 2 with b0', 'overflowed']);
  door.admit(BOB);
  door.arrive(BOB, 'later');
  expect(inside()).toEqual(['comes 2 with later']);
  door.admit(BOB);
  expect(inside()).toEqual(['later']);
});
