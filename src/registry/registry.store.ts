import { and, asc, count, desc, eq, or, type SQL, sql } from "drizzle-orm";
import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";
import type { SQLiteColumn } from "drizzle-orm/sqlite-core";
import { orgs, virtualKeyServers } from "../access/access.tables.ts";
import { generations, serverTools } from "../catalog/catalog.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import type { AllowlistEvent } from "./allowlist.ts";
import { allowlistEvents, serverContexts, serverOrgs, servers } from "./registry.tables.ts";
import { DEFAULT_TIMEOUT_MS, type ServerRecord, type ServerSighting } from "./server-record.ts";
import type { AllowedTools, PolicyChange, ToolFlags } from "./tool-policy.ts";

/** What a list may be narrowed and ordered by (RG-4, RG-5). */
export interface ServerFilters {
  readonly id?: string;
  /** A part of the slug, ignoring case. */
  readonly name?: string;
  /** A part of `connection_type`, ignoring case. */
  readonly transport?: string;
  readonly enabled?: boolean;
}

export interface ServerSort {
  readonly by: "id" | "name" | "transport" | "enabled" | "timeout_ms";
  readonly direction: "asc" | "desc";
}

/** The columns that a partial update may set. */
export type ServerChange = Partial<Omit<ServerRecord, "server_id" | "created" | "created_by">>;

/** What belongs to a server and is kept beside its row. */
export interface ServerDetails {
  readonly flags: readonly ToolFlags[];
  readonly org_ids: readonly string[];
}

/** The registry in D1. Each write is one batch that raises the generation of the registry. */
export interface RegistryStore {
  /** @throws GatewayError `conflict` with the field, when the id or the name (ignoring case) is taken. */
  insert(record: ServerRecord, orgIds: readonly string[], policy: PolicyChange, event: AllowlistEvent): Promise<void>;
  list(filters: ServerFilters, sort: ServerSort, page: PageRequest): Promise<{ rows: ServerRecord[]; total: number }>;
  get(serverId: string): Promise<ServerRecord | null>;
  /**
   * Sets the given columns, and the policy as far as it is given.
   *
   * @param orgIds Replaces the orgs that may see it; what belongs to the others goes with it (RB-31).
   * @param expected `modified` of the record that the change was made from: an overtaken change must not be written,
   *   because it may join what belongs to one endpoint with another.
   * @returns The record as stored; null when there is none, "overtaken" when it has changed in between.
   * @throws GatewayError `conflict`, field `name`
   */
  update(
    serverId: string,
    expected: number,
    change: ServerChange,
    also: { readonly policy?: PolicyChange; readonly orgIds?: readonly string[]; readonly event?: AllowlistEvent },
  ): Promise<ServerRecord | null | "overtaken">;
  /** @returns Whether there was one. */
  remove(serverId: string, event: AllowlistEvent): Promise<boolean>;
  /** Name and endpoint of every enabled server. */
  enabled(): Promise<Pick<ServerRecord, "name" | "server_url" | "enabled">[]>;
  /** Newest first. */
  events(page: PageRequest): Promise<{ rows: AllowlistEvent[]; total: number }>;
  /** Policy of every tool, sorted by name, and the orgs of these servers, sorted; by server. */
  details(serverIds: readonly string[]): Promise<Map<string, ServerDetails>>;
  /** Those of these orgs that exist. */
  existingOrgs(orgIds: readonly string[]): Promise<string[]>;
  /** Notes what the connector found, unless the endpoint has changed since it looked. */
  recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
}

type Db = DrizzleD1Database;

export function d1RegistryStore(d1: D1Database): RegistryStore {
  const db = drizzle(d1);
  return withOutages<RegistryStore>({
    async insert(record, orgIds, policy, event) {
      const nameKey = record.name.toLowerCase();
      try {
        await db.batch([
          db.insert(servers).values({ ...record, name_key: nameKey }),
          addEvent(db, event),
          raiseGeneration(db),
          ...policyStatements(db, record.server_id, policy),
          addOrgs(db, record.server_id, orgIds),
        ]);
      } catch (cause) {
        // The unique indexes are the judge; what they have refused is looked up only to name the field.
        const same = or(eq(servers.server_id, record.server_id), eq(servers.name_key, nameKey));
        const [taken] = await db.select().from(servers).where(same);
        throw taken === undefined ? cause : conflict(taken.name_key === nameKey ? "name" : "server_id", cause);
      }
    },

    async list(filters, sort, { page, page_size }) {
      const where = and(
        filters.id === undefined ? undefined : eq(servers.server_id, filters.id),
        filters.name === undefined ? undefined : contains(servers.name, filters.name),
        filters.transport === undefined ? undefined : contains(servers.connection_type, filters.transport),
        filters.enabled === undefined ? undefined : eq(servers.enabled, filters.enabled),
      );
      const order = sort.direction === "asc" ? asc : desc;
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(servers)
          .where(where)
          .orderBy(order(SORT_COLUMNS[sort.by]), order(servers.server_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(servers).where(where),
      ]);
      return { rows: rows.map(recordOf), total: total?.total ?? 0 };
    },

    async get(serverId) {
      const [row] = await db.select().from(servers).where(eq(servers.server_id, serverId));
      return row === undefined ? null : recordOf(row);
    },

    async update(serverId, expected, change, { policy, orgIds, event }) {
      const nameKey = change.name?.toLowerCase();
      try {
        const [, updated] = await db.batch([
          demandUnchanged(db, serverId, expected),
          db
            .update(servers)
            .set({
              ...change,
              ...(nameKey === undefined ? {} : { name_key: nameKey }),
            })
            .where(eq(servers.server_id, serverId))
            .returning(),
          ...(event === undefined ? [] : [addEvent(db, event)]),
          raiseGeneration(db),
          ...(policy === undefined ? [] : policyStatements(db, serverId, policy)),
          ...(orgIds === undefined ? [] : orgStatements(db, serverId, orgIds)),
        ]);
        const [row] = updated;
        return row === undefined ? null : recordOf(row);
      } catch (cause) {
        const same = or(eq(servers.server_id, serverId), eq(servers.name_key, nameKey ?? ""));
        const found = await db.select().from(servers).where(same);
        const own = found.find((row) => row.server_id === serverId);
        if (own === undefined) return null;
        if (own.modified !== expected) return "overtaken";
        throw found.length > 1 ? conflict("name", cause) : cause;
      }
    },

    async remove(serverId, event) {
      const [removed] = await db.batch([
        db.delete(servers).where(eq(servers.server_id, serverId)).returning({ server_id: servers.server_id }),
        addEvent(db, event),
        raiseGeneration(db),
      ]);
      return removed.length > 0;
    },

    async enabled() {
      return db
        .select({ name: servers.name, server_url: servers.server_url, enabled: servers.enabled })
        .from(servers)
        .where(eq(servers.enabled, true));
    },

    async events({ page, page_size }) {
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(allowlistEvents)
          .orderBy(desc(allowlistEvents.created_at), desc(allowlistEvents.event_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(allowlistEvents),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async details(serverIds) {
      // One parameter for all ids: a statement takes a hundred at most.
      const ids = sql`(SELECT value FROM json_each(${JSON.stringify(serverIds)}))`;
      const { server_id, tool, known, allowed, auto, price_nano } = serverTools;
      const [tools, orgIds] = await db.batch([
        db
          .select({ server_id, tool, known, allowed, auto, price_nano })
          .from(serverTools)
          .where(sql`${server_id} IN ${ids}`),
        db.select().from(serverOrgs).where(sql`${serverOrgs.server_id} IN ${ids}`).orderBy(asc(serverOrgs.org_id)),
      ]);
      const [toolsOf, orgsOf] = [
        Map.groupBy(tools, (row) => row.server_id),
        Map.groupBy(orgIds, (row) => row.server_id),
      ];
      const detailsOf = (id: string): ServerDetails => ({
        // Sorted here: in the database it would read every row twice.
        flags: (toolsOf.get(id) ?? []).sort((a, b) => (a.tool < b.tool ? -1 : 1)),
        org_ids: (orgsOf.get(id) ?? []).map(({ org_id }) => org_id),
      });
      return new Map(serverIds.map((id) => [id, detailsOf(id)]));
    },

    async existingOrgs(orgIds) {
      const ids = sql`(SELECT value FROM json_each(${JSON.stringify(orgIds)}))`;
      const rows = await db.select({ org_id: orgs.org_id }).from(orgs).where(sql`${orgs.org_id} IN ${ids}`);
      return rows.map(({ org_id }) => org_id);
    },

    async recordSighting(serverId, serverUrl, sighting) {
      // No generation: what a request is decided from does not depend on the state of a connection (PS-64).
      await db
        .update(servers)
        .set(sighting)
        .where(and(eq(servers.server_id, serverId), eq(servers.server_url, serverUrl)));
    },
  });
}

/** Breaks the batch, by a null where none may be, unless the server is as it was read. */
function demandUnchanged(db: Db, serverId: string, modified: number) {
  return db
    .insert(generations)
    .select(
      sql`SELECT NULL, 0 WHERE NOT EXISTS (SELECT 1 FROM servers WHERE server_id = ${serverId} AND modified = ${modified})`,
    );
}

/** Follows the statement that writes, in its batch: a write that changed no row raises nothing (RG-17). */
function raiseGeneration(db: Db) {
  return db
    .update(generations)
    .set({ value: sql`${generations.value} + 1` })
    .where(and(eq(generations.org_id, "*"), sql`changes() > 0`));
}

/** Like the generation, an event follows the statement that writes, and there is none of a write that changed no row. */
function addEvent(db: Db, event: AllowlistEvent) {
  const { event_id, reason, resource_type, target, mode, server_id, created_at } = event;
  return db
    .insert(allowlistEvents)
    .select(
      sql`SELECT ${event_id}, ${reason}, ${resource_type}, ${target}, ${mode}, ${server_id}, ${created_at} WHERE changes() > 0`,
    );
}

function addOrgs(db: Db, serverId: string, orgIds: readonly string[]) {
  return db
    .insert(serverOrgs)
    .select(sql`SELECT ${serverId}, value FROM json_each(${JSON.stringify(orgIds)}) WHERE ${serverExists(serverId)}`);
}

/** RB-31: the whole set is replaced, and what orgs that lose the server have of it goes in the same batch. */
function orgStatements(db: Db, serverId: string, orgIds: readonly string[]) {
  const kept = sql`(SELECT value FROM json_each(${JSON.stringify(orgIds)}))`;
  // No org at all means every org, and nobody loses anything.
  const isLost = (column: SQL) => (orgIds.length === 0 ? sql`0` : sql`${column} NOT IN ${kept}`);
  return [
    db.delete(serverOrgs).where(eq(serverOrgs.server_id, serverId)),
    addOrgs(db, serverId, orgIds),
    db.delete(serverContexts).where(and(eq(serverContexts.server_id, serverId), isLost(sql`${serverContexts.org_id}`))),
    db
      .delete(virtualKeyServers)
      .where(
        and(
          eq(virtualKeyServers.server_id, serverId),
          sql`virtual_key_id IN (SELECT virtual_key_id FROM virtual_keys WHERE ${isLost(sql`org_id`)})`,
        ),
      ),
    // The orgs whose keys have just changed.
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(isLost(sql`${generations.org_id}`)),
  ];
}

const serverExists = (serverId: string) => sql`EXISTS (SELECT 1 FROM servers WHERE server_id = ${serverId})`;

/** Replaces those parts of the policy that are given; of a server that does not exist nothing is written. */
function policyStatements(db: Db, serverId: string, { allowed, auto, prices }: PolicyChange) {
  const ofServer = eq(serverTools.server_id, serverId);
  /** Rows for names that an admin gives, whether or not a discovery has seen them. */
  const upsert = (rows: object, values: { allowed: SQL; auto: SQL }, set: Record<string, SQL>) =>
    db
      .insert(serverTools)
      .select(
        sql`SELECT ${serverId}, key, 0, 0, ${values.allowed}, ${values.auto}, NULL, NULL, NULL, NULL, NULL, NULL, NULL
          FROM json_each(${JSON.stringify(rows)}) WHERE ${serverExists(serverId)}`,
      )
      .onConflictDoUpdate({ target: [serverTools.server_id, serverTools.tool], set });
  const flags = () => {
    if (allowed === undefined || allowed === null) return [];
    if (isAll(allowed)) return [db.update(serverTools).set({ allowed: true, is_new: false }).where(ofServer)];
    return [
      db.delete(serverTools).where(and(ofServer, sql`${serverTools.definition} IS NULL`)),
      db.update(serverTools).set({ allowed: false, is_new: false }).where(ofServer),
      upsert(allowed, { allowed: sql`value`, auto: sql`0` }, { allowed: sql`excluded.allowed` }),
      // What is blocked does not run unasked either; its price stays (RB-32).
      db
        .update(serverTools)
        .set({ auto: false })
        .where(and(ofServer, eq(serverTools.allowed, false))),
    ];
  };
  const unasked = () => {
    if (auto === undefined) return [];
    const named = Object.fromEntries((auto[0] === "*" ? [] : auto).map((tool) => [tool, true]));
    return [
      db.update(serverTools).set({ auto: false }).where(ofServer),
      upsert(named, { allowed: sql`0`, auto: sql`1` }, { auto: sql`1` }),
    ];
  };
  const priced = () => {
    if (prices === undefined) return [];
    const price = sql`(SELECT value FROM json_each(${JSON.stringify(prices)}) WHERE key = ${serverTools.tool})`;
    return [db.update(serverTools).set({ price_nano: price }).where(ofServer)];
  };
  return [...flags(), ...unasked(), ...priced()];
}

function isAll(allowed: AllowedTools): allowed is readonly ["*"] {
  return Array.isArray(allowed);
}

const SORT_COLUMNS = {
  id: servers.server_id,
  name: servers.name_key,
  transport: servers.connection_type,
  enabled: servers.enabled,
  // A time-out that is not set sorts as what it is shown as.
  timeout_ms: sql`COALESCE(${servers.timeout_ms}, ${DEFAULT_TIMEOUT_MS})`,
} as const;

/** Finds a text anywhere, ignoring case. Not LIKE: that has special characters, and D1 refuses its longer patterns. */
function contains(column: SQLiteColumn, text: string) {
  return sql`instr(lower(${column}), ${text.toLowerCase()}) > 0`;
}

function conflict(field: "name" | "server_id", cause: unknown): GatewayError {
  return new GatewayError("conflict", `A server with this ${field} exists already.`, { field, cause });
}

function recordOf({ name_key: _, ...row }: typeof servers.$inferSelect): ServerRecord {
  return row;
}
