import { and, asc, count, eq, inArray, or, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { generations } from "../catalog/catalog.tables.ts";
import { tokens } from "../credentials/credentials.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { isVisibleTo, servers } from "../registry/registry.tables.ts";
import { virtualKeyServers, virtualKeys } from "./access.tables.ts";
import type { AssignedServer, KeyServer, NamedServerKey, VerifiedKey, VirtualKey } from "./virtual-key.ts";

/** A server as people may call it. */
export interface NamedServer {
  readonly server_id: string;
  /** The slug. */
  readonly name: string;
  readonly display_name: string;
}

/** What an admin may change of a key. */
type KeyChange = Partial<Pick<VirtualKey, "name" | "description" | "is_active" | "expires_at" | "group_id">> &
  Pick<VirtualKey, "modified" | "modified_by">;

/** Virtual keys in D1. Each write is one batch that raises the generation of the org. */
export interface VirtualKeyStore {
  /**
   * Finds a key of any org by the hash of its value, or of the one before its last rotation: the one read that comes
   * before the org is known. Whether that value still opens it is `openUntil`'s to say.
   */
  findByHash(valueHash: string): Promise<VerifiedKey | null>;
  /** Keys by name. */
  list(orgId: string, page: PageRequest): Promise<{ rows: VirtualKey[]; total: number }>;
  /**
   * Keys in the order of their creation.
   *
   * @param search A part of the name, ignoring case; null finds all.
   * @param slice `limit` null: to the end.
   */
  find(
    orgId: string,
    search: string | null,
    slice: { readonly limit: number | null; readonly offset: number },
  ): Promise<{ rows: VirtualKey[]; total: number }>;
  get(orgId: string, keyId: string): Promise<VirtualKey | null>;
  /** Assignments by key, each list sorted by server. */
  assignments(orgId: string, keyIds: readonly string[]): Promise<Map<string, AssignedServer[]>>;
  /** Keys of all orgs by the server they are assigned to, each list sorted by name: for platform admins only. */
  ofServers(serverIds: readonly string[]): Promise<Map<string, NamedServerKey[]>>;
  /** The servers that the org sees: those that its keys may be assigned to. */
  visibleServers(orgId: string): Promise<NamedServer[]>;
  /**
   * @throws GatewayError `conflict`, field `name`; `invalid_request`, field `group_id` for one that the org does not
   *   have, field `servers` for one that the org does not see, whether or not there is such a server
   */
  insert(orgId: string, key: VirtualKey, assigned: readonly KeyServer[]): Promise<void>;
  /**
   * Sets the given columns; `assigned`, when given, replaces all assignments.
   *
   * @returns Whether there is such a key.
   * @throws GatewayError as `insert`; then nothing has changed.
   */
  update(orgId: string, keyId: string, change: KeyChange, assigned?: readonly KeyServer[]): Promise<boolean>;
  /**
   * Gives a key another value. The present one becomes the previous one, in the place of what was that.
   *
   * @param previousUntil Until when the present value goes on opening the key; null: no longer.
   * @returns Whether there is such a key.
   */
  rotate(
    orgId: string,
    keyId: string,
    value: Pick<VirtualKey, "value_hash" | "last4" | "modified" | "modified_by">,
    previousUntil: number | null,
  ): Promise<boolean>;
  /** Notes a use, unless a later one is noted: no change of the key, and so without a generation. */
  touch(orgId: string, keyId: string, usedAt: number): Promise<void>;
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
  /** Breaks a batch, by a null where none may be, when the query finds anything. */
  const forbid = (found: SQL) => db.insert(generations).select(sql`SELECT NULL, 0 WHERE EXISTS (${found})`);
  const unknownGroup = (orgId: string, groupId: string | null) => sql`SELECT 1 WHERE ${groupId} IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM groups WHERE org_id = ${orgId} AND group_id = ${groupId})`;
  /** A server of the list that the org does not see, and one that there is not: nobody can tell them apart. */
  const unfitServer = (orgId: string, assigned: readonly KeyServer[]) => sql`
    SELECT 1 FROM json_each(${JSON.stringify(assigned.map(({ server_id }) => server_id))}) AS given
    WHERE NOT EXISTS (SELECT 1 FROM servers WHERE servers.server_id = given.value AND ${isVisibleTo(orgId)})`;
  /** Which rule a failed batch has met. The database is the judge, so this looks only once it has refused. */
  const explain = async (
    orgId: string,
    { virtual_key_id, name, group_id }: Pick<VirtualKey, "virtual_key_id" | "name" | "group_id">,
    assigned: readonly KeyServer[],
    cause: unknown,
  ) => {
    const sameName = and(eq(virtualKeys.org_id, orgId), eq(virtualKeys.name_key, name.toLowerCase()));
    const taken = await db.select({ id: virtualKeys.virtual_key_id }).from(virtualKeys).where(sameName);
    if (taken.some(({ id }) => id !== virtual_key_id)) {
      return new GatewayError("conflict", "A virtual key with this name exists already.", { field: "name", cause });
    }
    if ((await db.all(unknownGroup(orgId, group_id))).length > 0) {
      const options = { field: "group_id", cause };
      return new GatewayError("invalid_request", "group_id names a group that does not exist.", options);
    }
    if ((await db.all(unfitServer(orgId, assigned))).length === 0) return cause;
    const options = { field: "servers", cause };
    return new GatewayError("invalid_request", "servers names a server that does not exist.", options);
  };
  const get = async (orgId: string, keyId: string) => {
    const [row] = await db.select().from(virtualKeys).where(ofOrg(orgId, keyId));
    return row === undefined ? null : keyOf(row);
  };

  return withOutages<VirtualKeyStore>({
    async findByHash(valueHash) {
      const isKey = or(eq(virtualKeys.value_hash, valueHash), eq(virtualKeys.previous_hash, valueHash));
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

    async find(orgId, search, { limit, offset }) {
      // Not in SQL: SQLite knows the case of ASCII letters only, and these names are free text.
      const names = await db
        .select({ id: virtualKeys.virtual_key_id, name: virtualKeys.name })
        .from(virtualKeys)
        .where(eq(virtualKeys.org_id, orgId))
        .orderBy(asc(virtualKeys.created), asc(virtualKeys.virtual_key_id));
      const part = (search ?? "").toLowerCase();
      const found = names.filter(({ name }) => name.toLowerCase().includes(part));
      const ids = found.slice(offset, limit === null ? undefined : offset + limit).map(({ id }) => id);
      const rows = await db
        .select()
        .from(virtualKeys)
        .where(
          and(
            eq(virtualKeys.org_id, orgId),
            sql`${virtualKeys.virtual_key_id} IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`,
          ),
        )
        .orderBy(asc(virtualKeys.created), asc(virtualKeys.virtual_key_id));
      return { rows: rows.map(keyOf), total: found.length };
    },

    get,

    async assignments(orgId, keyIds) {
      const rows = await db
        .select({
          key: virtualKeyServers.virtual_key_id,
          server: virtualKeyServers.server_id,
          tools: virtualKeyServers.tools,
          assignment_id: sql<number>`virtual_key_servers.rowid`,
          display_name: servers.display_name,
        })
        .from(virtualKeyServers)
        .innerJoin(virtualKeys, eq(virtualKeys.virtual_key_id, virtualKeyServers.virtual_key_id))
        .innerJoin(servers, eq(servers.server_id, virtualKeyServers.server_id))
        .where(
          and(
            eq(virtualKeys.org_id, orgId),
            sql`${virtualKeyServers.virtual_key_id} IN (SELECT value FROM json_each(${JSON.stringify(keyIds)}))`,
          ),
        )
        .orderBy(asc(virtualKeyServers.server_id));
      const byKey = Map.groupBy(rows, ({ key }) => key);
      const serversOf = (assigned: typeof rows) =>
        assigned.map(({ key: _, server, tools, ...shown }) => ({
          ...shown,
          server_id: server,
          tools_to_execute: tools,
        }));
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

    async visibleServers(orgId) {
      return db
        .select({ server_id: servers.server_id, name: servers.name, display_name: servers.display_name })
        .from(servers)
        .where(isVisibleTo(orgId))
        .orderBy(asc(servers.server_id));
    },

    async insert(orgId, key, assigned) {
      try {
        await db.batch([
          forbid(unknownGroup(orgId, key.group_id)),
          forbid(unfitServer(orgId, assigned)),
          db.insert(virtualKeys).values({ ...key, org_id: orgId, name_key: key.name.toLowerCase() }),
          raiseGeneration(orgId),
          assign(orgId, key.virtual_key_id, assigned),
        ]);
      } catch (cause) {
        throw await explain(orgId, key, assigned, cause);
      }
    },

    async update(orgId, keyId, change, assigned) {
      const { name, group_id = null } = change;
      const ofKey = sql`${virtualKeyServers.virtual_key_id} IN
        (SELECT virtual_key_id FROM virtual_keys WHERE virtual_key_id = ${keyId} AND org_id = ${orgId})`;
      try {
        const [, , updated] = await db.batch([
          forbid(unknownGroup(orgId, group_id)),
          forbid(unfitServer(orgId, assigned ?? [])),
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
        if ((await get(orgId, keyId)) === null) return false;
        throw await explain(orgId, { virtual_key_id: keyId, name: name ?? "", group_id }, assigned ?? [], cause);
      }
    },

    async rotate(orgId, keyId, value, previousUntil) {
      const previous_hash = previousUntil === null ? null : virtualKeys.value_hash;
      const [rotated] = await db.batch([
        db
          .update(virtualKeys)
          .set({ ...value, previous_hash: sql`${previous_hash}`, previous_until: previousUntil })
          .where(ofOrg(orgId, keyId))
          .returning({ id: virtualKeys.virtual_key_id }),
        raiseGeneration(orgId),
      ]);
      return rotated.length > 0;
    },

    async touch(orgId, keyId, usedAt) {
      await db
        .update(virtualKeys)
        .set({ last_used_at: usedAt })
        .where(and(ofOrg(orgId, keyId), sql`COALESCE(${virtualKeys.last_used_at}, -1) < ${usedAt}`));
    },

    async remove(orgId, keyId) {
      const [removed] = await db.batch([
        db.delete(virtualKeys).where(ofOrg(orgId, keyId)).returning({ id: virtualKeys.virtual_key_id }),
        raiseGeneration(orgId),
        // The accounts that were linked for it were its own (PS-9).
        db.delete(tokens).where(and(eq(tokens.org_id, orgId), eq(tokens.user_id, `key:${keyId}`))),
      ]);
      return removed.length > 0;
    },
  });
}

function keyOf({ name_key: _, ...row }: typeof virtualKeys.$inferSelect): VirtualKey {
  return row;
}
