/**
 * The org snapshot: everything a request needs to know about servers and tools, compiled once per generation and kept
 * in the isolate. The hot path reads this and no store.
 */
import { GATEWAY } from "../registry/inprocess.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { exposedNames } from "./exposed-name.ts";
import type { ParamHeader } from "./param-headers.ts";

/** A tool as the hot path sees it: which definition is approved, and the policy in force. */
export interface Tool {
  /** The server's own name. */
  readonly name: string;
  readonly exposed_name: string;
  readonly allowed: boolean;
  /** May run without the user's approval (BF-61). */
  readonly auto_execute: boolean;
  /** Nano-dollars of a call that succeeds. */
  readonly price_nano: number;
  /** Of the approved definition. Its text is read when it is to be shown (`Catalog.definitions`). */
  readonly definition_hash: string;
  /** A call may be sent again although it may have been executed, as the approved definition says (PS-31). */
  readonly repeatable: boolean;
  /** What the approved definition says of `Mcp-Param-*`; null: it breaks a rule, and modern clients lack the tool. */
  readonly param_headers: readonly ParamHeader[] | null;
  /** The same of the latest definition, which is the one that the server goes by. */
  readonly live_param_headers: readonly ParamHeader[] | null;
  readonly server: Server;
}

export interface Server {
  readonly record: ServerRecord;
  /** Known tools by their own name. */
  readonly tools: ReadonlyMap<string, Tool>;
}

/** Which state of the registry and of the org something was made from. */
export interface Generation {
  readonly registry: number;
  readonly org: number;
  /** Of upstream credentials; nothing in a snapshot depends on it, leases do. */
  readonly credentials: number;
}

export interface Snapshot {
  readonly org_id: string;
  readonly generation: Generation;
  /** By slug in lower case. Servers that are off are in it too, so that a refusal knows its reason. */
  readonly servers: ReadonlyMap<string, Server>;
  readonly serversById: ReadonlyMap<string, Server>;
  /** By exposed name. */
  readonly tools: ReadonlyMap<string, Tool>;
}

/** A tool of the catalog that the last discovery knew. */
export interface CatalogTool {
  readonly server_id: string;
  readonly tool: string;
  readonly allowed: boolean;
  readonly auto: boolean;
  readonly price_nano: number | null;
  readonly approved_hash: string;
  /** SQLite's word for true and false. */
  readonly repeatable: number;
  /** Of the approved definition; left out where it says nothing of headers. */
  readonly param_headers?: readonly ParamHeader[] | null;
  /** Of the latest definition; left out where it says the same. */
  readonly live_param_headers?: readonly ParamHeader[] | null;
}

/** Roughly, how much of an isolate's memory a snapshot takes, in tools. */
export function weightOf({ tools, servers }: Snapshot): number {
  return tools.size + 4 * servers.size;
}

/** Whether a tool is one of the gateway's own. */
export function isBuiltIn({ server }: Tool): boolean {
  return server.record.server_id === GATEWAY;
}

const NONE: readonly ParamHeader[] = [];

/** Compiles what the stores hold. Pure. */
export function compileSnapshot(
  org_id: string,
  generation: Generation,
  records: readonly ServerRecord[],
  catalog: readonly CatalogTool[],
): Snapshot {
  const building = new Map(records.map((record) => [record.server_id, { record, tools: new Map<string, Tool>() }]));
  const known = catalog.flatMap((row) => {
    const server = building.get(row.server_id);
    return server === undefined ? [] : [{ ...row, owner: server, server: server.record.name }];
  });
  const names = exposedNames(known);
  const tools = new Map<string, Tool>();
  known.forEach(({ owner, ...row }, at) => {
    const { tool_mode, auto_all } = owner.record;
    const allowed = tool_mode === "all" || (tool_mode === "list" && row.allowed);
    const { param_headers = NONE, live_param_headers = param_headers } = row;
    const tool: Tool = {
      name: row.tool,
      // Bare (PS-29): no name of another server's tool is without its server, or without a hash.
      exposed_name: row.server_id === GATEWAY ? row.tool : (names[at] ?? ""),
      allowed,
      auto_execute: allowed && (auto_all || row.auto),
      price_nano: row.price_nano ?? 0,
      definition_hash: row.approved_hash,
      repeatable: row.repeatable === 1,
      param_headers,
      live_param_headers,
      server: owner,
    };
    owner.tools.set(tool.name, tool);
    tools.set(tool.exposed_name, tool);
  });
  const servers = [...building.values()];
  return {
    org_id,
    generation,
    servers: new Map(servers.map((server) => [server.record.name.toLowerCase(), server])),
    serversById: building,
    tools,
  };
}
