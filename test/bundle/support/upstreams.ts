/** The servers of the matrix, with a call that each can answer and one that fails. */
import { type ClientKind, v1OverSse, v2Auto, v2Legacy, withClient } from "./clients.ts";
import { startModernServer } from "./modern-server.ts";
import { startReference } from "./reference.ts";
import type { Running } from "./running.ts";
import {
  type ServerProcess,
  startEverything,
  startEverythingBehindMcpProxy,
  startEverythingBehindSupergateway,
  startEverythingOverSse,
  startFiles,
  startMemory,
} from "./server-process.ts";

interface ToolArgs {
  readonly tool: string;
  readonly args: Record<string, unknown>;
}

export interface Upstream {
  readonly label: string;
  /** Under which it is registered. */
  readonly name: string;
  readonly eras: readonly ("legacy" | "modern")[];
  /** What asks it directly, where the clients of the matrix can not. */
  readonly direct?: ClientKind;
  /** Its answer is the same each time. */
  readonly good: ToolArgs;
  /** The server answers with a result that says `isError`. */
  readonly failing: ToolArgs;
  start(): Promise<Running & { readonly url: string }>;
}

/** One server for each way in which eras can be had. */
export const UPSTREAMS_BY_ERA: readonly Upstream[] = [
  {
    label: "server-everything, a legacy server",
    name: "every-thing",
    eras: ["legacy"],
    good: { tool: "get-sum", args: { a: 2, b: 40 } },
    failing: { tool: "get-structured-content", args: { location: "Atlantis" } },
    start: () => startEverything(),
  },
  {
    label: "server-memory behind mcp-proxy, a server of both eras",
    name: "memory",
    eras: ["legacy", "modern"],
    good: { tool: "search_nodes", args: { query: "Ada" } },
    failing: { tool: "add_observations", args: { observations: [{ entityName: "nobody", contents: ["absent"] }] } },
    start: startMemoryWithAda,
  },
  {
    label: "a server of the v2 SDK, modern only",
    name: "Ledger2",
    eras: ["modern"],
    good: { tool: "add", args: { a: 2, b: 40 } },
    failing: { tool: "overdraw", args: { amount: 12 } },
    start: () => startModernServer(),
  },
];

export const UPSTREAMS: readonly Upstream[] = [
  ...UPSTREAMS_BY_ERA,
  {
    label: "the reference server, of both eras",
    name: "reference",
    eras: ["legacy", "modern"],
    good: { tool: "test_multiple_content_types", args: {} },
    failing: { tool: "test_error_handling", args: {} },
    start: startDualReference,
  },
  {
    label: "server-everything over HTTP+SSE",
    name: "old-thing",
    eras: ["legacy"],
    direct: v1OverSse,
    good: { tool: "get-sum", args: { a: 2, b: 40 } },
    failing: { tool: "get-structured-content", args: { location: "Atlantis" } },
    start: () => startEverythingOverSse(),
  },
  {
    label: "server-filesystem behind supergateway, a legacy server without sessions",
    name: "files",
    eras: ["legacy"],
    good: { tool: "read_text_file", args: { path: "ada.txt" } },
    failing: { tool: "read_text_file", args: { path: "nobody.txt" } },
    start: () => startFiles({ "ada.txt": "writes programs\n" }),
  },
];

/** A server, with calls during which something goes on. */
export interface LiveUpstream extends Pick<Upstream, "label" | "name" | "eras" | "direct" | "start"> {
  /** Reports progress three times at least. */
  readonly progressing: ToolArgs;
  /** Asks the user by a form; or why the server has no such tool for anybody. */
  readonly eliciting: ToolArgs | string;
  /** Reports progress soon, and takes longer than a test waits for anything. */
  readonly slow: ToolArgs;
}

const OF_EVERYTHING = {
  progressing: { tool: "trigger-long-running-operation", args: { duration: 0.15, steps: 3 } },
  eliciting: { tool: "trigger-elicitation-request", args: {} },
  slow: { tool: "trigger-long-running-operation", args: { duration: 20, steps: 100 } },
} as const;

export const LIVE_UPSTREAMS: readonly LiveUpstream[] = [
  {
    ...OF_EVERYTHING,
    label: "server-everything, a legacy server",
    name: "every-thing",
    eras: ["legacy"],
    start: () => startEverything(),
  },
  {
    label: "the reference server, of both eras",
    name: "reference",
    eras: ["legacy", "modern"],
    progressing: { tool: "test_tool_with_progress", args: {} },
    eliciting: { tool: "test_elicitation", args: { message: "Who are you?" } },
    slow: { tool: "slow_compute", args: { seconds: 1_000 } },
    start: startDualReference,
  },
  {
    ...OF_EVERYTHING,
    label: "server-everything behind mcp-proxy, a server of both eras",
    name: "proxied",
    eras: ["legacy", "modern"],
    // It tells the program behind it that it can not show forms.
    eliciting: "mcp-proxy does not pass on what the program behind it asks for",
    start: startEverythingBehindMcpProxy,
  },
  {
    ...OF_EVERYTHING,
    label: "server-everything behind supergateway, a legacy server",
    name: "super",
    eras: ["legacy"],
    start: startEverythingBehindSupergateway,
  },
  {
    ...OF_EVERYTHING,
    label: "server-everything over HTTP+SSE",
    name: "old-thing",
    eras: ["legacy"],
    direct: v1OverSse,
    start: () => startEverythingOverSse(),
  },
];

async function startDualReference(): Promise<Running & { readonly url: string }> {
  const { both, logs, stop } = await startReference();
  return { url: both, logs, stop };
}

/** The client to ask a server directly: the same one, where the two share an era. */
export function directClient(client: ClientKind, { eras, direct }: Pick<Upstream, "eras" | "direct">): ClientKind {
  if (direct !== undefined) return direct;
  return client === v2Auto || eras.includes(client.era) ? client : v2Auto;
}

async function startMemoryWithAda(): Promise<ServerProcess> {
  const server = await startMemory();
  const entity = { name: "Ada", entityType: "person", observations: ["writes programs"] };
  try {
    await withClient(v2Legacy, server.url, {}, (direct) => direct.call("create_entities", { entities: [entity] }));
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The doors to a server, and what each puts before the names of its tools. */
export function doorsOf(name: string): { readonly path: string; readonly prefix: string }[] {
  return [
    { path: "/mcp", prefix: `${name}__` },
    { path: `/mcp/${name}`, prefix: "" },
  ];
}
