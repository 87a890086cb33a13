import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { servers } from "../registry/registry.tables.ts";

export const orgs = sqliteTable("orgs", {
  org_id: text().primaryKey(),
  name: text().notNull(),
  created: integer().notNull(),
});

export const virtualKeys = sqliteTable(
  "virtual_keys",
  {
    virtual_key_id: text().primaryKey(),
    org_id: text()
      .notNull()
      .references(() => orgs.org_id, { onDelete: "cascade" }),
    name: text().notNull(),
    /** The name in lower case: names are unique within the org, ignoring case (BF-50). */
    name_key: text().notNull(),
    description: text().notNull(),
    /** SHA-256 of the value, in hexadecimal. The value itself is stored nowhere (PS-8). */
    value_hash: text().notNull(),
    last4: text().notNull(),
    is_active: integer({ mode: "boolean" }).notNull(),
    created: integer().notNull(),
    created_by: text().notNull(),
    modified: integer().notNull(),
    modified_by: text().notNull(),
  },
  (table) => [
    uniqueIndex("virtual_keys_by_hash").on(table.value_hash),
    uniqueIndex("virtual_keys_by_name").on(table.org_id, table.name_key),
  ],
);

export const virtualKeyServers = sqliteTable(
  "virtual_key_servers",
  {
    virtual_key_id: text()
      .notNull()
      .references(() => virtualKeys.virtual_key_id, { onDelete: "cascade" }),
    server_id: text()
      .notNull()
      .references(() => servers.server_id, { onDelete: "cascade" }),
    /** `["*"]`, a list of tool names, or `[]` for an explicit refusal (BF-6). */
    tools: text({ mode: "json" }).$type<string[]>().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.virtual_key_id, table.server_id] }),
    // For the cascade when a server is deleted.
    index("virtual_key_servers_by_server").on(table.server_id),
  ],
);
