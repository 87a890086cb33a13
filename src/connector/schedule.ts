/** When a server is looked at again (PS-65). Pure. */

export interface Intervals {
  /** Milliseconds between health checks; 0 switches them off. */
  readonly healthMs: number;
  /** Milliseconds between discoveries; 0 switches them off. */
  readonly discoveryMs: number;
}

/** What is due, and how many checks in a row have failed. */
export interface Plan {
  readonly failures: number;
  /** Milliseconds since the Unix epoch; null: never. */
  readonly health_at: number | null;
  readonly discovery_at: number | null;
}

/** The failed check, in a row, that makes a server disconnected (BF-64). */
export const FAILURES_TO_DISCONNECT = 5;
const MAX_BACK_OFF = 8;

/** What follows a look at the server. @param jitter From 0 to 1; spreads servers that were registered at once. */
export function planAfter(
  look: "health" | "discovery",
  isWell: boolean,
  before: Plan,
  now: number,
  intervals: Intervals,
  jitter: number,
): Plan {
  const failures = isWell ? 0 : before.failures + 1;
  // A server that has been gone for long is asked less and less often.
  const backOff = Math.min(MAX_BACK_OFF, 2 ** Math.max(0, failures - FAILURES_TO_DISCONNECT));
  const spread = (ms: number) => (ms === 0 ? null : now + Math.round(ms * backOff * (0.9 + 0.2 * jitter)));
  // A discovery tells as much as a health check does.
  const isDiscovery = look === "discovery" || before.discovery_at === null;
  return {
    failures,
    health_at: spread(intervals.healthMs),
    discovery_at: isDiscovery ? spread(intervals.discoveryMs) : before.discovery_at,
  };
}

/** When the alarm has to ring; null: never. */
export function nextLook({ health_at, discovery_at }: Plan): number | null {
  if (health_at === null || discovery_at === null) return health_at ?? discovery_at;
  return Math.min(health_at, discovery_at);
}
