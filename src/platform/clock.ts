/** Milliseconds since the Unix epoch. In workerd it moves only at I/O. */
export type Clock = () => number;

/** An instant on our wire: ISO 8601 in UTC (PS-73). */
export function isoTime(at: number): string {
  return new Date(at).toISOString();
}
