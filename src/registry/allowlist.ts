/** What the Worker may reach, and the events that say when that changed (RG-15, RG-25). Pure. */
import { portOf } from "../platform/address.ts";
import type { NewId } from "../platform/ids.ts";
import { ISSUER_FIELDS } from "./oauth-fields.ts";
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
  /** The server itself, or its authorization server. */
  readonly purpose: "mcp_runtime" | "mcp_oauth";
}

/** What the allowlist is made of. */
export type ReachedServer = Pick<ServerRecord, "name" | "server_url" | "enabled" | (typeof ISSUER_FIELDS)[number]>;

/** Host and port of each enabled server and of its OAuth endpoints, in lower case, each once; sorted by source. */
export function allowlistOf(servers: readonly ReachedServer[]): AllowlistEntry[] {
  const entries = new Map<string, AllowlistEntry>();
  const enabled = servers
    .filter((server) => server.enabled)
    .map((server) => ({ ...server, source: `mcp:${server.name.toLowerCase()}` }));
  for (const { source, server_url, ...server } of enabled.toSorted((a, b) => (a.source < b.source ? -1 : 1))) {
    add(server_url, { source, purpose: "mcp_runtime" });
    for (const field of ISSUER_FIELDS) add(server[field], { source, purpose: "mcp_oauth" });
  }
  return [...entries.values()];

  function add(text: string | null, what: Pick<AllowlistEntry, "source" | "purpose">): void {
    if (text === null || text === "") return;
    const url = new URL(text);
    const [host, port] = [url.hostname, portOf(url)];
    const key = `${what.purpose} ${host}:${port}`;
    if (!entries.has(key)) entries.set(key, { host, port, protocol: "tcp", ...what });
  }
}
