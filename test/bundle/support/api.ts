/** What the tests ask of the JSON API. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Gateway } from "./gateway.ts";

export interface RegisteredServer {
  readonly server_id: string;
  readonly name: string;
  readonly connection_type: string;
}

/** Registers a server that must be connected by then. */
export async function registerServer(gateway: Gateway, name: string, server_url: string): Promise<RegisteredServer> {
  const server = await post<RegisteredServer & { state: string }>(gateway, "/v1/servers", { name, server_url });
  if (server.state !== "connected") throw new Error(`${name} is not connected: ${JSON.stringify(server)}`);
  return server;
}

export interface VirtualKey {
  readonly virtual_key_id: string;
  /** What a client presents. */
  readonly value: string;
}

/** The server that is part of the gateway. */
export const BUILT_IN = { server_id: "gateway" };

/** Makes a virtual key for all tools of some servers; for the built-in ones only where that server is among them. */
export function createKey(
  gateway: Gateway,
  ...servers: readonly Pick<RegisteredServer, "server_id">[]
): Promise<VirtualKey> {
  const granted = servers.map(({ server_id }) => ({ server_id, tools_to_execute: ["*"] }));
  const without = servers.includes(BUILT_IN) ? [] : [{ ...BUILT_IN, tools_to_execute: [] }];
  return post(gateway, "/v1/virtual-keys", {
    name: `bundle ${crypto.randomUUID()}`,
    servers: [...granted, ...without],
  });
}

/** A row of the call log, as far as the tests look at it. */
export interface Call {
  readonly id: string;
  readonly server: string | null;
  readonly tool: string;
  readonly door: string;
  readonly ok: boolean;
  readonly error: string | null;
  readonly session_id: string | null;
  readonly attempts: number;
}

const ROWS_MS = 5_000;

/** The calls of a key, oldest first, once there are as many as expected; whatever there is if that never happens. */
export async function calls(gateway: Gateway, key: VirtualKey, expected: number): Promise<Call[]> {
  const deadline = Date.now() + ROWS_MS;
  for (;;) {
    const response = await gateway.admin("GET", `/v1/calls?page_size=100&virtual_key_id=${key.virtual_key_id}`);
    if (response.status !== 200) throw new Error(`GET /v1/calls answered ${response.status}: ${await response.text()}`);
    const { rows } = (await response.json()) as { rows: Call[] };
    if (rows.length >= expected || Date.now() > deadline) return rows.reverse();
    await sleep(100);
  }
}

export async function post<T>(gateway: Gateway, path: string, body: unknown): Promise<T> {
  const response = await gateway.admin("POST", path, body);
  const text = await response.text();
  if (response.status !== 201) throw new Error(`POST ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}
