import { and, asc, count, eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { generations } from "../catalog/catalog.tables.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { isVisibleTo, serverContexts, servers } from "./registry.tables.ts";

/** What an org tells its agents about a server (RB-22). */
export interface OrgContext {
  readonly server_id: string;
  readonly org_id: string;
  readonly context: string;
  readonly created: number;
  readonly created_by: string;
  readonly modified: number;
  readonly modified_by: string;
}

/** Org contexts in D1. Each write is one batch that raises the generation of the org. */
export interface OrgContextStore {
  /** Whether the server exists for the org: it is global, or one of the org's own. */
  isVisible(orgId: string, serverId: string): Promise<boolean>;
  get(orgId: string, serverId: string): Promise<OrgContext | null>;
  /** The contexts of one org, by server. */
  ofOrg(orgId: string): Promise<Map<string, string>>;
  /** Of all orgs, for one server. */
  list(serverId: string, page: PageRequest): Promise<{ rows: OrgContext[]; total: number }>;
  put(orgId: string, context: OrgContext): Promise<OrgContext>;
  /** @returns Whether there was one. */
  remove(orgId: string, serverId: string): Promise<boolean>;
}

export function d1OrgContextStore(d1: D1Database): OrgContextStore {
  const db = drizzle(d1);
  const ofBoth = (orgId: string, serverId: string) =>
    and(eq(serverContexts.org_id, orgId), eq(serverContexts.server_id, serverId));
  const raiseGeneration = (orgId: string) =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(and(eq(generations.org_id, orgId), sql`changes() > 0`));
  return withOutages<OrgContextStore>({
    async isVisible(orgId, serverId) {
      const [found] = await db
        .select({ id: servers.server_id })
        .from(servers)
        .where(and(eq(servers.server_id, serverId), isVisibleTo(orgId)));
      return found !== undefined;
    },

    async get(orgId, serverId) {
      const [row] = await db.select().from(serverContexts).where(ofBoth(orgId, serverId));
      return row ?? null;
    },

    async ofOrg(orgId) {
      const rows = await db
        .select({ server_id: serverContexts.server_id, context: serverContexts.context })
        .from(serverContexts)
        .where(eq(serverContexts.org_id, orgId));
      return new Map(rows.map(({ server_id, context }) => [server_id, context]));
    },

    async list(serverId, { page, page_size }) {
      const ofServer = eq(serverContexts.server_id, serverId);
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(serverContexts)
          .where(ofServer)
          .orderBy(asc(serverContexts.org_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(serverContexts).where(ofServer),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async put(orgId, { context, modified, modified_by, ...rest }) {
      const [stored] = await db.batch([
        db
          .insert(serverContexts)
          .values({ ...rest, org_id: orgId, context, modified, modified_by })
          .onConflictDoUpdate({
            target: [serverContexts.server_id, serverContexts.org_id],
            set: { context, modified, modified_by },
          })
          .returning(),
        raiseGeneration(orgId),
      ]);
      const [row] = stored;
      if (row === undefined) throw new Error("an upsert returned no row");
      return row;
    },

    async remove(orgId, serverId) {
      const [removed] = await db.batch([
        db.delete(serverContexts).where(ofBoth(orgId, serverId)).returning({ id: serverContexts.server_id }),
        raiseGeneration(orgId),
      ]);
      return removed.length > 0;
    },
  });
}
