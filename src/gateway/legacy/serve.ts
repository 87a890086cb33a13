/** Serving legacy clients: rungs 3.4 of protocol.md, with sessions and without. */

import { randomToken } from "../../platform/ids.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import { defaultSessionName, type SessionFacts } from "../../sessions/session.ts";
import { messageResponse } from "../answer.ts";
import { serveToolCall } from "../call-door.ts";
import type { ClientMessage } from "../client-message.ts";
import { introduce } from "../introduce.ts";
import type { DoorRequest } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";
import { listTools } from "../tool-list.ts";
import { legacyClient, linkingLegacyClient } from "./client-side.ts";

/** The legacy revisions that are served, oldest first; HTTP+SSE is not one for clients (protocol.md 1.1). */
const REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25"];
const LATEST = "2025-11-25";
const SESSION_HEADER = "Mcp-Session-Id";
/** What a session id of ours looks like: 192 random bits. */
const SESSION_ID = /^ses_[A-Za-z0-9_-]{32}$/;

/** @param message A request, or a notification. */
export async function serveLegacy(request: DoorRequest, message: ClientMessage): Promise<Response> {
  const sessionHeader = request.headers.get(SESSION_HEADER);
  if (message.method === "initialize" && message.id !== null) {
    if (sessionHeader !== null)
      return refuse(request, 400, -32600, "initialize must not carry a session id.", message.id);
    return initialize(request, message);
  }
  const versionRefusal = refuseVersion(request, message.id);
  if (versionRefusal !== null) return versionRefusal;
  const session = await findSession(request, sessionHeader);
  if (session === "unknown") return refuse(request, 404, -32600, "There is no such session.", message.id);
  // What a client tells needs no answer, and nothing that is offered depends on it.
  if (message.id === null) return new Response(null, { status: 202 });
  return serveRequest(request, message, message.id, session);
}

/** 3.4.7: no door takes batches. */
export function serveBatch(request: DoorRequest): Response {
  return (
    refuseVersion(request, null) ??
    refuse(request, 400, -32600, "A batch is not accepted; send each message alone.", null)
  );
}

/** 3.4.8: a response that nobody waits for. */
export async function serveResponse(request: DoorRequest): Promise<Response> {
  const versionRefusal = refuseVersion(request, null);
  if (versionRefusal !== null) return versionRefusal;
  const session = await findSession(request, request.headers.get(SESSION_HEADER));
  if (session === "unknown") return refuse(request, 404, -32600, "There is no such session.", null);
  return new Response(null, { status: 202 });
}

/** 3.4.9: no door has a stream of its own; a client goes on without (protocol.md 4.2). */
export function serveGet(): Response {
  return new Response(null, { status: 405, headers: { Allow: "POST, DELETE" } });
}

/** 3.4.10: ends the session, here and at the servers that it was bridged to. */
export async function serveDelete(request: DoorRequest): Promise<Response> {
  const header = request.headers.get(SESSION_HEADER);
  if (header === null) return new Response(null, { status: 405, headers: { Allow: "POST" } });
  const session = await findSession(request, header);
  if (session === "unknown" || session === null) return refuse(request, 404, -32600, "There is no such session.", null);
  await request.services.sessions.end(session.id);
  return new Response(null, { status: 204 });
}

interface ClientSession {
  readonly id: string;
  readonly facts: SessionFacts;
}

/** The session that a header names: null without one, "unknown" for another principal's or door's as for none (P-66). */
async function findSession(request: DoorRequest, header: string | null): Promise<ClientSession | null | "unknown"> {
  if (header === null) return null;
  if (!SESSION_ID.test(header)) return "unknown";
  const { principal, door, services, waitUntil } = request;
  const facts = await services.sessions.facts(header, waitUntil);
  if (facts === null || facts.principal_id !== principal.id || facts.org_id !== principal.org) return "unknown";
  return facts.door === door ? { id: header, facts } : "unknown";
}

async function initialize(request: DoorRequest, message: ClientMessage): Promise<Response> {
  const { principal, door, services } = request;
  const id = message.id ?? "null";
  const asked = message.params["protocolVersion"];
  if (typeof asked !== "string") return refuse(request, 200, -32602, "protocolVersion must be a string.", id);
  const revision = REVISIONS.includes(asked) ? asked : LATEST;
  const sessionId = `ses_${randomToken(24)}`;
  const takes_links = revision === LATEST && takesLinks(message.params["capabilities"]);
  await services.sessions.open(sessionId, {
    principal_id: principal.id,
    org_id: principal.org,
    door,
    revision,
    takes_links,
  });
  const instructions = await introduce(request);
  const result = {
    protocolVersion: revision,
    capabilities: { tools: {} },
    serverInfo: POSTERN,
    ...(instructions === null ? {} : { instructions }),
  };
  const headers = { [SESSION_HEADER]: sessionId };
  return messageResponse(resultText(JSON.stringify(result), id), 200, request.accepts, headers);
}

/** Whether a client says that it shows links to a person; before 2025-11-25 there is no such word. */
function takesLinks(capabilities: unknown): boolean {
  const elicitation = isObject(capabilities) ? capabilities["elicitation"] : undefined;
  return isObject(elicitation) && isObject(elicitation["url"]);
}

async function serveRequest(
  request: DoorRequest,
  message: ClientMessage,
  id: string,
  session: ClientSession | null,
): Promise<Response> {
  const { principal, accepts } = request;
  switch (message.method) {
    case "ping":
      return messageResponse(resultText("{}", id), 200, accepts);
    case "tools/list": {
      const page = await listTools(request, "legacy", message);
      if (!page.ok) return refuse(request, 200, -32602, page.message, id);
      return messageResponse(resultText(`{${page.members}}`, id), 200, accepts);
    }
    case "tools/call": {
      const name = session?.id ?? defaultSessionName(principal.org, principal.id);
      const side = session?.facts.takes_links === true ? linkingLegacyClient : legacyClient;
      return serveToolCall(request, side, message, { name, id: session?.id ?? null });
    }
    default:
      return refuse(request, 200, -32601, "This method is not offered here.", id);
  }
}

/** 3.4.3: a version header must name a served legacy revision. */
function refuseVersion(request: DoorRequest, id: string | null): Response | null {
  const version = request.headers.get("MCP-Protocol-Version")?.trim();
  if (version === undefined || REVISIONS.includes(version)) return null;
  return refuse(request, 400, -32600, `MCP-Protocol-Version must be one of ${REVISIONS.join(", ")}.`, id);
}

function refuse({ accepts }: DoorRequest, status: number, code: number, message: string, id: string | null): Response {
  return messageResponse(errorText({ code, message }, id), status, accepts);
}
