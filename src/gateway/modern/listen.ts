/** `subscriptions/listen`: changes of lists and resources for a modern client, for as long as it stays (protocol.md 2.6). */
import type { Server } from "../../catalog/snapshot.ts";
import type { Received } from "../../connector/exchange.ts";
import { kindOf } from "../../connector/notices.ts";
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import { messageResponse } from "../answer.ts";
import type { ClientMessage } from "../client-message.ts";
import { type NoticeSource, streamNotices } from "../notice-stream.ts";
import { capabilitiesOf, visibleServer } from "../offered.ts";
import type { DoorRequest, Place } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";
import { askAs, listenerNotices, sessionNotices } from "../server-notices.ts";

const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";
/** Resources of one listener. */
const MAX_RESOURCES = 1_000;

/** What a listener is told of; left out means no. */
interface Filter {
  readonly toolsListChanged?: true;
  readonly promptsListChanged?: true;
  readonly resourcesListChanged?: true;
  readonly resourceSubscriptions?: readonly string[];
}

export async function serveListen(request: DoorRequest, message: ClientMessage, place: Place): Promise<Response> {
  const { slug, accepts, services, principal } = request;
  const id = message.id ?? "null";
  const refuse = (text: string) => messageResponse(errorText({ code: -32602, message: text }, id), 200, accepts);
  const asked = readFilter(message.params["notifications"]);
  if (asked === null) return refuse("notifications must name what is to be listened to, and at most 1000 resources.");
  const server = slug === null ? null : visibleServer(request);
  if (slug !== null && server === null) return refuse(`Unknown server: ${slug}`);
  const honoured = admitted(request, asked);
  const source = server === null ? null : await sourceOf(request, place, server, honoured);
  const owner = { org_id: principal.org, user_id: principal.id };
  const stamped = (text: string) => stamp(text, id);
  const acknowledged = {
    jsonrpc: "2.0",
    method: "notifications/subscriptions/acknowledged",
    params: { notifications: honoured },
  };
  const meta = `{"io.modelcontextprotocol/serverInfo":${JSON.stringify(POSTERN)},"${SUBSCRIPTION}":${id}}`;
  return streamNotices(request, {
    source,
    opening: [stamped(JSON.stringify(acknowledged))],
    shape(received) {
      const kind = kindOf(received);
      if (kind === "toolsListChanged" && server !== null) {
        request.waitUntil(services.toolCalls.rediscover(server.record, owner).catch(() => undefined));
      }
      return kind !== null && isWanted(honoured, kind) ? stamped(received.text) : null;
    },
    changed: honoured.toolsListChanged === true ? stamped(TOOLS_CHANGED) : null,
    closing: resultText(`{"resultType":"complete","_meta":${meta}}`, id),
  });
}

const TOOLS_CHANGED = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';

function readFilter(given: unknown): Filter | null {
  if (!isObject(given)) return null;
  const uris = given["resourceSubscriptions"];
  if (uris !== undefined && !(Array.isArray(uris) && uris.every((uri) => typeof uri === "string"))) return null;
  if (Array.isArray(uris) && uris.length > MAX_RESOURCES) return null;
  return {
    ...(given["toolsListChanged"] === true ? { toolsListChanged: true } : {}),
    ...(given["promptsListChanged"] === true ? { promptsListChanged: true } : {}),
    ...(given["resourcesListChanged"] === true ? { resourcesListChanged: true } : {}),
    ...(uris === undefined ? {} : { resourceSubscriptions: uris }),
  };
}

/** What of it is told at this door. */
function admitted(request: DoorRequest, asked: Filter): Filter {
  const { prompts, resources } = capabilitiesOf(request);
  const { toolsListChanged, promptsListChanged, resourcesListChanged, resourceSubscriptions } = asked;
  return {
    ...(toolsListChanged ? { toolsListChanged } : {}),
    ...(promptsListChanged && prompts !== undefined ? { promptsListChanged } : {}),
    ...(resourcesListChanged && resources !== undefined ? { resourcesListChanged } : {}),
    ...(resourceSubscriptions !== undefined && resources !== undefined ? { resourceSubscriptions } : {}),
  };
}

function isWanted(filter: Filter, kind: NonNullable<ReturnType<typeof kindOf>>): boolean {
  if (typeof kind === "string") return filter[kind] === true;
  return filter.resourceSubscriptions?.includes(kind.uri) ?? false;
}

/** Where a server's notices come from; a server that gives none is no reason to refuse those of the catalog. */
async function sourceOf(
  request: DoorRequest,
  place: Place,
  server: Server,
  honoured: Filter,
): Promise<NoticeSource | null> {
  const { era, server_id } = server.record;
  if (Object.keys(honoured).length === 0) return null;
  if (era === "modern") return listenerNotices(request, place, server, JSON.stringify(honoured));
  const ask = era === null ? null : await askAs(request, place, server);
  if (ask === null) return null;
  const uris = honoured.resourceSubscriptions ?? [];
  return sessionNotices(request, place, { serverId: server_id, ask, uris, isOnly: false });
}

/** A notice with the name of the subscription that it is for. @param id JSON text. */
function stamp(text: string, id: string): string {
  const params = memberOf(text, 0, "params");
  const own = `{"${SUBSCRIPTION}":${id}}`;
  if (params === undefined) return applyEdits(text, editMembers(text, 0, { params: `{"_meta":${own}}` }));
  const meta = memberOf(text, params.valueStart, "_meta");
  const edits =
    meta === undefined || text[meta.valueStart] !== "{"
      ? editMembers(text, params.valueStart, { _meta: own })
      : editMembers(text, meta.valueStart, { [SUBSCRIPTION]: id });
  return applyEdits(text, edits);
}

/** The same notice for a client that knows no subscriptions; null for what belongs to them alone. */
export function withoutSubscription({ text, value }: Received): string | null {
  if (value["method"] === "notifications/subscriptions/acknowledged") return null;
  const params = memberOf(text, 0, "params");
  const meta = params === undefined ? undefined : memberOf(text, params.valueStart, "_meta");
  if (meta === undefined || text[meta.valueStart] !== "{") return text;
  return applyEdits(text, editMembers(text, meta.valueStart, {}, [SUBSCRIPTION]));
}
