import { expect, it } from 'vitest';

import { Covers } from './covers';
import type { SlotView } from './slots';

const ADA = { participant: 'ada', source: 'camera' as const, generation: 1 };

function slot(shown: SlotView['shown'], held: boolean): SlotView {
  return { mid: '4', kind: 'video', participant: null, source: null, generation: 1, rtpTimestamp: null, shown, pending: false, held };
}

it('waits until a picture that was seen is covered, once for each time', async () => {
  const draws: (() => void)[] = [];
  const covers = new Covers(() => new Promise((resolve) => draws.push(resolve)));
  let unseen = false;
  const ask = (): void => void covers.unseen('4').then(() => (unseen = true));
  covers.update([slot(ADA, false)]);
  covers.update([slot(ADA, true)]);
  covers.update([slot(ADA, true)]);
  ask();
  await Promise.resolve();
  expect(unseen).toBe(false);
  expect(draws.length).toBe(1);
  draws[0]?.();
  await covers.unseen('4');
  expect(unseen).toBe(true);
  covers.update([slot(ADA, false)]);
  covers.update([slot(ADA, true)]);
  expect(draws.length).toBe(2);
});

it('takes a slot that shows nobody for covered', () => {
  let draws = 0;
  const covers = new Covers(() => Promise.resolve(void draws++));
  covers.update([slot(null, false)]);
  covers.update([slot(ADA, true)]);
  expect(draws).toBe(1);
});
