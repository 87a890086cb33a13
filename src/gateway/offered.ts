/** What a door offers besides tools: at a server's door what its server has said it can do (protocol.md 1.2). */
import { admitServer } from "../access/admission.ts";
import type { Server } from "../catalog/snapshot.ts";
import type { JsonObject } from "../connector/exchange.ts";
import { isObject } from "../platform/json-value.ts";
import { GATEWAY } from "../registry/inprocess.ts";
import { type DoorRequest, serverOfDoor } from "./request.ts";

/** Requests that go on to the server of a server's door, and the capability that each needs. */
const FORWARDED: Readonly<Record<string, string>> = {
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

/** Capabilities of another protocol than the one that is carried: they would half-work (protocol.md 2.9). */
const NOT_CARRIED = ["tasks", "extensions"];

/** What becomes of a method that every door does not answer by itself. */
export type Offer =
  | { readonly kind: "offered"; readonly server: Server; readonly ofSession: boolean }
  /** There is no such server for this caller. */
  | { readonly kind: "unknown" }
  | { readonly kind: "not offered" };

/** @param hasSessions Whether the era of the request has them. */
export function offerOf(request: DoorRequest, method: string, hasSessions: boolean): Offer {
  const ofSession = hasSessions && Object.hasOwn(OF_SESSIONS, method);
  const needs = Object.hasOwn(FORWARDED, method) ? FORWARDED[method] : ofSession ? OF_SESSIONS[method] : undefined;
  if (request.slug === null || needs === undefined) return { kind: "not offered" };
  const server = visibleServer(request);
  if (server === null) return { kind: "unknown" };
  return needs in storedCapabilities(server) ? { kind: "offered", server, ofSession } : { kind: "not offered" };
}

/** The server of a server's door, as far as the caller may see it. */
export function visibleServer(request: DoorRequest): Server | null {
  const server = serverOfDoor(request);
  if (server === undefined) return null;
  return admitServer(request.principal, request.filters, server) === null ? server : null;
}

/** What a door says it can do. Tools are its own in any case: its lists change when the catalog does. */
export function capabilitiesOf(request: DoorRequest): JsonObject {
  const server = visibleServer(request);
  return { ...(server === null ? {} : storedCapabilities(server)), tools: { listChanged: true } };
}

function storedCapabilities({ record }: Server): JsonObject {
  // Of the built-in server everything is a tool (OT-1).
  if (record.capabilities === null || record.server_id === GATEWAY) return {};
  const stored: unknown = JSON.parse(record.capabilities);
  const carried = isObject(stored) ? Object.entries(stored).filter(([key]) => !NOT_CARRIED.includes(key)) : [];
  return Object.fromEntries(carried);
}
