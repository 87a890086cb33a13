import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { servers } from "../registry/registry.tables.ts";

/** One row per tool of a server, named by an admin or discovered. A name set before discovery has `known` = false. */
export const serverTools = sqliteTable(
  "server_tools",
  {
    server_id: text()
      .notNull()
      .references(() => servers.server_id, { onDelete: "cascade" }),
    tool: text().notNull(),
    /** Whether the last complete discovery had it. */
    known: integer({ mode: "boolean" }).notNull(),
    /** Discovered after the policy was set, and nobody has decided yet. */
    is_new: integer({ mode: "boolean" }).notNull(),
    allowed: integer({ mode: "boolean" }).notNull(),
    /** May run without the user's approval (BF-19). */
    auto: integer({ mode: "boolean" }).notNull().default(false),
    /** Nano-dollars per execution; null: no price (PS-42). */
    price_nano: integer(),
    /** The latest definition, JSON text exactly as received. */
    definition: text(),
    definition_hash: text(),
    /** The definition in force: what agents are shown, and what a call is checked against. */
    approved_definition: text(),
    approved_hash: text(),
    first_seen: integer(),
    last_seen: integer(),
  },
  (table) => [primaryKey({ columns: [table.server_id, table.tool] })],
);

/** Definitions that differ from the one in force, and what became of them (PS-22). */
export const toolChanges = sqliteTable(
  "tool_changes",
  {
    change_id: text().primaryKey(),
    server_id: text()
      .notNull()
      .references(() => servers.server_id, { onDelete: "cascade" }),
    tool: text().notNull(),
    /** The definition that was in force when this one was found. */
    approved: text().notNull(),
    /** JSON text exactly as received. */
    proposed: text().notNull(),
    proposed_hash: text().notNull(),
    state: text({ enum: ["held", "approved", "refused", "withdrawn"] }).notNull(),
    found_at: integer().notNull(),
    decided_at: integer(),
    decided_by: text(),
  },
  // Lists of one server's changes by state, newest first; and the held one of a tool.
  (table) => [index("tool_changes_by_server").on(table.server_id, table.state, table.found_at)],
);

/** What every cached view of the registry is keyed by (design.md section 3): `*` for servers and tools, else an org. */
export const generations = sqliteTable("generations", {
  org_id: text().primaryKey(),
  value: integer().notNull(),
});
