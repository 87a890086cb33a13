import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
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

/** What every cached view of the registry is keyed by (design.md section 3): `*` for servers and tools, else an org. */
export const generations = sqliteTable("generations", {
  org_id: text().primaryKey(),
  value: integer().notNull(),
});
