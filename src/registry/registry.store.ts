import { and, asc, count, desc, eq, like, or, sql } from "drizzle-orm";
import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";
import { generations, serverTools } from "../catalog/catalog.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import type { AllowlistEvent } from "./allowlist.ts";
import { allowlistEvents, servers } from "./registry.tables.ts";
import { type AllowedTools, type ServerRecord, toolModeOf } from "./server-record.ts";

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

/** What the connector found out about a server; no write of an admin. */
export type ServerSighting = Pick<ServerRecord, "state" | "last_failure"> &
  Partial<Pick<ServerRecord, "era" | "server_info">>;

/** The registry in D1. Each write is one batch that raises the generation of the registry. */
export interface RegistryStore {
  /** @throws GatewayError `conflict` with the field, when the id or the name (ignoring case) is taken. */
  insert(record: ServerRecord, allowed: AllowedTools, event: AllowlistEvent): Promise<void>;
  list(filters: ServerFilters, sort: ServerSort, page: PageRequest): Promise<{ rows: ServerRecord[]; total: number }>;
  get(serverId: string): Promise<ServerRecord | null>;
  /**
   * Sets the given columns, and the flags of the tools when `allowed` is given.
   *
   * @returns The record as stored; null when there is none.
   * @throws GatewayError `conflict`, field `name`
   */
  update(
    serverId: string,
    change: ServerChange,
    allowed: AllowedTools | undefined,
    event: AllowlistEvent | null,
  ): Promise<ServerRecord | null>;
  /** @returns Whether there was one. */
  remove(serverId: string, event: AllowlistEvent): Promise<boolean>;
  /** Name and endpoint of every enabled server. */
  enabled(): Promise<Pick<ServerRecord, "name" | "server_url" | "enabled">[]>;
  /** Newest first. */
  events(page: PageRequest): Promise<{ rows: AllowlistEvent[]; total: number }>;
  /** The flags of every tool of these servers, by server and tool. */
  toolFlags(serverIds: readonly string[]): Promise<Map<string, Record<string, boolean>>>;
  /** Notes what the connector found, unless the endpoint has changed since it looked. */
  recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
}

type Db = DrizzleD1Database;

export function d1RegistryStore(d1: D1Database): RegistryStore {
  const db = drizzle(d1);
  return withOutages<RegistryStore>({
    async insert(record, allowed, event) {
      const nameKey = record.name.toLowerCase();
      try {
        await db.batch([
          db.insert(servers).values({ ...record, name_key: nameKey }),
          addEvent(db, event),
          raiseGeneration(db),
          ...flagStatements(db, record.server_id, allowed),
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
        filters.name === undefined ? undefined : like(servers.name, containing(filters.name)),
        filters.transport === undefined ? undefined : like(servers.connection_type, containing(filters.transport)),
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

    async update(serverId, change, allowed, event) {
      const nameKey = change.name?.toLowerCase();
      try {
        const [updated] = await db.batch([
          db
            .update(servers)
            .set({
              ...change,
              ...(nameKey === undefined ? {} : { name_key: nameKey }),
              ...(allowed === undefined ? {} : { tool_mode: toolModeOf(allowed) }),
            })
            .where(eq(servers.server_id, serverId))
            .returning(),
          ...(event === null ? [] : [addEvent(db, event)]),
          raiseGeneration(db),
          ...(allowed === undefined ? [] : flagStatements(db, serverId, allowed)),
        ]);
        const [row] = updated;
        return row === undefined ? null : recordOf(row);
      } catch (cause) {
        const [taken] = await db
          .select()
          .from(servers)
          .where(eq(servers.name_key, nameKey ?? ""));
        throw taken === undefined || taken.server_id === serverId ? cause : conflict("name", cause);
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

    async toolFlags(serverIds) {
      const rows = await db
        .select({ server_id: serverTools.server_id, tool: serverTools.tool, allowed: serverTools.allowed })
        .from(serverTools)
        // One parameter for all ids: a statement takes a hundred at most.
        .where(sql`${serverTools.server_id} IN (SELECT value FROM json_each(${JSON.stringify(serverIds)}))`)
        .orderBy(asc(serverTools.tool));
      const byServer = Map.groupBy(rows, ({ server_id }) => server_id);
      // `fromEntries` and not assignment: a tool may be called `__proto__`.
      const flagsOf = (tools: typeof rows) => Object.fromEntries(tools.map(({ tool, allowed }) => [tool, allowed]));
      return new Map(Array.from(byServer, ([serverId, tools]) => [serverId, flagsOf(tools)]));
    },

    async recordSighting(serverId, serverUrl, sighting) {
      await db.batch([
        db
          .update(servers)
          .set(sighting)
          .where(and(eq(servers.server_id, serverId), eq(servers.server_url, serverUrl))),
        raiseGeneration(db),
      ]);
    },
  });
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

/** Replaces the policy of all tools of one server; of a server that does not exist nothing is written. */
function flagStatements(db: Db, serverId: string, allowed: AllowedTools) {
  if (allowed === null) return [];
  const ofServer = eq(serverTools.server_id, serverId);
  if (Array.isArray(allowed)) return [db.update(serverTools).set({ allowed: true, is_new: false }).where(ofServer)];
  return [
    db.delete(serverTools).where(and(ofServer, sql`${serverTools.definition} IS NULL`)),
    db.update(serverTools).set({ allowed: false, is_new: false }).where(ofServer),
    db
      .insert(serverTools)
      .select(
        sql`SELECT ${serverId}, key, 0, 0, value, NULL, NULL, NULL, NULL, NULL, NULL
          FROM json_each(${JSON.stringify(allowed)})
          WHERE EXISTS (SELECT 1 FROM servers WHERE server_id = ${serverId})`,
      )
      .onConflictDoUpdate({
        target: [serverTools.server_id, serverTools.tool],
        set: { allowed: sql`excluded.allowed` },
      }),
  ];
}

const SORT_COLUMNS = {
  id: servers.server_id,
  name: servers.name_key,
  transport: servers.connection_type,
  enabled: servers.enabled,
  timeout_ms: servers.timeout_ms,
} as const;

/** A LIKE pattern that finds its text anywhere; `%`, `_` and `\` are plain characters (RG-4). */
function containing(text: string) {
  return sql`${`%${text.replaceAll(/[\\%_]/g, (special) => `\\${special}`)}%`} ESCAPE '\\'`;
}

function conflict(field: "name" | "server_id", cause: unknown): GatewayError {
  return new GatewayError("conflict", `A server with this ${field} exists already.`, { field, cause });
}

function recordOf({ name_key: _, ...row }: typeof servers.$inferSelect): ServerRecord {
  return row;
}
