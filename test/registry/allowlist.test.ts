import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const start = () => startGateway(scriptedServer({ era: "modern", tools: [] }).network);

async function register(gateway: TestGateway, name: string, more: Record<string, unknown> = {}): Promise<string> {
  const body = { name, server_url: `https://${name}.example/mcp`, ...more };
  const response = await gateway.admin("POST", "/v1/servers", body);
  expect(response.status).toBe(201);
  return (await response.json<{ server_id: string }>()).server_id;
}

interface Allowlist {
  entries: { host: string; port: number; source: string }[];
  events: { rows: { event_id: string; mode: string; target: string; server_id: string }[]; total_rows: number };
}

async function allowlist(gateway: TestGateway, query = ""): Promise<Allowlist> {
  const response = await gateway.admin("GET", `/v1/allowlist${query}`);
  expect(response.status).toBe(200);
  return response.json();
}

async function generation(): Promise<number> {
  const row = await env.DB.prepare("SELECT value FROM generations WHERE org_id = '*'").first<{ value: number }>();
  return row?.value ?? -1;
}

describe("GET /v1/allowlist", () => {
  it("names host and port of each enabled server, once [RG-25]", async () => {
    const gateway = start();
    await register(gateway, "b", { server_url: "https://Shared.example/mcp" });
    await register(gateway, "a", { server_url: "https://shared.EXAMPLE:443/other" });
    await register(gateway, "port", { server_url: "https://docs.example:8443/mcp" });
    await register(gateway, "off", { enabled: false });
    expect((await allowlist(gateway)).entries).toEqual([
      { host: "shared.example", port: 443, protocol: "tcp", source: "mcp:a", purpose: "mcp_runtime" },
      { host: "docs.example", port: 8443, protocol: "tcp", source: "mcp:port", purpose: "mcp_runtime" },
    ]);
  });

  it("pages its events, newest first", async () => {
    const gateway = start();
    for (const name of ["one", "two", "three"]) await register(gateway, name);
    const { events } = await allowlist(gateway, "?page=0&page_size=2");
    expect(events.total_rows).toBe(3);
    expect(events.rows.map(({ target }) => target)).toEqual(["three", "two"]);
  });
});

describe("a write of a server", () => {
  it.each<[string, Record<string, unknown>, boolean]>([
    ["another endpoint", { server_url: "https://docs.example/v2" }, true],
    ["another origin", { server_url: "https://moved.example/mcp" }, true],
    ["another config", { config: { api_key: "other" } }, true],
    ["the switch", { enabled: false }, true],
    ["the same config, in another order [T-49]", { config: { b: 1, headers: { "X-A": "1" } } }, false],
    ["the same endpoint and switch", { server_url: "https://docs.example/mcp", enabled: true }, false],
    ["a name only", { name: "renamed" }, false],
    ["a time-out only", { timeout_ms: 2000 }, false],
    ["tools only", { allowed_tools: { a: true } }, false],
    ["nothing at all", {}, false],
  ])(
    "that changes %s raises the generation, and leaves an event only for what is reached [RG-22]",
    async (_, patch, isEvent) => {
      const gateway = start();
      const config = { headers: { "X-A": "1" }, b: 1 };
      const id = await register(gateway, "docs", { config });
      const before = await generation();
      expect((await gateway.admin("PATCH", `/v1/servers/${id}`, patch)).status).toBe(200);
      expect(await generation()).toBeGreaterThan(before);
      const { events } = await allowlist(gateway);
      const modes = events.rows.map(({ mode }) => mode);
      expect(modes).toEqual(isEvent ? ["update", "create"] : ["create"]);
    },
  );

  it("names the server as it is called after a rename, and as it was called when it is deleted [RG-23]", async () => {
    const gateway = start();
    const id = await register(gateway, "docs", { enabled: false });
    await gateway.admin("PATCH", `/v1/servers/${id}`, { name: "papers", enabled: true });
    await gateway.admin("DELETE", `/v1/servers/${id}`);
    const { entries, events } = await allowlist(gateway);
    expect(entries).toEqual([]);
    expect(events.rows).toMatchObject([
      {
        mode: "delete",
        reason: "mcp_server_registry_deleted",
        target: "papers",
        server_id: id,
        resource_type: "mcp_server",
      },
      { mode: "update", reason: "mcp_server_registry_updated", target: "papers", server_id: id },
      { mode: "create", reason: "mcp_server_registry_created", target: "docs", server_id: id },
    ]);
  });

  it("that is refused, or finds no server, leaves neither event nor generation [RG-17]", async () => {
    const gateway = start();
    const id = await register(gateway, "docs");
    await register(gateway, "taken");
    const before = await generation();
    const refused = [
      gateway.admin("POST", "/v1/servers", { name: "TAKEN", server_url: "https://x.example/mcp" }),
      gateway.admin("POST", "/v1/servers", { name: "a_b", server_url: "https://x.example/mcp" }),
      gateway.admin("PATCH", `/v1/servers/${id}`, { name: "taken", server_url: "https://x.example/mcp" }),
      gateway.admin("PATCH", `/v1/servers/${id}`, { server_url: "ftp://x.example/" }),
      gateway.admin("PATCH", "/v1/servers/srv_none", { enabled: false }),
      gateway.admin("DELETE", "/v1/servers/srv_none"),
    ];
    const statuses = (await Promise.all(refused)).map(({ status }) => status);
    expect(statuses).toEqual([409, 400, 409, 400, 404, 404]);
    expect(await generation()).toBe(before);
    expect((await allowlist(gateway)).events.total_rows).toBe(2);
  });
});
