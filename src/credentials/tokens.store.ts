import { and, asc, count, eq, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { isVisibleTo, servers } from "../registry/registry.tables.ts";
import { credentialGenerations, tokenDisposals, tokens } from "./credentials.tables.ts";
import type { Owner } from "./owner.ts";
import type { TokenRow } from "./token.ts";

/** A deleted token whose values are still to be ended. */
export type Disposal = typeof tokenDisposals.$inferSelect;

/** What a refresh changes. */
export type Renewal = Pick<
  TokenRow,
  "version" | "expires_at" | "assumed_expiry" | "has_refresh_token" | "scopes" | "modified"
>;

/** What a token that takes another one's place brings. */
const REPLACED = [
  ...["token_id", "version", "expires_at", "assumed_expiry", "has_refresh_token", "refresh_failed", "scopes"],
  "modified",
];

/** The metadata of tokens in D1. Owners are compared whole: what belongs to one org is never found for another. */
export interface TokenStore {
  get(owner: Owner, serverId: string): Promise<TokenRow | null>;
  /** Replaces the token of an owner. False when its server is gone. */
  put(row: TokenRow): Promise<boolean>;
  /** Takes the next version into the row. False when the token is another one by now, or deleted. */
  renew(owner: Owner, serverId: string, tokenId: string, renewal: Renewal): Promise<boolean>;
  /** Notes that the owner must authorize again; a token that was renewed meanwhile is left alone. */
  markFailed(owner: Owner, serverId: string, token: Pick<TokenRow, "token_id" | "version">, at: number): Promise<void>;
  /** False when there is none. */
  remove(owner: Owner, serverId: string): Promise<boolean>;
  /** The tokens of users of an org for servers that it sees, ordered by server and user. */
  list(
    orgId: string,
    filters: { readonly server_id?: string; readonly user_id?: string },
    page: PageRequest,
  ): Promise<{ rows: TokenRow[]; total: number }>;
  /** Deleted tokens that are still to be disposed of, of one server or all, at most `limit`. */
  disposals(serverId: string | null, limit: number): Promise<Disposal[]>;
  disposed(tokenId: string): Promise<void>;
}

export function d1TokenStore(d1: D1Database): TokenStore {
  const db = drizzle(d1);
  const isOf = ({ org_id, user_id }: Owner, serverId: string) =>
    and(eq(tokens.server_id, serverId), eq(tokens.org_id, org_id), eq(tokens.user_id, user_id));

  return withOutages<TokenStore>({
    async get(owner, serverId) {
      const [row] = await db.select().from(tokens).where(isOf(owner, serverId));
      return row ?? null;
    },

    async put(row) {
      const { org_id, user_id, server_id, token_id, version, scopes, created, modified } = row;
      const expiry = sql`${row.expires_at}, ${row.assumed_expiry}, ${row.has_refresh_token ? 1 : 0}`;
      const given = { server_id, org_id, user_id };
      const [added] = await db.batch([
        db
          .insert(tokens)
          .select(
            sql`SELECT ${server_id}, ${org_id}, ${user_id}, ${token_id}, ${version}, ${expiry}, 0,
              ${JSON.stringify(scopes)}, ${created}, ${modified}
              WHERE EXISTS (SELECT 1 FROM servers WHERE server_id = ${server_id})`,
          )
          // Not deleted first: that would revoke the former one, and with it, at some servers, the whole grant.
          .onConflictDoUpdate({
            target: Object.keys(given).map((name) => tokens[name as keyof typeof given]),
            set: Object.fromEntries(REPLACED.map((name) => [name, sql.raw(`excluded.${name}`)])),
          })
          .returning({ token_id: tokens.token_id }),
        // What isolates remember of the former one ends.
        db
          .insert(credentialGenerations)
          .values({ org_id: org_id === "" ? "*" : org_id, value: 1 })
          .onConflictDoUpdate({
            target: credentialGenerations.org_id,
            set: { value: sql`${credentialGenerations.value} + 1` },
          }),
      ]);
      return added.length > 0;
    },

    async renew(owner, serverId, tokenId, renewal) {
      const renewed = await db
        .update(tokens)
        .set({ ...renewal, refresh_failed: false })
        .where(and(isOf(owner, serverId), eq(tokens.token_id, tokenId), sql`${tokens.version} <= ${renewal.version}`))
        .returning({ token_id: tokens.token_id });
      return renewed.length > 0;
    },

    async markFailed(owner, serverId, { token_id, version }, at) {
      await db
        .update(tokens)
        .set({ refresh_failed: true, modified: at })
        .where(and(isOf(owner, serverId), eq(tokens.token_id, token_id), eq(tokens.version, version)));
    },

    async remove(owner, serverId) {
      const removed = await db.delete(tokens).where(isOf(owner, serverId)).returning({ token_id: tokens.token_id });
      return removed.length > 0;
    },

    async list(orgId, { server_id, user_id }, { page, page_size }) {
      const conditions: (SQL | undefined)[] = [
        eq(tokens.org_id, orgId),
        server_id === undefined ? undefined : eq(tokens.server_id, server_id),
        user_id === undefined ? undefined : eq(tokens.user_id, user_id),
        isVisibleTo(orgId),
      ];
      const [rows, [found]] = await db.batch([
        db
          .select({ row: tokens })
          .from(tokens)
          .innerJoin(servers, eq(servers.server_id, tokens.server_id))
          .where(and(...conditions))
          .orderBy(asc(tokens.server_id), asc(tokens.user_id))
          .limit(page_size)
          .offset(page * page_size),
        db
          .select({ total: count() })
          .from(tokens)
          .innerJoin(servers, eq(servers.server_id, tokens.server_id))
          .where(and(...conditions)),
      ]);
      return { rows: rows.map(({ row }) => row), total: found?.total ?? 0 };
    },

    async disposals(serverId, limit) {
      return db
        .select()
        .from(tokenDisposals)
        .where(serverId === null ? undefined : eq(tokenDisposals.server_id, serverId))
        .limit(limit);
    },

    async disposed(tokenId) {
      await db.delete(tokenDisposals).where(eq(tokenDisposals.token_id, tokenId));
    },
  });
}
