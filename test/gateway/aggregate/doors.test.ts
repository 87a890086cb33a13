import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { ALL_MS } from "../../../src/gateway/aggregate/ask-all.ts";
import { encodeHeaderValue } from "../../../src/gateway/modern/header-value.ts";
import { type Agent, createAgent } from "../../support/agent.ts";
import { startGateway } from "../../support/gateway.ts";
import { linkWithKey, protectedWorld, triedAgent } from "../../support/protected.ts";
import { idOf, raw, resultOf, type Script, type Seen, scriptedServer } from "../../support/upstream.ts";

const ON = { AGGREGATE_PROMPTS_AND_RESOURCES: "true" };
const CAPABILITIES = { prompts: { listChanged: true }, resources: { subscribe: true }, completions: {} };
const ERAS = ["modern", "legacy"] as const;
type Era = (typeof ERAS)[number];
const METHODS = [
  ...["prompts/list", "prompts/get", "resources/list", "resources/templates/list", "resources/read"],
  "completion/complete",
];

const methodOf = ({ message }: Seen) => String(message["method"]);
const paramsOf = ({ message }: Seen) => (message["params"] ?? {}) as Record<string, unknown>;

interface Made {
  readonly name: string;
  readonly era?: Era;
  readonly capabilities?: Record<string, unknown>;
  readonly first?: Script["first"];
  readonly timeout_ms?: number;
}

/** Servers at hosts of their names, and an agent that may use those that are not called hidden. */
async function startServers(servers: readonly Made[], vars: Record<string, unknown> = ON) {
  const scripts = new Map(
    servers.map(({ name, era = "modern", capabilities = CAPABILITIES, first }) => [
      `${name.toLowerCase()}.example`,
      scriptedServer({ era, tools: [], capabilities, first }),
    ]),
  );
  const gateway = startGateway(
    (request) => scripts.get(new URL(request.url).hostname)?.network(request) ?? Promise.reject(new Error("nobody")),
    vars,
  );
  const assigned = [];
  for (const { name, timeout_ms } of servers) {
    const fields = { name, server_url: `https://${name}.example/mcp`, ...(timeout_ms && { timeout_ms }) };
    const created = await gateway.admin("POST", "/v1/servers", fields);
    expect(created.status).toBe(201);
    const { server_id } = await created.json<{ server_id: string }>();
    if (!name.startsWith("hidden")) assigned.push({ server_id, tools_to_execute: ["*"] });
  }
  const agent = await createAgent(gateway, assigned);
  const seen = (name: string) => scripts.get(`${name}.example`)?.seen ?? [];
  const count = () => [...scripts.values()].reduce((sum, { seen }) => sum + seen.length, 0);
  return { gateway, agent, seen, count };
}

/** Asks at `/mcp` in an era, and reads the one message that comes. */
async function ask(agent: Agent, era: Era, method: string, params: Record<string, unknown> = {}) {
  const named = params["name"] ?? params["uri"];
  const headers = typeof named === "string" ? { "Mcp-Name": encodeHeaderValue(named) } : {};
  const response =
    era === "modern"
      ? await agent.modern("/mcp", method, params, { headers })
      : await agent.legacy("/mcp", method, params);
  const text = await response.text();
  type Answer = { result?: Record<string, unknown>; error?: { code: number; message: string } };
  return { status: response.status, text, ...(JSON.parse(text) as Answer) };
}

/** Answers lists with these texts, page by page: the cursor is the number of the next. */
const listing =
  (pages: Readonly<Record<string, readonly string[]>>, more = ""): NonNullable<Script["first"]> =>
  (seen) => {
    const texts = pages[methodOf(seen)];
    if (texts === undefined) return undefined;
    const at = Number(paramsOf(seen)["cursor"] ?? 0);
    const next = at + 1 < texts.length ? `,"nextCursor":"${at + 1}"` : "";
    return resultOf(seen, `{${texts[at]}${next}${more}}`);
  };

describe.each(ERAS)("prompts and resources at /mcp, for a %s client", (era) => {
  it("are not there unless the operator has turned them on [OT-1, P-1]", async () => {
    const { agent, count } = await startServers([{ name: "docs" }], {});
    const before = count();
    for (const method of METHODS) {
      const { status, error } = await ask(agent, era, method, { name: "docs__p" });
      expect([status, error?.code], method).toEqual([era === "modern" ? 404 : 200, -32601]);
    }
    expect(await capabilitiesAt(agent, era, "/mcp")).toEqual({ tools: { listChanged: true } });
    expect(count()).toBe(before);
  });

  it("are said to be there when they are, and at no door of the gateway's own tools [OT-1]", async () => {
    const { agent } = await startServers([{ name: "docs" }]);
    const offered = { prompts: {}, resources: {}, completions: {}, tools: { listChanged: true } };
    expect(await capabilitiesAt(agent, era, "/mcp")).toEqual(offered);
    expect(await capabilitiesAt(agent, era, "/mcp/gateway")).toEqual({ tools: { listChanged: true } });
  });

  it("are listed by server, under names that say whose they are, otherwise byte for byte [OT-1, P-11, P-42, P-43]", async () => {
    const pages = (of: string) => ({
      "prompts/list": [`"prompts":[{"name":"z ü","x":1.0}, {"title":"${of}","name":"a__b"},{"title":"no name"}]`],
      "resources/list": [`"resources":[{ "uri":"file:///${of}?q=1#f","size":12345678901234567890}]`],
      "resources/templates/list": [`"resourceTemplates":[{"uriTemplate":"a://{+path}{?q}","name":"t"}]`],
    });
    const { agent } = await startServers([
      { name: "Beta", era: "legacy", first: listing(pages("b")) },
      { name: "alpha-1", era: "modern", first: listing(pages("a"), ',"resultType":"complete","ttlMs":1000') },
      { name: "quiet", capabilities: {}, first: listing(pages("q")) },
      { name: "hidden", first: listing(pages("h")) },
    ]);
    const prompts = await ask(agent, era, "prompts/list");
    const shown = (name: string, of: string) =>
      `{"name":"${name}__z ü","x":1.0},{"title":"${of}","name":"${name}__a__b"}`;
    expect(prompts.text).toContain(`"prompts":[${shown("Beta", "b")},${shown("alpha-1", "a")}]`);
    const { text } = await ask(agent, era, "resources/list");
    const resource = (name: string, of: string) =>
      `{ "uri":"postern+${name}:file:///${of}?q=1#f","size":12345678901234567890}`;
    expect(text).toContain(`"resources":[${resource("beta", "b")},${resource("alpha-1", "a")}]`);
    const templates = await ask(agent, era, "resources/templates/list");
    const template = (name: string) => `{"uriTemplate":"postern+${name}:a://{+path}{?q}","name":"t"}`;
    expect(templates.text).toContain(`"resourceTemplates":[${template("beta")},${template("alpha-1")}]`);
    expect(prompts.text).not.toContain("left_out");
  });

  it("come in pages over all servers, each once, and a made-up cursor is refused [OT-1, P-48]", async () => {
    const pages = (...names: string[]) => ({ "prompts/list": names.map((name) => `"prompts":[{"name":"${name}"}]`) });
    const { agent, seen } = await startServers([
      { name: "a", first: listing(pages("1", "2", "3")) },
      { name: "b", era: "legacy", first: listing(pages("1")) },
      { name: "c", era: "legacy", first: listing(pages("1", "2")) },
    ]);
    const names: string[][] = [];
    let cursor: unknown;
    do {
      const { result } = await ask(agent, era, "prompts/list", cursor === undefined ? {} : { cursor });
      const prompts = (result?.["prompts"] ?? []) as { name: string }[];
      names.push(prompts.map(({ name }) => name));
      cursor = result?.["nextCursor"];
    } while (cursor !== undefined);
    expect(names).toEqual([["a__1", "b__1", "c__1"], ["a__2", "c__2"], ["a__3"]]);
    expect(seen("b").filter((one) => methodOf(one) === "prompts/list")).toHaveLength(1);
    for (const made of ["", "%%%", btoa("[]"), btoa('["a"]'), btoa('[["a",1]]'), 7]) {
      const { error } = await ask(agent, era, "prompts/list", { cursor: made });
      expect(error?.code, String(made)).toBe(-32602);
    }
  });

  it("are got, read and completed at their server, under its own names [OT-1, P-44]", async () => {
    const results: Record<string, string> = {
      "prompts/get":
        '{"messages":[{"role":"user","content":{"type":"resource_link","uri":"a://b","name":"n"}}],"x":1.0}',
      "resources/read": '{"contents":[{"uri":"a://b/1","text":"x","n":1.0},{"text":"no uri"}]}',
      "completion/complete": '{"completion":{"values":["v"],"total":1.0}}',
    };
    const first: Script["first"] = (seen) => {
      const result = results[methodOf(seen)];
      return result === undefined ? undefined : resultOf(seen, result);
    };
    const { agent, seen } = await startServers([
      { name: "New", era: "modern", first },
      { name: "old", era: "legacy", first },
    ]);
    for (const name of ["New", "old"]) {
      const scheme = `postern+${name.toLowerCase()}`;
      const asked: [string, Record<string, unknown>, Record<string, unknown>][] = [
        ["prompts/get", { name: `${name}__a__ü`, arguments: { a: "1" } }, { name: "a__ü", arguments: { a: "1" } }],
        ["resources/read", { uri: `${scheme}:a://b/1?q#f` }, { uri: "a://b/1?q#f" }],
        ["resources/read", { uri: `POSTERN+${name}:a:b` }, { uri: "a:b" }],
        ...[
          [
            { type: "ref/prompt", name: `${name}__p`, x: 1 },
            { type: "ref/prompt", name: "p", x: 1 },
          ],
          [
            { type: "ref/resource", uri: `${scheme}:a://{id}` },
            { type: "ref/resource", uri: "a://{id}" },
          ],
        ].map(([ref, own]): [string, Record<string, unknown>, Record<string, unknown>] => [
          "completion/complete",
          { ref, argument: { name: "id", value: "1" } },
          { ref: own, argument: { name: "id", value: "1" } },
        ]),
      ];
      for (const [method, params, own] of asked) {
        const { text, result } = await ask(agent, era, method, params);
        const inside = (results[method] ?? "").slice(1, -1).replace('"a://b/1"', `"${scheme}:a://b/1"`);
        expect(text, method).toContain(`"result":{${inside}`);
        expect(result, method).toMatchObject(era === "modern" ? { resultType: "complete" } : {});
        const sent = seen(name.toLowerCase()).findLast((one) => methodOf(one) === method);
        const { _meta: _, ...got } = sent === undefined ? { _meta: {} } : paramsOf(sent);
        expect(got, method).toEqual(own);
        const header = (own["name"] ?? own["uri"]) as string | undefined;
        const isNamed = name === "New" && header !== undefined;
        expect(sent?.headers.get("Mcp-Name") ?? undefined).toBe(isNamed ? encodeHeaderValue(header) : undefined);
      }
    }
  });

  it("are unknown alike where there is no such server, it may not be used, or it has none of them [P-5, OT-1]", async () => {
    const { agent, count } = await startServers([{ name: "hidden" }, { name: "quiet", capabilities: { logging: {} } }]);
    const before = count();
    const asked: ((name: string) => [string, Record<string, unknown>])[] = [
      (name) => ["prompts/get", { name: `${name}__p` }],
      (name) => ["resources/read", { uri: `postern+${name}:a://b` }],
      (name) => ["completion/complete", { ref: { type: "ref/prompt", name: `${name}__p` }, argument: {} }],
      (name) => ["completion/complete", { ref: { type: "ref/resource", uri: `postern+${name}:a` }, argument: {} }],
    ];
    for (const of of asked) {
      const answers = [];
      for (const name of ["hidden", "absent", "quiet"]) {
        const { status, text, error } = await ask(agent, era, ...of(name));
        expect([status, error?.code]).toEqual([200, -32602]);
        answers.push(text.replaceAll(name, "X"));
      }
      expect(new Set(answers).size).toBe(1);
    }
    const foreign: [string, Record<string, unknown>][] = [
      ["prompts/get", { name: "p" }],
      ["prompts/get", { name: "__p" }],
      ["resources/read", { uri: "a://b" }],
      ["resources/read", { uri: "postern+:a" }],
      ["resources/read", { uri: "postern+quiet" }],
      ["completion/complete", { ref: { type: "ref/other" } }],
      ["completion/complete", {}],
    ];
    for (const [method, params] of foreign) expect((await ask(agent, era, method, params)).error?.code).toBe(-32602);
    expect(count()).toBe(before);
  });

  it("lack the servers that fail, which are named [OT-1, R-12]", async () => {
    const list = listing({ "prompts/list": ['"prompts":[{"name":"p"}]'] });
    const { agent } = await startServers([
      { name: "a", first: list },
      {
        name: "b",
        first: (seen) => (methodOf(seen) === "prompts/list" ? new Response("no", { status: 500 }) : undefined),
      },
      { name: "c", era: "legacy", first: (seen) => (methodOf(seen) === "prompts/list" ? raw("{") : undefined) },
      { name: "d", first: (seen) => (methodOf(seen) === "prompts/list" ? resultOf(seen, "{}") : undefined) },
      { name: "e", era: "legacy", first: list },
    ]);
    const { result } = await ask(agent, era, "prompts/list");
    expect(result).toMatchObject({
      prompts: [{ name: "a__p" }, { name: "e__p" }],
      _meta: { "dev.postern/left_out": ["b", "c", "d"] },
    });
    if (era === "modern") expect(result).toMatchObject({ ttlMs: 0 });
  });

  it("are listed while servers hang: 5 of 20 [OT-1, R-12]", async () => {
    const hang: Script["first"] = (seen) =>
      methodOf(seen) === "prompts/list" ? new Promise<Response>(() => undefined) : undefined;
    const list = listing({ "prompts/list": ['"prompts":[{"name":"p"}]'] });
    const names = Array.from({ length: 20 }, (_, at) => `s${String(at).padStart(2, "0")}`);
    const hanging = names.slice(0, 5);
    const { agent } = await startServers(
      names.map((name) => ({ name, era: "modern" as const, first: hanging.includes(name) ? hang : list })),
    );
    const { result } = await ask(agent, era, "prompts/list");
    expect(result).toMatchObject({
      prompts: names.slice(5).map((name) => ({ name: `${name}__p` })),
      _meta: { "dev.postern/left_out": hanging },
    });
  });
});

describe("a list over all servers", () => {
  it("waits for no session that legacy servers do not open, and neither do those behind them [OT-1, R-12]", async () => {
    const gate = { isOpen: true };
    // Asked again and again: a promise of the test must not be waited for in an object.
    const hang: Script["first"] = async (seen) => {
      while (!gate.isOpen && methodOf(seen) === "initialize") await new Promise((resolve) => setTimeout(resolve, 5));
      return undefined;
    };
    const list = listing({ "prompts/list": ['"prompts":[{"name":"p"}]'] });
    // As many as are asked at a time.
    const hanging = ["b", "c", "d", "e", "f"];
    const hangs = (name: string) => ({ name, era: "legacy" as const, first: hang, timeout_ms: 2 * ALL_MS });
    const { agent } = await startServers([
      { name: "a", era: "legacy", first: list },
      ...hanging.map(hangs),
      { name: "g", era: "legacy", first: list },
    ]);
    const session = await agent.initialize("/mcp");
    gate.isOpen = false;
    const { result } = await (await agent.legacy("/mcp", "prompts/list", {}, session)).json<{ result: unknown }>();
    gate.isOpen = true;
    expect(result).toEqual({
      prompts: [{ name: "a__p" }, { name: "g__p" }],
      _meta: { "dev.postern/left_out": hanging },
    });
  });

  it("is private, and holds as long as that of the server that states the least [P-10]", async () => {
    const lists = (ttlMs: number) =>
      listing({ "resources/list": ['"resources":[]'] }, `,"ttlMs":${ttlMs},"cacheScope":"public"`);
    const { agent } = await startServers([
      { name: "a", first: lists(4000) },
      { name: "b", first: lists(1000) },
    ]);
    const { result } = await ask(agent, "modern", "resources/list");
    expect(result).toEqual({
      resultType: "complete",
      resources: [],
      ttlMs: 1000,
      cacheScope: "private",
      _meta: { "io.modelcontextprotocol/serverInfo": expect.objectContaining({ name: "postern" }) },
    });
    const none = await ask(agent, "modern", "prompts/list");
    expect(none.result).toMatchObject({ ttlMs: 0, _meta: { "dev.postern/left_out": ["a", "b"] } });
  });

  it("asks each server without a progress token, in the session of its client [OT-1]", async () => {
    const first = listing({ "prompts/list": ['"prompts":[]'] });
    const { agent, seen } = await startServers([{ name: "a", era: "legacy", first }]);
    const session = await agent.initialize("/mcp");
    const body = '{"jsonrpc":"2.0","id":"c","method":"prompts/list","params":{"_meta":{"progressToken":1,"v/x":1.0}}}';
    const text = await (await agent.post("/mcp", body, session)).text();
    expect(text).toBe('{"jsonrpc":"2.0","id":"c","result":{"prompts":[]}}');
    const sent = seen("a").findLast((one) => methodOf(one) === "prompts/list");
    expect(sent?.text).toBe(body.replace('"progressToken":1,', ""));
    expect(sent?.headers.get("Mcp-Session-Id")).toMatch(/^up-/);
    expect(sent === undefined ? "" : idOf(sent)).toBe('"c"');
  });
});

describe("a server that takes an account of the caller", () => {
  it("is left out until one is linked, and no link is made for a list; for a request of its own one is [PS-59, OT-1]", async () => {
    const list = listing({ "prompts/list": ['"prompts":[{"name":"p"}]'] });
    const world = protectedWorld({ capabilities: CAPABILITIES, first: list }, ON);
    const agent = await triedAgent(world);
    const links = async () => (await env.DB.prepare("SELECT count(*) AS n FROM oauth_flows").first<{ n: number }>())?.n;
    const before = await links();
    const alone = await ask(agent, "modern", "prompts/list");
    expect(alone.result).toMatchObject({ prompts: [], _meta: { "dev.postern/left_out": ["docs"] } });
    expect(await links()).toBe(before);
    const asked = await ask(agent, "modern", "prompts/get", { name: "docs__p" });
    expect(asked.error?.message).toContain("https://gateway.example/connect/");
    expect((await linkWithKey(world, agent)).status).toBe(200);
    expect((await ask(agent, "modern", "prompts/list")).result).toMatchObject({ prompts: [{ name: "docs__p" }] });
  });
});

async function capabilitiesAt(agent: Agent, era: Era, door: string): Promise<unknown> {
  const response =
    era === "modern"
      ? await agent.modern(door, "server/discover")
      : await agent.legacy(door, "initialize", { protocolVersion: "2025-11-25", capabilities: {} });
  return (await response.json<{ result: { capabilities: unknown } }>()).result.capabilities;
}
