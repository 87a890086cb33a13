/** Serving legacy clients: rungs 3.4 of protocol.md, with sessions and without. */

import { serveAggregated } from "../aggregate/serve.ts";
import { isAggregated } from "../aggregate/servers.ts";
import { messageResponse } from "../answer.ts";
import { serveServerRequest, serveToolCall } from "../call-door.ts";
import { type ClientMessage, type ClientResponse, readShape } from "../client-message.ts";
import type { ClientSide } from "../client-side.ts";
import { isLogLevel } from "../log-level.ts";
import { offerOf } from "../offered.ts";
import type { DoorRequest } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";
import { askAs } from "../server-notices.ts";
import { listTools } from "../tool-list.ts";
import { clientOfSession, legacyClient } from "./client-side.ts";
import { takeNotification, takeResponse } from "./incoming.ts";
import {
  type ClientSession,
  findSession,
  initialize,
  placeOf,
  refuse,
  refuseSession,
  refuseVersion,
  SESSION_HEADER,
  takesLinks,
  WITH_BATCHES,
} from "./session.ts";

/** @param message A request, or a notification. */
export async function serveLegacy(request: DoorRequest, message: ClientMessage): Promise<Response> {
  if (message.method === "initialize" && message.id !== null) {
    return request.headers.has(SESSION_HEADER)
      ? refuse(request, 400, -32600, "initialize must not carry a session id.", message.id)
      : initialize(request, message);
  }
  const versionRefusal = refuseVersion(request, message.id);
  if (versionRefusal !== null) return versionRefusal;
  const session = await findSession(request);
  if (session === "unknown") return refuseSession(request, message.id);
  if (message.id !== null) return serveRequest(request, message, message.id, session);
  await takeNotification(request, session, message);
  return new Response(null, { status: 202 });
}

/** 3.4.8: a response, to a server or to the gateway. */
export async function serveResponse(request: DoorRequest, response: ClientResponse): Promise<Response> {
  const versionRefusal = refuseVersion(request, null);
  if (versionRefusal !== null) return versionRefusal;
  const session = await findSession(request);
  if (session === "unknown") return refuseSession(request, null);
  await takeResponse(request, session, response);
  return new Response(null, { status: 202 });
}

/** Messages of one batch. */
const MAX_BATCH = 50;

/** 3.4.7: each message of a batch on its own, as if it had come alone (P-27). */
export async function serveBatch(request: DoorRequest, elements: readonly string[]): Promise<Response> {
  const versionRefusal = refuseVersion(request, null);
  if (versionRefusal !== null) return versionRefusal;
  const session = await findSession(request);
  if (session === "unknown") return refuseSession(request, null);
  const revision = session?.facts.revision ?? request.headers.get("MCP-Protocol-Version")?.trim() ?? WITH_BATCHES;
  const shapes = elements.map(readShape);
  const isHandshake = shapes.some((shape) => shape.kind === "message" && shape.message.method === "initialize");
  if (revision !== WITH_BATCHES || isHandshake || elements.length > MAX_BATCH) {
    return refuse(request, 400, -32600, "A batch is not accepted here; send each message alone.", null);
  }
  // Nothing comes before the answers, so nothing can be asked on the way.
  const alone = { ...request, accepts: { json: true, sse: false } };
  const answers = await Promise.all(
    shapes.map(async (shape) => {
      switch (shape.kind) {
        case "refused":
          return errorText(shape.refusal.error, shape.refusal.id);
        case "response":
          return takeResponse(request, session, shape.response);
        case "message": {
          const { message } = shape;
          if (message.id === null) return takeNotification(request, session, message);
          return (await serveRequest(alone, message, message.id, session, whole)).text();
        }
        case "batch":
          return errorText({ code: -32600, message: "A batch must not hold another one." }, null);
      }
    }),
  );
  const texts = answers.filter((answer) => typeof answer === "string");
  if (texts.length === 0) return new Response(null, { status: 202 });
  return messageResponse(`[${texts.join(",")}]`, 200, request.accepts);
}

/** 3.4.10: ends the session, here and at the servers that it was bridged to. */
export async function serveDelete(request: DoorRequest): Promise<Response> {
  const session = await findSession(request);
  if (session === null) return new Response(null, { status: 405, headers: { Allow: "POST" } });
  if (session === "unknown") return refuseSession(request, null);
  await request.services.sessions.end(session.id);
  return new Response(null, { status: 204 });
}

/** The answers of a batch are put together, so that each has to be held. */
function whole({ edits: _, ...side }: ClientSide): ClientSide {
  return side;
}

async function serveRequest(
  request: DoorRequest,
  message: ClientMessage,
  id: string,
  session: ClientSession | null,
  sideOf = (side: ClientSide) => side,
): Promise<Response> {
  const { accepts, slug } = request;
  const side = sideOf(session === null ? legacyClient : clientOfSession(takesLinks(session.facts), slug === null));
  switch (message.method) {
    case "ping":
      return messageResponse(resultText("{}", id), 200, accepts);
    case "tools/list": {
      const page = await listTools(request, "legacy", message);
      if (!page.ok) return refuse(request, 200, -32602, page.message, id);
      return messageResponse(resultText(`{${page.members}}`, id), 200, accepts);
    }
    case "tools/call":
      return serveToolCall(request, side, message, placeOf(request, session));
    default: {
      if (isAggregated(request, message.method)) {
        return serveAggregated(request, side, message, placeOf(request, session));
      }
      const offer = offerOf(request, message.method, "legacy", session !== null);
      if (offer.kind === "not offered") return refuse(request, 200, -32601, "This method is not offered here.", id);
      if (offer.kind === "unknown") return refuse(request, 200, -32602, `Unknown server: ${slug}`, id);
      if (offer.ofSession && session !== null) {
        const refusal = await setInSession(request, message, session, offer.server);
        if (refusal !== null) return refuse(request, 200, -32602, refusal, id);
        // A modern server is told of it with each request, or by whoever listens to it.
        if (offer.server.record.era === "modern") return messageResponse(resultText("{}", id), 200, accepts);
      }
      return serveServerRequest(request, side, message, placeOf(request, session), offer.server);
    }
  }
}

/** What a session keeps of a request, besides what its server does. @returns Why it is refused; null when it is not. */
async function setInSession(
  request: DoorRequest,
  { method, params }: ClientMessage,
  session: ClientSession,
  server: Parameters<typeof askAs>[2],
): Promise<string | null> {
  const { sessions } = request.services;
  if (method === "logging/setLevel") {
    const { level } = params;
    if (!isLogLevel(level)) return "The log level is not known.";
    await sessions.setLevel(session.id, level);
    return null;
  }
  const { uri } = params;
  if (typeof uri !== "string") return "uri must be a string.";
  const ask = await askAs(request, placeOf(request, session), server);
  if (ask !== null) await sessions.follow(session.id, ask, uri, method === "resources/subscribe");
  return null;
}
