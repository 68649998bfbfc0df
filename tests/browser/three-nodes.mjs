// Three processes, a page on each: all see and hear all.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { eventually, inbound, join, launch, seesAndHears, visit } from './lib/browser.mjs';
import { startCluster } from './lib/process.mjs';

const NAMES = ['Ada', 'Bob', 'Cleo'];

let cluster;
let browser;
before(async () => {
  cluster = await startCluster(NAMES.length);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

test('three pages, one a node: all see and hear all', async (t) => {
  const pages = [];
  for (const [index, name] of NAMES.entries()) {
    pages.push(await join(await visit(browser, cluster.nodes[index].url), name));
  }
  for (const [index, page] of pages.entries()) {
    const others = NAMES.filter((name) => name !== NAMES[index]);
    await eventually(`${NAMES[index]} has a picture of ${others.join(' and ')}`, page, (names) => {
      const { tiles } = window.plenary.debug();
      return names.every((name) => tiles.some((tile) => tile.label === name && tile.slotMid !== null));
    }, others);
    await seesAndHears(page, NAMES[index]);
  }
  for (const [index, page] of pages.entries()) {
    const video = (await inbound(page)).filter(({ kind, framesDecoded }) => kind === 'video' && framesDecoded > 0);
    t.diagnostic(`${NAMES[index]}: ${video.map(({ mid, framesDecoded }) => `slot ${mid} ${framesDecoded} frames`).join(', ')}`);
    assert.equal(video.length, 2);
    assert.deepEqual(page.faults, []);
  }
  t.diagnostic(`links: ${JSON.stringify(await cluster.links())}`);
  await Promise.all(pages.map((page) => page.context().close()));
});
