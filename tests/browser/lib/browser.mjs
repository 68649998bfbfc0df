// Chromium with fake devices, and a participant's page in it.
import assert from 'node:assert/strict';

import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream=fps=30', '--autoplay-policy=no-user-gesture-required',
  // Pages that nobody looks at go on drawing and decoding.
  '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows', '--disable-background-timer-throttling',
  // Without this a namespace that has only loopback gives no candidates.
  '--allow-loopback-in-peer-connection',
];
const WITHIN_MS = 30_000;

/** A browser; `args` are added to those that every test needs. */
export function launch(args = []) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...FLAGS, ...args] });
}

/** Waits until `condition` holds in the page. */
export async function eventually(what, page, condition, argument) {
  // A promise counts as a condition that holds.
  assert.notEqual(condition.constructor.name, 'AsyncFunction', `a condition that does not answer at once: ${what}`);
  await page.waitForFunction(condition, argument, { timeout: WITHIN_MS, polling: 50 }).catch(async () => {
    const debug = await page.evaluate(() => window.plenary?.debug()).catch(() => undefined);
    assert.fail(`not in ${WITHIN_MS} ms: ${what}\n${JSON.stringify(debug, undefined, 1)}`);
  });
}

/**
 * A page on the meeting's pre-join screen, its camera and microphone open unless it has no devices. `prepare` is called
 * before the page is opened.
 */
export async function visit(browser, url, { prepare, devices = true, viewport = { width: 1280, height: 720 } } = {}) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  await prepare?.(page);
  if (!devices) {
    await page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('none here', 'NotFoundError'));
    });
  }
  await page.goto(url);
  await (devices ? page.locator('[data-testid=meter]') : page.getByText('Join to listen')).waitFor();
  return page;
}

/** Clicks through the pre-join screen; the page is in the call when this returns. */
export async function join(page, name) {
  await page.getByTestId('name').fill(name);
  await page.getByTestId('join').click();
  await eventually(`${name} is in the call`, page, () => window.plenary?.debug().state === 'live');
  return page;
}

export async function leave(page) {
  await page.getByTestId('leave').click();
  await eventually('the call is over', page, () => document.querySelector('[data-testid=rejoin]') !== null);
}

/** Received media of the page's connection, one entry a receiving m-line that ever had packets. */
export function inbound(page) {
  return page.evaluate(async () => {
    const report = await window.plenary.pc.getStats();
    const kept = [
      'kind', 'mid', 'ssrc', 'packetsReceived', 'packetsLost', 'framesDecoded', 'keyFramesDecoded', 'frameWidth', 'frameHeight',
      'freezeCount', 'totalFreezesDuration', 'totalAudioEnergy', 'totalSamplesReceived', 'concealedSamples', 'nackCount',
      'pliCount', 'estimatedPlayoutTimestamp', 'jitterBufferDelay', 'jitterBufferEmittedCount', 'timestamp',
    ];
    return [...report.values()]
      .filter((entry) => entry.type === 'inbound-rtp')
      .map((entry) => Object.fromEntries(kept.map((key) => [key, entry[key]])));
  });
}

export const decoded = (entries) => entries.filter(({ kind }) => kind === 'video').reduce((sum, e) => sum + (e.framesDecoded ?? 0), 0);
export const energy = (entries) => entries.filter(({ kind }) => kind === 'audio').reduce((sum, e) => sum + (e.totalAudioEnergy ?? 0), 0);

/** Waits until the page decoded `frames` more video frames and heard more than silence. */
export async function seesAndHears(page, who, frames = 30, within = WITHIN_MS) {
  const before = await inbound(page);
  const ends = performance.now() + within;
  for (;;) {
    const now = await inbound(page);
    if (decoded(now) >= decoded(before) + frames && energy(now) >= energy(before) + 1e-4) return;
    assert.ok(performance.now() < ends, `not in ${within} ms: ${who} sees and hears the others\n${JSON.stringify(now, undefined, 1)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Milliseconds from the click on Join to the first decoded frame of someone else. */
export async function clickToFrame(page) {
  await eventually('the first remote frame', page, () => performance.getEntriesByName('plenary:first-remote-frame').length > 0);
  return page.evaluate(() => {
    const [click] = performance.getEntriesByName('plenary:click-join');
    const [frame] = performance.getEntriesByName('plenary:first-remote-frame');
    return frame.startTime - click.startTime;
  });
}
