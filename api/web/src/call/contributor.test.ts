import { expect, it } from 'vitest';

import { contributor, csrc } from './contributor';

const ADA = 'participant_01a2086af1a9736d8bfea49e0000002a';
const BOB = 'participant_01a2086af1a9736d8bfea49eff00002b';

it('names the one whose packets they are, and nobody for a stranger', () => {
  expect(csrc(ADA)).toBe(42);
  expect(contributor(csrc(BOB), [ADA, BOB])).toBe(BOB);
  expect(contributor(csrc(BOB), [ADA])).toBeUndefined();
});
