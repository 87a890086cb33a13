/** Which sums answer a question, and where the calls themselves have to be counted. Pure. */
import type { CallFilters } from "./call-query.ts";

/** The shortest span; every longer one is made of whole ones. */
export const HOUR_MS = 3_600_000;

/** The spans that are summed up, the longest first; in milliseconds. */
export const SPANS: readonly (readonly [span: "block" | "day" | "hour", ms: number])[] = [
  ["block", 16 * 24 * HOUR_MS],
  ["day", 24 * HOUR_MS],
  ["hour", HOUR_MS],
];

/** Instants from the first to the one behind the last; `call` where the calls themselves have to be counted. */
export interface TimeSlice {
  readonly span: "block" | "day" | "hour" | "call";
  readonly from: number;
  readonly to: number;
}

/**
 * A range of time in as few spans as there are, and in single calls where it cuts an hour. The slices do not overlap, and
 * leave nothing out.
 *
 * @param from -Infinity for no beginning. @param to Infinity for no end.
 * @param spans Which may be used.
 */
export function slicesOf(from: number, to: number, spans = SPANS): TimeSlice[] {
  const [longest, ...shorter] = spans;
  if (from >= to) return [];
  if (longest === undefined) return [{ span: "call", from, to }];
  const [span, ms] = longest;
  const [first, last] = [Math.ceil(from / ms) * ms, Math.floor(to / ms) * ms];
  if (first >= last) return slicesOf(from, to, shorter);
  return [...slicesOf(from, first, shorter), { span, from: first, to: last }, ...slicesOf(last, to, shorter)];
}

/** For what is told by the day. */
export const UP_TO_DAYS = SPANS.slice(1);

/** What sums tell apart besides the time. */
export type Dimension = "tool" | "key" | "user";
export type SumKind = "org" | Dimension | "all";

/** The smallest sums that tell these dimensions apart. */
export function kindOf(dimensions: ReadonlySet<Dimension>): SumKind {
  const [only] = dimensions;
  if (only === undefined) return "org";
  return dimensions.size === 1 ? only : "all";
}

/** The dimensions that filters ask for; null when sums do not know enough to apply them. */
export function dimensionsOf(filters: CallFilters): ReadonlySet<Dimension> | null {
  const { server_id, tool, virtual_key_id, sub } = filters;
  const { run_id, session_id, reason, min_duration_ms, max_duration_ms, text } = filters;
  const others = [run_id, session_id, reason, min_duration_ms, max_duration_ms, text];
  if (others.some((value) => value !== undefined)) return null;
  const dimensions = new Set<Dimension>();
  if (server_id !== undefined || tool !== undefined) dimensions.add("tool");
  if (virtual_key_id !== undefined) dimensions.add("key");
  if (sub !== undefined) dimensions.add("user");
  return dimensions;
}
