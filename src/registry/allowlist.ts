/** What the Worker may reach, and the events that say when that changed (RG-15, RG-25). Pure. */
import { portOf } from "../platform/address.ts";
import type { NewId } from "../platform/ids.ts";
import type { ServerRecord } from "./server-record.ts";

export type WriteMode = "create" | "update" | "delete";

/** A request to bring the allowlist up to date; consumers drop those they have seen, by `event_id`. */
export interface AllowlistEvent {
  readonly event_id: string;
  readonly reason: "mcp_server_registry_created" | "mcp_server_registry_updated" | "mcp_server_registry_deleted";
  readonly resource_type: "mcp_server";
  readonly target: string;
  readonly mode: WriteMode;
  readonly server_id: string;
  readonly created_at: number;
}

const REASONS = {
  create: "mcp_server_registry_created",
  update: "mcp_server_registry_updated",
  delete: "mcp_server_registry_deleted",
} as const;

/** @param server As it is after the write; for a deletion, as it was. */
export function allowlistEvent(
  mode: WriteMode,
  { server_id, name }: Pick<ServerRecord, "server_id" | "name">,
  { now, newId }: { readonly now: number; readonly newId: NewId },
): AllowlistEvent {
  return {
    event_id: newId("evt"),
    reason: REASONS[mode],
    resource_type: "mcp_server",
    target: name,
    mode,
    server_id,
    created_at: now,
  };
}

export interface AllowlistEntry {
  readonly host: string;
  readonly port: number;
  readonly protocol: "tcp";
  /** `mcp:<name>`; the first by name where several servers share an endpoint. */
  readonly source: string;
  readonly purpose: "mcp_runtime";
}

/** Host and port of each enabled server, in lower case, each once; sorted by source. */
export function allowlistOf(
  servers: readonly Pick<ServerRecord, "name" | "server_url" | "enabled">[],
): AllowlistEntry[] {
  const entries = new Map<string, AllowlistEntry>();
  const enabled = servers
    .filter((server) => server.enabled && server.server_url !== "")
    .map(({ name, server_url }) => ({ name: name.toLowerCase(), server_url }));
  for (const { name, server_url } of enabled.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const url = new URL(server_url);
    const { hostname } = url;
    const number = portOf(url);
    const key = `${hostname}:${number}`;
    if (entries.has(key)) continue;
    entries.set(key, { host: hostname, port: number, protocol: "tcp", source: `mcp:${name}`, purpose: "mcp_runtime" });
  }
  return [...entries.values()];
}
