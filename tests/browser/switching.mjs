// Slots whose sources switch every second, across nodes: no freeze, the right name under every frame, lips in step.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as path } from 'node:path';
import { after, before, test } from 'node:test';

import { eventually, inbound, join, launch, visit } from './lib/browser.mjs';
import { COLOURS, crowd } from './lib/crowd.mjs';
import { drift, senderReports } from './lib/eventlog.mjs';
import { median, quantile, setting } from './lib/numbers.mjs';
import { startCluster } from './lib/process.mjs';
import { look } from './lib/screen.mjs';
import { steer } from './lib/steer.mjs';
import { seen, watch } from './lib/watch.mjs';

const SECONDS = setting('SWITCHING_SECONDS', 20);
const FREEZE_MS = setting('SWITCHING_FREEZE_MS', 200);
/** How far a sender report may be from a straight line: less than a frame of either kind. */
const DRIFT_MS = 15;
/** What playback is out of step by before people notice (EBU R37: sound at most 40 ms early, 60 ms late). */
const SKEW_MS = 45;
/** A publisher's stall is seen so much later: its pictures are encoded, sent, decoded and wait to be played. */
const STALL_SHOWS_MS = 150;
/** Publishers may be without time for such a part of the run. */
const MOST_STALLED = 0.05;
/** RTP units in a second. */
const RATES = { audio: 48_000, video: 90_000 };
const NAMES = Object.keys(COLOURS);
/** Four video slots: one half of the people, then the other. */
const HALVES = [NAMES.slice(0, 4), NAMES.slice(4)];

/**
 * Changes on a page that is busy with something else, from before it hears of them until long after their first frames;
 * once for longer than frames are kept for it.
 */
const HELD_UP_MS = [400, 400, 400, 400, 400, 400, 2500, 400];

let cluster;
let browser;
let onlooker;
let logs;
before(async () => {
  cluster = await startCluster(3);
  browser = await launch();
  logs = await mkdtemp(path(tmpdir(), `plenary-${process.pid}-rtc-`));
  // A browser of its own: one keeps event logs of its first five connections only.
  onlooker = await launch([`--webrtc-event-logging=${logs}`]);
});
after(async () => {
  await browser?.close();
  await onlooker?.close();
  await cluster?.stop();
  await rm(logs, { recursive: true, force: true });
});

const wanted = (names, ids) => ({
  audio: true,
  video: { mode: 'tracks', tracks: names.map((name) => ({ participant: ids[name], source: 'camera', width: 320, height: 180 })) },
});

/** Until all of `names` are on the screen. */
const onScreen = (page, names) =>
  eventually(`${names} are on the screen`, page, (names) => {
    const { tiles } = window.plenary.debug();
    return names.every((name) => tiles.some((tile) => tile.name === name && tile.slotMid !== null));
  }, names);

/** Keeps a page's thread busy. */
const holdUp = (page, ms) =>
  page.evaluate((ms) => {
    for (const until = performance.now() + ms; performance.now() < until; );
  }, ms);

/** Milliseconds that the pictures are ahead of the sound, slot by slot. */
async function skews(page) {
  const playing = (await inbound(page)).filter(({ estimatedPlayoutTimestamp }) => estimatedPlayoutTimestamp > 0);
  const of = (kind) => playing.filter((entry) => entry.kind === kind).sort((a, b) => Number(a.mid) - Number(b.mid));
  const [sound, pictures] = [of('audio'), of('video')];
  return sound.slice(0, pictures.length).map((entry, index) => pictures[index].estimatedPlayoutTimestamp - entry.estimatedPlayoutTimestamp);
}

test(`4 video and 3 audio slots switch every second for ${SECONDS} s`, { timeout: (SECONDS + 120) * 1000 }, async (t) => {
  const meeting = cluster.nodes[0].url.split('/').at(-1);
  // Half of the people of each half on node 1, the others on node 3: every switch crosses nodes.
  const on = (parity) => NAMES.filter((_, index) => index % 2 === parity);
  const crowds = [await crowd(browser, cluster.nodes[0].origin, meeting, on(0)), await crowd(browser, cluster.nodes[2].origin, meeting, on(1))];
  const ids = Object.assign({}, ...crowds.map((crowd) => crowd.ids));
  const talk = (names) => Promise.all(crowds.map((crowd) => crowd.talk(names)));

  let wish;
  const prepare = async (page) => (wish = await steer(page));
  const viewer = await visit(onlooker, cluster.nodes[1].url, { prepare, devices: false, viewport: { width: 800, height: 500 } });
  await join(viewer, 'Viewer');
  await eventually('the viewer knows everybody', viewer, (count) => window.plenary.debug().tiles.length === count, NAMES.length + 1);
  await talk(HALVES[0].slice(0, 3));
  await wish(wanted(HALVES[0], ids));
  await onScreen(viewer, HALVES[0]);
  await watch(viewer, COLOURS);
  const screen = await look(viewer, COLOURS);
  const offers = await viewer.evaluate(() => window.plenary.debug().offers);
  const earlier = await inbound(viewer);

  const allSkews = [];
  const ends = performance.now() + SECONDS * 1000;
  for (let turn = 1; performance.now() < ends; turn++) {
    const half = HALVES[turn % 2];
    await Promise.all([wish(wanted(half, ids)), talk(half.slice(0, 3))]);
    // The story is one switch a second: this is its beat, nothing is waited for.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    allSkews.push(...(await skews(viewer)));
  }

  const found = await seen(viewer);
  const later = await inbound(viewer);
  const before = { frames: screen.seen.frames, wrong: screen.seen.wrong.length };
  for (const [turn, ms] of HELD_UP_MS.entries()) {
    const half = HALVES[turn % 2];
    await Promise.all([wish(wanted(half, ids)), holdUp(viewer, ms)]);
    await onScreen(viewer, half);
  }
  const shown = await screen.stop();
  const grew = (kind, key) => {
    const sum = (entries) => entries.filter((entry) => entry.kind === kind).reduce((total, entry) => total + (entry[key] ?? 0), 0);
    return sum(later) - sum(earlier);
  };
  const length = ({ from, to }) => to - from;
  const longest = Object.fromEntries(Object.entries(found.gaps).map(([mid, gaps]) => [mid, Math.round(Math.max(...gaps.map(length)))]));
  const gaps = Object.values(found.gaps).flat();
  // A machine that gave the publishers no time to draw kept the picture still by itself.
  const stalls = (await Promise.all(crowds.map((crowd) => crowd.stalls()))).flat();
  const overlap = (gap, stall) => Math.min(length(stall), Math.min(gap.to, stall.to + STALL_SHOWS_MS) - Math.max(gap.from, stall.from));
  const withheld = (gap) => Math.max(0, ...stalls.map((stall) => overlap(gap, stall)));
  const still = gaps.map((gap) => ({ all: length(gap), withheld: withheld(gap), ours: length(gap) - withheld(gap) })).sort((a, b) => b.ours - a.ours)[0];
  const within = allSkews.filter((skew) => Math.abs(skew) <= SKEW_MS).length / allSkews.length;
  t.diagnostic(`names: ${found.wrong.length} of ${found.frames} decoded frames under a wrong one (goal 0), ${found.changes} changes of picture`);
  t.diagnostic(`names: ${shown.wrong.length} of ${shown.pictures} pictures in ${shown.frames} frames of the screen under a wrong one (goal 0)`);
  t.diagnostic(`of these while the page was held up for ${HELD_UP_MS} ms: ${shown.wrong.length - before.wrong} in ${shown.frames - before.frames} frames`);
  t.diagnostic(`longest time a picture stood still, by slot ${JSON.stringify(longest)} ms (goal ${FREEZE_MS}), p99 ${Math.round(quantile(gaps.map(length), 0.99))} ms`);
  t.diagnostic(`of these at most ${Math.round(still.ours)} ms beside what the machine withheld (${Math.round(still.all)} ms, ${Math.round(still.withheld)} ms); ${stalls.length} stalls, longest ${Math.round(Math.max(0, ...stalls.map(length)))} ms`);
  t.diagnostic(`freezes ${grew('video', 'freezeCount')} (${grew('video', 'totalFreezesDuration').toFixed(2)} s), decoded ${grew('video', 'framesDecoded')}, keyframes ${grew('video', 'keyFramesDecoded')}, PLIs ${grew('video', 'pliCount')}`);
  t.diagnostic(`audio: concealed ${grew('audio', 'concealedSamples')} of ${grew('audio', 'totalSamplesReceived')} samples, energy ${grew('audio', 'totalAudioEnergy').toFixed(3)}`);
  t.diagnostic(
    `skew (picture minus sound) min ${Math.round(Math.min(...allSkews))} median ${Math.round(median(allSkews))} max ${Math.round(Math.max(...allSkews))} ms, ` +
      `${(within * 100).toFixed(1)} % of ${allSkews.length} within ±${SKEW_MS} (goal all)`,
  );
  assert.ok(found.changes >= SECONDS * 2, `only ${found.changes} changes of picture`);
  assert.deepEqual(found.wrong, []);
  assert.deepEqual(shown.wrong, []);
  // Four pictures stand on the screen nearly all the time, and everybody is seen.
  assert.ok(shown.frames >= SECONDS * 5, `only ${shown.frames} frames of the screen in ${SECONDS} s`);
  assert.ok(shown.pictures >= shown.frames * 3, `only ${shown.pictures} pictures in ${shown.frames} frames of the screen`);
  assert.deepEqual([...shown.names].sort(), [...NAMES].sort(), 'everybody is seen on the screen');
  const stalled = stalls.map(length).reduce((sum, ms) => sum + ms, 0) / NAMES.length;
  assert.ok(stalled <= SECONDS * 1000 * MOST_STALLED, `publishers were not given time for ${stalled} ms each: this machine is too busy to tell`);
  assert.ok(still.ours <= FREEZE_MS, `a slot stood still for ${still.all} ms, of which the machine withheld ${still.withheld} ms`);
  assert.equal(grew('video', 'freezeCount'), 0);
  assert.ok(Math.abs(median(allSkews)) <= SKEW_MS, `pictures are ${median(allSkews)} ms from their sound`);
  assert.equal(await viewer.evaluate(() => window.plenary.debug().offers), offers, 'switching costs no offer');
  assert.deepEqual(viewer.faults, []);
  await Promise.all(crowds.map((crowd) => crowd.close()));
  await onlooker.close();

  const reports = await senderReports(logs);
  for (const { kind, mid, ssrc } of later) {
    const of = reports.get(ssrc) ?? [];
    const off = drift(of, RATES[kind]);
    t.diagnostic(`slot ${mid}, ${kind}: ${of.length} sender reports within ${off.toFixed(1)} ms of a line (limit ${DRIFT_MS})`);
    assert.ok(of.length >= SECONDS * 0.5, `slot ${mid}: ${of.length} reports in ${SECONDS} s`);
    assert.ok(of.every(({ rtp }) => rtp !== 0), `slot ${mid}: a report with RTP time 0`);
    assert.ok(off <= DRIFT_MS, `slot ${mid}: reports are ${off} ms apart`);
  }
  assert.equal(later.length, 7, 'reports of 3 audio and 4 video slots');
});
