/** Numbers as text, and the shape of a distribution. */

const NO_BREAK = "\u00a0";
const BINS = 28;
/** The histogram ends at so many times the 90th percentile; runs beyond it are counted. */
const TAIL = 2;

/** Return a time in milliseconds as text; the clock has steps of 5 us. */
export function time(ms) {
  if (ms < 1) return `${Math.round(1000 * ms)}${NO_BREAK}us`;
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)}${NO_BREAK}s`;
  return `${ms >= 100 ? Math.round(ms).toLocaleString("en") : ms.toPrecision(3)}${NO_BREAK}ms`;
}

/** Return a relative difference as text. */
export function relative(value) {
  if (!Number.isFinite(value)) return "infinite";
  if (value === 0 || value >= 0.001) return String(Number(value.toPrecision(2)));
  return value.toExponential(1).replace(".0e", "e");
}

/** Return a share from 0 to 1 in percent. */
export const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** Return the quantile `q` of sorted values, by linear interpolation. */
export function quantile(sorted, q) {
  const place = q * (sorted.length - 1);
  const below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

/**
 * Return the distribution of times.
 *
 * @param {number[]} samples at least one
 * @param {number} fewest samples that a 90th percentile needs
 * @returns {object} `count`, `median`, `p90` (null with too few samples), the `bins` from `low` to `high`, and how many
 *   samples are `beyond`
 */
export function distribution(samples, fewest) {
  const sorted = samples.toSorted((one, other) => one - other);
  const [low, p90] = [sorted[0], quantile(sorted, 0.9)];
  const high = Math.min(sorted.at(-1), TAIL * p90);
  const bins = new Array(BINS).fill(0);
  for (const value of sorted) {
    if (value <= high) bins[Math.min(BINS - 1, Math.floor(((value - low) / (high - low || 1)) * BINS))] += 1;
  }
  const count = sorted.length;
  const beyond = sorted.filter((value) => value > high).length;
  return { count, median: quantile(sorted, 0.5), p90: count < fewest ? null : p90, low, high, bins, beyond };
}
