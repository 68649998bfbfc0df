/** The value below which a share of the sorted values lies. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export const median = (values) => quantile(values, 0.5);

/** A setting of a test that a longer run changes: `SWITCHING_SECONDS=120 tests/browser/run switching.mjs`. */
export function setting(name, fallback) {
  const value = process.env[name];
  if (value === undefined) return fallback;
  if (!/^\d+$/u.test(value)) throw new Error(`${name}='${value}': expected a whole number`);
  return Number(value);
}
