/** One page of prompts or resources over all servers: asked of them now, put together by server name. */
import type { Server } from "../../catalog/snapshot.ts";
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { POSTERN } from "../../platform/version.ts";
import { untraced } from "../../telemetry/call-trace.ts";
import { contextOf } from "../../telemetry/trace-context.ts";
import { messageResponse } from "../answer.ts";
import { type ClientMessage, readShape } from "../client-message.ts";
import type { ClientSide } from "../client-side.ts";
import type { UpstreamDeps } from "../perform.ts";
import type { DoorRequest, Place } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";
import { callServer } from "../server-call.ts";
import { askAll } from "./ask-all.ts";
import { type Continued, cursorOf, readCursor } from "./cursor.ts";
import { readPage, type ServerPage } from "./rewrite.ts";
import { LISTS, serversFor } from "./servers.ts";

/** Names the servers whose part is missing. */
const LEFT_OUT = "dev.postern/left_out";

export async function serveList(
  request: DoorRequest,
  side: ClientSide,
  message: ClientMessage,
  place: Place,
): Promise<Response> {
  const { accepts, services, signal, waitUntil } = request;
  const id = message.id ?? "null";
  const list = LISTS[message.method] ?? "resources";
  const { cursor } = message.params;
  const more = cursor === undefined ? null : readCursor(cursor);
  if (cursor !== undefined && more === null) {
    const error = { code: -32602, message: "cursor is not one that this list gave." };
    return messageResponse(errorText(error, id), 200, accepts);
  }
  const servers = serversFor(request, message.method).filter(
    ({ record }) => more === null || more.some(({ serverId }) => serverId === record.server_id),
  );
  // Those that are known to be down come last, so that nobody waits in line behind them.
  const inTurn = servers.toSorted((a, b) => rankOf(a) - rankOf(b));
  const pages = await askAll(inTurn, askServer, { signal, waitUntil });
  const given = servers.map((server) => ({ server, page: pages[inTurn.indexOf(server)] ?? null }));

  const items = given.flatMap(({ page }) => page?.items ?? []);
  const next = cursorOf(
    given.flatMap(({ server, page }): Continued[] =>
      page === null || page.nextCursor === null ? [] : [{ serverId: server.record.server_id, cursor: page.nextCursor }],
    ),
  );
  const missing = given.filter(({ page }) => page === null).map(({ server }) => server.record.name);
  const members = [
    `"${list}":[${items.join(",")}]`,
    ...(next === null ? [] : [`"nextCursor":${JSON.stringify(next)}`]),
  ];
  const leftOut = missing.length === 0 ? {} : { [LEFT_OUT]: missing };
  if (side.inputRequired === "relayed") {
    const times = given.map(({ page }) => page?.ttlMs ?? 0);
    const ttlMs = Math.min(services.config.snapshotTtlMs, ...times);
    const meta = { "io.modelcontextprotocol/serverInfo": POSTERN, ...leftOut };
    members.unshift('"resultType":"complete"');
    members.push(`"ttlMs":${ttlMs},"cacheScope":"private","_meta":${JSON.stringify(meta)}`);
  } else if (missing.length > 0) members.push(`"_meta":${JSON.stringify(leftOut)}`);
  return messageResponse(resultText(`{${members.join(",")}}`, id), 200, accepts);

  async function askServer(server: Server, left: AbortSignal): Promise<ServerPage | null> {
    const own = messageFor(message, more?.find(({ serverId }) => serverId === server.record.server_id)?.cursor ?? null);
    if (own === null) return null;
    const { principal, snapshot, self, headers } = request;
    const trace = untraced(contextOf({ meta: own.meta, headers }));
    const from = { trace, principal, self, headers, credentials: snapshot.generation.credentials, side, message: own };
    // Nobody is asked anything for a list, and nothing that comes before the answer is passed on.
    const upstream = { ...place.upstream, asks: "refused" as const };
    const at = {
      sessionName: place.name,
      sessionId: place.id,
      upstream,
      isResumable: false,
      hasTasks: false,
      left,
      waitUntil,
    };
    for await (const event of callServer(withoutLinks(services.toolCalls), { ...from, ...at }, server)) {
      if (event.kind === "response" && event.response.ok)
        return readPage(event.response.text, list, server.record.name);
    }
    return null;
  }
}

function rankOf({ record }: Server): number {
  return record.state === "connected" ? 0 : 1;
}

/** A server that lacks an account of the caller is left out: a list is no reason to make links for all of them. */
function withoutLinks(deps: UpstreamDeps): UpstreamDeps {
  return { ...deps, startLink: () => Promise.resolve(null) };
}

/** The client's request as one server is to get it: with the cursor that is that server's, and without a progress token. */
function messageFor({ text, at }: ClientMessage, cursor: string | null): ClientMessage | null {
  const put: Record<string, string> = cursor === null ? {} : { cursor: JSON.stringify(cursor) };
  const start = at.params?.valueStart;
  let own = text;
  if (start !== undefined) {
    const meta = memberOf(text, start, "_meta");
    if (meta !== undefined && text[meta.valueStart] === "{") {
      const bare = text.slice(meta.valueStart, meta.end);
      put["_meta"] = applyEdits(bare, editMembers(bare, 0, {}, ["progressToken"]));
    }
    own = applyEdits(text, editMembers(text, start, put, ["cursor"]));
  }
  const shape = readShape(own);
  return shape.kind === "message" ? shape.message : null;
}
