/** Sessions of legacy clients: how they begin, and whose they are (protocol.md 4.1). */
import { randomToken } from "../../platform/ids.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import type { SessionFacts } from "../../sessions/session.ts";
import { messageResponse } from "../answer.ts";
import type { ClientMessage } from "../client-message.ts";
import { introduce } from "../introduce.ts";
import { doorCapabilities } from "../offered.ts";
import { type DoorRequest, type Place, placeWithoutSession } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";

/** The legacy revisions that are served, oldest first; HTTP+SSE is not one for clients (protocol.md 1.1). */
const REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25"];
const LATEST = "2025-11-25";
/** The one revision that has batches; also that of a client that names none. */
export const WITH_BATCHES = "2025-03-26";
export const SESSION_HEADER = "Mcp-Session-Id";
/** What a session id of ours looks like: 192 random bits. */
const SESSION_ID = /^ses_[A-Za-z0-9_-]{32}$/;
/** Characters of what a client says of itself: servers are told of it with each session. */
const MAX_CLIENT = 16_000;

export interface ClientSession {
  readonly id: string;
  readonly facts: SessionFacts;
}

/** The session that a header names: null without one, "unknown" for another principal's or door's as for none (P-66). */
export async function findSession(request: DoorRequest): Promise<ClientSession | null | "unknown"> {
  const header = request.headers.get(SESSION_HEADER);
  if (header === null) return null;
  if (!SESSION_ID.test(header)) return "unknown";
  const { principal, door, services, waitUntil } = request;
  const facts = await services.sessions.facts(header, waitUntil);
  if (facts === null || facts.principal_id !== principal.id || facts.org_id !== principal.org) return "unknown";
  return facts.door === door ? { id: header, facts } : "unknown";
}

/** 3.4.1: begins a session, without contact to a server (P-24). */
export async function initialize(request: DoorRequest, message: ClientMessage): Promise<Response> {
  const { principal, door, services } = request;
  const id = message.id ?? "null";
  const { protocolVersion: asked, capabilities: declared, clientInfo } = message.params;
  if (typeof asked !== "string") return refuse(request, 200, -32602, "protocolVersion must be a string.", id);
  const revision = REVISIONS.includes(asked) ? asked : LATEST;
  const client = {
    revision,
    capabilities: isObject(declared) ? declared : {},
    ...(isObject(clientInfo) ? { clientInfo } : {}),
  };
  if (JSON.stringify(client).length > MAX_CLIENT) {
    return refuse(request, 200, -32602, `capabilities and clientInfo may have ${MAX_CLIENT} characters.`, id);
  }
  const sessionId = `ses_${randomToken(24)}`;
  const owner = { principal_id: principal.id, org_id: principal.org };
  await services.sessions.open(sessionId, { ...owner, door, revision, client });
  const instructions = await introduce(request);
  const result = {
    protocolVersion: revision,
    capabilities: doorCapabilities(request, "legacy"),
    serverInfo: POSTERN,
    ...(instructions === null ? {} : { instructions }),
  };
  const headers = { [SESSION_HEADER]: sessionId };
  return messageResponse(resultText(JSON.stringify(result), id), 200, request.accepts, headers);
}

/** Whether a client has said that it shows links to a person; before 2025-11-25 there is no such word (P-31). */
export function takesLinks({ revision, client }: SessionFacts): boolean {
  const elicitation = client.capabilities["elicitation"];
  return revision === LATEST && isObject(elicitation) && isObject(elicitation["url"]);
}

/** Where a request's state is kept. What servers ask comes on the stream of the request, where it may have one. */
export function placeOf({ principal, accepts }: DoorRequest, session: ClientSession | null): Place {
  if (session === null) return placeWithoutSession(principal);
  const { id, facts } = session;
  return { name: id, id, upstream: { name: id, client: facts.client, asks: accepts.sse ? "relayed" : "refused" } };
}

/** 3.4.3: a version header must name a served legacy revision. */
export function refuseVersion(request: DoorRequest, id: string | null): Response | null {
  const version = request.headers.get("MCP-Protocol-Version")?.trim();
  if (version === undefined || REVISIONS.includes(version)) return null;
  return refuse(request, 400, -32600, `MCP-Protocol-Version must be one of ${REVISIONS.join(", ")}.`, id);
}

/** 3.4.5: one wording for a session of somebody else and one that is no more. */
export function refuseSession(request: DoorRequest, id: string | null): Response {
  return refuse(request, 404, -32600, "There is no such session.", id);
}

export function refuse(
  { accepts }: Pick<DoorRequest, "accepts">,
  status: number,
  code: number,
  message: string,
  id: string | null,
): Response {
  return messageResponse(errorText({ code, message }, id), status, accepts);
}
