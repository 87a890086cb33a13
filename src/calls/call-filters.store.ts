/**
 * Filters of the call log as SQL, and the index that serves them. A log of a million rows is answered in bounded time by
 * one rule: what an index cannot find is looked for in a bounded number of its entries only.
 */
import { and, type Column, eq, gte, inArray, lte, or, type SQL, sql } from "drizzle-orm";
import type { DrizzleD1Database } from "drizzle-orm/d1";
import { EVERY_ORG } from "../registry/reach.ts";
import type { CallFilters, CallPosition } from "./call-query.ts";
import { toolCalls } from "./calls.tables.ts";

/** `tool_calls`, or rows of it by another name. */
export type CallColumns = Readonly<Record<keyof typeof toolCalls.$inferSelect, Column>>;

/** Everything that is asked for, as one condition. */
export function matches(table: CallColumns, scope: string, filters: CallFilters): SQL | undefined {
  const { sub, run_id, session_id, ok, outcome, reason, from, to, min_duration_ms, max_duration_ms, text } = filters;
  return and(
    scope === EVERY_ORG ? undefined : eq(table.org_id, scope),
    ...(["server_id", "tool", "virtual_key_id"] as const).map((name) => isOneOf(table[name], filters[name])),
    sub === undefined ? undefined : eq(table.sub, sub),
    run_id === undefined ? undefined : eq(table.run_id, run_id),
    session_id === undefined ? undefined : eq(table.session_id, session_id),
    ok === undefined ? undefined : eq(table.ok, ok),
    outcome === undefined ? undefined : eq(table.outcome, outcome),
    reason === undefined ? undefined : eq(table.reason, reason),
    within(table.created_at, from, to === undefined ? undefined : to - 1),
    within(table.duration_ms, min_duration_ms, max_duration_ms),
    text === undefined ? undefined : or(...[table.tool, table.error, table.args].map((column) => has(column, text))),
  );
}

export function isOneOf(column: Column, values: readonly string[] | undefined): SQL | undefined {
  if (values === undefined) return undefined;
  const [only] = values;
  if (values.length === 1 && only !== undefined) return eq(column, only);
  return inArray(column, sql`(SELECT value FROM json_each(${JSON.stringify(values)}))`);
}

/** `instr` and not LIKE, whose patterns D1 limits to 50 bytes. */
function has(column: Column, text: string): SQL {
  return sql`instr(lower(${column}), lower(${text})) > 0`;
}

function within(column: Column, min: number | undefined, max: number | undefined): SQL | undefined {
  return and(min === undefined ? undefined : gte(column, min), max === undefined ? undefined : lte(column, max));
}

/** Entries of an index that one question may look at: a few milliseconds for each thousand. */
export const EXAMINED = 5_000;

/** A part of one index: entries that stand together in it, and in the order of one column. */
export interface IndexRange {
  readonly index: string;
  /** What all of its entries have in common. */
  readonly where: SQL | undefined;
  /** The column that its entries are ordered by, and the values that may matter. */
  readonly column: Column;
  readonly min: number;
  readonly max: number;
}

/** The calls of a filter in the order of their time: of those filters that have an index, the narrowest by nature. */
export function timeRange(scope: string, filters: CallFilters): IndexRange {
  const { sub, run_id, session_id, ok, outcome, reason, from, to } = filters;
  const isFailure = ok === false || (outcome !== undefined && outcome !== "ok") || reason !== undefined;
  const range = {
    column: toolCalls.created_at,
    min: from ?? Number.MIN_SAFE_INTEGER,
    max: to === undefined ? Number.MAX_SAFE_INTEGER : to - 1,
  };
  if (scope === EVERY_ORG) return { index: "tool_calls_by_age", where: undefined, ...range };
  const ofOrg = eq(toolCalls.org_id, scope);
  const only = (values: readonly string[] | undefined) => (values?.length === 1 ? values[0] : undefined);
  const candidates = [
    // First, so that what a member is told of how far a page has looked concerns calls of its own.
    ["tool_calls_by_user", toolCalls.sub, sub],
    ["tool_calls_by_run", toolCalls.run_id, run_id],
    ["tool_calls_by_session", toolCalls.session_id, session_id],
    ["tool_calls_failed", null, isFailure ? "" : undefined],
    ["tool_calls_by_key", toolCalls.virtual_key_id, only(filters.virtual_key_id)],
    ["tool_calls_by_tool", toolCalls.tool, only(filters.tool)],
    ["tool_calls_by_server", toolCalls.server_id, only(filters.server_id)],
  ] as const;
  for (const [index, column, value] of candidates) {
    if (value === undefined) continue;
    // The index is one of failed calls, which SQLite has to see in the text of the statement.
    const where = column === null ? sql`${toolCalls.ok} = 0` : eq(column, value);
    return { index, where: and(ofOrg, where), ...range };
  }
  return { index: "tool_calls_by_time", where: ofOrg, ...range };
}

/** The calls of an org in the order of their duration or cost. */
export function valueRange(by: "duration_ms" | "cost_usd", scope: string, filters: CallFilters): IndexRange {
  const where = eq(toolCalls.org_id, scope);
  const all = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };
  if (by === "cost_usd") return { index: "tool_calls_by_cost", where, column: toolCalls.cost_nano, ...all };
  const { min_duration_ms: min = all.min, max_duration_ms: max = all.max } = filters;
  return { index: "tool_calls_by_duration", where, column: toolCalls.duration_ms, min, max };
}

/** What an index serves of a range, from the row behind `after` on. */
export function entriesOf(
  { where, column, min, max }: IndexRange,
  direction: "asc" | "desc" = "desc",
  after: CallPosition | null = null,
): SQL | undefined {
  const isDown = direction === "desc";
  // One bound at each end is all that an index takes, so the closer one has to be chosen here.
  if (after === null || (isDown ? after.value > max : after.value < min)) {
    return and(where, gte(column, min), lte(column, max));
  }
  const behind = isBehind(column, toolCalls.id, direction, after);
  return and(where, isDown ? gte(column, min) : lte(column, max), behind);
}

export function isBehind(
  column: Column,
  id: Column,
  direction: "asc" | "desc",
  { value, id: last }: CallPosition,
): SQL {
  const comparison = sql.raw(direction === "desc" ? "<" : ">");
  return sql`(${column}, ${id}) ${comparison} (${value}, ${last})`;
}

/** A table in a FROM, to be read by one index. SQLite refuses a statement that this index cannot serve. */
export function indexedBy(index: string): SQL {
  return sql`${toolCalls} INDEXED BY ${sql.raw(index)}`;
}

/**
 * A part of an index that holds whatever matches, and few entries: they can all be looked at.
 *
 * @returns Null when there is none.
 */
export async function narrow(
  db: DrizzleD1Database,
  scope: string,
  filters: CallFilters,
  examined: number,
): Promise<IndexRange | null> {
  const { min_duration_ms, max_duration_ms } = filters;
  const hasDuration = scope !== EVERY_ORG && (min_duration_ms ?? max_duration_ms) !== undefined;
  const ranges = [timeRange(scope, filters), ...(hasDuration ? [valueRange("duration_ms", scope, filters)] : [])];
  for (const range of ranges) {
    const entries = sql`SELECT 1 FROM ${indexedBy(range.index)} WHERE ${entriesOf(range)} LIMIT ${examined + 1}`;
    const [counted] = await db.all<{ entries: number }>(sql`SELECT COUNT(*) AS entries FROM (${entries})`);
    if (counted !== undefined && counted.entries <= examined) return range;
  }
  return null;
}
