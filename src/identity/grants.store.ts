import { and, eq, gt, inArray, lte, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { generations } from "../catalog/catalog.tables.ts";
import { withOutages } from "../failure/unavailable.ts";
import { consents, grants } from "./identity.tables.ts";

/** What one sign-in of a client has given. Instants are milliseconds since the Unix epoch. */
export interface Grant {
  readonly grant_id: string;
  readonly org_id: string;
  readonly user_id: string;
  readonly virtual_key_id: string | null;
  readonly client_id: string;
  readonly resource: string;
  readonly is_code_used: boolean;
  readonly created: number;
  readonly expires_at: number;
}

/** Whom a person has let in, and where. */
export interface Consent {
  readonly user_id: string;
  readonly client_id: string;
  readonly redirect_uri: string;
  readonly resource: string;
}

/** Grants and consents in D1. Those that have ended are dropped when others are written. */
export interface GrantStore {
  /** A grant of any org, with the generation of its org: the one read that comes before the org is known. */
  get(grantId: string): Promise<{ readonly grant: Grant; readonly generation: number } | null>;
  insert(orgId: string, grant: Grant): Promise<void>;
  /** Uses up the code of a grant: true for the first who comes, whoever else comes at the same time. */
  useCode(grantId: string, expiresAt: number): Promise<boolean>;
  /** Ends a grant of any org, and raises the generation of its org. */
  revoke(grantId: string): Promise<void>;
  hasConsent(orgId: string, consent: Consent, now: number): Promise<boolean>;
  putConsent(orgId: string, consent: Consent, now: number, expiresAt: number): Promise<void>;
}

export function d1GrantStore(d1: D1Database): GrantStore {
  const db = drizzle(d1);
  return withOutages<GrantStore>({
    async get(grantId) {
      const isGrant = eq(grants.grant_id, grantId);
      const orgId = db.select({ id: grants.org_id }).from(grants).where(isGrant);
      const [[grant], [generation]] = await db.batch([
        db.select().from(grants).where(isGrant),
        db.select().from(generations).where(inArray(generations.org_id, orgId)),
      ]);
      return grant === undefined ? null : { grant, generation: generation?.value ?? 0 };
    },

    async insert(orgId, grant) {
      await db.batch([
        db.delete(grants).where(lte(grants.expires_at, grant.created)),
        db.insert(grants).values({ ...grant, org_id: orgId }),
      ]);
    },

    async useCode(grantId, expiresAt) {
      const used = await db
        .update(grants)
        .set({ is_code_used: true, expires_at: expiresAt })
        .where(and(eq(grants.grant_id, grantId), eq(grants.is_code_used, false)))
        .returning({ id: grants.grant_id });
      return used.length > 0;
    },

    async revoke(grantId) {
      const isGrant = eq(grants.grant_id, grantId);
      const orgId = db.select({ id: grants.org_id }).from(grants).where(isGrant);
      await db.batch([
        db
          .update(generations)
          .set({ value: sql`${generations.value} + 1` })
          .where(inArray(generations.org_id, orgId)),
        db.delete(grants).where(isGrant),
      ]);
    },

    async hasConsent(orgId, { user_id, client_id, redirect_uri, resource }, now) {
      const found = await db
        .select({ org_id: consents.org_id })
        .from(consents)
        .where(
          and(
            eq(consents.org_id, orgId),
            eq(consents.user_id, user_id),
            eq(consents.client_id, client_id),
            eq(consents.redirect_uri, redirect_uri),
            eq(consents.resource, resource),
            gt(consents.expires_at, now),
          ),
        );
      return found.length > 0;
    },

    async putConsent(orgId, consent, now, expiresAt) {
      await db.batch([
        db.delete(consents).where(lte(consents.expires_at, now)),
        db
          .insert(consents)
          .values({ ...consent, org_id: orgId, expires_at: expiresAt })
          .onConflictDoUpdate({
            target: [consents.org_id, consents.user_id, consents.client_id, consents.redirect_uri, consents.resource],
            set: { expires_at: expiresAt },
          }),
      ]);
    },
  });
}
