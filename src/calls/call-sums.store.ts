/** How calls are counted: what one statement adds to the sums when rows come into the log. */
import { type SQL, sql } from "drizzle-orm";
import { HOUR_MS, SPANS } from "./call-sums.ts";
import { callSums } from "./calls.tables.ts";
import { BUCKETS_PER_DOUBLING } from "./latency.ts";

/** Which dimensions each kind of sum tells apart. */
const KINDS = sql.raw(
  `(VALUES ('org', 0, 0, 0), ('tool', 1, 0, 0), ('key', 0, 1, 0), ('user', 0, 0, 1), ('all', 1, 1, 1))`,
);
const SPAN_VALUES = sql.raw(`(VALUES ${SPANS.map(([span, ms]) => `('${span}', ${ms})`).join(", ")})`);

/** The number of a duration's bucket (`latency.ts`). */
export function bucketOf(durationMs: SQL): SQL {
  return sql`CAST(log2(max(${durationMs}, 0) + 1) * ${sql.raw(String(BUCKETS_PER_DOUBLING))} AS INTEGER)`;
}

/** The outcome in a row's JSON text. A row may have waited in its object since before calls had one. */
export function outcomeOf(row: SQL): SQL {
  return sql`COALESCE(${row} ->> 'outcome', CASE WHEN ${row} ->> 'ok' THEN 'ok'
    WHEN ${row} ->> 'reason' IS NOT NULL THEN 'refused' ELSE 'upstream_failed' END)`;
}

/** What tells one sum from another. */
export const SUM_KEY = [
  ...[callSums.org_id, callSums.kind, callSums.span, callSums.start, callSums.server_id, callSums.tool],
  ...[callSums.virtual_key_id, callSums.sub, callSums.outcome],
];
const KEY = sql.raw(SUM_KEY.map(({ name }) => name).join(", "));

/**
 * Sums of those rows that are not in the log yet, column by column as the table has them.
 *
 * @param rows JSON text of a list of `CallRow`.
 */
export function newSums(rows: string): SQL {
  const text = (name: string) => sql.raw(`COALESCE(value ->> '${name}', '')`);
  const fresh = sql`SELECT value ->> 'org_id' AS org_id, value ->> 'created_at' AS created_at,
      ${text("server_id")} AS server_id, value ->> 'tool' AS tool, ${text("virtual_key_id")} AS virtual_key_id,
      ${text("sub")} AS sub, ${outcomeOf(sql`value`)} AS outcome, value ->> 'server' AS server,
      COALESCE(value ->> 'cost_nano', 0) AS cost_nano, value ->> 'duration_ms' AS duration_ms
    FROM json_each(${rows}) AS logged
    WHERE NOT EXISTS (SELECT 1 FROM tool_calls WHERE id = logged.value ->> 'id')
    GROUP BY value ->> 'id'`;
  // Calls that come together are much alike: what is left of them is then counted fifteen times.
  const alike = sql`SELECT org_id, created_at - created_at % ${HOUR_MS} AS hour, server_id, tool, virtual_key_id, sub,
      outcome, ${bucketOf(sql`duration_ms`)} AS bucket, max(server) AS server, COUNT(*) AS calls,
      SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
    FROM fresh GROUP BY 1, 2, 3, 4, 5, 6, 7, 8`;
  const buckets = sql`SELECT org_id, kinds.column1 AS kind, spans.column1 AS span, hour - hour % spans.column2 AS start,
      iif(kinds.column2, server_id, '') AS server_id, iif(kinds.column2, tool, '') AS tool,
      iif(kinds.column3, virtual_key_id, '') AS virtual_key_id, iif(kinds.column4, sub, '') AS sub, outcome, bucket,
      iif(kinds.column2, max(server), NULL) AS server, SUM(calls) AS calls, SUM(cost_nano) AS cost_nano,
      SUM(duration_ms) AS duration_ms
    FROM alike CROSS JOIN ${KINDS} AS kinds CROSS JOIN ${SPAN_VALUES} AS spans GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10`;
  return sql`WITH fresh AS (${fresh}), alike AS MATERIALIZED (${alike}), buckets AS (${buckets})
    SELECT ${KEY}, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
    FROM buckets WHERE true GROUP BY ${KEY}`;
}

/** What becomes of a sum that is there already. */
export const ADDED = {
  server: sql`COALESCE(excluded.server, ${callSums.server})`,
  calls: sql`${callSums.calls} + excluded.calls`,
  cost_nano: sql`${callSums.cost_nano} + excluded.cost_nano`,
  duration_ms: sql`${callSums.duration_ms} + excluded.duration_ms`,
  latencies: sql`(SELECT json_group_object(bucket, calls) FROM (
    SELECT bucket, SUM(calls) AS calls FROM (
      SELECT key AS bucket, value AS calls FROM json_each(${callSums.latencies})
      UNION ALL SELECT key, value FROM json_each(excluded.latencies)
    ) GROUP BY bucket))`,
};
