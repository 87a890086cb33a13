import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { accepted, createOrg, offline, register, stored } from "../support/api.ts";
import { bifrostOf, HTTP, refused, tool } from "../support/bifrost.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

/** A gateway with servers of these display names, in the order of their creation, and not the built-in one. */
async function startWith(names: readonly string[]) {
  const gateway = startGateway(offline);
  await env.DB.prepare("DELETE FROM servers").run();
  for (const [at, display_name] of names.entries()) {
    await register(gateway, { server_id: `s-${at}`, name: `server-${at}`, display_name });
  }
  return { gateway, bifrost: bifrostOf(gateway) };
}

describe("GET /api/mcp/clients", () => {
  it("is the envelope with everything, when nothing is asked for [BF-41, T-36]", async () => {
    const names = Array.from({ length: 30 }, (_, at) => `Server ${at}`);
    const { bifrost } = await startWith(names);
    const { clients, ...counts } = await bifrost.list();
    expect(counts).toEqual({ count: 30, total_count: 30, limit: 30, offset: 0 });
    expect(clients.map(({ config }) => config.name)).toEqual(names);
    expect(await bifrostOf(startGateway(offline)).list("?other=1")).toMatchObject({ count: 30, limit: 30 });
  });

  it("is the same when there is nothing [BF-41, T-36]", async () => {
    const { bifrost } = await startWith([]);
    expect(await bifrost.list()).toEqual({ clients: [], count: 0, total_count: 0, limit: 0, offset: 0 });
    expect(await bifrost.list("?limit=5")).toEqual({ clients: [], count: 0, total_count: 0, limit: 5, offset: 0 });
  });

  it("is paged when any part of a page is asked for [BF-41, T-36]", async () => {
    const { bifrost } = await startWith(Array.from({ length: 30 }, (_, at) => `Server ${at}`));
    const cases: [query: string, limit: number, offset: number, count: number][] = [
      ["?limit=2", 2, 0, 2],
      ["?limit=0", 25, 0, 25],
      ["?limit=100", 100, 0, 30],
      ["?limit=101", 100, 0, 30],
      ["?limit=99999999999999999999", 100, 0, 30],
      ["?offset=0", 25, 0, 25],
      ["?offset=28", 25, 28, 2],
      ["?limit=7&offset=3", 7, 3, 7],
      ["?offset=99999999999999999999", 25, Number.MAX_SAFE_INTEGER, 0],
      ["?search=", 25, 0, 25],
    ];
    for (const [query, limit, offset, count] of cases) {
      const { clients, ...counts } = await bifrost.list(query);
      expect({ query, ...counts }).toEqual({ query, limit, offset, count, total_count: 30 });
      expect(clients.map(({ config }) => config.client_id)).toEqual(
        Array.from({ length: count }, (_, at) => `s-${offset + at}`),
      );
    }
  });

  it.each(["limit", "offset"])("refuses a %s that is no number, or a negative one [BF-41]", async (field) => {
    const bifrost = bifrostOf(startGateway(offline));
    const refusalOf = async (text: string) =>
      refused(await bifrost.send("GET", `/api/mcp/clients?${field}=${encodeURIComponent(text)}`));
    const answer = { status: 400, code: "invalid_request", field };
    for (const text of ["", "a", "1.5", "1e3", "0x10", " 1", "--1"]) {
      expect(await refusalOf(text)).toEqual({ ...answer, message: `Invalid ${field} parameter: must be a number` });
    }
    for (const text of ["-1", "-99999999999999999999"]) {
      expect(await refusalOf(text)).toEqual({ ...answer, message: `Invalid ${field} parameter: must be non-negative` });
    }
  });

  it("is searched by a part of the name, ignoring case, and counts what is found [BF-41]", async () => {
    const { bifrost } = await startWith(["GitHub", "git_lab", "École", "100% docs", "Docs"]);
    const found = async (search: string, more = "") => {
      const { clients, total_count } = await bifrost.list(`?search=${encodeURIComponent(search)}${more}`);
      return [clients.map(({ config }) => config.name), total_count];
    };
    expect(await found("GIT")).toEqual([["GitHub", "git_lab"], 2]);
    expect(await found("é")).toEqual([["École"], 1]);
    expect(await found("ÉCOLE")).toEqual([["École"], 1]);
    // The name is that which people give: the slug is `server-…`.
    expect(await found("server")).toEqual([[], 0]);
    expect(await found("%")).toEqual([["100% docs"], 1]);
    expect(await found("_")).toEqual([["git_lab"], 1]);
    expect(await found("docs", "&limit=1&offset=1")).toEqual([["Docs"], 2]);
  });

  it("is in order of creation, and then of ids [BF-41]", async () => {
    const { gateway, bifrost } = await startWith(["b", "a", "c"]);
    await env.DB.batch([
      env.DB.prepare("UPDATE servers SET created = 2"),
      env.DB.prepare("UPDATE servers SET created = 1 WHERE server_id = 's-2'"),
    ]);
    const ids = async (query: string) => (await bifrost.list(query)).clients.map(({ config }) => config.client_id);
    for (const query of ["", "?limit=9", "?search="]) expect(await ids(query)).toEqual(["s-2", "s-0", "s-1"]);
    await accepted(await gateway.admin("PATCH", "/v1/servers/s-2", { display_name: "changed" }));
    expect(await ids("")).toEqual(["s-2", "s-0", "s-1"]);
  });

  it("asks D1 as often for many clients as for one", async () => {
    const { bifrost } = await startWith(["one"]);
    const statements = async (query: string) => {
      const prepare = vi.spyOn(env.DB, "prepare");
      await bifrost.list(query);
      const asked = prepare.mock.calls.length;
      prepare.mockRestore();
      return asked;
    };
    const forOne = [await statements(""), await statements("?search=")];
    for (let at = 1; at < 12; at++) await register(startGateway(offline), { server_id: `m-${at}`, name: `many-${at}` });
    expect([await statements(""), await statements("?search=")]).toEqual(forOne);
  });

  it("shows the three states and no other [BF-3]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [] });
    const gateway = startGateway((request) => (request.url.includes("dead") ? offline() : upstream.network(request)));
    await register(gateway, { name: "on", server_url: "https://live.example/mcp", enabled: true });
    await register(gateway, { name: "dead", server_url: "https://dead.example/mcp", enabled: true });
    await register(gateway, { name: "off" });
    const clients = await bifrostOf(gateway).own();
    expect(clients.map(({ state }) => state)).toEqual(["connected", "error", "disconnected"]);
  });
});

describe("the built-in client", () => {
  it("is listed, and refuses every write [PS-29]", async () => {
    const bifrost = bifrostOf(startGateway(offline));
    const { config, state } = await bifrost.client("gateway");
    expect(state).toBe("connected");
    expect(config).toEqual({
      ...{ client_id: "gateway", name: "Postern", connection_type: "inprocess", auth_type: "none", headers: {} },
      ...{ is_code_mode_client: false, is_ping_available: true, allow_on_all_virtual_keys: true },
      ...{ tools_to_execute: ["*"], tools_to_auto_execute: [], tool_pricing: {} },
    });
    const before = await stored();
    for (const response of [
      await bifrost.update("gateway", {}),
      await bifrost.update("gateway", { name: "Mine", connection_type: "http", vk_configs: [] }),
      await bifrost.reconnect("gateway"),
      await bifrost.remove("gateway"),
    ]) {
      expect(await refused(response)).toMatchObject({ status: 400, code: "read_only" });
    }
    expect(await stored()).toEqual(before);
  });
});

describe("a client", () => {
  it("has its known tools by name, as they are approved, whether allowed or not [BF-5, BF-40]", async () => {
    const inputSchema = { type: "object", properties: { q: { type: "string" } } };
    const tools = [
      tool("b", { inputSchema, strict: true, title: "B" }),
      tool("B", { strict: false }),
      tool("a.b/c", { strict: "no" }),
      '{"name":"bare"}',
    ];
    const upstream = scriptedServer({ era: "modern", tools });
    const gateway = startGateway(upstream.network);
    const bifrost = bifrostOf(gateway);
    const created = await bifrost.created({ tools_to_execute: ["b", "unheard-of"] });
    const object = { type: "object" };
    const expected = [
      { name: "B", description: "does B", parameters: object, strict: false },
      { name: "a.b/c", description: "does a.b/c", parameters: object },
      { name: "b", description: "does b", parameters: inputSchema, strict: true },
      { name: "bare", description: "", parameters: { type: "object", properties: {} } },
    ];
    expect(created.tools).toEqual(expected);
    // What has changed is not shown before it is approved, and what has vanished is not shown.
    upstream.change({ tools: [tool("b", { description: "c4n4ry" }), ...tools.slice(1, 3)] });
    expect((await bifrost.reconnect("docs")).status).toBe(200);
    expect((await bifrost.client("docs")).tools).toEqual(expected.slice(0, 3));
  });

  it("has its endpoint, redacted as a whole when it has a query [BF-44]", async () => {
    const gateway = startGateway(offline);
    await register(gateway, { server_id: "a", name: "a", server_url: "https://docs.example/mcp" });
    await register(gateway, { server_id: "b", name: "b", server_url: "https://docs.example/mcp?key=s3cret" });
    const bifrost = bifrostOf(gateway);
    expect((await bifrost.client("a")).config["connection_string"]).toBe("https://docs.example/mcp");
    expect((await bifrost.client("b")).config["connection_string"]).toBe(`http${"*".repeat(24)}cret`);
  });

  it("has its headers, each value redacted, and nothing else of its config [BF-44]", async () => {
    const gateway = startGateway(offline);
    const headers = { "X-Short": "secret", "X-Eight": "12345678", "X-Nine": "123456789", "X-Empty": "" };
    await register(gateway, { server_id: "docs", config: { headers, api_key: "c4n4ry-key", note: "c4n4ry" } });
    const client = await bifrostOf(gateway).client("docs");
    expect(client.config["headers"]).toEqual({
      "X-Short": "******",
      "X-Eight": "********",
      "X-Nine": `1234${"*".repeat(24)}6789`,
      "X-Empty": "",
    });
    expect(JSON.stringify(client)).not.toContain("c4n4ry");
  });

  it("shows a policy that nobody has set as nothing, and one of everything as a star", async () => {
    const gateway = startGateway(offline);
    const policies = { unset: null, all: ["*"], none: {}, some: { b: true, a: true, c: false } };
    for (const [name, allowed_tools] of Object.entries(policies)) {
      await register(gateway, { server_id: name, name, allowed_tools });
    }
    const shown = (await bifrostOf(gateway).own()).map(({ config }) => config["tools_to_execute"]);
    expect(shown).toEqual([[], ["*"], [], ["a", "b"]]);
  });

  it("has the keys of all orgs that are assigned to it, by name [BF-7]", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    await register(gateway, { server_id: "docs" });
    await register(gateway, { server_id: "other", name: "other" });
    const keyOf = async (name: string, org: string, tools_to_execute: string[]) => {
      const body = { name, servers: [{ server_id: "docs", tools_to_execute }] };
      const created = await gateway.admin("POST", "/v1/virtual-keys", body, { "X-Org-Id": org });
      const { virtual_key_id } = await accepted<{ virtual_key_id: string }>(created, 201);
      return { virtual_key_id, virtual_key_name: name, tools_to_execute };
    };
    const keys = [await keyOf("c", "default", ["*"]), await keyOf("a", "acme", []), await keyOf("b", "acme", ["x"])];
    const bifrost = bifrostOf(gateway);
    expect((await bifrost.client("docs")).vk_configs).toEqual([keys[1], keys[2], keys[0]]);
    expect((await bifrost.client("other")).vk_configs).toEqual([]);
  });

  it("is sent back as it was shown without a change of anything", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search"), tool("erase")] });
    const gateway = startGateway(upstream.network);
    const bifrost = bifrostOf(gateway);
    await bifrost.created({
      ...HTTP,
      connection_string: "https://docs.example/mcp?key=s3cret",
      headers: { "X-Key": "secret", "X-Long": "a long secret" },
      tools_to_execute: ["search"],
      tools_to_auto_execute: ["*"],
    });
    const lasting = async () => {
      const record = await accepted<Record<string, unknown>>(await gateway.admin("GET", "/v1/servers/docs"));
      return { ...record, modified: undefined };
    };
    const [before, shown] = [await lasting(), await bifrost.client("docs")];
    upstream.seen.length = 0;
    const response = await bifrost.update("docs", { ...shown.config, vk_configs: shown.vk_configs });
    expect(await response.json()).toEqual({ status: "success", message: "MCP client edited successfully" });
    expect(await lasting()).toEqual(before);
    expect(await bifrost.client("docs")).toEqual(shown);
    expect(upstream.seen).toEqual([]);
  });
});
