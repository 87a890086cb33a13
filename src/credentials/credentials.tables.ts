import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { servers } from "../registry/registry.tables.ts";

/**
 * What is known of upstream tokens, without their values (RB-17). A row is the truth about which version of a token
 * exists: a value in KV of any other version is stale. Deleting a row, in whatever way, leaves one in `token_disposals`
 * and raises the generation of the credentials of its org: a trigger does that.
 */
export const tokens = sqliteTable(
  "tokens",
  {
    server_id: text()
      .notNull()
      .references(() => servers.server_id, { onDelete: "cascade" }),
    /** Empty, with `user_id`: the server's own. */
    org_id: text().notNull(),
    user_id: text().notNull(),
    token_id: text().notNull(),
    /** Of the value; each refresh makes the next. */
    version: integer().notNull(),
    /** When the access token ends; null when nobody has said. */
    expires_at: integer(),
    /** When it is refreshed where `expires_at` is null and there is a refresh token (CN-21). */
    assumed_expiry: integer(),
    has_refresh_token: integer({ mode: "boolean" }).notNull(),
    refresh_failed: integer({ mode: "boolean" }).notNull().default(false),
    /** Those granted (RB-21). */
    scopes: text({ mode: "json" }).$type<readonly string[]>().notNull(),
    created: integer().notNull(),
    modified: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.server_id, table.org_id, table.user_id] }),
    // The tokens of an org, or of somebody in it.
    index("tokens_by_owner").on(table.org_id, table.user_id),
  ],
);

/** Tokens that are deleted here and whose values, here and at their authorization server, are still to be ended (PS-57). */
export const tokenDisposals = sqliteTable("token_disposals", {
  token_id: text().primaryKey(),
  version: integer().notNull(),
  server_id: text().notNull(),
  org_id: text().notNull(),
  user_id: text().notNull(),
});

/** Links of accounts that have begun: a ticket is shown to somebody, then a state is with an authorization server (PS-54). */
export const oauthFlows = sqliteTable(
  "oauth_flows",
  {
    flow_id: text().primaryKey(),
    /** Null once the ticket is used up; flows of the Bifrost surface have none. */
    ticket_hash: text(),
    state_hash: text().notNull(),
    kind: text({ enum: ["user", "server", "trial", "config"] }).notNull(),
    /** Of a configuration, the id that the server will have. */
    server_id: text().notNull(),
    org_id: text().notNull(),
    user_id: text().notNull(),
    /** Who must be at the browser; null: whoever holds the ticket. */
    person: text(),
    /** Scopes to ask for besides those of the server. */
    scopes: text({ mode: "json" }).$type<readonly string[]>().notNull(),
    /** The rest is written when the browser is sent away. */
    browser_hash: text(),
    redirect_uri: text(),
    verifier_sealed: text(),
    issuer: text(),
    expires_at: integer().notNull(),
  },
  (table) => [
    uniqueIndex("oauth_flows_by_ticket").on(table.ticket_hash),
    uniqueIndex("oauth_flows_by_state").on(table.state_hash),
    index("oauth_flows_by_expiry").on(table.expires_at),
  ],
);

/**
 * Raised when tokens of an org are deleted, of the servers themselves under `*`: what isolates remember of credentials
 * ends with it (PS-57).
 */
export const credentialGenerations = sqliteTable("credential_generations", {
  org_id: text().primaryKey(),
  value: integer().notNull(),
});
