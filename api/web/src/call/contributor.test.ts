import { expect, it } from 'vitest';

import { contributor, csrc } from './contributor';

const ADA = 'participant_01a2086af1a9736d8bfea49e0000002a';
const BOB = 'participant_01a2086af1a9736d8bfea49eff00002b';

it('names the one whose packets the frame came in', () => {
  expect(csrc(ADA)).toBe(42);
  const heard = [{ source: csrc(BOB), rtpTimestamp: 9000 }, { source: csrc(ADA), rtpTimestamp: 6000 }];
  expect(contributor(heard, 9000, [ADA, BOB])).toBe(BOB);
  expect(contributor(heard, 6000, [ADA, BOB])).toBe(ADA);
});

it('names nobody when the browser tells of another frame, or of someone unknown', () => {
  const heard = [{ source: csrc(BOB), rtpTimestamp: 9000 }];
  expect(contributor(heard, 12_000, [ADA, BOB])).toBeUndefined();
  expect(contributor(heard, undefined, [ADA, BOB])).toBeUndefined();
  expect(contributor(heard, 9000, [ADA])).toBeUndefined();
});
