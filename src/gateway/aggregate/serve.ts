/**
 * Prompts, resources and completion of all servers at `/mcp`, where the operator has turned that on (OT-1). Lists are
 * asked of the servers as they are needed: only tools are in the catalog.
 */
import { cut } from "../../calls/call.ts";
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { messageResponse } from "../answer.ts";
import { serveServerRequest } from "../call-door.ts";
import { type ClientMessage, readShape } from "../client-message.ts";
import type { ClientSide } from "../client-side.ts";
import type { DoorRequest, Place } from "../request.ts";
import { type Owned, readPrompt, readUri } from "./exposed.ts";
import { serveList } from "./list.ts";
import { withExposedContents } from "./rewrite.ts";
import { LISTS, mayAsk } from "./servers.ts";

/** @param message Of a method that is aggregated here. */
export function serveAggregated(
  request: DoorRequest,
  side: ClientSide,
  message: ClientMessage,
  place: Place,
): Promise<Response> {
  if (Object.hasOwn(LISTS, message.method)) return serveList(request, side, message, place);
  const found = ownMessage(message);
  if (found === null) return refuse("The request does not say what it is about.");
  const { name, owned, own } = found;
  const server = owned === null ? undefined : request.snapshot.servers.get(owned.slug);
  // One wording for a server that is not there, one that the caller may not use, and one that has nothing of the kind.
  if (server === undefined || own === null || !mayAsk(request, server, message.method)) {
    return refuse(`Unknown ${found.kind}: ${cut(name)}`);
  }
  const isRead = message.method === "resources/read";
  const shown = isRead ? withExposedContents(side, server.record.name) : side;
  return serveServerRequest(request, shown, own, place, server);

  function refuse(text: string): Promise<Response> {
    const { text: body, status } = side.error({ code: -32602, message: text }, 200, message.id);
    return Promise.resolve(messageResponse(body, status, request.accepts));
  }
}

/** The request as its server is to get it, and what it is about; null when it is about nothing. */
function ownMessage(message: ClientMessage): {
  readonly kind: "prompt" | "resource";
  readonly name: string;
  readonly owned: Owned | null;
  readonly own: ClientMessage | null;
} | null {
  const { text, at, params, method } = message;
  const start = at.params?.valueStart;
  if (start === undefined) return null;
  const isRead = method === "resources/read";
  if (isRead || method === "prompts/get") return about(params, start, isRead ? "uri" : "name");
  const { ref } = params;
  const refAt = memberOf(text, start, "ref");
  if (!isObject(ref) || refAt === undefined) return null;
  if (ref["type"] === "ref/prompt") return about(ref, refAt.valueStart, "name");
  return ref["type"] === "ref/resource" ? about(ref, refAt.valueStart, "uri") : null;

  function about(holder: Readonly<Record<string, unknown>>, start: number, key: "name" | "uri") {
    const name = holder[key];
    if (typeof name !== "string") return null;
    const kind = key === "uri" ? ("resource" as const) : ("prompt" as const);
    const owned = key === "uri" ? readUri(name) : readPrompt(name);
    if (owned === null) return { kind, name, owned, own: null };
    const shape = readShape(applyEdits(text, editMembers(text, start, { [key]: JSON.stringify(owned.own) })));
    return { kind, name, owned, own: shape.kind === "message" ? shape.message : null };
  }
}
