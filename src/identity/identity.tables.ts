import { foreignKey, index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { orgs, virtualKeys } from "../access/access.tables.ts";

/**
 * What each sign-in of a client has given. The tokens themselves are in KV, which may be a minute old; a token counts
 * only while its row is here, so that this is the proof of revocation.
 */
export const grants = sqliteTable(
  "grants",
  {
    grant_id: text().primaryKey(),
    org_id: text()
      .notNull()
      .references(() => orgs.org_id, { onDelete: "cascade" }),
    /** The principal that it acts as. */
    user_id: text().notNull(),
    /** The key it was made with; it goes with the key. */
    virtual_key_id: text().references(() => virtualKeys.virtual_key_id, { onDelete: "cascade" }),
    client_id: text().notNull(),
    /** The door that its tokens are for. */
    resource: text().notNull(),
    is_code_used: integer({ mode: "boolean" }).notNull(),
    created: integer().notNull(),
    expires_at: integer().notNull(),
  },
  (table) => [
    // For the cascades, and for what has ended by itself.
    index("grants_by_org").on(table.org_id),
    index("grants_by_key").on(table.virtual_key_id),
    index("grants_by_expiry").on(table.expires_at),
  ],
);

/** Which client a person has let in: for one org, one redirect URI and one door. */
export const consents = sqliteTable(
  "consents",
  {
    org_id: text().notNull(),
    user_id: text().notNull(),
    client_id: text().notNull(),
    redirect_uri: text().notNull(),
    resource: text().notNull(),
    expires_at: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.org_id, table.user_id, table.client_id, table.redirect_uri, table.resource] }),
    foreignKey({ columns: [table.org_id], foreignColumns: [orgs.org_id] }).onDelete("cascade"),
    index("consents_by_expiry").on(table.expires_at),
  ],
);

/** Browsers that were sent to the identity provider and have not come back. */
export const signIns = sqliteTable(
  "sign_ins",
  {
    /** SHA-256 of the state. */
    state_hash: text().primaryKey(),
    /** SHA-256 of the secret that the browser keeps: nobody else can come back with this state. */
    browser_hash: text().notNull(),
    /** Path and query on our own origin. */
    return_to: text().notNull(),
    expires_at: integer().notNull(),
  },
  (table) => [index("sign_ins_by_expiry").on(table.expires_at)],
);

/** Browsers with somebody signed in. */
export const browserSessions = sqliteTable(
  "browser_sessions",
  {
    /** SHA-256 of the cookie. */
    session_hash: text().primaryKey(),
    person: text({ mode: "json" }).notNull(),
    expires_at: integer().notNull(),
  },
  (table) => [index("browser_sessions_by_expiry").on(table.expires_at)],
);
