// Drives the built client in a real browser against the mock node: checks what can be checked without a node, and leaves
// pictures in `.look/` to be looked at. `npm run build && npm run look`.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { Mock } from './mock.mjs';

const out = fileURLToPath(new URL('../.look/', import.meta.url));
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream=fps=30', '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
];
const WIDE = { width: 1280, height: 760 };
const NARROW = { width: 390, height: 780 };
const person = (id, name, sources = []) => ({ id, name, role: 'attendee', tracks: sources.map((source) => ({ source })) });

await mkdir(out, { recursive: true });
const mock = new Mock();
await mock.listen();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
const complaints = [];
/** What a browser says of a join that was refused for want of a password. */
const EXPECTED = /status of 401|closed before the connection is established/u;

async function open(path, { viewport = WIDE, colorScheme = 'light', ...more } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, ...more });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !EXPECTED.test(message.text())) complaints.push(`${path}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`${path}: ${error.message}`));
  await page.goto(mock.origin + path);
  return page;
}

async function picture(page, name) {
  await page.screenshot({ path: `${out}${name}.png` });
}

async function eventually(what, page, condition, argument) {
  await page.waitForFunction(condition, argument, { timeout: 10_000 }).catch(() => assert.fail(`not in 10 s: ${what}`));
}

async function looks() {
  for (const [scheme, size, viewport] of [['light', 'wide', WIDE], ['dark', 'wide', WIDE], ['light', 'narrow', NARROW], ['dark', 'narrow', NARROW]]) {
    const landing = await open('/', { viewport, colorScheme: scheme });
    await landing.getByTestId('create').waitFor();
    await picture(landing, `landing-${scheme}-${size}`);
    await landing.context().close();
    const page = await open('/m/meeting_mock', { viewport, colorScheme: scheme });
    await page.locator('[data-testid=meter] .lit').first().waitFor();
    await page.getByTestId('name').fill('Ada Lovelace');
    await picture(page, `prejoin-${scheme}-${size}`);
    await page.context().close();
  }
}

async function withoutDevices() {
  const context = await browser.newContext({ viewport: WIDE });
  await context.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'));
  });
  const page = await context.newPage();
  await page.goto(`${mock.origin}/m/meeting_mock`);
  await page.getByText('Your browser blocks the camera.').waitFor();
  await page.getByText('Join to listen').waitFor();
  await picture(page, 'prejoin-blocked');
  await page.getByTestId('name').fill('Listener');
  await page.keyboard.press('Enter');
  await eventually('a listener is in the call', page, () => window.plenary.debug().state === 'live');
  await context.close();
}

async function newMeeting() {
  const page = await open('/');
  await page.getByTestId('host-name').fill('Ada');
  await page.getByTestId('create').click();
  await page.waitForURL('**/m/meeting_mock');
  assert.equal(await page.getByTestId('name').inputValue(), 'Ada');
  await page.context().close();
}

async function password() {
  mock.password = 'secret';
  const page = await open('/m/meeting_mock');
  await page.getByTestId('join').click();
  await page.getByTestId('password').fill('secret');
  await page.getByTestId('join').click();
  await eventually('the password opens the door', page, () => window.plenary.debug().state === 'live');
  mock.password = undefined;
  await page.context().close();
}

async function call(colorScheme, viewport, name, people) {
  mock.others = people;
  mock.announce = (slots) => slots.map((mid, index) => ({ mid, generation: 1, index }))
    .filter(({ index }) => index >= 3 && index - 3 < people.length)
    .map(({ mid, generation, index }) => ({ mid, generation, participant: people[index - 3].id, source: 'camera' }));
  const media = await browser.newPage();
  await media.goto(`${mock.origin}/sfu`);
  const page = await open('/m/meeting_mock', { viewport, colorScheme });
  await page.locator('[data-testid=meter] .lit').first().waitFor();
  await page.getByTestId('name').fill('Ada Lovelace');
  mock.requests = [];
  await page.getByTestId('join').click();
  await eventually('the first remote frame', page, () => performance.getEntriesByName('plenary:first-remote-frame').length > 0);
  await page.evaluate(() => new Promise((done) => setTimeout(done, 700)));
  await picture(page, name);
  return { page, media };
}

async function behaviour({ page }) {
  const took = await page.evaluate(() => performance.getEntriesByName('plenary:first-remote-frame')[0].startTime - performance.getEntriesByName('plenary:click-join')[0].startTime);
  console.log(`click to first remote frame: ${Math.round(took)} ms`);
  const debug = () => page.evaluate(() => window.plenary.debug());
  assert.equal((await debug()).offers, 1);
  const offer = mock.requests.find(({ type }) => type === 'offer').body;
  assert.deepEqual(offer.tracks.map(({ source }) => source), ['microphone', 'camera', 'screen', 'screen_audio']);
  assert.equal(offer.slots.length, 7);
  await slotSwitch(page, offer.slots[3]);
  await mute(page);
  await grow(page, debug);
  await reconnect(page, debug);
  await page.getByTestId('leave').click();
  await page.getByText('You left the meeting').waitFor();
  await picture(page, 'left');
}

/** The label must stay until the frame comes that was announced. */
async function slotSwitch(page, mid) {
  const now = await page.evaluate((slot) => new Promise((done) => {
    document.querySelector(`video[data-slot-mid="${slot}"]`).requestVideoFrameCallback((_, frame) => done(frame.rtpTimestamp));
  }), mid);
  assert.equal(typeof now, 'number', 'the browser tells RTP timestamps');
  const goal = (now + 90_000) >>> 0;
  mock.push({ type: 'slots', slots: [{ mid, generation: 2, participant: 'p2', source: 'camera', rtp_timestamp: goal }] });
  const seen = await page.evaluate(([slot, wanted]) => new Promise((done) => {
    const video = document.querySelector(`video[data-slot-mid="${slot}"]`);
    const frames = [];
    const look = (_, frame) => requestAnimationFrame(() => {
      const who = window.plenary.debug().slots.find((one) => one.mid === slot).shown?.participant;
      const late = ((frame.rtpTimestamp - wanted) >>> 0) < 0x80000000;
      frames.push([late, who]);
      if (frames.length < 60) video.requestVideoFrameCallback(look);
      else done(frames);
    });
    video.requestVideoFrameCallback(look);
  }), [mid, goal]);
  const wrong = seen.filter(([late, who]) => who !== (late ? 'p2' : 'p1'));
  assert.deepEqual(wrong, [], 'every frame has the right name');
  assert.ok(seen.some(([late]) => late) && seen.some(([late]) => !late));
}

async function mute(page) {
  await page.keyboard.press('m');
  await page.getByTestId('mic-status').filter({ hasText: 'Your microphone is muted' }).waitFor({ state: 'attached' });
  assert.deepEqual(mock.requests.findLast(({ type }) => type === 'publish').body.tracks, [{ source: 'microphone', muted: true }, { source: 'camera', muted: false }]);
  await page.keyboard.press('v');
  await eventually('the camera is off', page, () => document.querySelector('[data-testid=camera]').getAttribute('aria-label') === 'Turn camera on');
  await picture(page, 'call-muted');
  await page.keyboard.press('v');
  await page.keyboard.press('m');
  await page.getByTestId('mic-status').filter({ hasText: 'Your microphone is on' }).waitFor({ state: 'attached' });
}

async function grow(page, debug) {
  mock.push({ type: 'pool', size: { audio: 3, video: 9 } });
  await eventually('nine video slots', page, () => window.plenary.debug().slots.filter(({ kind }) => kind === 'video').length === 9);
  assert.equal((await debug()).offers, 2);
  mock.push({ type: 'speakers', speakers: ['p2'] });
  await page.locator('[data-participant=p2].speaking').waitFor();
  mock.push({ type: 'roster', revision: Date.now() + 1000, changes: [{ change: 'left', id: 'p1' }] });
  await eventually('one person fewer', page, () => !window.plenary.debug().tiles.some(({ participant }) => participant === 'p1'));
  assert.equal((await debug()).offers, 2);
}

async function reconnect(page, debug) {
  const before = mock.requests.length;
  mock.drop();
  await eventually('it comes back', page, () => window.plenary.debug().state === 'live' && window.plenary.debug().offers === 1);
  assert.ok(mock.requests.slice(before).some(({ type }) => type === 'join'));
  assert.equal((await debug()).participant, 'participant_me');
}

try {
  await looks();
  const crowd = ['Grace Hopper', 'Alan Turing', 'Katherine Johnson', 'Edsger Dijkstra', 'Barbara Liskov'].map((name, index) => person(`p${index + 1}`, name, index === 4 ? [] : ['microphone', 'camera']));
  const wide = await call('light', WIDE, 'call-light-wide', crowd);
  await newMeeting();
  await behaviour(wide);
  await withoutDevices();
  await password();
  await wide.page.context().close();
  for (const [scheme, viewport, name, people] of [['dark', WIDE, 'call-dark-wide', crowd], ['dark', NARROW, 'call-dark-narrow', crowd], ['light', WIDE, 'pair-light-wide', crowd.slice(0, 1)], ['light', NARROW, 'pair-light-narrow', crowd.slice(0, 1)]]) {
    const { page, media } = await call(scheme, viewport, name, people);
    await page.context().close();
    await media.close();
  }
  assert.deepEqual(complaints, []);
  console.log(`all right; pictures in ${out}`);
} finally {
  await browser.close();
  mock.close();
}
