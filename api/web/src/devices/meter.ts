// Listens to a microphone, muted or not: to a copy of its track, which no mute switches off.
import { level, needle } from './level';

/** Calls `show` with 0..1 about 30 times a second until the returned function is called. */
export function listen(track: MediaStreamTrack, show: (level: number) => void): () => void {
  const copy = track.clone();
  copy.enabled = true;
  const context = new AudioContext();
  const source = context.createMediaStreamSource(new MediaStream([copy]));
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let shown = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const now = performance.now();
    shown = needle(shown, level(samples), now - last);
    last = now;
    show(shown);
  }, 33);
  // Some browsers begin only after the first touch of the page.
  const wake = (): void => void context.resume();
  if (context.state === 'suspended') addEventListener('pointerdown', wake, { once: true });
  return () => {
    clearInterval(timer);
    removeEventListener('pointerdown', wake);
    copy.stop();
    void context.close();
  };
}
