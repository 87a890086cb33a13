import { foreignKey, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { servers } from "../registry/registry.tables.ts";

export const orgs = sqliteTable("orgs", {
  org_id: text().primaryKey(),
  name: text().notNull(),
  /** What agents read first (OT-7). */
  readme: text().notNull().default(""),
  /** What agents are told when they connect (OT-25). */
  instructions: text().notNull().default(""),
  /** Terms that no instruction may hold (OT-12). */
  blocklist: text({ mode: "json" }).$type<string[]>().notNull().default([]),
  /** Whether instructions may not say who a quotation is from (OT-12). */
  forbid_attribution: integer({ mode: "boolean" }).notNull().default(true),
  /** How many days calls stay in the log; null: for ever. */
  call_retention_days: integer(),
  created: integer().notNull(),
});

export const groups = sqliteTable(
  "groups",
  {
    org_id: text()
      .notNull()
      .references(() => orgs.org_id, { onDelete: "cascade" }),
    group_id: text().notNull(),
    name: text().notNull(),
    created: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.org_id, table.group_id] })],
);

/** Who belongs to an org, where the identity provider's claims do not say it (PS-3). */
export const members = sqliteTable(
  "members",
  {
    org_id: text()
      .notNull()
      .references(() => orgs.org_id, { onDelete: "cascade" }),
    /** The subject that the identity provider names. */
    user_id: text().notNull(),
    role: text({ enum: ["org_admin", "member"] }).notNull(),
    /** For people to read; nothing is decided by it. */
    email: text(),
    created: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.org_id, table.user_id] }),
    // The orgs of one person.
    index("members_by_user").on(table.user_id),
  ],
);

export const groupMembers = sqliteTable(
  "group_members",
  {
    org_id: text().notNull(),
    group_id: text().notNull(),
    user_id: text().notNull(),
    is_admin: integer({ mode: "boolean" }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.org_id, table.group_id, table.user_id] }),
    foreignKey({ columns: [table.org_id, table.group_id], foreignColumns: [groups.org_id, groups.group_id] }).onDelete(
      "cascade",
    ),
    foreignKey({ columns: [table.org_id, table.user_id], foreignColumns: [members.org_id, members.user_id] }).onDelete(
      "cascade",
    ),
    // For the cascade when a member goes, and for what one person is in.
    index("group_members_by_user").on(table.org_id, table.user_id),
  ],
);

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
    /** The hash of the value before the last rotation, which opens the key until `previous_until`. */
    previous_hash: text(),
    previous_until: integer(),
    is_active: integer({ mode: "boolean" }).notNull(),
    /** From then on the key is refused. Null: never. */
    expires_at: integer(),
    /** The minute of the last use. Null: none yet. */
    last_used_at: integer(),
    /** A group of the same org. It can not be a foreign key: what it would clear with the group is `org_id` too. */
    group_id: text(),
    created: integer().notNull(),
    created_by: text().notNull(),
    modified: integer().notNull(),
    modified_by: text().notNull(),
  },
  (table) => [
    uniqueIndex("virtual_keys_by_hash").on(table.value_hash),
    // For what agents show while two values open one key.
    uniqueIndex("virtual_keys_by_previous_hash").on(table.previous_hash),
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
