import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { servers } from "../registry/registry.tables.ts";

/**
 * OAuth configurations of the Bifrost surface: servers that wait for somebody to authorize the gateway (BF-23), and
 * which server came of each. The flow with the authorization server has the id of its configuration.
 */
export const oauthConfigs = sqliteTable(
  "oauth_configs",
  {
    oauth_config_id: text().primaryKey(),
    /** The id that the server will have, and then has. */
    mcp_client_id: text().notNull(),
    /** Null until there is the server: a configuration is used once, by the batch that stores the server. */
    server_id: text().references(() => servers.server_id, { onDelete: "cascade" }),
    status: text({ enum: ["pending", "authorized", "failed", "revoked"] }).notNull(),
    /** What the server is to be, sealed; null once it is there, and once it cannot come to be. */
    server_sealed: text(),
    /** Our client at the authorization server, sealed; null as above. */
    client_sealed: text(),
    /** The token that waits for the server, sealed; null before it is there, and once the server has it. */
    token_sealed: text(),
    created: integer().notNull(),
    /** When a configuration without a server is over. */
    expires_at: integer().notNull(),
  },
  (table) => [
    // By the id that the client was told.
    index("oauth_configs_by_client").on(table.mcp_client_id),
    // What goes with a server.
    index("oauth_configs_by_server").on(table.server_id),
    index("oauth_configs_by_expiry").on(table.expires_at),
  ],
);
