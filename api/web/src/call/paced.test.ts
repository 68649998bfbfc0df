import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { Paced } from './paced';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('lets the first through at once and the last of a burst later', () => {
  const sent: number[] = [];
  const paced = new Paced<number>(150, (value) => sent.push(value));
  paced.offer(1);
  paced.offer(2);
  paced.offer(3);
  expect(sent).toEqual([1]);
  vi.advanceTimersByTime(150);
  expect(sent).toEqual([1, 3]);
  vi.advanceTimersByTime(1000);
  paced.offer(3);
  expect(sent).toEqual([1, 3]);
  paced.offer(4);
  expect(sent).toEqual([1, 3, 4]);
});

it('says nothing after it was stopped', () => {
  const sent: number[] = [];
  const paced = new Paced<number>(150, (value) => sent.push(value));
  paced.offer(1);
  paced.offer(2);
  paced.stop();
  vi.advanceTimersByTime(1000);
  expect(sent).toEqual([1]);
});
