/** `tools/list`: answered from the snapshot, without contact to any server (P-11, P-12, R-16). */
import { admit, admitServer } from "../access/admission.ts";
import { shownDefinition } from "../catalog/definition.ts";
import type { ListedTool, Server, Snapshot } from "../catalog/snapshot.ts";
import type { Era } from "../connector/revisions.ts";
import type { KeyPrincipal } from "../identity/principal.ts";
import { base64Url, fromBase64 } from "../platform/ids.ts";
import type { ClientMessage } from "./client-message.ts";
import { type DoorRequest, serverOfDoor } from "./request.ts";

/** Tools of one page. */
const PAGE_SIZE = 1_000;
/** Compiled views that a snapshot keeps; a further one is compiled for its request only. */
const MAX_VIEWS = 1_000;

export type ToolPage =
  /** The members of the result, JSON text without braces. */
  { readonly ok: true; readonly members: string } | { readonly ok: false; readonly message: string };

/** One page of the tools that a principal may call at this door, sorted by name; at `/mcp` under exposed names. */
export function listTools(request: DoorRequest, era: Era, { params }: ClientMessage): ToolPage {
  const { snapshot, principal, slug } = request;
  const { cursor } = params;
  const server = serverOfDoor(request);
  // One wording for a server that is not there and one that the caller may not see (P-5).
  if (slug !== null && admitServer(principal, server) !== null)
    return { ok: false, message: `Unknown server: ${slug}` };
  const after = cursor === undefined ? null : nameOf(cursor);
  if (after === undefined) return { ok: false, message: "cursor is not one that this list gave." };
  const all = viewOf(snapshot, principal, era, server ?? null);
  const from = after === null ? 0 : all.findIndex(({ name }) => name > after);
  const page = from === -1 ? [] : all.slice(from, from + PAGE_SIZE);
  const last = page.at(-1);
  const hasMore = last !== undefined && from + PAGE_SIZE < all.length;
  const next = hasMore ? `,"nextCursor":${JSON.stringify(cursorOf(last.name))}` : "";
  return { ok: true, members: `"tools":[${page.map(({ shown }) => shown).join(",")}]${next}` };
}

function viewOf(snapshot: Snapshot, principal: KeyPrincipal, era: Era, server: Server | null): readonly ListedTool[] {
  const view = `${server?.record.server_id ?? "*"} ${era} ${principal.id}`;
  const held = snapshot.lists.get(view);
  if (held !== undefined) return held;
  const tools = server === null ? snapshot.tools.values() : server.tools.values();
  const listed: ListedTool[] = [];
  for (const tool of tools) {
    if (!admit(principal, tool.server, tool).allowed) continue;
    const name = server === null ? tool.exposed_name : tool.name;
    listed.push({
      name,
      shown: shownDefinition(tool.definition, { name, auto_execute: tool.auto_execute, objectsOnly: era === "legacy" }),
    });
  }
  listed.sort((a, b) => (a.name < b.name ? -1 : 1));
  if (snapshot.lists.size < MAX_VIEWS) snapshot.lists.set(view, listed);
  return listed;
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
