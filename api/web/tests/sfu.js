// The media side of the mock node: answers offers and fills slots. Runs in a page of its own.
const socket = new WebSocket(`ws://${location.host}/sfu`);
const colours = new Map();
let pc;
let sent = new Map();

function picture(mid) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  const context = canvas.getContext('2d');
  setInterval(() => {
    context.fillStyle = colours.get(mid) ?? '#5f6f94';
    context.fillRect(0, 0, 640, 360);
    context.fillStyle = 'rgba(255,255,255,.75)';
    const angle = performance.now() / 700 + Number(mid);
    context.beginPath();
    context.arc(320 + 120 * Math.cos(angle), 180 + 60 * Math.sin(angle), 46, 0, 7);
    context.fill();
  }, 33);
  return canvas.captureStream(30).getVideoTracks()[0];
}

function tone() {
  const context = new AudioContext();
  const oscillator = context.createOscillator();
  const out = context.createMediaStreamDestination();
  oscillator.connect(out);
  oscillator.start();
  return out.stream.getAudioTracks()[0];
}

async function answer({ id, sdp, slots }) {
  // The first offer of a connection has the fewest slots.
  if (pc === undefined || slots.length <= sent.size) {
    pc?.close();
    pc = new RTCPeerConnection();
    sent = new Map();
  }
  await pc.setRemoteDescription({ type: 'offer', sdp });
  let index = 0;
  for (const transceiver of pc.getTransceivers()) {
    if (!slots.includes(transceiver.mid) || sent.has(transceiver.mid)) continue;
    const kind = transceiver.receiver.track.kind;
    transceiver.direction = 'sendonly';
    await transceiver.sender.replaceTrack(kind === 'audio' ? tone() : picture(transceiver.mid));
    transceiver.sender.setStreams?.(new MediaStream());
    sent.set(transceiver.mid, index++);
  }
  await pc.setLocalDescription();
  if (pc.iceGatheringState !== 'complete') {
    await new Promise((done) => {
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
    });
  }
  socket.send(JSON.stringify({ id, answer: pc.localDescription.sdp }));
}

socket.onmessage = (event) => {
  const message = JSON.parse(event.data);
  if (message.paint !== undefined) colours.set(message.paint, message.colour);
  else void answer(message);
};
