// How long to wait before the next attempt to connect. Pure: the dice are handed in.

const FIRST_MS = 400;
const LONGEST_MS = 8000;

/** `attempt` counts from 0 (at once); `random` is in [0, 1) and keeps a crowd from coming back in step. */
export function backoffMs(attempt: number, random: number): number {
  if (attempt <= 0) return 0;
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  return Math.round(full * (0.5 + random / 2));
}
