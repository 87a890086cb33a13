import { and, asc, count, eq, inArray, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { generations } from "../catalog/catalog.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { servers } from "../registry/registry.tables.ts";
import { virtualKeyServers, virtualKeys } from "./access.tables.ts";
import type { KeyServer, NamedServerKey, VerifiedKey, VirtualKey } from "./virtual-key.ts";

/** Virtual keys in D1. Each write is one batch that raises the generation of the org. */
export interface VirtualKeyStore {
  /** Finds a key of any org by the hash of its value: the one read that comes before the org is known. */
  findByHash(valueHash: string): Promise<VerifiedKey | null>;
  list(orgId: string, page: PageRequest): Promise<{ rows: VirtualKey[]; total: number }>;
  get(orgId: string, keyId: string): Promise<VirtualKey | null>;
  /** Assignments by key, each list sorted by server. */
  assignments(orgId: string, keyIds: readonly string[]): Promise<Map<string, KeyServer[]>>;
  /** Keys of all orgs by the server they are assigned to, each list sorted by name: for platform admins only. */
  ofServers(serverIds: readonly string[]): Promise<Map<string, NamedServerKey[]>>;
  /** @throws GatewayError `conflict`, field `name`; `invalid_request`, field `servers`, for an unknown server */
  insert(orgId: string, key: VirtualKey, assigned: readonly KeyServer[]): Promise<void>;
  /**
   * Sets the given columns; `assigned`, when given, replaces all assignments.
   *
   * @returns Whether there is such a key.
   * @throws GatewayError as `insert`; then nothing has changed.
   */
  update(
    orgId: string,
    keyId: string,
    change: Partial<Pick<VirtualKey, "name" | "description" | "is_active">> &
      Pick<VirtualKey, "modified" | "modified_by">,
    assigned?: readonly KeyServer[],
  ): Promise<boolean>;
  /** @returns Whether there was one. */
  remove(orgId: string, keyId: string): Promise<boolean>;
}

export function d1VirtualKeyStore(d1: D1Database): VirtualKeyStore {
  const db = drizzle(d1);

  const ofOrg = (orgId: string, keyId: string) =>
    and(eq(virtualKeys.org_id, orgId), eq(virtualKeys.virtual_key_id, keyId));
  const raiseGeneration = (orgId: string) =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(and(eq(generations.org_id, orgId), sql`changes() > 0`));
  const assign = (orgId: string, keyId: string, assigned: readonly KeyServer[]) =>
    db.insert(virtualKeyServers).select(
      sql`SELECT ${keyId}, value ->> 'server_id', value -> 'tools_to_execute' FROM json_each(${JSON.stringify(assigned)})
        WHERE EXISTS (SELECT 1 FROM virtual_keys WHERE virtual_key_id = ${keyId} AND org_id = ${orgId})`,
    );
  /** Which rule a failed batch has met. The constraints are the judge, so this looks only once they have refused. */
  const explain = async (
    orgId: string,
    keyId: string,
    name: string,
    assigned: readonly KeyServer[],
    cause: unknown,
  ) => {
    const sameName = and(eq(virtualKeys.org_id, orgId), eq(virtualKeys.name_key, name.toLowerCase()));
    const ids = JSON.stringify(assigned.map(({ server_id }) => server_id));
    const [taken, known] = await db.batch([
      db.select({ id: virtualKeys.virtual_key_id }).from(virtualKeys).where(sameName),
      db
        .select({ id: servers.server_id })
        .from(servers)
        .where(sql`${servers.server_id} IN (SELECT value FROM json_each(${ids}))`),
    ]);
    if (taken.some(({ id }) => id !== keyId)) {
      return new GatewayError("conflict", "A virtual key with this name exists already.", { field: "name", cause });
    }
    if (known.length === assigned.length) return cause;
    const options = { field: "servers", cause };
    return new GatewayError("invalid_request", "servers names a server that does not exist.", options);
  };

  return withOutages<VirtualKeyStore>({
    async findByHash(valueHash) {
      const isKey = eq(virtualKeys.value_hash, valueHash);
      const keyId = db.select({ id: virtualKeys.virtual_key_id }).from(virtualKeys).where(isKey);
      const orgId = db.select({ id: virtualKeys.org_id }).from(virtualKeys).where(isKey);
      const [[row], rules, [generation]] = await db.batch([
        db.select().from(virtualKeys).where(isKey),
        db.select().from(virtualKeyServers).where(inArray(virtualKeyServers.virtual_key_id, keyId)),
        db.select().from(generations).where(inArray(generations.org_id, orgId)),
      ]);
      if (row === undefined) return null;
      return {
        key: keyOf(row),
        rules: new Map(rules.map(({ server_id, tools }) => [server_id, tools])),
        generation: generation?.value ?? 0,
      };
    },

    async list(orgId, { page, page_size }) {
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(virtualKeys)
          .where(eq(virtualKeys.org_id, orgId))
          .orderBy(asc(virtualKeys.name_key))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(virtualKeys).where(eq(virtualKeys.org_id, orgId)),
      ]);
      return { rows: rows.map(keyOf), total: total?.total ?? 0 };
    },

    async get(orgId, keyId) {
      const [row] = await db.select().from(virtualKeys).where(ofOrg(orgId, keyId));
      return row === undefined ? null : keyOf(row);
    },

    async assignments(orgId, keyIds) {
      const rows = await db
        .select({
          key: virtualKeyServers.virtual_key_id,
          server: virtualKeyServers.server_id,
          tools: virtualKeyServers.tools,
        })
        .from(virtualKeyServers)
        .innerJoin(virtualKeys, eq(virtualKeys.virtual_key_id, virtualKeyServers.virtual_key_id))
        .where(
          and(
            eq(virtualKeys.org_id, orgId),
            sql`${virtualKeyServers.virtual_key_id} IN (SELECT value FROM json_each(${JSON.stringify(keyIds)}))`,
          ),
        )
        .orderBy(asc(virtualKeyServers.server_id));
      const byKey = Map.groupBy(rows, ({ key }) => key);
      const serversOf = (assigned: typeof rows) =>
        assigned.map(({ server, tools }) => ({ server_id: server, tools_to_execute: tools }));
      return new Map(Array.from(byKey, ([key, assigned]) => [key, serversOf(assigned)]));
    },

    async ofServers(serverIds) {
      const rows = await db
        .select({
          server_id: virtualKeyServers.server_id,
          virtual_key_id: virtualKeys.virtual_key_id,
          virtual_key_name: virtualKeys.name,
          tools_to_execute: virtualKeyServers.tools,
        })
        .from(virtualKeyServers)
        .innerJoin(virtualKeys, eq(virtualKeys.virtual_key_id, virtualKeyServers.virtual_key_id))
        .where(sql`${virtualKeyServers.server_id} IN (SELECT value FROM json_each(${JSON.stringify(serverIds)}))`)
        .orderBy(asc(virtualKeys.name), asc(virtualKeys.virtual_key_id));
      const byServer = Map.groupBy(rows, ({ server_id }) => server_id);
      return new Map(Array.from(byServer, ([id, keys]) => [id, keys.map(({ server_id: _, ...key }) => key)]));
    },

    async insert(orgId, key, assigned) {
      try {
        await db.batch([
          db.insert(virtualKeys).values({ ...key, org_id: orgId, name_key: key.name.toLowerCase() }),
          raiseGeneration(orgId),
          assign(orgId, key.virtual_key_id, assigned),
        ]);
      } catch (cause) {
        throw await explain(orgId, key.virtual_key_id, key.name, assigned, cause);
      }
    },

    async update(orgId, keyId, change, assigned) {
      const { name } = change;
      const ofKey = sql`${virtualKeyServers.virtual_key_id} IN
        (SELECT virtual_key_id FROM virtual_keys WHERE virtual_key_id = ${keyId} AND org_id = ${orgId})`;
      try {
        const [updated] = await db.batch([
          db
            .update(virtualKeys)
            .set({ ...change, ...(name === undefined ? {} : { name_key: name.toLowerCase() }) })
            .where(ofOrg(orgId, keyId))
            .returning({ id: virtualKeys.virtual_key_id }),
          raiseGeneration(orgId),
          ...(assigned === undefined
            ? []
            : [db.delete(virtualKeyServers).where(ofKey), assign(orgId, keyId, assigned)]),
        ]);
        return updated.length > 0;
      } catch (cause) {
        throw await explain(orgId, keyId, name ?? "", assigned ?? [], cause);
      }
    },

    async remove(orgId, keyId) {
      const [removed] = await db.batch([
        db.delete(virtualKeys).where(ofOrg(orgId, keyId)).returning({ id: virtualKeys.virtual_key_id }),
        raiseGeneration(orgId),
      ]);
      return removed.length > 0;
    },
  });
}

function keyOf({ name_key: _, ...row }: typeof virtualKeys.$inferSelect): VirtualKey {
  return row;
}
