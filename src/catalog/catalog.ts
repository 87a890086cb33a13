/** The use cases of the catalog: what servers offer, and the snapshot that requests are decided from. */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import { isOrgAdmin } from "../identity/principal.ts";
import type { Clock } from "../platform/clock.ts";
import type { ColoCache } from "../platform/colo-cache.ts";
import { log } from "../platform/log.ts";
import type { TrustedMap } from "../platform/trusted.ts";
import { type Actor, EVERY_ORG, scopeOf } from "../registry/reach.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { NANO } from "../registry/tool-policy.ts";
import type { ApprovedDefinition, CatalogStore, ListedRow } from "./catalog.store.ts";
import type { ToolView } from "./catalog.wire.ts";
import type { ChangeStore } from "./changes.store.ts";
import { type ApprovedTool, approvedTool, factsOf } from "./definition.ts";
import { exposedName } from "./exposed-name.ts";
import { type ParamHeader, paramHeadersOf, readParamHeaders } from "./param-headers.ts";
import { compileSnapshot, type Generation, type Snapshot, type Tool } from "./snapshot.ts";
import type { ChangeState, Decision, ToolChange } from "./tool-change.ts";

export interface CatalogDeps {
  readonly store: CatalogStore & ChangeStore;
  /** The record of a server that somebody sees, or may change. @throws GatewayError `not_found`, `forbidden`, `read_only` */
  readonly serverFor: (actor: Actor, serverId: string, to: "see" | "edit") => Promise<ServerRecord>;
  /** What follows a committed write: this isolate forgets its snapshots. */
  readonly onWritten: () => void;
  readonly clock: Clock;
  readonly memory: TrustedMap<Snapshot>;
  readonly cache: ColoCache;
  readonly ttlMs: number;
}

/** How long a snapshot is of use to other isolates; the generation in its key says whether it is the present one. */
const CACHE_SECONDS = 60;

interface ChangeQuery extends PageQuery {
  readonly state?: ChangeState | undefined;
}

/** Keeps work alive after the answer. */
export type WaitUntil = (work: Promise<unknown>) => void;

export type Catalog = ReturnType<typeof createCatalog>;

export function createCatalog({ store, serverFor, onWritten, clock, memory, cache, ttlMs }: CatalogDeps) {
  async function confirm(orgId: string, former: Snapshot | undefined, waitUntil: WaitUntil): Promise<Snapshot> {
    const now = await store.generationOf(orgId);
    if (former !== undefined && isSame(former.generation, now)) {
      return former.generation.credentials === now.credentials ? former : { ...former, generation: now };
    }
    const cached = await cache.get(cacheKey(orgId, now));
    if (cached !== null) {
      const { servers, tools } = JSON.parse(cached) as Pick<Read, "servers" | "tools">;
      return compileSnapshot(orgId, now, servers, tools);
    }
    const { generation, servers, tools } = await store.read(orgId);
    waitUntil(cache.put(cacheKey(orgId, generation), JSON.stringify({ servers, tools }), CACHE_SECONDS));
    return compileSnapshot(orgId, generation, servers, tools);
  }

  function snapshotOf(orgId: string, waitUntil: WaitUntil): Promise<Snapshot> {
    return memory.get(orgId, ttlMs, (former) => confirm(orgId, former, waitUntil), waitUntil);
  }

  /** Held changes of a server, or one of them. */
  async function decideHeld(scope: string, serverId: string, changeId: string | null, decision: Decision) {
    const decided = await store.decide(scope, serverId, changeId, decision);
    if (decided.length > 0) onWritten();
    for (const { change_id } of decided) {
      log("info", "definition_decided", { server_id: serverId, change_id, state: decision.state, by: decision.by });
    }
    return decided;
  }

  return {
    /** The snapshot of an org, at most `SNAPSHOT_TTL_MS` behind the truth (PS-7). */
    snapshotOf,

    /** How often what an org's agents are served has been written, as text: of the registry, and of the org. */
    async generation(orgId: string): Promise<string> {
      const { registry, org } = await store.generationOf(orgId);
      return `${registry}.${org}`;
    },

    /** A snapshot that is read now: something else has shown that memory's copy is behind. */
    snapshotAnew(orgId: string, waitUntil: WaitUntil): Promise<Snapshot> {
      memory.delete(orgId);
      return snapshotOf(orgId, waitUntil);
    },

    /**
     * The approved definitions of tools of a snapshot, JSON texts as received, by tool; those that are gone are left
     * out.
     *
     * @returns Also whether they belong to the snapshot's generation; else they are newer.
     */
    async definitions({ org_id, generation }: Snapshot, tools: readonly Tool[]) {
      const byKey = new Map(tools.map((tool) => [JSON.stringify([tool.server.record.server_id, tool.name]), tool]));
      const read = await store.definitions(
        org_id,
        tools.map((tool) => [tool.server.record.server_id, tool.name] as const),
      );
      const texts = new Map<Tool, string>();
      for (const { server_id, tool: name, definition } of read.definitions) {
        const tool = byKey.get(JSON.stringify([server_id, name]));
        if (tool !== undefined) texts.set(tool, definition);
      }
      return { texts, isOfSnapshot: isSame(generation, read.generation) };
    },

    /** The known and named tools of a server, sorted by name; members see those they may call. */
    async tools(actor: Actor, serverId: string, query: PageQuery, waitUntil: WaitUntil): Promise<Page<ToolView>> {
      const record = await serverFor(actor, serverId, "see");
      const page = parsePage(query);
      const { rows, total } = await store.list(scopeOf(actor), serverId, !isOrgAdmin(actor), page);
      const snapshot = await snapshotOf(actor.org, waitUntil);
      const offered = snapshot.serversById.get(serverId)?.tools;
      return {
        rows: rows.map((row) => viewOf(record, row, offered?.get(row.tool)?.exposed_name)),
        total_rows: total,
        ...page,
        filters: {},
        sort: { by: "name", direction: "asc" },
      };
    },

    /** One of them, by the server's own name. @throws GatewayError `not_found` */
    async tool(actor: Actor, serverId: string, name: string, waitUntil: WaitUntil): Promise<ToolView> {
      const record = await serverFor(actor, serverId, "see");
      const row = await store.tool(scopeOf(actor), serverId, name);
      if (row === null) throw new GatewayError("not_found", "There is no such tool.");
      const snapshot = await snapshotOf(actor.org, waitUntil);
      const view = viewOf(record, row, snapshot.serversById.get(serverId)?.tools.get(name)?.exposed_name);
      if (!isOrgAdmin(actor) && !(view.known && view.allowed)) {
        throw new GatewayError("not_found", "There is no such tool.");
      }
      return view;
    },

    /** What a tool's latest definition, approved or not, says of `Mcp-Param-*` headers; null where it cannot be used. */
    async liveParamHeaders(orgId: string, serverId: string, name: string): Promise<readonly ParamHeader[] | null> {
      const row = await store.tool(orgId, serverId, name);
      return row === null || row.definition === null ? null : paramHeadersOf(row.definition);
    },

    /** The known tools of many servers, allowed or not, each list sorted by name (BF-40). */
    async approved(serverIds: readonly string[]): Promise<Map<string, ApprovedTool[]>> {
      const byServer = Map.groupBy(await store.approved(serverIds), ({ server_id }) => server_id);
      const toolsOf = (rows: readonly ApprovedDefinition[]) =>
        rows.map(({ tool, definition }) => approvedTool(tool, definition));
      return new Map(Array.from(byServer, ([id, rows]) => [id, toolsOf(rows)]));
    },

    /** Changes of a server's definitions, newest first. @throws GatewayError `not_found` */
    async changes(actor: Actor, serverId: string, query: ChangeQuery): Promise<Page<ToolChange>> {
      await serverFor(actor, serverId, "see");
      const page = parsePage(query);
      const { rows, total } = await store.changes(scopeOf(actor), serverId, query.state ?? null, page);
      const filters = query.state === undefined ? {} : { state: query.state };
      return { rows, total_rows: total, ...page, filters, sort: { by: "found_at", direction: "desc" } };
    },

    /**
     * Puts a held change in force, or keeps what is.
     *
     * @throws GatewayError `not_found`, `forbidden`; `conflict` for a change that is not held any more (PS-22)
     */
    async decide(actor: Actor, serverId: string, changeId: string, state: Decision["state"]): Promise<ToolChange> {
      await serverFor(actor, serverId, "edit");
      const scope = scopeOf(actor);
      const [decided] = await decideHeld(scope, serverId, changeId, { state, by: actor.id, at: clock() });
      if (decided !== undefined) return decided;
      const change = await store.change(scope, serverId, changeId);
      if (change === null) throw new GatewayError("not_found", "There is no such change.");
      throw new GatewayError("conflict", `This change is ${change.state} already.`);
    },

    /** The same for every held change of a server; none is no error. @throws GatewayError `not_found`, `forbidden` */
    async decideAll(actor: Actor, serverId: string, state: Decision["state"]): Promise<ToolChange[]> {
      await serverFor(actor, serverId, "edit");
      return decideHeld(scopeOf(actor), serverId, null, { state, by: actor.id, at: clock() });
    },

    /** Approves every held change of a server that somebody has just declared trusted (PS-22). */
    async approveHeld(serverId: string, by: string): Promise<void> {
      await decideHeld(EVERY_ORG, serverId, null, { state: "approved", by, at: clock() });
    },
  };
}

type Read = Awaited<ReturnType<CatalogStore["read"]>>;

function cacheKey(orgId: string, { registry, org }: Generation): string {
  return JSON.stringify(["snapshot", orgId, registry, org]);
}

function isSame(a: Generation, b: Generation): boolean {
  return a.registry === b.registry && a.org === b.org;
}

/** @param exposed The name on `/mcp`; a tool that is not offered has the one it would have. */
function viewOf(record: ServerRecord, row: ListedRow, exposed = exposedName(record.name, row.tool)): ToolView {
  const facts = factsOf(row.approved_definition ?? "{}");
  const headers = readParamHeaders(facts.input_schema);
  const allowed = record.tool_mode === "all" || (record.tool_mode === "list" && row.allowed);
  return {
    name: row.tool,
    ...facts,
    server_id: record.server_id,
    exposed_name: exposed,
    allowed,
    auto_execute: allowed && (record.auto_all || row.auto),
    price_usd: row.price_nano === null ? null : row.price_nano / NANO,
    known: row.known,
    is_new: row.is_new,
    definition_hash: row.approved_hash,
    header_problem: headers.ok ? null : headers.problem,
    pending_change_id: row.pending_change_id,
  };
}
