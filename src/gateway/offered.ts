/** What a door offers besides tools: at a server's door what its server has said it can do (protocol.md 1.2). */
import { admitServer } from "../access/admission.ts";
import type { Server } from "../catalog/snapshot.ts";
import type { JsonObject } from "../connector/exchange.ts";
import type { Era } from "../connector/revisions.ts";
import { isObject } from "../platform/json-value.ts";
import { GATEWAY } from "../registry/inprocess.ts";
import { type DoorRequest, serverOfDoor } from "./request.ts";
import { TASKS } from "./task-handles.ts";

/** Requests that go on to the server of a server's door, and the capability that each needs. */
export const FORWARDED: Readonly<Record<string, string>> = {
  "prompts/list": "prompts",
  "prompts/get": "prompts",
  "resources/list": "resources",
  "resources/templates/list": "resources",
  "resources/read": "resources",
  "completion/complete": "completions",
};

/** The same of sessions: what they set is kept by the gateway as well. */
const OF_SESSIONS: Readonly<Record<string, string>> = {
  "logging/setLevel": "logging",
  "resources/subscribe": "resources",
  "resources/unsubscribe": "resources",
};

/** Tasks of the legacy era. A list of them is not offered: to a server, all that use one account may be one caller. */
const LEGACY_TASKS = ["tasks/get", "tasks/result", "tasks/cancel"];
/** The same of the modern one, where they are an extension. */
const MODERN_TASKS = ["tasks/get", "tasks/update", "tasks/cancel"];

/** What becomes of a method that every door does not answer by itself. */
export type Offer =
  | { readonly kind: "offered"; readonly server: Server; readonly ofSession: boolean }
  /** There is no such server for this caller. */
  | { readonly kind: "unknown" }
  | { readonly kind: "not offered" };

/** @param era Of the request. @param hasSession Whether it has a session of its own. */
export function offerOf(request: DoorRequest, method: string, era: Era, hasSession: boolean): Offer {
  const ofSession = hasSession && Object.hasOwn(OF_SESSIONS, method);
  const isOfTasks =
    (era === "modern" ? MODERN_TASKS : LEGACY_TASKS).includes(method) && (era === "modern" || hasSession);
  const needs = ofSession ? OF_SESSIONS[method] : Object.hasOwn(FORWARDED, method) ? FORWARDED[method] : undefined;
  if (request.slug === null || (needs === undefined && !isOfTasks)) return { kind: "not offered" };
  const server = visibleServer(request);
  if (server === null) return { kind: "unknown" };
  const capabilities = carried(server, era);
  const isOffered = needs === undefined ? hasTasks(capabilities, era) : needs in capabilities;
  return isOffered ? { kind: "offered", server, ofSession } : { kind: "not offered" };
}

/** The server of a server's door, as far as the caller may see it. */
export function visibleServer(request: DoorRequest): Server | null {
  const server = serverOfDoor(request);
  if (server === undefined) return null;
  return admitServer(request.principal, request.filters, server) === null ? server : null;
}

/** What a door says it can do. Tools are its own in any case: its lists change when the catalog does. */
export function capabilitiesOf(request: DoorRequest, era: Era): JsonObject {
  const server = visibleServer(request);
  return { ...(server === null ? {} : carried(server, era)), tools: { listChanged: true } };
}

/** The same at `/mcp` with what it offers of all servers, where the operator has turned that on (OT-1). */
export function doorCapabilities(request: DoorRequest, era: Era): JsonObject {
  const isAggregate = request.slug === null && request.services.config.aggregatesPromptsAndResources;
  return { ...(isAggregate ? { prompts: {}, resources: {}, completions: {} } : {}), ...capabilitiesOf(request, era) };
}

/** Of what a server has said, what reaches a client of that era in full: anything else would half-work (protocol.md 2.9). */
export function carried({ record }: Server, era: Era): JsonObject {
  // Of the built-in server everything is a tool (OT-1).
  if (record.capabilities === null || record.server_id === GATEWAY) return {};
  const stored: unknown = JSON.parse(record.capabilities);
  if (!isObject(stored)) return {};
  const { tasks, extensions, ...rest } = stored;
  if (record.era !== era) return rest;
  if (era === "modern") {
    return isObject(extensions) && TASKS in extensions ? { ...rest, extensions: { [TASKS]: extensions[TASKS] } } : rest;
  }
  if (!isObject(tasks)) return rest;
  const { list: _, ...some } = tasks;
  return { ...rest, tasks: some };
}

function hasTasks({ tasks, extensions }: JsonObject, era: Era): boolean {
  return era === "modern" ? isObject(extensions) && TASKS in extensions : tasks !== undefined;
}
