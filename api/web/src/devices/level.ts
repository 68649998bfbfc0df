// How loud it is, as a length for a meter. Pure.

/** Quieter than this is shown as nothing; most rooms are. */
const FLOOR_DB = -60;

/** 0 for silence, 1 for full scale, even steps for the ear in between. `samples` are in -1..1. */
export function level(samples: Float32Array): number {
  if (samples.length === 0) return 0;
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const db = 10 * Math.log10(sum / samples.length);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}

/** Rises at once and falls slowly, as a needle does. `elapsedMs` since the last step. */
export function needle(last: number, now: number, elapsedMs: number): number {
  return Math.max(now, last - elapsedMs / 500);
}
