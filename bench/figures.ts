/** Numbers of measurements: how they are summed up, set against each other, and written. */

/** What a measurement says about one kind of request. */
export interface Figures {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly perSecond: number;
}

/** @param sorted Ascending. @param share 0.95 for the value that 95 of 100 do not exceed. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]];
  return (low + high) / 2;
}

/** The median of the ratios that each round gives by itself: what disturbs a round disturbs both sides of it. */
export function medianRatio<T>(samples: readonly T[], bases: readonly T[], of: (sample: T) => number): number {
  return median(
    samples.map((sample, round) => {
      const base = bases[round];
      return base === undefined ? Number.NaN : of(sample) / of(base);
    }),
  );
}

/** A dash for what could not be measured. */
export function written(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : "-";
}

/** The same list, beginning elsewhere: being the first of a round is no advantage to anyone. */
export function turned<T>(list: readonly T[], by: number): T[] {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
