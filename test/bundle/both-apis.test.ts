/**
 * The life of a server through either API, with real servers and real clients: registered, listed, called at both doors,
 * changed, connected to anew and deleted.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, type VirtualKey } from "./support/api.ts";
import { type ClientKind, v1Client, v2Auto, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { labelled, running } from "./support/running.ts";
import { directClient, UPSTREAMS } from "./support/upstreams.ts";

const gateway = running("the gateway", startGateway);

/** What each API calls the same things. */
interface Api {
  readonly label: string;
  register(name: string, connection_type: string, url: string): Promise<string>;
  /** How it shows a server; null when there is none. */
  read(id: string): Promise<Shown | null>;
  /** Another name, and one tool only. */
  change(id: string, name: string, tool: string): Promise<void>;
  reconnect(id: string): Promise<void>;
  remove(id: string): Promise<void>;
}

interface Shown {
  readonly name: string;
  readonly connection_type: string;
  readonly state: string;
  /** Those it knows. */
  readonly tools: readonly string[];
  /** Those that may be executed. */
  readonly executable: readonly string[];
}

const BIFROST: Api = {
  label: "/api/mcp/client",
  async register(name, connection_type, connection_string) {
    const client_id = crypto.randomUUID();
    const open = { tools_to_execute: ["*"], allow_on_all_virtual_keys: true };
    const body = { client_id, name, connection_type, connection_string, ...open };
    expect(await ask("POST", "/api/mcp/client", body)).toEqual(done("MCP client connected successfully"));
    return client_id;
  },
  async read(id) {
    const { clients, ...envelope } = await ask<{ clients: Client[] }>("GET", "/api/mcp/clients");
    expect(envelope).toEqual({
      ...{ count: clients.length, total_count: clients.length, limit: clients.length, offset: 0 },
    });
    const client = clients.find(({ config }) => config.client_id === id);
    if (client === undefined) return null;
    const { config, tools, state } = client;
    const { name, connection_type, tools_to_execute } = config;
    const known = tools.map((tool) => tool.name);
    return {
      ...{ name, connection_type, state, tools: known },
      executable: tools_to_execute[0] === "*" ? known : tools_to_execute,
    };
  },
  async change(id, name, tool) {
    const body = { name, tools_to_execute: [tool], tools_to_auto_execute: ["*"], tool_pricing: { [tool]: 0.5 } };
    expect(await ask("PUT", `/api/mcp/client/${id}`, body)).toEqual(done("MCP client edited successfully"));
  },
  async reconnect(id) {
    const answer = await ask("POST", `/api/mcp/client/${id}/reconnect`);
    expect(answer).toEqual(done("MCP client reconnected successfully"));
  },
  async remove(id) {
    expect(await ask("DELETE", `/api/mcp/client/${id}`)).toEqual(done("MCP client removed successfully"));
    expect((await gateway().admin("DELETE", `/api/mcp/client/${id}`)).status).toBe(404);
  },
};

interface Client {
  readonly config: {
    readonly client_id: string;
    readonly name: string;
    readonly connection_type: string;
    readonly tools_to_execute: readonly string[];
  };
  readonly tools: readonly { readonly name: string }[];
  readonly state: string;
}

const NATIVE: Api = {
  label: "/v1/servers",
  async register(name, connection_type, server_url) {
    const open = { allowed_tools: ["*"], allow_on_all_virtual_keys: true };
    const body = { name, connection_type, server_url, ...open };
    return (await ask<{ server_id: string }>("POST", "/v1/servers", body, 201)).server_id;
  },
  async read(id) {
    const response = await gateway().admin("GET", `/v1/servers/${id}`);
    if (response.status === 404) return null;
    const { name, connection_type, state } = (await response.json()) as Shown;
    const { rows } = await ask<{ rows: { name: string; known: boolean; allowed: boolean }[] }>(
      "GET",
      `/v1/servers/${id}/tools?page_size=200`,
    );
    const named = (tools: typeof rows) => tools.map((tool) => tool.name);
    return {
      ...{ name, connection_type, state, tools: named(rows.filter(({ known }) => known)) },
      executable: named(rows.filter(({ allowed }) => allowed)),
    };
  },
  async change(id, name, tool) {
    const { modified, ...shown } = await ask<{ modified: string }>("PATCH", `/v1/servers/${id}`, {
      ...{ name, allowed_tools: { [tool]: true }, tools_to_auto_execute: ["*"], tool_pricing: { [tool]: 0.5 } },
    });
    expect(shown).toMatchObject({
      name,
      tool_mode: "list",
      tools_to_auto_execute: ["*"],
      tool_pricing: { [tool]: 0.5 },
    });
    expect(await ask("GET", `/v1/servers/${id}`)).toEqual({ ...shown, modified });
  },
  async reconnect(id) {
    expect(await ask("POST", `/v1/servers/${id}/reconnect`)).toMatchObject({ server_id: id, state: "connected" });
  },
  async remove(id) {
    expect(await ask("DELETE", `/v1/servers/${id}`)).toEqual({ deleted: true });
    expect((await gateway().admin("DELETE", `/v1/servers/${id}`)).status).toBe(404);
  },
};

const TYPES: Readonly<Record<string, string>> = { files: "http", "old-thing": "sse" };
const TARGETS = UPSTREAMS.filter(({ name }) => name in TYPES);

describe.each(labelled(TARGETS))("%s", (label, upstream) => {
  const server = running(label, upstream.start);
  const connection_type = TYPES[upstream.name] ?? "";
  const { tool, args } = upstream.good;
  let key: VirtualKey;
  let tools: string[];
  let result: unknown;
  beforeAll(async () => {
    // A key without any assignment: what it may use is what is there for all keys.
    key = await createKey(gateway());
    const direct = directClient(v1Client, upstream);
    [tools, result] = await withClient(direct, server().url, { isAskable: true }, async (client) => [
      (await client.toolNames()).sort(),
      await client.call(tool, args),
    ]);
  });

  const through = <T>(client: ClientKind, path: string, use: Parameters<typeof withClient<T>>[3]) =>
    withClient(client, `${gateway().url}${path}`, { key: key.value }, use);

  /** One tool at each door: what is listed, and that it answers as it does to those who ask the server itself. */
  async function expectServed(name: string, listed: readonly string[]): Promise<void> {
    for (const client of [v1Client, v2Auto]) {
      for (const [path, prefix] of [
        ["/mcp", `${name}__`],
        [`/mcp/${name}`, ""],
      ] as const) {
        await through(client, path, async (connection) => {
          expect(await connection.toolNames()).toEqual(listed.map((own) => `${prefix}${own}`).sort());
          expect(await connection.call(`${prefix}${tool}`, args)).toEqual(result);
        });
      }
    }
  }

  it.each(labelled([BIFROST, NATIVE]))(
    "is registered, called, changed, connected anew and deleted: %s",
    async (_, api) => {
      const { name } = upstream;
      const id = await api.register(name, connection_type, server().url);
      expect(await api.read(id)).toEqual({ name, connection_type, state: "connected", tools, executable: tools });
      // The other API shows the same server.
      for (const other of [BIFROST, NATIVE]) {
        expect(await other.read(id)).toMatchObject({
          name,
          connection_type,
          state: "connected",
          tools,
          executable: tools,
        });
      }
      await expectServed(name, tools);

      const renamed = `${name}-2`;
      await api.change(id, renamed, tool);
      expect(await api.read(id)).toMatchObject({ name: renamed, state: "connected", tools, executable: [tool] });
      await api.reconnect(id);
      expect(await api.read(id)).toMatchObject({ state: "connected", tools, executable: [tool] });
      await expectServed(renamed, [tool]);

      await api.remove(id);
      expect(await api.read(id)).toBeNull();
      await through(v2Auto, "/mcp", async (connection) => {
        expect(await connection.toolNames()).toEqual([]);
        await expect(connection.call(`${renamed}__${tool}`, args)).rejects.toMatchObject({ code: -32602 });
      });
    },
  );
});

/** The body of an answer that must have the status. */
async function ask<T = unknown>(method: string, path: string, body?: unknown, status = 200): Promise<T> {
  const response = await gateway().admin(method, path, body);
  const answer = (await response.json()) as T;
  expect({ method, path, status: response.status, answer }).toEqual({ method, path, status, answer });
  return answer;
}

function done(message: string) {
  return { status: "success", message };
}
