import { and, asc, count, desc, eq, getTableColumns, inArray, isNotNull, type SQLWrapper, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { credentialGenerations } from "../credentials/credentials.tables.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { isVisibleTo, servers } from "../registry/registry.tables.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { generations, serverTools, toolChanges } from "./catalog.tables.ts";
import type { Merge, OpenChange, Standing, ToolRow } from "./merge-discovery.ts";
import { paramHeadersOf } from "./param-headers.ts";
import type { CatalogTool, Generation } from "./snapshot.ts";
import type { ToolChange } from "./tool-change.ts";

/** What a successful discovery found out besides the tools. */
export type Sighting = Pick<ServerRecord, "era" | "server_info" | "capabilities" | "connection_type">;

/** A tool as the admin's list shows it. */
export type ListedRow = ToolRow & {
  readonly auto: boolean;
  readonly price_nano: number | null;
  readonly pending_change_id: string | null;
};

/** The definition in force of one tool, JSON text as received. */
export interface ApprovedDefinition {
  readonly server_id: string;
  readonly tool: string;
  readonly definition: string;
}

/** The catalog in D1, and what the org snapshot is compiled from. */
export interface CatalogStore {
  /** What a discovery has to know of a server beside its record. Null: there is no such server any more. */
  stored(serverId: string): Promise<Standing | null>;
  /**
   * Tools by name, each with the id of the change that is held for it.
   *
   * @param scope An org, which sees global servers and its own; or `EVERY_ORG`.
   */
  list(
    scope: string,
    serverId: string,
    allowedOnly: boolean,
    page: PageRequest,
  ): Promise<{ rows: ListedRow[]; total: number }>;
  tool(scope: string, serverId: string, name: string): Promise<ListedRow | null>;
  /** The approved definitions of the known tools of many servers, sorted by server and name. */
  approved(serverIds: readonly string[]): Promise<ApprovedDefinition[]>;
  /**
   * Writes what a discovery found, in one batch with the state of the server; raises the generation of the registry.
   *
   * @returns False, with nothing written, when the server's endpoint, transport or tool policy is no longer what the
   *   discovery started from, or when a change has been decided since.
   */
  apply(start: ServerRecord & Standing, merge: Merge, seen: Sighting): Promise<boolean>;
  generationOf(orgId: string): Promise<Generation>;
  /**
   * Approved definitions of tools that an org may see, and the generation they were read at.
   *
   * @param tools Server and name of each.
   */
  definitions(
    orgId: string,
    tools: readonly (readonly [serverId: string, tool: string])[],
  ): Promise<{
    readonly generation: Generation;
    readonly definitions: readonly ApprovedDefinition[];
  }>;
  /** Everything of the snapshot of an org, read in one batch. */
  read(orgId: string): Promise<{ generation: Generation; servers: ServerRecord[]; tools: CatalogTool[] }>;
}

/** Rows travel as JSON in one parameter each; D1 takes two megabytes. */
const CHUNK_LENGTH = 512 * 1024;

export function d1CatalogStore(d1: D1Database): CatalogStore {
  const db = drizzle(d1);
  const { server_id: _, ...columns } = getTableColumns(serverTools);

  /** Each decision makes it greater. */
  const decidedOf = (serverId: string) => sql<number>`(SELECT COUNT(*) FROM tool_changes
    WHERE server_id = ${serverId} AND decided_at IS NOT NULL)`;

  const heldChange = sql<string | null>`(SELECT change_id FROM tool_changes AS c
    WHERE c.server_id = ${serverTools.server_id} AND c.tool = ${serverTools.tool} AND c.state = 'held')`;

  const raiseGeneration = () =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(eq(generations.org_id, "*"));

  /** Whether a server still is what a discovery started from; no row when not. */
  const unchanged = ({
    server_id,
    server_url,
    connection_type,
    tool_mode,
    decided,
  }: Parameters<CatalogStore["apply"]>[0]) => sql`SELECT 1 FROM servers
      WHERE server_id = ${server_id} AND server_url = ${server_url} AND connection_type = ${connection_type}
        AND enabled AND status = 'active'
        AND tool_mode = ${tool_mode} AND ${decidedOf(server_id)} = ${decided}`;

  const upsert = (serverId: string, rows: readonly ToolRow[], withPolicy: boolean) =>
    db
      .insert(serverTools)
      .select(
        sql`SELECT ${serverId}, value ->> 'tool', value ->> 'known', value ->> 'is_new', value ->> 'allowed', 0, NULL,
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

  const isOfVisible = (scope: string, serverId: string) =>
    sql`EXISTS (SELECT 1 FROM servers WHERE ${servers.server_id} = ${serverId} AND ${isVisibleTo(scope)})`;

  /** What the policy allows: every known tool, or those of the list. */
  const isAllowed = (serverId: string) => sql`${serverTools.known} AND EXISTS (SELECT 1 FROM servers
    WHERE ${servers.server_id} = ${serverId}
      AND (${servers.tool_mode} = 'all' OR (${servers.tool_mode} = 'list' AND ${serverTools.allowed})))`;

  /** PS-31: the tool only reads, or doing it twice is doing it once. */
  const isRepeatable = sql<number>`COALESCE('true' IN (
    json_type(${serverTools.approved_definition}, '$.annotations.readOnlyHint'),
    json_type(${serverTools.approved_definition}, '$.annotations.idempotentHint')), 0)`;

  /** A definition that may have an `x-mcp-header`, spelled with escapes or without; null for all others. */
  const ifAnnotated = (column: SQLWrapper) => sql<string | null>`CASE
    WHEN instr(${column}, 'x-mcp-header') > 0 OR ${column} GLOB '*\\u00[267]*' THEN ${column} END`;

  const withdraw = (changeIds: readonly string[]) =>
    db
      .update(toolChanges)
      .set({ state: "withdrawn" })
      .where(sql`${toolChanges.change_id} IN (SELECT value FROM json_each(${JSON.stringify(changeIds)}))`);

  const addChanges = (found: readonly ToolChange[]) =>
    db.insert(toolChanges).select(
      sql`SELECT value ->> 'change_id', value ->> 'server_id', value ->> 'tool', value ->> 'approved',
          value ->> 'proposed', value ->> 'proposed_hash', value ->> 'state', value ->> 'found_at',
          value ->> 'decided_at', value ->> 'decided_by'
        FROM json_each(${JSON.stringify(found)})`,
    );

  const credentials = sql<number>`COALESCE((SELECT value FROM ${credentialGenerations} AS c WHERE c.org_id = generations.org_id), 0)`;
  const selectGenerations = (orgId: string) =>
    db
      .select({ org_id: generations.org_id, value: generations.value, credentials })
      .from(generations)
      .where(inArray(generations.org_id, ["*", orgId]));
  const generationFrom = (
    orgId: string,
    rows: readonly { org_id: string; value: number; credentials: number }[],
  ): Generation => ({
    registry: rows.find(({ org_id }) => org_id === "*")?.value ?? 0,
    org: rows.find(({ org_id }) => org_id === orgId)?.value ?? 0,
    credentials: rows.reduce((sum, row) => sum + row.credentials, 0),
  });

  return withOutages<CatalogStore>({
    async stored(serverId) {
      const [rows, changes, [server]] = await db.batch([
        db.select(columns).from(serverTools).where(eq(serverTools.server_id, serverId)),
        db
          .select()
          .from(toolChanges)
          .where(and(eq(toolChanges.server_id, serverId), inArray(toolChanges.state, ["held", "refused"])))
          .orderBy(desc(toolChanges.found_at)),
        db
          .select({
            definition_policy: servers.definition_policy,
            instructions: servers.instructions,
            approved_instructions: servers.approved_instructions,
            decided: decidedOf(serverId),
          })
          .from(servers)
          .where(eq(servers.server_id, serverId)),
      ]);
      // Of what was refused only the latest counts: a definition that comes back after another is reported again.
      const seen = new Set<string>();
      const open = changes.flatMap(({ change_id, tool, proposed_hash, state }): OpenChange[] => {
        if (state !== "held" && (state !== "refused" || seen.has(tool))) return [];
        if (state === "refused") seen.add(tool);
        return [{ change_id, tool, proposed_hash, state }];
      });
      return server === undefined ? null : { rows, changes: open, ...server };
    },

    async list(scope, serverId, allowedOnly, { page, page_size }) {
      const ofServer = and(
        eq(serverTools.server_id, serverId),
        isOfVisible(scope, serverId),
        allowedOnly ? isAllowed(serverId) : undefined,
      );
      const [rows, [total]] = await db.batch([
        db
          .select({ ...columns, pending_change_id: heldChange })
          .from(serverTools)
          .where(ofServer)
          .orderBy(asc(serverTools.tool))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(serverTools).where(ofServer),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async tool(scope, serverId, name) {
      const [row] = await db
        .select({ ...columns, pending_change_id: heldChange })
        .from(serverTools)
        .where(and(eq(serverTools.server_id, serverId), eq(serverTools.tool, name), isOfVisible(scope, serverId)));
      return row ?? null;
    },

    async approved(serverIds) {
      const { server_id, tool, known, approved_definition } = serverTools;
      return db
        .select({ server_id, tool, definition: sql<string>`${approved_definition}` })
        .from(serverTools)
        .where(
          and(
            // One parameter for all ids: a statement takes a hundred at most.
            sql`${server_id} IN (SELECT value FROM json_each(${JSON.stringify(serverIds)}))`,
            eq(known, true),
            isNotNull(approved_definition),
          ),
        )
        .orderBy(asc(server_id), asc(tool));
    },

    async apply(start, merge, seen) {
      const { server_id, tool_mode } = start;
      const found = { ...seen, ...merge.instructions, tool_mode: merge.tool_mode };
      const state = { state: "connected" as const, last_failure: null, ...found };
      // An explicit policy is the admin's: a discovery writes flags only where it is the one that fills them.
      const fillsPolicy = tool_mode !== merge.tool_mode;
      // A discovery that finds everything as it was must not empty the caches of every isolate (B.5).
      const isNew =
        merge.rows.length > 0 ||
        Object.entries(found).some(([key, value]) => start[key as keyof typeof found] !== value);
      try {
        await db.batch([
          // Breaks the batch, by a null where none may be.
          db.insert(generations).select(sql`SELECT NULL, 0 WHERE NOT EXISTS (${unchanged(start)})`),
          db.update(servers).set(state).where(eq(servers.server_id, server_id)),
          ...(isNew ? [raiseGeneration()] : []),
          ...chunksOf(merge.rows).map((rows) => upsert(server_id, rows, fillsPolicy)),
          withdraw(merge.withdrawn),
          ...chunksOf(merge.found).map(addChanges),
        ]);
        return true;
      } catch (cause) {
        if ((await db.all(unchanged(start))).length > 0) throw cause;
        return false;
      }
    },

    async generationOf(orgId) {
      return generationFrom(orgId, await selectGenerations(orgId));
    },

    async definitions(orgId, tools) {
      const [rows, found] = await db.batch([
        selectGenerations(orgId),
        db
          .select({
            server_id: serverTools.server_id,
            tool: serverTools.tool,
            definition: sql<string>`${serverTools.approved_definition}`,
          })
          .from(sql`json_each(${JSON.stringify(tools)}) AS wanted`)
          .innerJoin(
            serverTools,
            sql`${serverTools.server_id} = wanted.value ->> 0 AND ${serverTools.tool} = wanted.value ->> 1`,
          )
          .innerJoin(servers, eq(servers.server_id, serverTools.server_id))
          .where(and(isNotNull(serverTools.approved_definition), isVisibleTo(orgId))),
      ]);
      return { generation: generationFrom(orgId, rows), definitions: found };
    },

    async read(orgId) {
      const isVisible = isVisibleTo(orgId);
      const [rows, records, tools] = await db.batch([
        selectGenerations(orgId),
        db.select().from(servers).where(isVisible).orderBy(asc(servers.name_key)),
        db
          .select({
            server_id: serverTools.server_id,
            tool: serverTools.tool,
            allowed: serverTools.allowed,
            auto: serverTools.auto,
            price_nano: serverTools.price_nano,
            approved_hash: sql<string>`${serverTools.approved_hash}`,
            repeatable: isRepeatable,
            annotated: ifAnnotated(serverTools.approved_definition),
            is_held: sql<number>`${serverTools.definition_hash} IS NOT ${serverTools.approved_hash}`,
            held: sql<
              string | null
            >`CASE WHEN ${serverTools.definition_hash} IS NOT ${serverTools.approved_hash} THEN ${ifAnnotated(serverTools.definition)} END`,
          })
          .from(serverTools)
          .where(
            and(
              eq(serverTools.known, true),
              isNotNull(serverTools.approved_definition),
              inArray(serverTools.server_id, db.select({ id: servers.server_id }).from(servers).where(isVisible)),
            ),
          )
          .orderBy(asc(serverTools.server_id), asc(serverTools.tool)),
      ]);
      const withoutKey = ({ name_key: _, ...record }: (typeof records)[number]): ServerRecord => record;
      return { generation: generationFrom(orgId, rows), servers: records.map(withoutKey), tools: tools.map(compiled) };
    },
  });
}

/** A tool of the snapshot: what its definitions say of headers in the place of their texts. */
function compiled({
  annotated,
  is_held,
  held,
  ...tool
}: Omit<CatalogTool, "param_headers"> & {
  readonly annotated: string | null;
  readonly is_held: number;
  readonly held: string | null;
}): CatalogTool {
  if (annotated === null && held === null) return tool;
  const headersIn = (definition: string | null) => (definition === null ? [] : paramHeadersOf(definition));
  const param_headers = headersIn(annotated);
  return { ...tool, param_headers, ...(is_held === 1 ? { live_param_headers: headersIn(held) } : {}) };
}

/** What an upsert takes over from the row that was in the way. */
function excluded(...columns: (keyof ToolRow)[]) {
  return Object.fromEntries(columns.map((column) => [column, sql.raw(`excluded.${column}`)]));
}

function chunksOf<T extends object>(rows: readonly T[]): T[][] {
  const chunks: T[][] = [];
  let length = CHUNK_LENGTH;
  for (const row of rows) {
    const size = JSON.stringify(row).length;
    if (length + size > CHUNK_LENGTH) {
      chunks.push([]);
      length = 0;
    }
    chunks.at(-1)?.push(row);
    length += size;
  }
  return chunks;
}
