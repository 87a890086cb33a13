import { describe, expect, it } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { accepted, generationOf, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { bifrostOf, expectRequest, HTTP, refused, tool } from "../support/bifrost.ts";
import { startGateway } from "../support/gateway.ts";
import { sseServer } from "../support/sse-upstream.ts";
import { scriptedServer } from "../support/upstream.ts";

function start(tools: readonly string[] = [tool("search"), tool("erase")]) {
  const upstream = scriptedServer({ era: "modern", tools });
  const gateway = startGateway(upstream.network);
  return { upstream, gateway, bifrost: bifrostOf(gateway) };
}

const STDIO = { name: "Files", connection_type: "stdio", stdio_config: { command: "npx" } } as const;

/** How creates are refused, beside them; nothing of any may be stored, and nobody contacted. */
async function refusalsOf(bodies: readonly unknown[]) {
  const { upstream, bifrost } = start();
  const before = await stored();
  const refusals = [];
  for (const body of bodies) {
    const { message: _, ...rest } = await refused(await bifrost.create(body));
    refusals.push([body, rest]);
  }
  expect(await stored()).toEqual(before);
  expect(upstream.seen).toEqual([]);
  return refusals;
}

const invalid = (field: string) => ({ status: 400, code: "invalid_request", field });
const all = (bodies: readonly unknown[], answer: unknown) => bodies.map((body) => [body, answer]);

describe("POST /api/mcp/client", () => {
  it("connects to an HTTP server, stores it and discovers its tools [BF-8, BF-22]", async () => {
    const { upstream, bifrost } = start();
    expectRequest("MCPClientCreateRequestHTTP", HTTP);
    const response = await bifrost.create(HTTP);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "success", message: "MCP client connected successfully" });
    expect(await bifrost.own()).toEqual([
      {
        config: {
          client_id: expect.stringMatching(/^srv_[0-9a-hjkmnp-tv-z]{26}$/),
          ...HTTP,
          is_code_mode_client: false,
          is_ping_available: true,
          auth_type: "none",
          headers: {},
          tools_to_execute: [],
          tools_to_auto_execute: [],
          tool_pricing: {},
          allow_on_all_virtual_keys: false,
        },
        tools: [
          { name: "erase", description: "does erase", parameters: { type: "object" } },
          { name: "search", description: "does search", parameters: { type: "object" } },
        ],
        state: "connected",
        vk_configs: [],
      },
    ]);
    // Once to see that it is there, and once for what it offers.
    const methods = upstream.seen.map(({ message }) => message["method"]);
    expect(methods).toEqual(["server/discover", "server/discover", "tools/list"]);
  });

  it("ends the session in which it has tried a legacy server [BF-22]", async () => {
    const upstream = scriptedServer({ era: "legacy", tools: [tool("search")] });
    const bifrost = bifrostOf(startGateway(upstream.network));
    expect((await bifrost.create(HTTP)).status).toBe(200);
    const ended = upstream.seen.filter(({ method }) => method === "DELETE");
    expect(ended.map(({ headers }) => headers.get("Mcp-Session-Id"))).toEqual(["up-1", "up-2"]);
  });

  it("takes every field, and the native record shows them [BF-8, BF-11, BF-12, BF-13]", async () => {
    const { gateway, upstream, bifrost } = start();
    const body = {
      ...HTTP,
      client_id: "docs:1",
      name: " The docs (EU) ",
      is_code_mode_client: true,
      is_ping_available: false,
      auth_type: "headers",
      oauth_config_id: "ignored",
      headers: { "X-Api-Key": "s3cret-value" },
      tools_to_execute: ["search"],
      tools_to_auto_execute: ["search"],
      allow_on_all_virtual_keys: true,
    };
    expectRequest("MCPClientCreateRequestHTTP", body);
    expect((await bifrost.create(body)).status).toBe(200);
    for (const { headers } of upstream.seen) expect(headers.get("X-Api-Key")).toBe("s3cret-value");
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs:1"))).toMatchObject({
      server_id: "docs:1",
      name: "The-docs-EU",
      display_name: "The docs (EU)",
      connection_type: "http",
      server_url: HTTP.connection_string,
      auth_type: "headers",
      config: { headers: body.headers },
      is_code_mode_client: true,
      is_ping_available: false,
      allowed_tools: { erase: false, search: true },
      tool_mode: "list",
      tools_to_auto_execute: ["search"],
      allow_on_all_virtual_keys: true,
      ...{ enabled: true, timeout_ms: 15_000, org_ids: [], definition_policy: "pin", status: "active" },
    });
    expect((await bifrost.client("docs:1")).config).toMatchObject({
      client_id: "docs:1",
      name: "The docs (EU)",
      headers: { "X-Api-Key": `s3cr${"*".repeat(24)}alue` },
      tools_to_execute: ["search"],
      tools_to_auto_execute: ["search"],
    });
  });

  it("seals the headers [BF-16]", async () => {
    const { bifrost } = start();
    await bifrost.created({ headers: { "X-Api-Key": "s3cret-value" } });
    expect(JSON.stringify(await stored())).not.toContain("s3cret-value");
  });

  it("stores nothing when the server cannot be connected to, and says why in words of ours [BF-22]", async () => {
    const failures: [answer: () => Promise<Response>, reason: string][] = [
      [offline, "The server cannot be reached, or it closed the connection without an answer."],
      [async () => new Response("c4n4ry", { status: 401 }), "The server refused the credential (HTTP 401)."],
      [async () => new Response("c4n4ry", { status: 500 }), "The server answered with HTTP 500."],
    ];
    for (const [network, reason] of failures) {
      const bifrost = bifrostOf(startGateway(network));
      const before = await stored();
      expect(await refused(await bifrost.create({ ...HTTP, headers: { "X-Key": "k" } }))).toEqual({
        status: 500,
        code: "connect_failed",
        message: `Failed to connect MCP client: ${reason}`,
      });
      expect(await stored()).toEqual(before);
    }
  });

  it("leaves a native create as it is: stored first, its failure in the record [BF-22]", async () => {
    const server = await register(startGateway(offline), { enabled: true });
    expect(server).toMatchObject({ state: "error", last_failure: { stage: "connect" } });
  });

  it("raises the generation once for the create and once for the discovery, and leaves an event", async () => {
    const { bifrost } = start();
    const before = await generationOf();
    await bifrost.created({});
    expect(await generationOf()).toBe(before + 2);
    expect(await storedValue("SELECT group_concat(mode) FROM allowlist_events")).toBe("create");
  });

  it("stores a stdio server that waits for a bridge, and contacts nobody [BF-8, BF-10, BF-22, PS-62, T-51]", async () => {
    const gateway = startGateway(() => Promise.reject(new Error("was contacted")));
    const bifrost = bifrostOf(gateway);
    const body = {
      ...STDIO,
      client_id: "files",
      stdio_config: { command: "npx", args: ["-y", "server-files"], envs: ["ROOT"] },
      connection_string: "of another kind",
    };
    const response = await bifrost.create(body);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "success", message: "MCP client added; waiting for a bridge" });
    expectRequest("MCPClientCreateRequestSTDIO", { ...STDIO, stdio_config: body.stdio_config });
    const { config, state } = await bifrost.client("files");
    expect(config).toMatchObject({ connection_type: "stdio", stdio_config: body.stdio_config });
    expect(config).not.toHaveProperty("connection_string");
    expect(state).toBe("disconnected");
    expect(await accepted<ServerView>(await gateway.admin("GET", "/v1/servers/files"))).toMatchObject({
      status: "active",
      state: "disconnected",
      last_failure: { stage: "connect", message: "waiting for a bridge" },
    });
  });

  it("gives a stdio server empty lists where none are given [BF-4]", async () => {
    const bifrost = bifrostOf(startGateway(offline));
    const created = await bifrost.created({
      ...STDIO,
      stdio_config: { command: "npx", args: null },
    });
    expect(created.config["stdio_config"]).toEqual({ command: "npx", args: [], envs: [] });
  });

  it("connects to an HTTP+SSE server, and tries no other transport [BF-8, BF-10, BF-22]", async () => {
    const upstream = sseServer({ tools: [tool("search")] });
    const bifrost = bifrostOf(startGateway(upstream.network));
    const body = {
      ...HTTP,
      client_id: "old",
      connection_type: "sse",
      connection_string: "https://old.example/events",
      headers: { "X-Key": "secret" },
      tools_to_execute: ["*"],
    };
    expectRequest("MCPClientCreateRequestSSE", body);
    const response = await bifrost.create(body);
    expect(await response.json()).toEqual({ status: "success", message: "MCP client connected successfully" });
    const { config, tools, state } = await bifrost.client("old");
    expect(config).toMatchObject({ connection_type: "sse", connection_string: body.connection_string });
    expect({ tools, state }).toMatchObject({ tools: [{ name: "search" }], state: "connected" });
    const [first] = upstream.seen;
    expect(first?.method).toBe("GET");
    expect(first?.headers.get("X-Key")).toBe("secret");
    // One to see that it is there, one for what it offers; neither is left open.
    expect(upstream.streams.map(({ isClosed }) => isClosed)).toEqual([true, true]);
    upstream.change({ first: () => new Response("no", { status: 404 }) });
    const before = await stored();
    expect(await refused(await bifrost.create({ ...body, client_id: "dead", name: "dead" }))).toMatchObject({
      status: 500,
      code: "connect_failed",
      message: "Failed to connect MCP client: The server answered with HTTP 404.",
    });
    expect(await stored()).toEqual(before);
  });

  it("takes no in-process server [BF-8, PS-63, T-51]", async () => {
    const { bifrost } = start();
    expect(await refused(await bifrost.create({ ...HTTP, connection_type: "inprocess" }))).toEqual({
      ...invalid("connection_type"),
      message: "in-process servers must be provided programmatically",
    });
  });

  it("needs a name, a connection type and what that needs [BF-9, BF-10]", async () => {
    const { name, connection_type, connection_string } = HTTP;
    const cases: Record<string, unknown[]> = {
      name: [
        { connection_type, connection_string },
        ...[null, "", "  ", 5, "a\nb", "a".repeat(129)].map((given) => ({ ...HTTP, name: given })),
      ],
      connection_type: [
        { name, connection_string },
        ...[null, "", "HTTP", "ftp", 5].map((given) => ({ ...HTTP, connection_type: given })),
      ],
      connection_string: [
        { name, connection_type },
        { name, connection_type: "sse" },
        { ...HTTP, connection_string: null },
        { ...HTTP, stdio_config: STDIO.stdio_config, connection_string: undefined },
        ...["", "docs", "http://docs.example/mcp", "https://u:p@docs.example", "https://10.0.0.1/mcp"].map((given) => ({
          ...HTTP,
          connection_string: given,
        })),
      ],
      stdio_config: [
        { name, connection_type: "stdio", connection_string },
        { ...STDIO, stdio_config: null },
      ],
      "stdio_config.command": [
        { ...STDIO, stdio_config: {} },
        { ...STDIO, stdio_config: { command: " " } },
      ],
      "stdio_config.envs": [{ ...STDIO, stdio_config: { command: "npx", envs: ["KEY=value"] } }],
    };
    for (const [field, bodies] of Object.entries(cases)) {
      expect(await refusalsOf(bodies)).toEqual(all(bodies, invalid(field)));
    }
  });

  it("takes null for omitted, and drops what it does not know", async () => {
    const { bifrost } = start();
    const nothing = Object.fromEntries(
      [
        ...["client_id", "is_code_mode_client", "is_ping_available", "auth_type", "oauth_config_id", "headers"],
        ...["oauth_config", "tools_to_execute", "tools_to_auto_execute", "allow_on_all_virtual_keys", "stdio_config"],
      ].map((field) => [field, null]),
    );
    expect((await bifrost.create({ ...HTTP, ...nothing, state: 5, "x-y": {} })).status).toBe(200);
    const [client] = await bifrost.own();
    expect(client?.config).toMatchObject({ is_ping_available: true, auth_type: "none", headers: {} });
  });

  it("ignores prices, which belong to an update [BF-21]", async () => {
    const { bifrost } = start();
    const created = await bifrost.created({ tool_pricing: { search: "dear" } });
    expect(created.config["tool_pricing"]).toEqual({});
  });
});

describe("connection_type", () => {
  it("may be no other word, and is found out natively where here it has to be given [BF-2]", async () => {
    const others = [undefined, null, "", "HTTP", "websocket", 5].map((type) => ({ ...HTTP, connection_type: type }));
    expect(await refusalsOf(others)).toEqual(all(others, invalid("connection_type")));
    const upstream = sseServer({ tools: [] });
    const gateway = startGateway(upstream.network);
    const native = { name: "native", server_url: "https://old.example/sse", enabled: true };
    expect(await register(gateway, native)).toMatchObject({ connection_type: "sse", state: "connected" });
    for (const connection_type of ["", "websocket", 5]) {
      const response = await gateway.admin("POST", "/v1/servers", { ...native, name: "other", connection_type });
      expect(await refusal(response)).toEqual(invalid("connection_type"));
    }
  });
});

describe("client_id", () => {
  it("is made here when there is none, or an empty one [BF-11]", async () => {
    const { bifrost } = start();
    for (const [at, client_id] of [undefined, null, ""].entries()) {
      expect((await bifrost.create({ ...HTTP, name: `docs ${at}`, client_id })).status).toBe(200);
    }
    for (const { config } of await bifrost.own()) expect(config.client_id).toMatch(/^srv_/);
  });

  it("has the rules of server_id, under its name here [BF-11]", async () => {
    const bodies = ["a b", "a/b", "é", "..", "gateway", "a".repeat(256), 5].map((client_id) => ({
      ...HTTP,
      client_id,
    }));
    expect(await refusalsOf(bodies)).toEqual(all(bodies, invalid("client_id")));
  });

  it("is refused when it is taken [BF-11]", async () => {
    const { bifrost } = start();
    await bifrost.created({});
    expect(await refused(await bifrost.create({ ...HTTP, client_id: "docs", name: "other" }))).toEqual({
      status: 409,
      code: "conflict",
      field: "client_id",
      message: "A server with this client_id exists already.",
    });
  });
});

describe("name", () => {
  it.each([
    ["GitHub", "GitHub"],
    ["my_server", "my-server"],
    ["My  docs (EU)", "My-docs-EU"],
    ["--a--", "a"],
    ["a".repeat(70), "a".repeat(63)],
  ])("%o is the display name, and makes the slug %o [BF-12, PS-28]", async (name, slug) => {
    const { gateway, bifrost } = start();
    await bifrost.created({ name });
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({
      name: slug,
      display_name: name,
    });
  });

  it("needs something that a slug can be made of, and no reserved one [PS-28]", async () => {
    const bodies = ["日本", "---", "_", "gateway", "server_card"].map((name) => ({ ...HTTP, name }));
    expect(await refusalsOf(bodies)).toEqual(all(bodies, invalid("name")));
  });

  it("is refused when its slug is taken: my server after my_server [PS-28]", async () => {
    const { bifrost } = start();
    await bifrost.created({ name: "my_server" });
    for (const name of ["my server", "MY-SERVER"]) {
      expect(await refused(await bifrost.create({ ...HTTP, name }))).toMatchObject({
        status: 409,
        code: "conflict",
        field: "name",
      });
    }
  });
});

describe("auth_type", () => {
  it.each([
    [undefined, "none"],
    [null, "none"],
    [{}, "none"],
    [{ "X-A": "b" }, "headers"],
  ])("omitted with headers %o is %s, on both surfaces [BF-1, T-50]", async (headers, auth_type) => {
    const { gateway, bifrost } = start();
    expect((await bifrost.created({ headers })).config).toMatchObject({ auth_type });
    const config = headers ? { headers } : {};
    expect(await register(gateway, { name: "native", config })).toMatchObject({ auth_type });
  });

  it("may be none where headers are given: they are stored and not sent [BF-16]", async () => {
    const { upstream, bifrost } = start();
    const created = await bifrost.created({ auth_type: "none", headers: { "X-Key": "secret" } });
    expect(created.config).toMatchObject({ auth_type: "none", headers: { "X-Key": "******" } });
    for (const { headers } of upstream.seen) expect(headers.has("X-Key")).toBe(false);
  });

  it("may be no other word, on both surfaces [BF-1]", async () => {
    const bodies = ["", "None", "bearer", 1].map((auth_type) => ({ ...HTTP, auth_type }));
    expect(await refusalsOf(bodies)).toEqual(all(bodies, invalid("auth_type")));
    const native = { name: "native", server_url: HTTP.connection_string, auth_type: "bearer" };
    expect((await startGateway(offline).admin("POST", "/v1/servers", native)).status).toBe(400);
  });
});

describe("headers", () => {
  it("may not be what no header can be, or what belongs to the gateway [BF-16]", async () => {
    const cases: [headers: unknown, field: string][] = [
      [{ "X-A": 1 }, "headers.X-A"],
      [{ "X-A": null }, "headers.X-A"],
      [{ "X-A": "a\r\nB: c" }, "headers.X-A"],
      [{ "a b": "c" }, "headers"],
      [{ Host: "evil.example" }, "headers.Host"],
      [{ "Content-Length": "1" }, "headers.Content-Length"],
      [{ Connection: "close" }, "headers.Connection"],
      [{ "Mcp-Session-Id": "1" }, "headers.Mcp-Session-Id"],
      ["X-A: b", "headers"],
      [{ "X-A": "a".repeat(65_536) }, "headers"],
    ];
    for (const [headers, field] of cases) {
      expect(await refusalsOf([{ ...HTTP, headers }])).toEqual([[{ ...HTTP, headers }, invalid(field)]]);
    }
  });
});

describe("tools_to_execute", () => {
  it.each([
    [undefined, [], { erase: false, search: false }],
    [null, [], { erase: false, search: false }],
    [[], [], { erase: false, search: false }],
    [["search"], ["search"], { erase: false, search: true }],
    [["*"], ["*"], { erase: true, search: true }],
    [["later", "Search"], ["Search", "later"], { Search: true, erase: false, later: true, search: false }],
  ])("%o is stored as %o and allows %o [BF-18]", async (tools_to_execute, shown, allowed_tools) => {
    const { gateway, bifrost } = start();
    expect((await bifrost.created({ tools_to_execute })).config["tools_to_execute"]).toEqual(shown);
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({ allowed_tools });
  });

  it.each(["tools_to_execute", "tools_to_auto_execute"])("%s is a list by the rules [BF-18, BF-19]", async (field) => {
    const { bifrost } = start();
    const lists = [["*", "a"], ["a", "a"], ["a", "A"], [""], [" "]];
    for (const list of lists) {
      const body = { ...HTTP, tools_to_execute: ["*"], [field]: list };
      expect(await refused(await bifrost.create(body))).toEqual({
        ...invalid(field),
        message: expect.stringMatching(new RegExp(`^Invalid ${field}: .+\\.$`)),
      });
    }
    const others = ["a", { a: true }].map((list) => ({ ...HTTP, [field]: list }));
    expect(await refusalsOf(others)).toEqual(all(others, invalid(field)));
  });
});

describe("tools_to_auto_execute", () => {
  it.each([
    [["a"], undefined, []],
    [["a"], [], []],
    [["a", "b"], ["b"], ["b"]],
    [["a"], ["*"], ["*"]],
    [["*"], ["*"], ["*"]],
    [["*"], ["a"], ["a"]],
  ])("with %o may be %o [BF-19, T-35]", async (tools_to_execute, tools_to_auto_execute, shown) => {
    const { bifrost } = start();
    const created = await bifrost.created({ tools_to_execute, tools_to_auto_execute });
    expect(created.config["tools_to_auto_execute"]).toEqual(shown);
  });

  it.each([
    [["a"], ["b"]],
    [["a"], ["A"]],
    [[], ["a"]],
    [[], ["*"]],
    [undefined, ["*"]],
    [undefined, ["a"]],
  ])("with %o may not be %o [BF-19, T-35]", async (tools_to_execute, tools_to_auto_execute) => {
    const { bifrost } = start();
    expect(await refused(await bifrost.create({ ...HTTP, tools_to_execute, tools_to_auto_execute }))).toEqual({
      ...invalid("tools_to_auto_execute"),
      message: expect.stringMatching(/^Invalid tools_to_auto_execute: .+\.$/),
    });
  });
});

describe("a flag", () => {
  it("may not be anything but a boolean", async () => {
    for (const field of ["is_code_mode_client", "is_ping_available", "allow_on_all_virtual_keys"]) {
      const bodies = ["true", 1].map((value) => ({ ...HTTP, [field]: value }));
      expect(await refusalsOf(bodies)).toEqual(all(bodies, invalid(field)));
    }
  });
});
