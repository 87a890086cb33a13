import { type SQL, sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

export const servers = sqliteTable(
  "servers",
  {
    server_id: text().primaryKey(),
    name: text().notNull(),
    /** The name in lower case: names are unique ignoring case (RG-14). */
    name_key: text().notNull(),
    display_name: text().notNull(),
    connection_type: text({ enum: ["http", "sse", "stdio", "inprocess"] }).notNull(),
    /** No admin has chosen the transport: it was found, or is a guess until it is (CN-4). */
    connection_detected: integer({ mode: "boolean" }).notNull().default(false),
    /** Empty for stdio servers. */
    server_url: text().notNull(),
    /** Null for all others. */
    stdio_config: text({ mode: "json" }).$type<{
      command: string;
      args: readonly string[];
      envs: readonly string[];
    }>(),
    enabled: integer({ mode: "boolean" }).notNull(),
    /** Null: not set by an admin (RG-11). */
    timeout_ms: integer(),
    auth_type: text({ enum: ["none", "headers", "oauth", "per_user_oauth"] }).notNull(),
    /** The sealed JSON text of `config`. Null: `{}`. */
    config_sealed: text(),
    registration_mode: text({ enum: ["cimd", "dcr", "manual"] })
      .notNull()
      .default("dcr"),
    oauth_issuer_url: text().notNull().default(""),
    client_id: text().notNull().default(""),
    client_secret_sealed: text(),
    authorization_endpoint: text(),
    token_endpoint: text(),
    registration_endpoint: text(),
    revocation_endpoint: text(),
    scopes: text({ mode: "json" }).$type<readonly string[]>().notNull().default([]),
    extra_auth_params: text({ mode: "json" }).$type<Readonly<Record<string, string>>>().notNull().default({}),
    grant_type: text({ enum: ["authorization_code", "client_credentials", "token_exchange"] })
      .notNull()
      .default("authorization_code"),
    /** Null: Basic with a secret, else none (CN-19). */
    token_endpoint_auth_method: text({
      enum: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
    }),
    /** Which of the OAuth fields no admin has given: they are found anew with each registration. */
    oauth_found: text({ mode: "json" }).$type<readonly string[]>().notNull().default([]),
    /** The scopes to ask for where no admin names any (BF-26). */
    scopes_found: text({ mode: "json" }).$type<readonly string[]>().notNull().default([]),
    /** What the server's metadata calls it (RFC 8707); null: its URL. */
    oauth_resource: text(),
    /** Whether the authorization server says that its callbacks carry `iss` (RFC 9207). */
    iss_required: integer({ mode: "boolean" }).notNull().default(false),
    /** The gateway's own origins whose callbacks the client was registered with. */
    registered_origins: text({ mode: "json" }).$type<readonly string[]>().notNull().default([]),
    /** The configuration of the Bifrost surface that it was made from (BF-39). */
    oauth_config_id: text(),
    /** `unset`: filled at first discovery; `list`: the flags of the tools; `all`: every tool, later ones too (RB-12). */
    tool_mode: text({ enum: ["unset", "list", "all"] }).notNull(),
    auto_all: integer({ mode: "boolean" }).notNull().default(false),
    /** Whether changed definitions wait for an admin, or are approved at once (PS-22). */
    definition_policy: text({ enum: ["pin", "trust"] })
      .notNull()
      .default("pin"),
    allow_on_all_virtual_keys: integer({ mode: "boolean" }).notNull(),
    is_code_mode_client: integer({ mode: "boolean" }).notNull().default(false),
    /** Whether health is checked by ping, or by listing tools (BF-14). */
    is_ping_available: integer({ mode: "boolean" }).notNull().default(true),
    status: text({ enum: ["active", "pending_setup", "error"] }).notNull(),
    status_reason: text(),
    state: text({ enum: ["connected", "disconnected", "error"] }).notNull(),
    /** JSON of `{stage, message, at}`. */
    last_failure: text({ mode: "json" }).$type<{
      stage: "connect" | "auth" | "discover";
      message: string;
      at: number;
    }>(),
    /** What the server was found to speak; null until a probe has succeeded (protocol.md 3.5.1). */
    era: text({ enum: ["legacy", "modern"] }),
    /** `serverInfo` as the server gave it, JSON text. */
    server_info: text(),
    /** What it says it can do, JSON text (protocol.md 2.3, 4.1). */
    capabilities: text(),
    /** What the server tells its clients about itself, as the last discovery had it. */
    instructions: text(),
    /** The instructions in force (PS-22). */
    approved_instructions: text(),
    created: integer().notNull(),
    created_by: text().notNull(),
    modified: integer().notNull(),
    modified_by: text().notNull(),
  },
  // The judge of duplicate names: of two creates at once, one meets it.
  (table) => [uniqueIndex("servers_by_name").on(table.name_key)],
);

/** The orgs that may see a server; a server without a row here is global (RB-11). */
export const serverOrgs = sqliteTable(
  "server_orgs",
  {
    server_id: text()
      .notNull()
      .references(() => servers.server_id, { onDelete: "cascade" }),
    org_id: text().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.server_id, table.org_id] }),
    // What an org sees.
    index("server_orgs_by_org").on(table.org_id),
  ],
);

/** What an org tells its agents about a server (RB-22). */
export const serverContexts = sqliteTable(
  "server_contexts",
  {
    server_id: text()
      .notNull()
      .references(() => servers.server_id, { onDelete: "cascade" }),
    org_id: text().notNull(),
    context: text().notNull(),
    created: integer().notNull(),
    created_by: text().notNull(),
    modified: integer().notNull(),
    modified_by: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.server_id, table.org_id] })],
);

/** Requests to bring the egress allowlist up to date, as each write that changed it left them (RG-15). */
export const allowlistEvents = sqliteTable(
  "allowlist_events",
  {
    event_id: text().primaryKey(),
    reason: text({
      enum: ["mcp_server_registry_created", "mcp_server_registry_updated", "mcp_server_registry_deleted"],
    }).notNull(),
    resource_type: text({ enum: ["mcp_server"] }).notNull(),
    /** The server's name after the write. */
    target: text().notNull(),
    mode: text({ enum: ["create", "update", "delete"] }).notNull(),
    server_id: text().notNull(),
    created_at: integer().notNull(),
  },
  // The list of events, newest first.
  (table) => [index("allowlist_events_by_time").on(table.created_at, table.event_id)],
);

/**
 * Whether a row of `servers` exists for an org (RB-11): a server without orgs is everybody's, one with orgs does not
 * exist for any other.
 *
 * @param scope An org; or `*` for whoever sees the servers of all of them.
 */
export function isVisibleTo(scope: string): SQL {
  const orgsOf = sql`SELECT org_id FROM server_orgs WHERE server_orgs.server_id = ${servers.server_id}`;
  return sql`(${scope} = '*' OR NOT EXISTS (${orgsOf}) OR ${scope} IN (${orgsOf}))`;
}
