/** Tools from a server's list to an admin's view and an agent's, through D1 and the `Connector` object. */
import { describe, expect, it } from "vitest";
import { sha256Hex } from "../../src/platform/hash.ts";
import { type Agent, createAgent } from "../support/agent.ts";
import { accepted, generationOf, offline, refusal, register, stored } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const SEARCH = ' {"description": "Finds é\\u00e9",\t"name":"search", "x-n": 1.0, "big": 12345678901234567890 }';

interface Tool {
  readonly name: string;
  readonly exposed_name: string;
}

async function start(fields: Record<string, unknown>, ...tools: string[]) {
  const server = scriptedServer({ era: "modern", tools });
  const gateway = startGateway(server.network);
  const { server_id } = await register(gateway, { enabled: true, ...fields });
  const agent = await createAgent(gateway, [{ server_id, tools_to_execute: ["*"] }]);
  const path = `/v1/servers/${server_id}`;
  return {
    server,
    gateway,
    agent,
    path,
    discover: async (...texts: string[]) => {
      server.change({ tools: texts });
      return accepted<Record<string, unknown>>(await gateway.admin("POST", `${path}/discover`));
    },
    tools: async () => (await accepted<{ rows: Tool[] }>(await gateway.admin("GET", `${path}/tools`))).rows,
  };
}

/** What an agent is shown, as text. */
const shown = async (agent: Agent, door = "/mcp/docs") => (await agent.modern(door, "tools/list")).text();

describe("GET /v1/servers/:server_id/tools", () => {
  it("shows each known or named tool with its policy and what is approved of it [RB-26]", async () => {
    const { gateway, path, agent } = await start(
      { allowed_tools: { "read/file": true, later: false } },
      SEARCH,
      '{"name":"read/file"}',
    );
    const page = await accepted<{ rows: Tool[] }>(await gateway.admin("GET", `${path}/tools`));
    const server_id = path.replace("/v1/servers/", "");
    const EMPTY = { type: "object", properties: {} };
    const unset = { auto_execute: false, price_usd: null, pending_change_id: null, header_problem: null };
    const nothing = {
      ...unset,
      title: null,
      description: "",
      input_schema: EMPTY,
      output_schema: null,
      annotations: null,
    };
    expect(page).toEqual({
      rows: [
        {
          ...{ name: "later", ...nothing, server_id, exposed_name: "docs__later" },
          ...{ allowed: false, known: false, is_new: false, definition_hash: null },
        },
        {
          ...{ name: "read/file", ...nothing, server_id, exposed_name: "docs__read_file_0a8177bd" },
          ...{ allowed: true, known: true, is_new: false, definition_hash: sha256Hex('{"name":"read/file"}') },
        },
        {
          ...{ name: "search", ...nothing, description: "Finds éé", server_id, exposed_name: "docs__search" },
          ...{ allowed: false, known: true, is_new: true, definition_hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
        },
      ],
      total_rows: 3,
      page: 0,
      page_size: 25,
      filters: {},
      sort: { by: "name", direction: "asc" },
    });
    expect(await shown(agent)).toContain("read/file");
    expect(await shown(agent)).not.toMatch(/search|later/);
  });

  it("cuts pages and answers 404 for a server that is not there", async () => {
    const { gateway, path } = await start({}, '{"name":"a"}', '{"name":"b"}', '{"name":"c"}');
    const page = await accepted<{ rows: Tool[] }>(await gateway.admin("GET", `${path}/tools?page_size=2&page=1`));
    expect(page).toMatchObject({ total_rows: 3, page: 1, page_size: 2 });
    expect(page.rows.map(({ name }) => name)).toEqual(["c"]);
    const missing = await gateway.admin("GET", "/v1/servers/none/tools");
    expect(await refusal(missing)).toEqual({ status: 404, code: "not_found" });
  });
});

describe("a definition", () => {
  it("is stored and shown byte for byte as it was received [PS-20, RG-27]", async () => {
    const { agent } = await start(
      {},
      SEARCH,
      `${SEARCH.trim().slice(0, -1)},"inputSchema":{"type" : "object"} }`.replace("search", "find"),
    );
    const rows = ((await stored())["server_tools"] ?? []).filter((row) => row["server_id"] !== "gateway");
    expect(rows.map((row) => [row["tool"], row["definition"] === row["approved_definition"]])).toEqual([
      ["find", true],
      ["search", true],
    ]);
    expect(rows[1]?.["definition"]).toBe(SEARCH.trim());
    expect(await shown(agent)).toContain(String(rows[0]?.["definition"]).replace(/ ?}$/, ""));
  });

  it("that has changed by a byte is not shown before approval; a renamed tool is another tool [PS-21, T-16]", async () => {
    const { agent, discover, tools } = await start({}, '{"name":"search","description":"good"}');
    const before = await tools();
    const changed = await discover('{"name":"search","description":"goad"}', '{"name":"Search","description":"good"}');
    expect(changed).toMatchObject({ known: 2, added: ["Search"], changed: ["search"], vanished: [], skipped: [] });
    expect(await shown(agent)).toContain('"good"');
    expect(await shown(agent)).not.toMatch(/goad|Search/);
    const pending_change_id = expect.stringMatching(/^chg_/);
    expect((await tools()).filter(({ name }) => name === "search")).toEqual([{ ...before[0], pending_change_id }]);
    expect(await discover('{"name":"search","description":"good"}')).toMatchObject({
      changed: [],
      vanished: ["Search"],
    });
  });

  it("of a vanished tool is kept and not shown, and shown again when the tool is back [PS-21]", async () => {
    const { agent, discover } = await start({}, '{"name":"search"}', '{"name":"erase"}');
    expect(await discover('{"name":"erase"}')).toMatchObject({ known: 1, vanished: ["search"] });
    expect(await shown(agent)).not.toContain("search");
    expect(await discover('{"name":"erase"}', '{"name":"search"}')).toMatchObject({ known: 2, added: ["search"] });
    expect(await shown(agent)).toContain("search");
  });

  it("that cannot be used is skipped, with a reason, and the others are kept [BF-65, RG-27]", async () => {
    const { discover, tools } = await start({}, '{"name":"search"}');
    const report = await discover(
      '{"name":"search"}',
      '{"name":""}',
      '{"name":7}',
      '{"name":"a\\nb"}',
      `{"name":"${"n".repeat(257)}"}`,
      '{"name":"a b"}',
    );
    expect(report).toEqual({
      known: 2,
      added: ["a b"],
      changed: [],
      vanished: [],
      skipped: ["", "", "a\u{fffd}b", "n".repeat(64)].map((name) => ({ name, reason: expect.any(String) })),
      fetched_at: expect.stringMatching(/Z$/),
    });
    expect((await tools()).map(({ exposed_name }) => exposed_name)).toEqual([
      `docs__a_b_${sha256Hex("docs__a b").slice(0, 8)}`,
      "docs__search",
    ]);
  });
});

describe("the names of tools", () => {
  it("are exposed ones at /mcp and the server's own at its door, whatever the case of the slug, sorted [PS-25]", async () => {
    const { agent } = await start({}, '{"name":"read/file"}', '{"name":"b"}', '{"name":"B"}', '{"name":"a"}');
    const names = async (door: string) => {
      const { result } = await (await agent.modern(door, "tools/list")).json<{
        result: { tools: { name: string }[] };
      }>();
      return result.tools.map(({ name }) => name);
    };
    expect(await names("/mcp")).toEqual(["docs__B", "docs__a", "docs__b", "docs__read_file_0a8177bd"]);
    for (const door of ["/mcp/docs", "/mcp/DOCS"]) expect(await names(door)).toEqual(["B", "a", "b", "read/file"]);
  });
});

describe("a rename", () => {
  it("changes the exposed names at once, and leads calls by the new ones back [RG-21, R-18]", async () => {
    const { server, gateway, agent, path } = await start({}, '{"name":"a__b"}', '{"name":"a.b"}');
    expect(await shown(agent, "/mcp")).toContain("docs__a__b");
    await accepted(await gateway.admin("PATCH", path, { name: "Manual" }));
    const listed = await (await agent.modern("/mcp", "tools/list")).json<{ result: { tools: { name: string }[] } }>();
    const names = listed.result.tools.map(({ name }) => name);
    expect(names).toEqual(["Manual__a__b", expect.stringMatching(/^Manual__a_b_[0-9a-f]{8}$/)]);
    for (const name of names) await agent.modern("/mcp", "tools/call", { name });
    expect(server.calls().map(({ message }) => message["params"])).toMatchObject([{ name: "a__b" }, { name: "a.b" }]);
    expect(await (await agent.modern("/mcp", "tools/call", { name: "docs__a__b" })).json()).toMatchObject({
      error: { code: -32602 },
    });
  });
});

describe("POST /v1/servers/:server_id/discover", () => {
  it("is 404 for a server that is not there and 400 for one that is off, and changes nothing", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    const before = await stored();
    const missing = await gateway.admin("POST", "/v1/servers/none/discover");
    expect(await refusal(missing)).toEqual({ status: 404, code: "not_found" });
    const off = await gateway.admin("POST", `/v1/servers/${server_id}/discover`);
    expect(await refusal(off)).toEqual({ status: 400, code: "invalid_request" });
    expect(await stored()).toEqual(before);
  });

  it("leaves the catalog as it was when the server fails, and says so in its record", async () => {
    const { server, gateway, path } = await start({}, '{"name":"search"}');
    const before = (await stored())["server_tools"];
    const generation = await generationOf();
    server.change({ first: () => new Response("no", { status: 500 }) });
    const response = await gateway.admin("POST", `${path}/discover`);
    expect(await refusal(response)).toEqual({ status: 502, code: "upstream_failed" });
    expect((await stored())["server_tools"]).toEqual(before);
    expect(await accepted(await gateway.admin("GET", path))).toMatchObject({
      status: "active",
      state: "error",
      last_failure: { stage: "connect", message: "The server answered with HTTP 500." },
    });
    expect(await generationOf()).toBe(generation);
  });
});
