/**
 * Histograms of durations. A bucket is an eighth of a doubling: bucket `n` holds the milliseconds `d` with
 * `n = floor(8 · log2(d + 1))`, which is how the database reckons it as well. Pure.
 */

/** Buckets for each doubling; a value read back is then off by 2^(1/16) at most, which is 4.4 %. */
export const BUCKETS_PER_DOUBLING = 8;

/** Calls by number of bucket. */
export type Latencies = ReadonlyMap<number, number>;

/**
 * The duration that this share of the calls do not exceed, by nearest rank: the middle of the bucket of that call.
 *
 * @param share 0.95 for the 95th percentile.
 * @returns Whole milliseconds; null when there is no call.
 */
export function percentile(latencies: Latencies, share: number): number | null {
  const total = [...latencies.values()].reduce((sum, calls) => sum + calls, 0);
  const rank = Math.max(1, Math.ceil(total * share));
  let seen = 0;
  for (const [bucket, calls] of [...latencies].sort(([a], [b]) => a - b)) {
    seen += calls;
    if (seen >= rank) return Math.round(2 ** ((bucket + 0.5) / BUCKETS_PER_DOUBLING) - 1);
  }
  return null;
}
