import { and, eq, isNotNull, ne, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import { EVERY_ORG } from "../registry/reach.ts";
import {
  EXAMINED,
  entriesOf,
  type IndexRange,
  indexedBy,
  isOneOf,
  matches,
  narrow,
  timeRange,
} from "./call-filters.store.ts";
import type { CallFilters } from "./call-query.ts";
import type { CallSums } from "./call-stats.ts";
import { bucketOf } from "./call-sums.store.ts";
import {
  type Dimension,
  dimensionsOf,
  kindOf,
  SPANS,
  type SumKind,
  slicesOf,
  type TimeSlice,
  UP_TO_DAYS,
} from "./call-sums.ts";
import { callSums, toolCalls } from "./calls.tables.ts";

/** Statistics of the call log in D1. A scope is an org, or `EVERY_ORG`. */
export interface CallStatsStore {
  /**
   * @throws GatewayError `invalid_request`, field `from`, when only the calls themselves can tell, and there are more than
   *   `EXAMINED` of them.
   */
  sums(scope: string, filters: CallFilters): Promise<CallSums>;
  /** The tools and the servers' slugs that there are sums of, sorted, a thousand at most of each. */
  names(scope: string): Promise<{ tools: string[]; servers: string[] }>;
  /** The servers that had one of these slugs when they were called. */
  serversCalled(scope: string, slugs: readonly string[]): Promise<string[]>;
}

const NAMES = 1_000;

export function d1CallStatsStore(d1: D1Database, examined = EXAMINED): CallStatsStore {
  const db = drizzle(d1);
  const ask = (answers: SQL) => db.select(ANSWER).from(sql`(${answers}) AS answers`);

  return withOutages<CallStatsStore>({
    async sums(scope, filters) {
      const dimensions = dimensionsOf(filters);
      if (dimensions === null) {
        const range = await narrow(db, scope, filters, examined);
        if (range === null) throw tooMany(examined);
        // Read once for all answers.
        const parts = sql`WITH parts AS MATERIALIZED (${callsAsSums(range, scope, filters)})`;
        const answers = [days, tools, keys, latencies].map((answer) => answer(sql`parts`));
        return sumsOf(await ask(sql`${parts} ${sql.join(answers, sql` UNION ALL `)}`));
      }
      const [from, to] = [filters.from ?? Number.NEGATIVE_INFINITY, filters.to ?? Number.POSITIVE_INFINITY];
      /** Sums, and calls in their form, that tell some dimensions apart besides those of the filters. */
      const partsBy = (more: readonly Dimension[], spans = SPANS) => {
        const kind = kindOf(new Set([...dimensions, ...more]));
        const slices = slicesOf(from, to, spans);
        const calls = slices.filter(({ span }) => span === "call").map((slice) => callsWithin(slice, scope, filters));
        const parts = sql.join([sumsWithin(slices, kind, scope, filters), ...calls], sql` UNION ALL `);
        return sql`(${parts}) AS parts`;
      };
      const found = await db.batch([
        ask(days(partsBy([], UP_TO_DAYS))),
        ask(tools(partsBy(["tool"]))),
        ask(keys(partsBy(["key"]))),
        ask(latencies(partsBy([]))),
      ]);
      return sumsOf(found.flat());
    },

    async names(scope) {
      const named = (column: typeof callSums.tool | typeof callSums.server) =>
        db
          .selectDistinct({ name: column })
          .from(callSums)
          .where(and(isOf(scope), sql`kind = 'tool' AND span = 'block'`, isNotNull(column)))
          .orderBy(column)
          .limit(NAMES);
      const [tools, servers] = await db.batch([named(callSums.tool), named(callSums.server)]);
      const texts = (rows: readonly { name: string | null }[]) => rows.flatMap(({ name }) => name ?? []);
      return { tools: texts(tools), servers: texts(servers) };
    },

    async serversCalled(scope, slugs) {
      const rows = await db
        .selectDistinct({ server_id: callSums.server_id })
        .from(callSums)
        .where(and(isOf(scope), sql`kind = 'tool' AND span = 'block'`, isOneOf(callSums.server, slugs)));
      return rows.map(({ server_id }) => server_id);
    },
  });
}

/** One answer of several kinds: what it is about, and the measures. */
const ANSWER = {
  what: sql<"day" | "tool" | "key" | "latency">`what`,
  number: sql<number>`number`,
  first: sql<string>`first`,
  second: sql<string>`second`,
  server: sql<string | null>`server`,
  calls: sql<number>`calls`,
  succeeded: sql<number>`succeeded`,
  cost_nano: sql<number>`cost_nano`,
  duration_ms: sql<number>`duration_ms`,
};
type Answer = { [Name in keyof typeof ANSWER]: (typeof ANSWER)[Name]["_"]["type"] };

const MEASURES = sql`SUM(calls) AS calls, SUM(iif(outcome = 'ok', calls, 0)) AS succeeded, SUM(cost_nano) AS cost_nano,
  SUM(duration_ms) AS duration_ms`;

const days = (parts: SQL) => sql`SELECT 'day' AS what, start - start % 86400000 AS number, '' AS first, '' AS second,
  NULL AS server, ${MEASURES} FROM ${parts} GROUP BY 2`;
const tools = (parts: SQL) => sql`SELECT 'tool' AS what, 0 AS number, server_id AS first, tool AS second,
  MAX(server) AS server, ${MEASURES} FROM ${parts} GROUP BY 3, 4`;
const keys = (parts: SQL) => sql`SELECT 'key' AS what, 0 AS number, virtual_key_id AS first, '' AS second,
  NULL AS server, ${MEASURES} FROM ${parts} GROUP BY 3`;
const latencies = (parts: SQL) => sql`SELECT 'latency' AS what, CAST(latency.key AS INTEGER) AS number, '' AS first,
  '' AS second, NULL AS server, SUM(latency.value) AS calls, 0 AS succeeded, 0 AS cost_nano,
  0 AS duration_ms
  FROM ${parts}, json_each(latencies) AS latency GROUP BY 2`;

function sumsOf(answers: readonly Answer[]): CallSums {
  const { day = [], tool = [], key = [], latency = [] } = Object.groupBy(answers, ({ what }) => what);
  const sumOf = ({ calls, succeeded, cost_nano, duration_ms }: Answer) => ({
    calls,
    succeeded,
    cost_nano,
    duration_ms,
  });
  const mostUsed = (a: Answer, b: Answer) => b.calls - a.calls;
  return {
    days: day.map((answer) => ({ day: answer.number, ...sumOf(answer) })).sort((a, b) => a.day - b.day),
    tools: tool.sort(mostUsed).map(({ first, second, server, ...answer }) => {
      return { server_id: first || null, server, tool: second, ...sumOf({ ...answer, first, second, server }) };
    }),
    keys: key.sort(mostUsed).map((answer) => ({ virtual_key_id: answer.first || null, ...sumOf(answer) })),
    latencies: new Map(latency.map(({ number, calls }) => [number, calls])),
  };
}

function tooMany(examined: number): GatewayError {
  const message = `These filters are counted call by call, and more than ${examined} calls may match. Narrow the range.`;
  return new GatewayError("invalid_request", message, { field: "from" });
}

/**
 * Sums of all slices but those of calls. Which spans there are is known from those of the whole org, so that every index
 * is entered at single spans. As one table: D1 takes five terms of a UNION at most.
 */
function sumsWithin(slices: readonly TimeSlice[], kind: SumKind, scope: string, filters: CallFilters): SQL {
  const { server_id, tool, virtual_key_id, sub, ok, outcome } = filters;
  const ranges = slices.map(({ span, from, to }) => {
    return [span, Math.max(from, Number.MIN_SAFE_INTEGER), Math.min(to, Number.MAX_SAFE_INTEGER)];
  });
  const there = sql`SELECT DISTINCT org_id, span, start
    FROM json_each(${JSON.stringify(ranges)}) AS slice CROSS JOIN call_sums
    WHERE ${isOf(scope)} AND kind = 'org'
      AND span = slice.value ->> 0 AND start >= slice.value ->> 1 AND start < slice.value ->> 2`;
  const { index, isIndexed } = indexOf(filters);
  const where = and(
    isOneOf(callSums.server_id, server_id),
    isOneOf(callSums.tool, tool),
    isOneOf(callSums.virtual_key_id, virtual_key_id),
    sub === undefined ? undefined : eq(callSums.sub, sub),
    ok === undefined ? undefined : (ok ? eq : ne)(callSums.outcome, "ok"),
    outcome === undefined ? undefined : eq(callSums.outcome, outcome),
    isIndexed,
  );
  return sql`SELECT call_sums.start, server_id, server, tool, virtual_key_id, outcome, calls, cost_nano, duration_ms,
      latencies
    FROM (${there}) AS there CROSS JOIN ${callSums} ${index} ON call_sums.org_id = there.org_id
      AND call_sums.kind = ${sql.raw(`'${kind}'`)} AND call_sums.span = there.span AND call_sums.start = there.start
    WHERE ${where ?? sql`true`}`;
}

/**
 * The index of one user, key or tool within a span; sums of one server stand together as they are. What has none is not
 * in the index, so that SQLite has to see that none is asked for.
 */
function indexOf({ sub, virtual_key_id, tool, server_id }: CallFilters): { index: SQL; isIndexed?: SQL } {
  if (sub !== undefined) return { index: sql`INDEXED BY call_sums_by_user`, isIndexed: sql`sub <> ''` };
  if (virtual_key_id !== undefined) {
    return { index: sql`INDEXED BY call_sums_by_key`, isIndexed: sql`virtual_key_id <> ''` };
  }
  if (tool === undefined || server_id !== undefined) return { index: sql`` };
  return { index: sql`INDEXED BY call_sums_by_tool`, isIndexed: sql`tool <> ''` };
}

function isOf(scope: string): SQL {
  return scope === EVERY_ORG ? sql`org_id IN (SELECT org_id FROM orgs)` : sql`org_id = ${scope}`;
}

function callsWithin({ from, to }: TimeSlice, scope: string, filters: CallFilters): SQL {
  return callsAsSums(timeRange(scope, { ...filters, from, to }), scope, { ...filters, from, to });
}

/** Calls in the form of sums. */
function callsAsSums(range: IndexRange, scope: string, filters: CallFilters): SQL {
  return sql`SELECT created_at AS start, COALESCE(server_id, '') AS server_id, server, tool,
      COALESCE(virtual_key_id, '') AS virtual_key_id, outcome, 1 AS calls, cost_nano, duration_ms,
      json_object(CAST(${bucketOf(sql`duration_ms`)} AS TEXT), 1) AS latencies
    FROM ${indexedBy(range.index)} WHERE ${and(entriesOf(range), matches(toolCalls, scope, filters))}`;
}
