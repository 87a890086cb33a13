import { and, asc, count, desc, eq, or, sql } from "drizzle-orm";
import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";
import type { SQLiteColumn } from "drizzle-orm/sqlite-core";
import { orgs } from "../access/access.tables.ts";
import type { ServerKey } from "../access/virtual-key.ts";
import { generations, serverTools } from "../catalog/catalog.tables.ts";
import { tokens } from "../credentials/credentials.tables.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import type { AllowlistEvent, ReachedServer } from "./allowlist.ts";
import { allowlistEvents, isVisibleTo, serverOrgs, servers } from "./registry.tables.ts";
import {
  addOrgs,
  configStatements,
  explainInsert,
  explainKeys,
  keyStatements,
  orgStatements,
  policyStatements,
  takenField,
} from "./server-parts.store.ts";
import { alreadyThere, DEFAULT_TIMEOUT_MS, type ServerRecord, type ServerSighting } from "./server-record.ts";
import type { PolicyChange, ToolFlags } from "./tool-policy.ts";

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
  /**
   * @throws GatewayError `conflict` with the field, when the id or the name (ignoring case) is taken, or the OAuth
   *   configuration used up.
   */
  insert(record: ServerRecord, orgIds: readonly string[], policy: PolicyChange, event: AllowlistEvent): Promise<void>;
  /** Which of these a server has already, of whatever org it is. */
  taken(serverId: string, name: string): Promise<"name" | "server_id" | null>;
  /** @param scope An org, which sees global servers and its own; or `EVERY_ORG`. */
  list(
    scope: string,
    filters: ServerFilters,
    sort: ServerSort,
    page: PageRequest,
  ): Promise<{ rows: ServerRecord[]; total: number }>;
  /**
   * Servers in the order of their creation.
   *
   * @param search A part of the display name, ignoring case; null finds all.
   * @param slice `limit` null: to the end.
   */
  find(
    scope: string,
    search: string | null,
    slice: { readonly limit: number | null; readonly offset: number },
  ): Promise<{ rows: ServerRecord[]; total: number }>;
  get(scope: string, serverId: string): Promise<ServerRecord | null>;
  /**
   * Sets the given columns, and the policy as far as it is given.
   *
   * @param also `orgIds` replaces the orgs that may see it, and what belongs to the others goes with it (RB-31); `keys`
   *   replaces the assignments of all keys (BF-33); `isOtherAccount` deletes its tokens (PS-52, PS-53).
   * @param expected `modified` of the record that the change was made from: an overtaken change must not be written,
   *   because it may join what belongs to one endpoint with another.
   * @returns The record as stored; null when there is none, "overtaken" when it has changed in between.
   * @throws GatewayError `conflict`, field `name`; `invalid_request`, field `keys`, for one that is unknown, or whose org
   *   does not see the server; then nothing has changed.
   */
  update(
    serverId: string,
    expected: number,
    change: ServerChange,
    also: {
      readonly policy?: PolicyChange;
      readonly orgIds?: readonly string[];
      readonly keys?: readonly ServerKey[];
      readonly event?: AllowlistEvent;
      readonly isOtherAccount?: boolean;
    },
  ): Promise<ServerRecord | null | "overtaken">;
  /** @returns Whether there was one. */
  remove(serverId: string, event: AllowlistEvent): Promise<boolean>;
  /** Name and endpoints of every enabled server. */
  enabled(): Promise<ReachedServer[]>;
  /** Newest first. */
  events(page: PageRequest): Promise<{ rows: AllowlistEvent[]; total: number }>;
  /** Policy of every tool, sorted by name, and the orgs of these servers, sorted; by server. */
  details(serverIds: readonly string[]): Promise<Map<string, ServerDetails>>;
  /** Those of these orgs that exist. */
  existingOrgs(orgIds: readonly string[]): Promise<string[]>;
  /**
   * Notes what came of registering with an authorization server, unless an admin has changed the server since.
   *
   * @returns Whether it is noted.
   */
  recordRegistration(
    start: ServerRecord,
    change: Partial<ServerRecord>,
    event: AllowlistEvent | null,
  ): Promise<boolean>;
  /** Notes what the connector found, unless the endpoint has changed, or was switched off, since it looked. */
  recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
}

type Db = DrizzleD1Database;

export function d1RegistryStore(d1: D1Database): RegistryStore {
  const db = drizzle(d1);
  return withOutages<RegistryStore>({
    async insert(record, orgIds, policy, event) {
      try {
        await db.batch([
          db.insert(servers).values({ ...record, name_key: record.name.toLowerCase() }),
          addEvent(db, event),
          raiseGeneration(db),
          ...policyStatements(db, record.server_id, policy),
          addOrgs(db, record.server_id, orgIds),
          ...configStatements(db, record),
        ]);
      } catch (cause) {
        // The database is the judge; what it has refused is looked up only to name the field.
        throw await explainInsert(db, record, cause);
      }
    },

    taken: (serverId, name) => takenField(db, serverId, name),

    async list(scope, filters, sort, { page, page_size }) {
      const where = and(
        isVisibleTo(scope),
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

    async find(scope, search, { limit, offset }) {
      const isVisible = isVisibleTo(scope);
      const order = [asc(servers.created), asc(servers.server_id)];
      const end = limit ?? Number.MAX_SAFE_INTEGER;
      if (search === null) {
        const [rows, [total]] = await db.batch([
          db
            .select()
            .from(servers)
            .where(isVisible)
            .orderBy(...order)
            .limit(end)
            .offset(offset),
          db.select({ total: count() }).from(servers).where(isVisible),
        ]);
        return { rows: rows.map(recordOf), total: total?.total ?? 0 };
      }
      // Not in SQL: SQLite knows the case of ASCII letters only, and these names are free text.
      const names = await db
        .select({ server_id: servers.server_id, display_name: servers.display_name })
        .from(servers)
        .where(isVisible)
        .orderBy(...order);
      const part = search.toLowerCase();
      const found = names.filter(({ display_name }) => display_name.toLowerCase().includes(part));
      const ids = JSON.stringify(found.slice(offset, offset + end).map(({ server_id }) => server_id));
      const rows = await db
        .select()
        .from(servers)
        .where(and(isVisible, sql`${servers.server_id} IN (SELECT value FROM json_each(${ids}))`))
        .orderBy(...order);
      return { rows: rows.map(recordOf), total: found.length };
    },

    async get(scope, serverId) {
      const [row] = await db
        .select()
        .from(servers)
        .where(and(eq(servers.server_id, serverId), isVisibleTo(scope)));
      return row === undefined ? null : recordOf(row);
    },

    async update(serverId, expected, change, { policy, orgIds, keys, event, isOtherAccount = false }) {
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
          ...(keys === undefined ? [] : keyStatements(db, serverId, keys)),
          ...(isOtherAccount ? [db.delete(tokens).where(eq(tokens.server_id, serverId))] : []),
        ]);
        const [row] = updated;
        return row === undefined ? null : recordOf(row);
      } catch (cause) {
        const same = or(eq(servers.server_id, serverId), eq(servers.name_key, nameKey ?? ""));
        const found = await db.select().from(servers).where(same);
        const own = found.find((row) => row.server_id === serverId);
        if (own === undefined) return null;
        if (own.modified !== expected) return "overtaken";
        if (found.length > 1) throw alreadyThere("name", cause);
        throw keys === undefined ? cause : await explainKeys(db, serverId, keys, cause);
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
      return db.select().from(servers).where(eq(servers.enabled, true));
    },

    async events({ page, page_size }) {
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(allowlistEvents)
          // Of one millisecond, the one that was stored last: ids of one millisecond are in no order.
          .orderBy(desc(allowlistEvents.created_at), desc(sql`rowid`))
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

    async recordRegistration({ server_id, modified }, change, event) {
      const [noted] = await db.batch([
        db
          .update(servers)
          .set(change)
          .where(and(eq(servers.server_id, server_id), eq(servers.modified, modified)))
          .returning({ server_id: servers.server_id }),
        ...(event === null ? [] : [addEvent(db, event)]),
        raiseGeneration(db),
      ]);
      return noted.length > 0;
    },

    async recordSighting(serverId, serverUrl, sighting) {
      // No generation: what a request is decided from does not depend on the state of a connection (PS-64).
      await db
        .update(servers)
        .set(sighting)
        .where(
          and(
            eq(servers.server_id, serverId),
            eq(servers.server_url, serverUrl),
            // What is off or not registered at its issuer has no connection to be seen (PS-64).
            and(eq(servers.enabled, true), eq(servers.status, "active")),
          ),
        );
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

function recordOf({ name_key: _, ...row }: typeof servers.$inferSelect): ServerRecord {
  return row;
}
