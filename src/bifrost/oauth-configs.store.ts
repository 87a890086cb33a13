import { and, desc, eq, isNull, lte, or, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import { oauthConfigs } from "./oauth-configs.tables.ts";

/** A configuration as stored, its secrets sealed. */
export type OAuthConfig = typeof oauthConfigs.$inferSelect;

const NO_SECRETS = { server_sealed: null, client_sealed: null, token_sealed: null };

/**
 * OAuth configurations in D1. They are for admins of the platform and of no org. That one is used up is the registry's
 * to write, with the server (`server-parts.store.ts`).
 */
export interface OAuthConfigStore {
  /**
   * Adds a configuration, and forgets those that have expired without a server.
   *
   * @returns Of the forgotten ones, those whose tokens are to be revoked.
   */
  insert(config: OAuthConfig, now: number): Promise<OAuthConfig[]>;
  get(configId: string): Promise<OAuthConfig | null>;
  /** By the id of a configuration or of its server; of several, the one that is furthest. */
  find(id: string): Promise<OAuthConfig | null>;
  /** Keeps the token that a pending configuration was given. False when it is pending no longer. */
  authorize(configId: string, tokenSealed: string, now: number): Promise<boolean>;
  /** Ends a pending configuration, whose flow has come to nothing. */
  fail(configId: string): Promise<void>;
  /** Ends a configuration without a server. @returns What it was; null when it has a server. */
  revoke(configId: string): Promise<OAuthConfig | null>;
  /** Notes that what a server came of has been given up. */
  markRevoked(configId: string): Promise<void>;
  /** Takes the token that waits: of two at once, one gets it. */
  takeToken(configId: string, tokenSealed: string): Promise<boolean>;
  /** Puts a token back that could not be handed over. */
  giveBack(configId: string, tokenSealed: string): Promise<void>;
}

export function d1OAuthConfigStore(d1: D1Database): OAuthConfigStore {
  const db = drizzle(d1);
  const isOne = (configId: string) => eq(oauthConfigs.oauth_config_id, configId);

  return withOutages<OAuthConfigStore>({
    async insert(config, now) {
      const [forgotten] = await db.batch([
        db
          .delete(oauthConfigs)
          .where(and(lte(oauthConfigs.expires_at, now), isNull(oauthConfigs.server_id)))
          .returning(),
        db.insert(oauthConfigs).values(config),
      ]);
      return forgotten.filter(({ token_sealed }) => token_sealed !== null);
    },

    async get(configId) {
      const [config] = await db.select().from(oauthConfigs).where(isOne(configId));
      return config ?? null;
    },

    async find(id) {
      const { oauth_config_id, mcp_client_id, server_id, status, created } = oauthConfigs;
      const [config] = await db
        .select()
        .from(oauthConfigs)
        .where(or(eq(oauth_config_id, id), eq(mcp_client_id, id)))
        .orderBy(
          desc(sql`${oauth_config_id} = ${id}`),
          desc(sql`${server_id} IS NOT NULL`),
          desc(sql`${status} = 'authorized'`),
          desc(created),
        )
        .limit(1);
      return config ?? null;
    },

    async authorize(configId, tokenSealed, now) {
      const authorized = await db
        .update(oauthConfigs)
        .set({ status: "authorized", token_sealed: tokenSealed })
        .where(and(isOne(configId), eq(oauthConfigs.status, "pending"), sql`${oauthConfigs.expires_at} > ${now}`))
        .returning({ id: oauthConfigs.oauth_config_id });
      return authorized.length > 0;
    },

    async fail(configId) {
      await db
        .update(oauthConfigs)
        .set({ status: "failed", ...NO_SECRETS })
        .where(and(isOne(configId), eq(oauthConfigs.status, "pending")));
    },

    async revoke(configId) {
      const isUnused = and(isOne(configId), isNull(oauthConfigs.server_id));
      const [[before]] = await db.batch([
        db.select().from(oauthConfigs).where(isUnused),
        db
          .update(oauthConfigs)
          .set({ status: "revoked", ...NO_SECRETS })
          .where(isUnused),
      ]);
      return before ?? null;
    },

    async markRevoked(configId) {
      await db.update(oauthConfigs).set({ status: "revoked" }).where(isOne(configId));
    },

    async takeToken(configId, tokenSealed) {
      const taken = await db
        .update(oauthConfigs)
        .set({ token_sealed: null })
        .where(and(isOne(configId), eq(oauthConfigs.token_sealed, tokenSealed)))
        .returning({ id: oauthConfigs.oauth_config_id });
      return taken.length > 0;
    },

    async giveBack(configId, tokenSealed) {
      await db.update(oauthConfigs).set({ token_sealed: tokenSealed }).where(isOne(configId));
    },
  });
}
