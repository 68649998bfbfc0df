import { expect, it } from 'vitest';

import { Latest } from './latest';

it('sends the first and the last of a burst, one at a time', async () => {
  const sent: number[] = [];
  const done: (() => void)[] = [];
  const latest = new Latest<number>((value) => {
    sent.push(value);
    return new Promise((resolve) => done.push(resolve));
  });
  latest.declare(1);
  latest.declare(2);
  latest.declare(3);
  expect(sent).toEqual([1]);
  done[0]?.();
  await Promise.resolve();
  await Promise.resolve();
  expect(sent).toEqual([1, 3]);
  done[1]?.();
  await Promise.resolve();
  await Promise.resolve();
  latest.declare(4);
  expect(sent).toEqual([1, 3, 4]);
});
