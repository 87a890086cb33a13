/** Serving a modern request that has passed the ladder: rungs 3.3.9 and on. */

import type { JsonObject } from "../../connector/exchange.ts";
import { ASKING } from "../../connector/server-request.ts";
import { canonicalJson } from "../../platform/canonical-json.ts";
import { sha256Hex } from "../../platform/hash.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import { serveAggregated } from "../aggregate/serve.ts";
import { isAggregated } from "../aggregate/servers.ts";
import { messageResponse } from "../answer.ts";
import { serveServerRequest, serveToolCall } from "../call-door.ts";
import type { ClientMessage } from "../client-message.ts";
import { introduce } from "../introduce.ts";
import { isLogLevel } from "../log-level.ts";
import { doorCapabilities, offerOf } from "../offered.ts";
import { type DoorRequest, type Place, placeWithoutSession } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";
import { TASKS } from "../task-handles.ts";
import { listTools } from "../tool-list.ts";
import { modernClient } from "./client-side.ts";
import { CAPABILITIES, LOG_LEVEL, REVISION } from "./ladder.ts";
import { serveListen } from "./listen.ts";
import { ASKING_METHODS } from "./relay-input.ts";

const META = JSON.stringify({ "io.modelcontextprotocol/serverInfo": POSTERN });

/** What is offered at every door; the others are judged by their server. */
const OWN_METHODS = ["server/discover", "tools/list", "tools/call", "subscriptions/listen"];

/** @param message A request whose envelope and headers have been checked. */
export async function serveModern(request: DoorRequest, message: ClientMessage): Promise<Response> {
  const { accepts, services } = request;
  const id = message.id ?? "null";
  const result = (members: string) =>
    messageResponse(resultText(`{"resultType":"complete",${members},"_meta":${META}}`, id), 200, accepts);
  const refuse = (status: number, code: number, text: string, data?: Readonly<Record<string, unknown>>) =>
    messageResponse(errorText({ code, message: text, ...(data === undefined ? {} : { data }) }, id), status, accepts);
  // Lists depend on the caller's rights, so nobody else may be served from a cached one (P-10).
  const cache = `"ttlMs":${services.config.snapshotTtlMs},"cacheScope":"private"`;

  if (OWN_METHODS.includes(message.method) && hasWrongLevel(message)) {
    return refuse(200, -32602, "The log level is not known.");
  }
  switch (message.method) {
    case "server/discover":
      return result(
        `"supportedVersions":["${REVISION}"],"capabilities":${JSON.stringify(doorCapabilities(request, "modern"))},${instructionsMember(await introduce(request))}${cache}`,
      );
    case "tools/list": {
      const page = await listTools(request, "modern", message);
      return page.ok ? result(`${page.members},${cache}`) : refuse(200, -32602, page.message);
    }
    case "tools/call":
      return serveToolCall(request, modernClient, message, placeOf(request, message));
    case "subscriptions/listen": {
      if (!accepts.sse) return refuse(200, -32602, "Listening takes a client that accepts text/event-stream.");
      return serveListen(request, message, placeOf(request, message));
    }
    default: {
      if (isAggregated(request, message.method)) {
        if (hasWrongLevel(message)) return refuse(200, -32602, "The log level is not known.");
        return serveAggregated(request, modernClient, message, placeOf(request, message));
      }
      const offer = offerOf(request, message.method, "modern", false);
      if (offer.kind === "not offered") return refuse(404, -32601, "This method is not offered here.");
      if (offer.kind === "unknown") return refuse(200, -32602, `Unknown server: ${request.slug}`);
      if (message.method.startsWith("tasks/") && !declaresTasks(message)) {
        const data = { requiredCapabilities: { extensions: { [TASKS]: {} } } };
        return refuse(400, -32021, "A request about tasks must declare that it knows them.", data);
      }
      if (hasWrongLevel(message)) return refuse(200, -32602, "The log level is not known.");
      return serveServerRequest(request, modernClient, message, placeOf(request, message), offer.server);
    }
  }
}

/** Rung 3.3.14: a method of an extension is for those who say that they know it (protocol.md 2.8). */
function declaresTasks({ meta }: ClientMessage): boolean {
  const { extensions } = meta[CAPABILITIES] as JsonObject;
  return isObject(extensions) && isObject(extensions[TASKS]);
}

function hasWrongLevel({ meta }: ClientMessage): boolean {
  return meta[LOG_LEVEL] !== undefined && !isLogLevel(meta[LOG_LEVEL]);
}

/**
 * What a client can be asked is said with each request, and to a legacy server with a session: so clients that can be
 * asked the same share one.
 */
function placeOf({ principal }: DoorRequest, { meta, method }: ClientMessage): Place {
  const place = placeWithoutSession(principal);
  const declared = meta[CAPABILITIES] as JsonObject;
  const capabilities = Object.fromEntries(
    ASKING.filter((key) => isObject(declared[key])).map((key) => [key, declared[key]]),
  );
  if (Object.keys(capabilities).length === 0) return place;
  const name = `${place.name}~${sha256Hex(canonicalJson(capabilities)).slice(0, 16)}`;
  const asks = ASKING_METHODS.includes(method) ? "parked" : "refused";
  return { ...place, upstream: { name, client: { capabilities }, asks } };
}

function instructionsMember(text: string | null): string {
  return text === null ? "" : `"instructions":${JSON.stringify(text)},`;
}
