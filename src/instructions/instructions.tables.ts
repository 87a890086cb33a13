import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { orgs } from "../access/access.tables.ts";

/** What both tables hold of a version, in this order: rows are copied from one to the other. */
const version = () => ({
  org_id: text()
    .notNull()
    .references(() => orgs.org_id, { onDelete: "cascade" }),
  kind: text().notNull(),
  slug: text().notNull(),
  /** Empty: the org's own. A group may be known to the identity provider alone, so no key of another table binds it. */
  group_id: text().notNull(),
  version: integer().notNull(),
  title: text().notNull(),
  description: text().notNull(),
  body: text().notNull(),
  frontmatter: text({ mode: "json" }).$type<Record<string, string>>().notNull(),
  set_by: text().notNull(),
  updated_at: integer().notNull(),
});

/** The documents in force (OT-14). */
export const instructions = sqliteTable("instructions", version(), (table) => [
  // Serves the lists, which are sorted by kind and slug, and the search for the groups that have a name.
  primaryKey({ columns: [table.org_id, table.kind, table.slug, table.group_id] }),
]);

/** Every version there has been, those of deleted documents included. Only ever added to (OT-14). */
export const instructionRevisions = sqliteTable("instruction_revisions", version(), (table) => [
  primaryKey({ columns: [table.org_id, table.kind, table.slug, table.group_id, table.version] }),
]);
