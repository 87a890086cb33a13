import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const start = () =>
  startGateway(scriptedServer({ era: "modern", tools: ['{"name":"search"}', '{"name":"read"}'] }).network);

const OAUTH = {
  auth_type: "oauth",
  registration_mode: "manual",
  oauth_issuer_url: "https://auth.example.com",
  authorization_endpoint: "https://auth.example.com/authorize",
  token_endpoint: "https://auth.example.com/token",
  client_id: "us",
};

async function create(gateway: TestGateway, body: Record<string, unknown>) {
  const response = await gateway.admin("POST", "/v1/servers", {
    name: "docs",
    server_url: "https://docs.example/mcp",
    ...body,
  });
  return { status: response.status, body: await response.json<Record<string, unknown>>() };
}

async function servers(): Promise<number> {
  return (
    (
      await env.DB.prepare("SELECT COUNT(*) AS n FROM servers WHERE connection_type <> 'inprocess'").first<{
        n: number;
      }>()
    )?.n ?? -1
  );
}

describe("a new server", () => {
  it("has every field of the record, with its default [PS-76]", async () => {
    const { status, body } = await create(start(), {});
    expect(status).toBe(201);
    expect(body).toEqual({
      server_id: expect.stringMatching(/^srv_[0-9a-z]{26}$/),
      name: "docs",
      display_name: "docs",
      connection_type: "http",
      server_url: "https://docs.example/mcp",
      stdio_config: null,
      enabled: true,
      timeout_ms: 15000,
      auth_type: "none",
      config: {},
      registration_mode: "dcr",
      oauth_issuer_url: "",
      client_id: "",
      authorization_endpoint: null,
      token_endpoint: null,
      registration_endpoint: null,
      revocation_endpoint: null,
      scopes: [],
      extra_auth_params: {},
      grant_type: "authorization_code",
      token_endpoint_auth_method: null,
      org_ids: [],
      allowed_tools: { read: true, search: true },
      tool_mode: "list",
      tools_to_auto_execute: [],
      tool_pricing: {},
      definition_policy: "pin",
      allow_on_all_virtual_keys: false,
      is_code_mode_client: false,
      instructions: null,
      is_ping_available: true,
      status: "active",
      status_reason: null,
      state: "connected",
      last_failure: null,
      created: expect.stringMatching(/Z$/),
      created_by: "admin-key",
      modified: expect.stringMatching(/Z$/),
      modified_by: "admin-key",
    });
  });

  it("over stdio is stored, and says that it waits for a bridge [PS-62]", async () => {
    const stdio_config = { command: "npx", args: ["-y", "server"], envs: ["API_KEY"] };
    const { status, body } = await create(start(), { server_url: undefined, connection_type: " STDIO ", stdio_config });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      connection_type: "stdio",
      server_url: null,
      stdio_config,
      status: "active",
      state: "disconnected",
      last_failure: { stage: "connect", message: "waiting for a bridge" },
    });
  });

  it("with OAuth is active when the admin gives the client, and in error where it cannot be registered [RB-13]", async () => {
    const gateway = start();
    const secret = { ...OAUTH, client_secret: "canary-secret" };
    const manual = await create(gateway, { ...secret, scopes: ["b", "a"], extra_auth_params: { audience: "x" } });
    expect(manual.body).toMatchObject({ status: "active", scopes: ["b", "a"], extra_auth_params: { audience: "x" } });
    expect(JSON.stringify(manual.body)).not.toContain("canary-secret");
    const raw = JSON.stringify(await env.DB.prepare("SELECT * FROM servers").all());
    expect(raw).not.toContain("canary-secret");
    const dcr = await create(gateway, { name: "dcr", auth_type: "per_user_oauth" });
    // Nobody there answers as an authorization server would.
    expect(dcr.body).toMatchObject({ status: "error", state: "disconnected", registration_mode: "dcr" });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ["a transport that is none", { connection_type: "websocket" }, "connection_type"],
    ["an in-process server [PS-63]", { connection_type: "inprocess" }, "connection_type"],
    ["no endpoint", { server_url: undefined }, "server_url"],
    ["stdio without a command", { connection_type: "stdio", server_url: undefined }, "stdio_config"],
    [
      "stdio with a blank command",
      { connection_type: "stdio", server_url: undefined, stdio_config: { command: " " } },
      "stdio_config.command",
    ],
    [
      "stdio with a value in envs [BF-4]",
      { connection_type: "stdio", server_url: undefined, stdio_config: { command: "x", envs: ["A=b"] } },
      "stdio_config.envs",
    ],
    ["stdio with an endpoint", { connection_type: "stdio", stdio_config: { command: "x" } }, "server_url"],
    ["http with a command", { stdio_config: { command: "x" } }, "stdio_config"],
    ["manual without an issuer", { ...OAUTH, oauth_issuer_url: undefined }, "oauth_issuer_url"],
    ["manual without a token endpoint", { ...OAUTH, token_endpoint: null }, "token_endpoint"],
    ["manual without a client", { ...OAUTH, client_id: "" }, "client_id"],
    ["dcr with a client", { auth_type: "oauth", client_id: "us" }, "client_id"],
    ["cimd with a secret", { auth_type: "oauth", registration_mode: "cimd", client_secret: "s" }, "client_secret"],
    ["scopes without OAuth", { scopes: ["a"] }, "scopes"],
    ["a secret without OAuth", { client_secret: "s" }, "client_secret"],
    ["a scope that is none [RB-9]", { auth_type: "oauth", scopes: ["a b"] }, "scopes"],
    ["a scope twice", { auth_type: "oauth", scopes: ["a", "a"] }, "scopes"],
    [
      "a parameter that is ours [RB-10]",
      { auth_type: "oauth", extra_auth_params: { state: "x" } },
      "extra_auth_params.state",
    ],
    ["an endpoint on a private address", { ...OAUTH, token_endpoint: "https://10.0.0.1/token" }, "token_endpoint"],
    ["an org that does not exist [RB-11]", { org_ids: ["nobody"] }, "org_ids"],
    ["prices [BF-21]", { tool_pricing: { a: 1 } }, "tool_pricing"],
    [
      "a tool that may run unasked and not at all [BF-19]",
      { allowed_tools: { a: true }, tools_to_auto_execute: ["b"] },
      "tools_to_auto_execute",
    ],
    [
      "an auto list with nothing to execute [T-35]",
      { allowed_tools: {}, tools_to_auto_execute: ["*"] },
      "tools_to_auto_execute",
    ],
    ["an auto list that repeats a name", { tools_to_auto_execute: ["a", "A"] }, "tools_to_auto_execute"],
    ["a read-only field [RB-1]", { status: "active" }, "status"],
  ])("is refused with %s, by name, and not stored", async (_, body, field) => {
    const { status, body: problem } = await create(start(), body);
    expect([status, problem["field"]]).toEqual([400, field]);
    expect(await servers()).toBe(0);
  });
});

describe("PATCH /v1/servers/{id}", () => {
  async function startDocs(body: Record<string, unknown> = {}) {
    const gateway = start();
    const created = await create(gateway, body);
    expect(created.status).toBe(201);
    const path = `/v1/servers/${created.body["server_id"]}`;
    const patch = async (change: Record<string, unknown>) => {
      const response = await gateway.admin("PATCH", path, change);
      return { status: response.status, body: await response.json<Record<string, unknown>>() };
    };
    return { gateway, path, created: created.body, patch };
  }

  it("changes what is given and nothing else [RG-20]", async () => {
    const { patch, created } = await startDocs({
      timeout_ms: 2000,
      config: { headers: { "X-A": "1" } },
      tools_to_auto_execute: ["*"],
    });
    const { body } = await patch({ is_code_mode_client: true });
    expect(body).toEqual({ ...created, is_code_mode_client: true, modified: expect.any(String) });
  });

  it("sets prices of known tools in whole nano-dollars, replaces them and clears them [BF-32]", async () => {
    const { patch } = await startDocs();
    expect((await patch({ tool_pricing: { search: 0.001, read: 0 } })).body["tool_pricing"]).toEqual({
      search: 0.001,
      read: 0,
    });
    expect((await patch({ tool_pricing: { search: 0.0000000015 } })).body["tool_pricing"]).toEqual({ search: 2e-9 });
    expect((await patch({ display_name: "D" })).body["tool_pricing"]).toEqual({ search: 2e-9 });
    expect((await patch({ tool_pricing: {} })).body["tool_pricing"]).toEqual({});
    for (const tool_pricing of [{ missing: 1 }, { search: -1 }, { search: 1_000_001 }, { search: "1" }]) {
      expect((await patch({ tool_pricing })).status).toBe(400);
    }
  });

  it("takes the auto flag from a tool that is blocked, and keeps its price [RB-32]", async () => {
    const { patch } = await startDocs({ tools_to_auto_execute: ["read", "search"] });
    await patch({ tool_pricing: { search: 1 } });
    const { body } = await patch({ allowed_tools: { read: true } });
    expect(body).toMatchObject({
      allowed_tools: { read: true, search: false },
      tools_to_auto_execute: ["read"],
      tool_pricing: { search: 1 },
    });
    expect((await patch({ allowed_tools: null })).body).toMatchObject({ allowed_tools: null, tool_mode: "unset" });
  });

  it("asks for the secret again with another issuer, and keeps it out of sight [PS-53]", async () => {
    const { patch } = await startDocs({ ...OAUTH, client_secret: "canary-secret" });
    const moved = { token_endpoint: "https://other.example.com/token" };
    const refused = await patch(moved);
    expect([refused.status, refused.body["field"]]).toEqual([400, "client_secret"]);
    expect((await patch({ ...moved, client_secret: "new" })).status).toBe(200);
  });

  it("changes no server to or from stdio [PS-53]", async () => {
    const { patch } = await startDocs();
    const change = { connection_type: "stdio", server_url: null, stdio_config: { command: "x" } };
    expect((await patch(change)).body).toMatchObject({ status: 400, field: "connection_type" });
  });
});
