import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/** One row per `tools/call` (OT-22). Rows outlive the server and the key they speak of, so nothing is referenced. */
export const toolCalls = sqliteTable(
  "tool_calls",
  {
    id: text().primaryKey(),
    created_at: integer().notNull(),
    org_id: text().notNull(),
    /** The server's slug at the time of the call; null when the name led to none. */
    server: text(),
    server_id: text(),
    /** The server's own name of the tool; the name as sent when it led to none. */
    tool: text().notNull(),
    exposed_name: text(),
    door: text().notNull(),
    sub: text(),
    email: text(),
    virtual_key_id: text(),
    session_id: text(),
    run_id: text(),
    parent_run_id: text(),
    /** JSON text, shortened and redacted (OT-23, PS-35). */
    args: text(),
    ok: integer({ mode: "boolean" }).notNull(),
    outcome: text({
      enum: [
        ...(["ok", "tool_error", "server_error", "unsupported", "refused", "link_needed", "bridge_missing"] as const),
        "input_required",
        ...(["upstream_failed", "upstream_timeout", "abandoned", "gateway_failed"] as const),
      ],
    })
      .notNull()
      .default("upstream_failed"),
    /** Our own words; never a text of the server. */
    error: text(),
    /** Why admission refused (PS-10). */
    reason: text(),
    duration_ms: integer().notNull(),
    upstream_ms: integer(),
    attempts: integer().notNull(),
    definition_hash: text(),
    /** Nano-dollars (PS-42); only a call that succeeded costs anything (BF-62). */
    cost_nano: integer().notNull().default(0),
  },
  // Each serves one filter in the order of time, or one order; `call-filters.store.ts` says which is used when.
  (table) => {
    const byTime = [table.created_at, table.id] as const;
    return [
      // Calls of all orgs.
      index("tool_calls_by_age").on(...byTime),
      index("tool_calls_by_time").on(table.org_id, ...byTime),
      index("tool_calls_by_server").on(table.org_id, table.server_id, ...byTime),
      index("tool_calls_by_tool").on(table.org_id, table.tool, ...byTime),
      index("tool_calls_by_user")
        .on(table.org_id, table.sub, ...byTime)
        .where(sql`sub IS NOT NULL`),
      index("tool_calls_by_key")
        .on(table.org_id, table.virtual_key_id, ...byTime)
        .where(sql`virtual_key_id IS NOT NULL`),
      index("tool_calls_by_session")
        .on(table.org_id, table.session_id, ...byTime)
        .where(sql`session_id IS NOT NULL`),
      index("tool_calls_by_run")
        .on(table.org_id, table.run_id, ...byTime)
        .where(sql`run_id IS NOT NULL`),
      index("tool_calls_failed")
        .on(table.org_id, ...byTime)
        .where(sql`ok = 0`),
      index("tool_calls_by_duration").on(table.org_id, table.duration_ms, table.id),
      index("tool_calls_by_cost").on(table.org_id, table.cost_nano, table.id),
    ];
  },
);

/**
 * Sums of calls by spans of time: what statistics are made of. Each call counts once for every kind and span, and goes
 * on counting when its row has been deleted. A dimension that a kind does not have, or a call, is `""`.
 *
 * The migration makes it WITHOUT ROWID, which Drizzle cannot say: sums are read in ranges of their key.
 */
export const callSums = sqliteTable(
  "call_sums",
  {
    org_id: text().notNull(),
    /** The dimensions that are told apart: none, server and tool, virtual key, user, or all of these. */
    kind: text({ enum: ["org", "tool", "key", "user", "all"] }).notNull(),
    /** An hour, a day, or sixteen days, counted from the Unix epoch. */
    span: text({ enum: ["hour", "day", "block"] }).notNull(),
    /** The first instant. */
    start: integer().notNull(),
    server_id: text().notNull(),
    tool: text().notNull(),
    virtual_key_id: text().notNull(),
    sub: text().notNull(),
    outcome: text().notNull(),
    /** The slug that the server had last. */
    server: text(),
    calls: integer().notNull(),
    cost_nano: integer().notNull(),
    duration_ms: integer().notNull(),
    /** A JSON object: how many calls took how long, by the number of a bucket (`latency.ts`). */
    latencies: text().notNull(),
  },
  (table) => {
    const within = [table.org_id, table.kind, table.span, table.start] as const;
    return [
      primaryKey({
        columns: [
          ...within,
          ...([table.server_id, table.tool, table.virtual_key_id, table.sub, table.outcome] as const),
        ],
      }),
      // Sums of one tool, key or user within a span; those of one server stand together by the key.
      index("call_sums_by_tool")
        .on(...within, table.tool)
        .where(sql`tool <> ''`),
      index("call_sums_by_key")
        .on(...within, table.virtual_key_id, table.tool)
        .where(sql`virtual_key_id <> ''`),
      index("call_sums_by_user")
        .on(...within, table.sub, table.tool)
        .where(sql`sub <> ''`),
    ];
  },
);
