import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

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
    door: text().notNull(),
    sub: text(),
    email: text(),
    virtual_key_id: text(),
    session_id: text(),
    run_id: text(),
    /** JSON text, shortened and redacted (OT-23, PS-35). */
    args: text(),
    ok: integer({ mode: "boolean" }).notNull(),
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
  (table) => [
    index("tool_calls_by_time").on(table.org_id, table.created_at, table.id),
    index("tool_calls_by_tool").on(table.org_id, table.server_id, table.tool, table.created_at),
  ],
);
