// Publishers for the price of one page: each has a PeerConnection of its own, a picture of one colour and a tone.
//
// They speak the signalling protocol by themselves, so that they need nothing of the web client. What someone looks like
// says who they are: tests read a colour from the screen and know whose picture it is.
import assert from 'node:assert/strict';

/** Colours that stay apart through an encoder, as a viewer's canvas reads them. */
export const COLOURS = {
  red: [230, 30, 30],
  green: [30, 190, 30],
  blue: [40, 60, 230],
  yellow: [235, 225, 30],
  magenta: [225, 40, 215],
  cyan: [30, 215, 220],
  white: [240, 240, 240],
  grey: [90, 90, 90],
};

/**
 * Opens a page at `origin` that holds one publisher for each of `names` (keys of COLOURS), joined to `meeting`.
 * `talk(names)` makes exactly these talk; `ids` has their participant ids; `stalls()` tells when a picture was not drawn
 * though it was time.
 */
export async function crowd(browser, origin, meeting, names) {
  const page = await (await browser.newContext()).newPage();
  // A page that the node itself served: Chromium keeps made-up pages from local addresses.
  await page.goto(`${origin}/livez`);
  await page.evaluate(install);
  const people = names.map((name) => ({ name, colour: COLOURS[name] }));
  const ids = await page.evaluate((people) => Promise.all(people.map((person) => window.crowd.enter(person.meeting, person))), people.map((person) => ({ ...person, meeting })));
  for (const name of names) assert.ok(ids[names.indexOf(name)], name);
  return {
    ids: Object.fromEntries(names.map((name, index) => [name, ids[index]])),
    talk: (talkers) => page.evaluate((talkers) => window.crowd.talk(talkers), talkers),
    stalls: () => page.evaluate(() => window.crowd.stalls),
    close: () => page.context().close(),
  };
}

/** Runs in the page. */
function install() {
  const WIDTH = 192;
  const HEIGHT = 108;
  const gains = new Map();
  const stalls = [];
  const audio = new AudioContext();

  /** One colour, with a mark that moves so that no two frames are alike. */
  function picture([red, green, blue]) {
    const canvas = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT });
    const paint = canvas.getContext('2d');
    let frame = 0;
    let drawn = performance.now();
    setInterval(() => {
      const now = performance.now();
      if (now - drawn > 60) stalls.push({ from: performance.timeOrigin + drawn, to: performance.timeOrigin + now });
      drawn = now;
      paint.fillStyle = `rgb(${red} ${green} ${blue})`;
      paint.fillRect(0, 0, WIDTH, HEIGHT);
      paint.fillStyle = '#000';
      paint.fillRect((frame * 4) % WIDTH, HEIGHT - 12, 12, 12);
      frame += 1;
    }, 33);
    return canvas.captureStream(30).getVideoTracks()[0];
  }

  function tone(name, index) {
    const source = new OscillatorNode(audio, { frequency: 300 + 70 * index });
    const gain = new GainNode(audio, { gain: 0 });
    const sink = new MediaStreamAudioDestinationNode(audio, { channelCount: 1 });
    source.connect(gain).connect(sink);
    source.start();
    gains.set(name, gain);
    return sink.stream.getAudioTracks()[0];
  }

  async function grant(meeting, name) {
    const body = { participant_name: name, device_info: { platform: 'web', browser: 'crowd', capabilities: { video: true, audio: true, screen_share: false } } };
    const reply = await fetch(`/api/meeting/${meeting}/join`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(`join: ${reply.status} ${JSON.stringify(answer)}`);
    return answer.data.access_token;
  }

  /** A numbered request and its reply; pushes are nothing to a publisher. */
  async function signalling() {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    const waiting = new Map();
    let last = 0;
    socket.onmessage = ({ data }) => {
      const { re, ...reply } = JSON.parse(data);
      const done = waiting.get(re);
      waiting.delete(re);
      if (reply.type === 'error') done?.reject(new Error(JSON.stringify(reply)));
      else done?.resolve(reply);
    };
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: () => reject(new Error('no WebSocket')) }));
    return (request) =>
      new Promise((resolve, reject) => {
        last += 1;
        waiting.set(last, { resolve, reject });
        socket.send(JSON.stringify({ v: 1, id: last, ...request }));
      });
  }

  async function enter(meeting, { name, colour }) {
    const token = await grant(meeting, name);
    const ask = await signalling();
    const joined = await ask({ type: 'join', meeting, token, client: { name: 'crowd', version: '1' } });
    const pc = new RTCPeerConnection({ iceServers: [] });
    const microphone = pc.addTransceiver(tone(name, gains.size), { direction: 'sendonly' });
    const camera = pc.addTransceiver(picture(colour), { direction: 'sendonly', sendEncodings: [{ maxBitrate: 300_000 }] });
    pc.onicecandidate = ({ candidate }) => void ask({ type: 'candidate', candidate: candidate?.candidate ?? '' });
    await pc.setLocalDescription();
    const tracks = [{ mid: microphone.mid, source: 'microphone' }, { mid: camera.mid, source: 'camera' }];
    const answer = await ask({ type: 'offer', sdp: pc.localDescription.sdp, tracks, slots: [] });
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    await new Promise((resolve, reject) => {
      const look = () => {
        if (pc.connectionState === 'connected') resolve();
        if (pc.connectionState === 'failed') reject(new Error(`${name}: no connection`));
      };
      pc.onconnectionstatechange = look;
      look();
    });
    await ask({ type: 'publish', tracks: [{ source: 'microphone', muted: false }, { source: 'camera', muted: false }] });
    await ask({ type: 'interest', video: { mode: 'tracks', tracks: [] }, audio: false });
    setInterval(() => void ask({ type: 'ping' }), 10_000);
    return joined.participant;
  }

  function talk(talkers) {
    for (const [name, gain] of gains) gain.gain.setTargetAtTime(talkers.includes(name) ? 0.3 : 0, audio.currentTime, 0.01);
  }

  window.crowd = { enter, talk, stalls };
}
