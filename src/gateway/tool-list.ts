/** `tools/list`: answered from the snapshot and the catalog, without contact to any server (P-11, P-12, R-16). */
import { admit, admitServer } from "../access/admission.ts";
import { NO_FILTERS, type RequestFilters } from "../access/request-filters.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { shownDefinition } from "../catalog/definition.ts";
import type { Server, Snapshot, Tool } from "../catalog/snapshot.ts";
import type { Era } from "../connector/revisions.ts";
import type { Principal } from "../identity/principal.ts";
import type { Clock } from "../platform/clock.ts";
import type { ColoCache } from "../platform/colo-cache.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { base64Url, fromBase64 } from "../platform/ids.ts";
import type { ClientMessage } from "./client-message.ts";
import { type DoorRequest, serverOfDoor } from "./request.ts";

export interface ToolListDeps {
  readonly catalog: Pick<Catalog, "definitions">;
  /** Compiled pages by everything they depend on, weighed by their length. */
  readonly memory: ExpiringMap<string, string>;
  readonly cache: ColoCache;
  readonly clock: Clock;
}

/** Tools of one page. */
const PAGE_SIZE = 1_000;
/** How long an isolate keeps a page that nobody asks for; its generation says whether it is the present one. */
const KEEP_MS = 600_000;
/** CN-15. */
const CACHE_SECONDS = 60;

export type ToolPage =
  /** The members of the result, JSON text without braces. */
  { readonly ok: true; readonly members: string } | { readonly ok: false; readonly message: string };

/** One page of the tools that a principal may call at this door, sorted by name; at `/mcp` under exposed names. */
export async function listTools(request: DoorRequest, era: Era, { params }: ClientMessage): Promise<ToolPage> {
  const { snapshot, principal, filters, slug, waitUntil, services } = request;
  const { memory, cache, clock } = services.toolLists;
  const { cursor } = params;
  const server = serverOfDoor(request) ?? null;
  const refusal = slug === null ? null : admitServer(principal, filters, server ?? undefined);
  // One wording for a server that is not there and one that the caller may not see (P-5). What the caller itself has
  // left out is no secret: its list is empty.
  if (refusal !== null && refusal !== "filtered") return { ok: false, message: `Unknown server: ${slug}` };
  const after = cursor === undefined ? null : nameOf(cursor);
  if (after === undefined) return { ok: false, message: "cursor is not one that this list gave." };

  const { org_id, generation } = snapshot;
  const door = server === null ? "*" : server.record.server_id;
  const view = [principal.view, filters.view];
  const key = JSON.stringify(["tools", org_id, generation.registry, generation.org, ...view, door, era, after]);
  // There are as many filters as a client can think of: the colo's cache is not for them.
  const isShared = filters.view === NO_FILTERS.view;
  const held = memory.get(key) ?? (isShared ? await cache.get(key) : null);
  if (held !== null) {
    memory.set(key, held, clock() + KEEP_MS);
    return { ok: true, members: held };
  }
  const { members, isOfSnapshot } = await compilePage(services.toolLists, {
    snapshot,
    principal,
    filters,
    server,
    era,
    after,
  });
  if (isOfSnapshot) {
    memory.set(key, members, clock() + KEEP_MS);
    if (isShared) waitUntil(cache.put(key, members, CACHE_SECONDS));
  }
  return { ok: true, members };
}

async function compilePage(
  { catalog }: ToolListDeps,
  of: {
    snapshot: Snapshot;
    principal: Principal;
    filters: RequestFilters;
    server: Server | null;
    era: Era;
    after: string | null;
  },
): Promise<{ members: string; isOfSnapshot: boolean }> {
  const { snapshot, principal, filters, server, era, after } = of;
  const shownAs = (tool: Tool) => (server === null ? tool.exposed_name : tool.name);
  const tools: Tool[] = [];
  for (const tool of (server ?? snapshot).tools.values()) {
    if (after !== null && shownAs(tool) <= after) continue;
    if (era === "modern" && tool.param_headers === null) continue;
    if (admit(principal, filters, tool.server, tool).allowed) tools.push(tool);
  }
  tools.sort((a, b) => (shownAs(a) < shownAs(b) ? -1 : 1));
  const page = tools.slice(0, PAGE_SIZE);
  const { texts, isOfSnapshot } = await catalog.definitions(snapshot, page);
  const shown = page.flatMap((tool) => {
    const definition = texts.get(tool);
    if (definition === undefined) return [];
    const { auto_execute } = tool;
    return [shownDefinition(definition, { name: shownAs(tool), auto_execute, objectsOnly: era === "legacy" })];
  });
  const last = page.at(-1);
  const next =
    last === undefined || tools.length === page.length
      ? ""
      : `,"nextCursor":${JSON.stringify(cursorOf(shownAs(last)))}`;
  return { members: `"tools":[${shown.join(",")}]${next}`, isOfSnapshot };
}

function cursorOf(name: string): string {
  return base64Url(new TextEncoder().encode(name));
}

/** The name behind which a page begins; undefined for what is no cursor of ours. */
function nameOf(cursor: unknown): string | undefined {
  const bytes = typeof cursor !== "string" || cursor === "" ? null : fromBase64(cursor);
  if (bytes === null) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
