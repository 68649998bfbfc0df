// One node, two people: they see and hear each other, and it starts quickly.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { clickToFrame, eventually, inbound, join, launch, leave, seesAndHears, visit } from './lib/browser.mjs';
import { median, quantile, setting } from './lib/numbers.mjs';
import { startDev } from './lib/process.mjs';

const JOINS = setting('JOINS', 20);
const GOAL_MS = 1000;
/** What fails the test. */
const LIMIT_MS = setting('JOIN_LIMIT_MS', GOAL_MS);

let node;
let browser;
before(async () => {
  node = await startDev();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await node?.stop();
});

test('two pages on one node see and hear each other', async () => {
  const ada = await join(await visit(browser, node.url), 'Ada');
  await assert.rejects(seesAndHears(ada, 'Ada', 1, 1000), /not in 1000 ms/, 'there is nobody yet');
  const bob = await join(await visit(browser, node.url), 'Bob');
  await Promise.all([seesAndHears(ada, 'Ada'), seesAndHears(bob, 'Bob')]);
  await eventually("Ada's tile for Bob has a picture", ada, () => window.plenary.debug().tiles.some(({ label, slotMid }) => label === 'Bob' && slotMid !== null));
  for (const entry of await inbound(ada)) {
    if (entry.kind === 'video' && entry.framesDecoded > 0) assert.ok(entry.frameWidth >= 160, JSON.stringify(entry));
  }
  await leave(bob);
  await eventually('Bob is gone from the tiles', ada, () => !window.plenary.debug().tiles.some(({ name }) => name === 'Bob'));
  assert.deepEqual([...ada.faults, ...bob.faults], []);
  await Promise.all([ada.context().close(), bob.context().close()]);
});

/** How many of the page's video slots stop someone else's frames, of how many. */
const guarded = (page) =>
  page.evaluate(() => {
    const slots = window.plenary.pc.getTransceivers().filter(({ direction, receiver }) => direction === 'recvonly' && receiver.track.kind === 'video');
    return [slots.filter(({ receiver }) => receiver.transform !== null).length, slots.length];
  });

/** Keeps the page's worker where a test finds it. */
const keepWorker = (page) =>
  page.addInitScript(() => {
    window.Worker = class extends window.Worker {
      constructor(...args) {
        super(...args);
        window.worker = this;
      }
    };
  });

test('a page whose worker does not come, or fails, shows pictures all the same', async () => {
  const ada = await join(await visit(browser, node.url, { prepare: keepWorker }), 'Ada');
  assert.deepEqual(await guarded(ada), [4, 4]);
  const without = async (page) => page.route('**/gate.worker*', (route) => route.abort());
  const bob = await join(await visit(browser, node.url, { prepare: without }), 'Bob');
  assert.deepEqual(await guarded(bob), [0, 4]);
  await seesAndHears(bob, 'Bob');

  await ada.evaluate(() => window.worker.dispatchEvent(new ErrorEvent('error')));
  await eventually('Ada is back without', ada, () => window.plenary.debug().state === 'live' && window.plenary.pc.getReceivers().every(({ transform }) => transform === null));
  assert.deepEqual(await guarded(ada), [0, 4]);
  await seesAndHears(ada, 'Ada');
  await Promise.all([ada.context().close(), bob.context().close()]);
});

test(`${JOINS} joins: click to first frame`, async (t) => {
  const ada = await join(await visit(browser, node.url), 'Ada');
  const offers = await ada.evaluate(() => window.plenary.debug().offers);
  const times = [];
  for (let count = 0; count < JOINS; count++) {
    const page = await join(await visit(browser, node.url), `Guest ${count}`);
    times.push(await clickToFrame(page));
    await leave(page);
    await page.context().close();
  }
  const shown = times.map((time) => Math.round(time));
  t.diagnostic(`click to first frame: median ${Math.round(median(times))} ms (goal ${GOAL_MS} ms), p95 ${Math.round(quantile(times, 0.95))} ms, all ${shown.join(' ')}`);
  assert.ok(median(times) < LIMIT_MS, `median ${median(times)} ms, limit ${LIMIT_MS} ms`);
  assert.equal(await ada.evaluate(() => window.plenary.debug().offers), offers, 'others coming and going cost no offer');
  await ada.context().close();
});
