import { expect, it } from 'vitest';

import { backoffMs } from './backoff';

it('tries at once, then ever more slowly, never longer than 8 s', () => {
  expect(backoffMs(0, 0.5)).toBe(0);
  expect(backoffMs(1, 0)).toBe(200);
  expect(backoffMs(2, 0.999)).toBeGreaterThan(backoffMs(1, 0.999));
  expect(backoffMs(30, 0.999)).toBeLessThanOrEqual(8000);
});
