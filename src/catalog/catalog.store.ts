import { and, asc, count, eq, getTableColumns, inArray, isNotNull, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { servers } from "../registry/registry.tables.ts";
import type { ServerRecord, ToolMode } from "../registry/server-record.ts";
import { generations, serverTools } from "./catalog.tables.ts";
import type { Merge, ToolRow } from "./merge-discovery.ts";
import type { CatalogTool, Generation } from "./snapshot.ts";

/** What a successful discovery found out besides the tools. */
export interface Sighting {
  readonly era: "legacy" | "modern";
  readonly server_info: string | null;
}

/** The catalog in D1, and what the org snapshot is compiled from. */
export interface CatalogStore {
  /** All rows of one server's tools. */
  rows(serverId: string): Promise<ToolRow[]>;
  list(serverId: string, page: PageRequest): Promise<{ rows: ToolRow[]; total: number }>;
  /**
   * Writes what a discovery found, in one batch with the state of the server; raises the generation of the registry.
   *
   * @returns False, with nothing written, when the server's endpoint or tool policy is no longer what the discovery
   *   started from.
   */
  apply(
    server: Pick<ServerRecord, "server_id" | "server_url" | "tool_mode">,
    merge: Merge,
    seen: Sighting,
  ): Promise<boolean>;
  generationOf(orgId: string): Promise<Generation>;
  /** Everything of the snapshot of an org, read in one batch. */
  read(orgId: string): Promise<{ generation: Generation; servers: ServerRecord[]; tools: CatalogTool[] }>;
}

/** Rows travel as JSON in one parameter each; D1 takes two megabytes. */
const CHUNK_LENGTH = 512 * 1024;

export function d1CatalogStore(d1: D1Database): CatalogStore {
  const db = drizzle(d1);
  const { server_id: _, ...columns } = getTableColumns(serverTools);

  const raiseGeneration = () =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(eq(generations.org_id, "*"));

  /** Breaks the batch, by a null where none may be, unless the server still is what the discovery started from. */
  const demand = (serverId: string, serverUrl: string, mode: ToolMode) =>
    db.insert(generations).select(
      sql`SELECT NULL, 0 WHERE NOT EXISTS (SELECT 1 FROM servers
        WHERE server_id = ${serverId} AND server_url = ${serverUrl} AND tool_mode = ${mode})`,
    );

  const upsert = (serverId: string, rows: readonly ToolRow[], withPolicy: boolean) =>
    db
      .insert(serverTools)
      .select(
        sql`SELECT ${serverId}, value ->> 'tool', value ->> 'known', value ->> 'is_new', value ->> 'allowed',
          value ->> 'definition', value ->> 'definition_hash', value ->> 'approved_definition',
          value ->> 'approved_hash', value ->> 'first_seen', value ->> 'last_seen'
        FROM json_each(${JSON.stringify(rows)}) WHERE true`,
      )
      .onConflictDoUpdate({
        target: [serverTools.server_id, serverTools.tool],
        set: {
          ...excluded("known", "definition", "definition_hash", "approved_definition", "approved_hash"),
          ...excluded("first_seen", "last_seen"),
          ...(withPolicy ? excluded("allowed", "is_new") : {}),
        },
      });

  const generationFrom = (orgId: string, rows: readonly { org_id: string; value: number }[]): Generation => ({
    registry: rows.find(({ org_id }) => org_id === "*")?.value ?? 0,
    org: rows.find(({ org_id }) => org_id === orgId)?.value ?? 0,
  });

  return withOutages<CatalogStore>({
    async rows(serverId) {
      return db.select(columns).from(serverTools).where(eq(serverTools.server_id, serverId));
    },

    async list(serverId, { page, page_size }) {
      const ofServer = eq(serverTools.server_id, serverId);
      const [rows, [total]] = await db.batch([
        db
          .select(columns)
          .from(serverTools)
          .where(ofServer)
          .orderBy(asc(serverTools.tool))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(serverTools).where(ofServer),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async apply({ server_id, server_url, tool_mode }, merge, seen) {
      const state = { state: "connected" as const, last_failure: null, tool_mode: merge.tool_mode, ...seen };
      // An explicit policy is the admin's: a discovery writes flags only where it is the one that fills them.
      const fillsPolicy = tool_mode !== merge.tool_mode;
      try {
        await db.batch([
          demand(server_id, server_url, tool_mode),
          db.update(servers).set(state).where(eq(servers.server_id, server_id)),
          raiseGeneration(),
          ...chunksOf(merge.rows).map((rows) => upsert(server_id, rows, fillsPolicy)),
        ]);
        return true;
      } catch (cause) {
        const [now] = await db.select().from(servers).where(eq(servers.server_id, server_id));
        if (now?.server_url === server_url && now.tool_mode === tool_mode) throw cause;
        return false;
      }
    },

    async generationOf(orgId) {
      return generationFrom(
        orgId,
        await db
          .select()
          .from(generations)
          .where(inArray(generations.org_id, ["*", orgId])),
      );
    },

    async read(orgId) {
      const [rows, records, tools] = await db.batch([
        db
          .select()
          .from(generations)
          .where(inArray(generations.org_id, ["*", orgId])),
        db.select().from(servers).orderBy(asc(servers.name_key)),
        db
          .select({
            server_id: serverTools.server_id,
            tool: serverTools.tool,
            allowed: serverTools.allowed,
            approved_definition: sql<string>`${serverTools.approved_definition}`,
            approved_hash: sql<string>`${serverTools.approved_hash}`,
          })
          .from(serverTools)
          .where(and(eq(serverTools.known, true), isNotNull(serverTools.approved_definition)))
          .orderBy(asc(serverTools.server_id), asc(serverTools.tool)),
      ]);
      const withoutKey = ({ name_key: _, ...record }: (typeof records)[number]): ServerRecord => record;
      return { generation: generationFrom(orgId, rows), servers: records.map(withoutKey), tools };
    },
  });
}

/** What an upsert takes over from the row that was in the way. */
function excluded(...columns: (keyof ToolRow)[]) {
  return Object.fromEntries(columns.map((column) => [column, sql.raw(`excluded.${column}`)]));
}

function chunksOf(rows: readonly ToolRow[]): ToolRow[][] {
  const chunks: ToolRow[][] = [];
  let length = CHUNK_LENGTH;
  for (const row of rows) {
    const size = (row.definition?.length ?? 0) + (row.approved_definition?.length ?? 0) + 512;
    if (length + size > CHUNK_LENGTH) {
      chunks.push([]);
      length = 0;
    }
    chunks.at(-1)?.push(row);
    length += size;
  }
  return chunks;
}
