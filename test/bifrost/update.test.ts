import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { createAgent } from "../support/agent.ts";
import { accepted, generationOf, offline, register, stored, storedValue } from "../support/api.ts";
import { bifrostOf, expectRequest, HTTP, refused, tool } from "../support/bifrost.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const EDITED = { status: "success", message: "MCP client edited successfully" };
const MASK = "*".repeat(24);

/** A gateway with one connected client, `docs`, of the tools `erase` and `search`. */
async function startWith(fields: Record<string, unknown> = {}) {
  const upstream = scriptedServer({ era: "modern", tools: [tool("search"), tool("erase")] });
  const gateway = startGateway(upstream.network);
  const bifrost = bifrostOf(gateway);
  await bifrost.created(fields);
  upstream.seen.length = 0;
  return {
    upstream,
    gateway,
    bifrost,
    record: async () => accepted<ServerView>(await gateway.admin("GET", "/v1/servers/docs")),
    /** An update that must succeed. */
    async edit(body: Record<string, unknown>) {
      const response = await bifrost.update("docs", body);
      expect(await response.json()).toEqual(EDITED);
      expect(response.status).toBe(200);
    },
    /** An update that must be refused, with nothing stored and nobody contacted. */
    async refusal(body: unknown) {
      const before = await stored();
      const answer = await refused(await bifrost.update("docs", body));
      expect(await stored()).toEqual(before);
      expect(upstream.seen).toEqual([]);
      return answer;
    },
  };
}

const invalid = (field: string) => ({ status: 400, code: "invalid_request", field });

describe("PUT /api/mcp/client/:id", () => {
  it("changes every field that is given, and answers that it has [BF-36]", async () => {
    const { record, bifrost, edit } = await startWith({ tools_to_execute: ["search"] });
    const body = {
      client_id: "another",
      name: "The docs",
      is_code_mode_client: true,
      is_ping_available: false,
      connection_type: "http",
      connection_string: "https://docs.example/other",
      auth_type: "headers",
      oauth_config_id: "ignored",
      headers: { "X-Key": "a long secret" },
      tools_to_execute: ["erase", "search"],
      tools_to_auto_execute: ["erase"],
      tool_pricing: { search: 0.001, erase: 0 },
      allow_on_all_virtual_keys: true,
      vk_configs: [],
    };
    expectRequest("MCPClientUpdateRequest", {
      ...body,
      stdio_config: { command: "x", args: [], envs: [] },
      vk_configs: [{ virtual_key_id: "k", tools_to_execute: ["*"] }],
    });
    await edit({ ...body, unknown: 5, state: "error" });
    expect(await record()).toMatchObject({
      server_id: "docs",
      name: "The-docs",
      display_name: "The docs",
      server_url: "https://docs.example/other",
      config: { headers: { "X-Key": "a long secret" } },
      allowed_tools: { erase: true, search: true },
      ...{ auth_type: "headers", tools_to_auto_execute: ["erase"], tool_pricing: { search: 0.001, erase: 0 } },
      ...{ is_code_mode_client: true, is_ping_available: false, allow_on_all_virtual_keys: true, state: "connected" },
    });
    const { vk_configs: _k, oauth_config_id: _o, ...config } = body;
    expect((await bifrost.client("docs")).config).toEqual({
      ...config,
      client_id: "docs",
      headers: { "X-Key": `a lo${MASK}cret` },
    });
  });

  it("changes a stdio server's own field, and ignores that of the others", async () => {
    const bifrost = bifrostOf(startGateway(offline));
    await bifrost.created({ connection_type: "stdio", stdio_config: { command: "npx" } });
    const stdio_config = { command: "uvx", args: ["files"], envs: ["ROOT"] };
    const response = await bifrost.update("docs", { stdio_config, connection_string: "https://docs.example" });
    expect(await response.json()).toEqual(EDITED);
    const { config } = await bifrost.client("docs");
    expect(config["stdio_config"]).toEqual(stdio_config);
    expect(config).not.toHaveProperty("connection_string");
  });

  it("leaves what is omitted or null, flags too", async () => {
    const { record, edit } = await startWith({
      is_code_mode_client: true,
      is_ping_available: false,
      headers: { "X-Key": "secret" },
      tools_to_execute: ["search"],
      tools_to_auto_execute: ["search"],
      allow_on_all_virtual_keys: true,
    });
    await edit({ tool_pricing: { search: 1 } });
    const { modified: _, ...before } = await record();
    const fields = [
      ...["client_id", "name", "is_code_mode_client", "is_ping_available", "connection_type", "connection_string"],
      ...["stdio_config", "auth_type", "oauth_config_id", "headers", "tools_to_execute", "tools_to_auto_execute"],
      ...["tool_pricing", "allow_on_all_virtual_keys", "vk_configs"],
    ];
    for (const body of [{}, Object.fromEntries(fields.map((field) => [field, null]))]) {
      await edit(body);
      const { modified: _m, ...after } = await record();
      expect(after).toEqual(before);
    }
  });

  it("goes by the id of the path, and knows no other [BF-30]", async () => {
    const { gateway, bifrost, refusal } = await startWith();
    await register(gateway, { server_id: "other", name: "other" });
    expect((await bifrost.update("other", { client_id: "docs", name: "Renamed" })).status).toBe(200);
    expect((await bifrost.own()).map(({ config }) => config.name)).toEqual(["Docs", "Renamed"]);
    expect(await refused(await bifrost.update("none", { client_id: "docs", name: "x" }))).toEqual({
      status: 404,
      code: "not_found",
      message: "MCP client not found",
    });
    expect(await refusal({ name: "Renamed" })).toMatchObject({ status: 409, code: "conflict", field: "name" });
  });

  it("raises the generation, and leaves an event only where the endpoint changes", async () => {
    const { upstream, edit } = await startWith({ headers: { "X-Key": "secret" } });
    const events = () => storedValue<number>("SELECT COUNT(*) FROM allowlist_events");
    const before = await events();
    for (const body of [
      {},
      { name: "Other" },
      { headers: { "X-Key": "******" } },
      { tools_to_execute: ["*"] },
      { is_ping_available: false },
    ]) {
      const generation = await generationOf();
      await edit(body);
      expect(await generationOf()).toBe(generation + 1);
    }
    expect(await events()).toBe(before);
    expect(upstream.seen).toEqual([]);
    await edit({ connection_string: "https://docs.example/other" });
    expect(await events()).toBe((before ?? 0) + 1);
  });

  it("refuses what breaks a rule, by the name the field has here", async () => {
    const { refusal } = await startWith();
    const cases: [body: Record<string, unknown>, field: string][] = [
      [{ name: "" }, "name"],
      [{ name: "日本" }, "name"],
      [{ name: 5 }, "name"],
      [{ connection_string: "http://docs.example" }, "connection_string"],
      [{ connection_string: "" }, "connection_string"],
      [{ auth_type: "bearer" }, "auth_type"],
      [{ headers: { "X-A": 1 } }, "headers.X-A"],
      [{ headers: { Host: "a" } }, "headers.Host"],
      [{ is_ping_available: "yes" }, "is_ping_available"],
      [{ tools_to_execute: ["*", "a"] }, "tools_to_execute"],
      [{ tools_to_auto_execute: ["a", "a"] }, "tools_to_auto_execute"],
    ];
    for (const [body, field] of cases) expect([body, await refusal(body)]).toMatchObject([body, invalid(field)]);
  });
});

describe("auth_type", () => {
  it("may change to none or headers from OAuth, which leaves nothing behind [BF-31]", async () => {
    const { gateway, bifrost } = await startWith();
    const oauth = {
      ...{ registration_mode: "manual", oauth_issuer_url: "https://auth.example", client_id: "c", scopes: ["a"] },
      ...{ authorization_endpoint: "https://auth.example/a", token_endpoint: "https://auth.example/t" },
    };
    for (const auth_type of ["none", "headers"]) {
      const more = { server_id: auth_type, name: auth_type, auth_type: "oauth", client_secret: "s" };
      await register(gateway, { ...more, ...oauth });
      expect(await (await bifrost.update(auth_type, { auth_type })).json()).toEqual(EDITED);
      expect(await accepted(await gateway.admin("GET", `/v1/servers/${auth_type}`))).toMatchObject({
        ...{ auth_type, registration_mode: "dcr", client_id: "", scopes: [], token_endpoint: null, status: "active" },
      });
      expect(await storedValue("SELECT client_secret_sealed FROM servers WHERE server_id = ?", auth_type)).toBeNull();
    }
  });
});

describe("name", () => {
  it("makes another slug, and with it other names of tools, at once [BF-37]", async () => {
    const { gateway, edit } = await startWith({ tools_to_execute: ["*"], allow_on_all_virtual_keys: true });
    const agent = await createAgent(gateway, []);
    const names = async () => {
      const listed = await agent.modern("/mcp", "tools/list");
      const { result } = await listed.json<{ result: { tools: { name: string }[] } }>();
      return result.tools.map(({ name }) => name);
    };
    expect(await names()).toEqual(["Docs__erase", "Docs__search"]);
    await edit({ name: "My wiki" });
    expect(await names()).toEqual(["My-wiki__erase", "My-wiki__search"]);
  });

  it("sent back as it is changes no slug [BF-37]", async () => {
    const { gateway, record, edit } = await startWith();
    await accepted(await gateway.admin("PATCH", "/v1/servers/docs", { name: "handmade", display_name: "The docs" }));
    for (const name of ["The docs", " The docs "]) {
      await edit({ name });
      expect(await record()).toMatchObject({ name: "handmade", display_name: "The docs" });
    }
    await edit({ name: "The docs!" });
    expect(await record()).toMatchObject({ name: "The-docs", display_name: "The docs!" });
  });
});

describe("connection_type", () => {
  it("sent back as it was found stays one that was found [BF-31]", async () => {
    const { gateway, bifrost } = await startWith();
    await register(gateway, { server_id: "found", name: "found" });
    const detected = () => storedValue("SELECT connection_detected FROM servers WHERE server_id = 'found'");
    const { config } = await bifrost.client("found");
    expect((await bifrost.update("found", config)).status).toBe(200);
    expect(await detected()).toBe(1);
    expect((await bifrost.update("found", { connection_type: "sse" })).status).toBe(200);
    expect(await detected()).toBe(0);
  });

  it("may change between http and sse [BF-31]", async () => {
    const { record, edit } = await startWith();
    await edit({ connection_type: "sse" });
    expect(await record()).toMatchObject({ connection_type: "sse", server_url: HTTP.connection_string });
    await edit({ connection_type: "http" });
    expect(await record()).toMatchObject({ connection_type: "http", state: "connected" });
  });

  it("may not change to or from stdio, and never be inprocess [BF-31]", async () => {
    const { gateway, bifrost, refusal } = await startWith();
    const answer = {
      ...invalid("connection_type"),
      message: "connection_type cannot be changed for an existing MCP client",
    };
    for (const connection_type of ["stdio", "inprocess"]) expect(await refusal({ connection_type })).toEqual(answer);
    await register(gateway, {
      ...{ server_id: "files", name: "files", connection_type: "stdio" },
      ...{ server_url: undefined, stdio_config: { command: "npx" } },
    });
    for (const connection_type of ["http", "sse", "inprocess"]) {
      expect(await refused(await bifrost.update("files", { connection_type }))).toEqual(answer);
    }
    expect((await bifrost.update("files", { connection_type: "stdio" })).status).toBe(200);
  });
});

describe("connection_string", () => {
  const URL_WITH_KEY = "https://docs.example/mcp?key=s3cret";
  const SHOWN = `http${MASK}cret`;

  it("counts as unchanged when it is the redacted one [BF-31]", async () => {
    const { upstream, record, edit } = await startWith({ connection_string: URL_WITH_KEY });
    await edit({ connection_string: ` ${SHOWN}` });
    expect(await record()).toMatchObject({ server_url: URL_WITH_KEY });
    expect(upstream.seen).toEqual([]);
  });

  it("is refused when it is another redacted one [BF-31]", async () => {
    const { refusal } = await startWith({ connection_string: URL_WITH_KEY });
    expect(await refusal({ connection_string: `http${MASK}none` })).toMatchObject(invalid("connection_string"));
  });

  it("of the same origin keeps the headers; of another drops them [BF-31]", async () => {
    const { gateway, upstream, record, edit } = await startWith({ headers: { "X-Key": "secret" } });
    await edit({ connection_string: "https://docs.example/other" });
    expect(await record()).toMatchObject({ config: { headers: { "X-Key": "secret" } }, state: "connected" });
    upstream.seen.length = 0;
    await edit({ connection_string: "https://elsewhere.example/mcp" });
    expect(await record()).toMatchObject({ config: {}, server_url: "https://elsewhere.example/mcp" });
    expect(upstream.seen.map(({ headers }) => headers.get("X-Key"))).toEqual([null, null]);
    await accepted(await gateway.admin("PATCH", "/v1/servers/docs", { config: { api_key: "old", headers: {} } }));
    await edit({ connection_string: "https://third.example/mcp", headers: { "X-Key": "new secret" } });
    expect((await record()).config).toEqual({ headers: { "X-Key": "new secret" } });
  });

  it("takes no redacted header along to another origin [BF-31, BF-34]", async () => {
    const { refusal } = await startWith({ headers: { "X-Key": "secret" } });
    const body = { connection_string: "https://elsewhere.example/mcp", headers: { "X-Key": "******" } };
    expect(await refusal(body)).toMatchObject(invalid("headers.X-Key"));
  });
});

describe("headers", () => {
  const HEADERS = { "X-Key": "secret", "X-Long": "a long secret" };

  it("that are redacted keep what is stored, beside others that are new [BF-34]", async () => {
    const { gateway, record, edit } = await startWith({ headers: HEADERS });
    await accepted(await gateway.admin("PATCH", "/v1/servers/docs", { config: { headers: HEADERS, api_key: "k" } }));
    await edit({ headers: { "X-Key": "******", "x-long": `a lo${MASK}cret`, "X-New": "new" } });
    expect((await record()).config).toEqual({
      api_key: "k",
      headers: { "X-Key": "secret", "x-long": "a long secret", "X-New": "new" },
    });
    await edit({ headers: { "X-Key": "another" } });
    expect((await record()).config).toEqual({ api_key: "k", headers: { "X-Key": "another" } });
  });

  it("omitted or null keep the stored ones, and none clears them [BF-34]", async () => {
    const { record, edit } = await startWith({ headers: HEADERS });
    for (const body of [{}, { headers: null }]) {
      await edit(body);
      expect((await record()).config).toEqual({ headers: HEADERS });
    }
    await edit({ headers: {} });
    expect(await record()).toMatchObject({ config: {}, auth_type: "headers" });
    expect(await storedValue("SELECT config_sealed FROM servers WHERE server_id = 'docs'")).toBeNull();
  });

  it("that look redacted and are not the stored ones are refused [BF-34]", async () => {
    const { refusal } = await startWith({ headers: HEADERS });
    for (const [name, value] of [
      ["X-Other", "******"],
      ["X-Other", `a lo${MASK}cret`],
      ["X-Key", "*****"],
      ["X-Long", `b lo${MASK}cret`],
    ] as const) {
      expect(await refusal({ headers: { ...HEADERS, [name]: value } })).toMatchObject(invalid(`headers.${name}`));
    }
  });

  it("that have changed reconnect the server [BF-35]", async () => {
    const { upstream, edit } = await startWith({ headers: HEADERS });
    await edit({ headers: { "X-Key": "new" } });
    expect(upstream.seen.length).toBeGreaterThan(0);
    for (const { headers } of upstream.seen) expect(headers.get("X-Key")).toBe("new");
  });

  it("that do not connect are not stored, everything else is, and the answer says so [BF-35]", async () => {
    const { upstream, bifrost, record } = await startWith({ headers: HEADERS, tools_to_execute: ["search"] });
    upstream.change({
      first: ({ headers }) => (headers.get("X-Key") === "wrong" ? new Response("c4n4ry", { status: 401 }) : undefined),
    });
    const response = await bifrost.update("docs", {
      ...{ name: "Renamed", headers: { "X-Key": "wrong" }, tools_to_execute: ["*"], tool_pricing: { search: 2 } },
      ...{ connection_string: "https://docs.example/moved", vk_configs: [] },
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: "partial_success",
      message: expect.stringMatching(/former ones stay/),
      credential_error: "The server refused the credential (HTTP 401).",
    });
    expect(await record()).toMatchObject({
      ...{ display_name: "Renamed", name: "Renamed", tool_mode: "all", tool_pricing: { search: 2 } },
      ...{ server_url: "https://docs.example/moved", config: { headers: HEADERS }, state: "connected" },
    });
  });

  it("of a server that is off, or that are sent to nobody, are stored without being tried [BF-35]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [] });
    const gateway = startGateway(upstream.network);
    await register(gateway, { server_id: "off", name: "off" });
    await register(gateway, { server_id: "none", name: "none", auth_type: "none", enabled: true });
    upstream.change({ first: () => new Response("no", { status: 401 }) });
    const bifrost = bifrostOf(gateway);
    for (const id of ["off", "none"]) {
      const response = await bifrost.update(id, { headers: { "X-Key": "new" } });
      expect(await response.json()).toEqual(EDITED);
      const { config } = await accepted<ServerView>(await gateway.admin("GET", `/v1/servers/${id}`));
      expect(config).toEqual({ headers: { "X-Key": "new" } });
    }
  });

  it("for another origin are stored with it, whether or not it answers: the former ones may not stay", async () => {
    const { upstream, record, edit } = await startWith({ headers: HEADERS });
    upstream.change({ first: () => new Response("no", { status: 401 }) });
    await edit({ connection_string: "https://elsewhere.example/mcp", headers: { "X-Key": "new" } });
    expect(await record()).toMatchObject({ config: { headers: { "X-Key": "new" } }, state: "error" });
  });

  it("can be given anew when the stored ones do not open", async () => {
    const { record, bifrost, edit } = await startWith({ headers: HEADERS });
    await env.DB.prepare("UPDATE servers SET config_sealed = 'v1.k1.AAAA.AAAA' WHERE server_id = 'docs'").run();
    vi.spyOn(console, "error").mockImplementation(() => {});
    expect((await bifrost.update("docs", { name: "Other" })).status).toBe(500);
    await edit({ headers: { "X-Key": "new" } });
    expect((await record()).config).toEqual({ headers: { "X-Key": "new" } });
  });
});

describe("tools_to_execute", () => {
  it.each([
    [["erase"], ["erase"], { erase: true, search: false }],
    [["*"], ["*"], { erase: true, search: true }],
    [[], [], { erase: false, search: false }],
    [undefined, ["search"], { erase: false, search: true }],
    [null, ["search"], { erase: false, search: true }],
  ])("%o leaves %o [BF-18]", async (tools_to_execute, shown, allowed_tools) => {
    const { bifrost, record, edit } = await startWith({ tools_to_execute: ["search"] });
    await edit({ tools_to_execute });
    expect(await record()).toMatchObject({ allowed_tools });
    expect((await bifrost.client("docs")).config["tools_to_execute"]).toEqual(shown);
  });

  it("may not leave out a tool of the stored auto list, unless that is given anew [BF-38]", async () => {
    const { bifrost, refusal, edit } = await startWith({
      tools_to_execute: ["search", "erase"],
      tools_to_auto_execute: ["search"],
    });
    expect(await refusal({ tools_to_execute: ["erase"] })).toMatchObject(invalid("tools_to_auto_execute"));
    await edit({ tools_to_execute: ["search"] });
    await edit({ tools_to_execute: ["erase"], tools_to_auto_execute: ["erase"] });
    expect((await bifrost.client("docs")).config["tools_to_auto_execute"]).toEqual(["erase"]);
  });

  it.each([[["search"]], [["*"]]])("of nothing clears an auto list of %o [BF-19, BF-38]", async (auto) => {
    const { bifrost, edit } = await startWith({ tools_to_execute: ["search"], tools_to_auto_execute: auto });
    await edit({ tools_to_execute: [] });
    expect((await bifrost.client("docs")).config).toMatchObject({ tools_to_execute: [], tools_to_auto_execute: [] });
  });

  it("leaves an auto list of everything what it is: all that may be executed [BF-19, BF-38]", async () => {
    const { bifrost, edit } = await startWith({ tools_to_execute: ["*"], tools_to_auto_execute: ["*"] });
    await edit({ tools_to_execute: ["erase"] });
    expect((await bifrost.client("docs")).config["tools_to_auto_execute"]).toEqual(["*"]);
  });

  it.each([
    [{ tools_to_auto_execute: ["erase"] }],
    [{ tools_to_execute: ["erase"], tools_to_auto_execute: ["search"] }],
    [{ tools_to_execute: [], tools_to_auto_execute: ["*"] }],
  ])("and the auto list have to agree: %o [BF-19]", async (body) => {
    const { refusal } = await startWith({ tools_to_execute: ["search"] });
    expect(await refusal(body)).toEqual({
      ...invalid("tools_to_auto_execute"),
      message: expect.stringMatching(/^Invalid tools_to_auto_execute: .+\.$/),
    });
  });
});

describe("tool_pricing", () => {
  it("is replaced as a whole, kept when it is omitted, cleared when it is empty [BF-32]", async () => {
    const { bifrost, edit } = await startWith();
    const prices = async () => (await bifrost.client("docs")).config["tool_pricing"];
    await edit({ tool_pricing: { search: 0.25, erase: 0 } });
    expect(await prices()).toEqual({ search: 0.25, erase: 0 });
    await edit({ tool_pricing: { search: 1_000_000 } });
    for (const body of [{}, { tool_pricing: null }]) {
      await edit(body);
      expect(await prices()).toEqual({ search: 1_000_000 });
    }
    await edit({ tool_pricing: {} });
    expect(await prices()).toEqual({});
  });

  it("is refused for what is no price, and for what is no known tool [BF-32]", async () => {
    const { bifrost, gateway, refusal } = await startWith();
    for (const price of [-1, 1_000_001, "1", null]) {
      expect(await refusal({ tool_pricing: { search: price } })).toMatchObject(invalid("tool_pricing.search"));
    }
    expect(await refusal({ tool_pricing: { Search: 1 } })).toMatchObject(invalid("tool_pricing"));
    await register(gateway, { server_id: "new", name: "new" });
    const answer = await refused(await bifrost.update("new", { tool_pricing: { search: 1 } }));
    expect(answer).toMatchObject(invalid("tool_pricing"));
  });
});
