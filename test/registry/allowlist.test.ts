import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
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
  entries: { host: string; port: number; source: string; purpose: string }[];
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

  it("names the OAuth endpoints of enabled servers, each once, beside the servers themselves [RG-25]", async () => {
    const gateway = start();
    const oauth = {
      auth_type: "oauth",
      registration_mode: "manual",
      oauth_issuer_url: "https://Login.example/tenant",
      authorization_endpoint: "https://login.example/authorize",
      token_endpoint: "https://token.example:8443/token",
      revocation_endpoint: "https://one.example/revoke",
      client_id: "us",
    };
    const id = await register(gateway, "one", oauth);
    await register(gateway, "two", { ...oauth, server_url: "https://login.example/mcp" });
    await register(gateway, "off", { ...oauth, token_endpoint: "https://off.example/token", enabled: false });
    const entry = (host: string, purpose: string, source = "mcp:one", port = 443) => ({
      ...{ host, port, protocol: "tcp", source, purpose },
    });
    const ofBoth = [
      entry("one.example", "mcp_runtime"),
      entry("login.example", "mcp_oauth"),
      entry("token.example", "mcp_oauth", "mcp:one", 8443),
      entry("one.example", "mcp_oauth"),
    ];
    const ofTwo = entry("login.example", "mcp_runtime", "mcp:two");
    expect((await allowlist(gateway)).entries).toEqual([...ofBoth, ofTwo]);
    await gateway.admin("PATCH", `/v1/servers/${id}`, { enabled: false });
    const [, ...others] = ofBoth;
    expect((await allowlist(gateway)).entries).toEqual([ofTwo, ...others.map((of) => ({ ...of, source: "mcp:two" }))]);
  });

  it("pages its events, newest first, also those of one millisecond [RG-15]", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-11-01T00:00:00Z") });
    try {
      const gateway = start();
      const names = ["one", "two", "three", "four", "five"];
      for (const name of names) await register(gateway, name, { enabled: false });
      const pages = [0, 1, 2, 3].map((page) => allowlist(gateway, `?page=${page}&page_size=2`));
      const events = (await Promise.all(pages)).map((page) => page.events);
      expect(events.map(({ rows }) => rows.map(({ target }) => target))).toEqual([
        ["five", "four"],
        ["three", "two"],
        ["one"],
        [],
      ]);
      const sort = { by: "created_at", direction: "desc" };
      expect(events[1]).toMatchObject({ total_rows: 5, page: 1, page_size: 2, filters: {}, sort });
    } finally {
      vi.useRealTimers();
    }
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

  it("names the server as it is called after a rename, and as it was called when it is deleted [RG-15, RG-23]", async () => {
    const gateway = start();
    const server_id = await register(gateway, "docs", { enabled: false });
    await gateway.admin("PATCH", `/v1/servers/${server_id}`, { name: "papers", enabled: true });
    await gateway.admin("DELETE", `/v1/servers/${server_id}`);
    const { entries, events } = await allowlist(gateway);
    expect(entries).toEqual([]);
    const event = (mode: string, reason: string, target: string) => ({
      event_id: expect.stringMatching(/^evt_[0-9a-z]{26}$/),
      ...{ reason: `mcp_server_registry_${reason}`, resource_type: "mcp_server", target, mode, server_id },
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    expect(events.rows).toEqual([
      event("delete", "deleted", "papers"),
      event("update", "updated", "papers"),
      event("create", "created", "docs"),
    ]);
    expect(new Set(events.rows.map(({ event_id }) => event_id)).size).toBe(3);
  });

  it("leaves no event when its batch does not go through [RG-15]", async () => {
    const gateway = start();
    const id = await register(gateway, "docs");
    // Within the batch, the event comes before the generation is raised.
    await env.DB.prepare(
      "CREATE TRIGGER broken BEFORE UPDATE ON generations BEGIN SELECT RAISE(ABORT, 'no'); END",
    ).run();
    vi.spyOn(console, "error").mockImplementation(() => {});
    const refused = [
      gateway.admin("POST", "/v1/servers", { name: "other", server_url: "https://other.example/mcp" }),
      gateway.admin("PATCH", `/v1/servers/${id}`, { enabled: false }),
      gateway.admin("DELETE", `/v1/servers/${id}`),
    ];
    expect((await Promise.all(refused)).map(({ status }) => status)).toEqual([503, 503, 503]);
    await env.DB.prepare("DROP TRIGGER broken").run();
    expect((await allowlist(gateway)).events.rows.map(({ mode }) => mode)).toEqual(["create"]);
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
