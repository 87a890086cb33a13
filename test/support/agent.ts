/** An agent with a virtual key, speaking to the doors of a test's gateway by hand. */
import { expect } from "vitest";
import type { TestGateway } from "./gateway.ts";
import { moveFrom } from "./rows.ts";

export interface Agent {
  readonly key: { readonly virtual_key_id: string; readonly value: string };
  /** Posts a body as it is. */
  post(path: string, body: BodyInit, headers?: Record<string, string>, signal?: AbortSignal): Promise<Response>;
  /** Posts a modern request with everything it needs; `meta` and `headers` override. */
  modern(
    path: string,
    method: string,
    params?: Record<string, unknown>,
    more?: {
      meta?: Record<string, unknown>;
      headers?: Record<string, string | undefined>;
      id?: unknown;
      signal?: AbortSignal;
    },
  ): Promise<Response>;
  /** Posts a legacy request. */
  legacy(path: string, method: string, params?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Opens a legacy session and returns the header that names it. */
  initialize(path: string, revision?: string): Promise<Record<string, string>>;
  /** The rows of the call log, newest first, after everything has been moved there. */
  rows(...sessionIds: string[]): Promise<Record<string, unknown>[]>;
}

let keys = 0;

/** What a key's rule says of one server. */
interface Assignment {
  readonly server_id: string;
  readonly tools_to_execute: readonly string[];
}

/** Lets a key use the tools that are part of the gateway. */
export const BUILT_IN: Assignment = { server_id: "gateway", tools_to_execute: ["*"] };
/** What they are called on `/mcp`, in the order of lists. */
export const BUILT_IN_NAMES = [
  ...["get_instruction", "list_instructions", "readme_agent"],
  ...["run_finish", "run_start", "set_instruction"],
];
/** Keeps a key from them. */
export const NOT_BUILT_IN: Assignment = { server_id: "gateway", tools_to_execute: [] };

/**
 * @param assigned What the key may use. Where it says nothing of the built-in tools the key has none, so that a test of
 *   other servers sees those alone.
 */
export async function createAgent(gateway: TestGateway, assigned: readonly Assignment[]): Promise<Agent> {
  const isSaid = assigned.some(({ server_id }) => server_id === "gateway");
  const servers = isSaid ? assigned : [...assigned, NOT_BUILT_IN];
  const created = await gateway.admin("POST", "/v1/virtual-keys", { name: `agent ${++keys}`, servers });
  expect(created.status).toBe(201);
  const key = await created.json<{ virtual_key_id: string; value: string }>();
  const post = (path: string, body: BodyInit, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    gateway.fetch(path, {
      method: "POST",
      body,
      ...(signal === undefined ? {} : { signal }),
      headers: { Authorization: `Bearer ${key.value}`, "Content-Type": "application/json", ...headers },
    });
  const legacy: Agent["legacy"] = (path, method, params = {}, headers = {}) =>
    post(path, JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }), headers);
  return {
    key,
    post,
    legacy,

    modern(path, method, params = {}, { meta = {}, headers = {}, id = 1, signal } = {}) {
      const _meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        ...meta,
      };
      const all = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        ...(typeof params["name"] === "string" ? { "Mcp-Name": params["name"] } : {}),
        ...headers,
      };
      const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
      const message = { jsonrpc: "2.0", id, method, params: { ...params, _meta } };
      return post(path, JSON.stringify(message), Object.fromEntries(given), signal);
    },

    async initialize(path, revision = "2025-11-25") {
      const clientInfo = { name: "agent", version: "1" };
      const response = await legacy(path, "initialize", { protocolVersion: revision, capabilities: {}, clientInfo });
      expect(response.status).toBe(200);
      return { "Mcp-Session-Id": response.headers.get("Mcp-Session-Id") ?? "", "MCP-Protocol-Version": revision };
    },

    async rows(...sessionIds) {
      await gateway.settled();
      for (const name of [`default:default:key:${key.virtual_key_id}`, ...sessionIds]) {
        await moveFrom(name);
      }
      const response = await gateway.admin("GET", `/v1/calls?virtual_key_id=${key.virtual_key_id}`);
      return (await response.json<{ rows: Record<string, unknown>[] }>()).rows;
    },
  };
}

/** Registers a server and gives an agent a key to all of its tools, and to what else is assigned. */
export async function agentOf(
  gateway: TestGateway,
  server: Record<string, unknown>,
  ...more: readonly Assignment[]
): Promise<Agent & { server_id: string }> {
  const created = await gateway.admin("POST", "/v1/servers", { server_url: "https://docs.example/mcp", ...server });
  expect(created.status).toBe(201);
  const { server_id } = await created.json<{ server_id: string }>();
  return { ...(await createAgent(gateway, [{ server_id, tools_to_execute: ["*"] }, ...more])), server_id };
}
