import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { resultOf, rpcError, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const CAPABILITIES = {
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  completions: {},
  logging: {},
  experimental: { "x/y": {} },
  tasks: { list: {} },
};
const RESULTS: Readonly<Record<string, string>> = {
  "prompts/list": '{"prompts":[{"name":"p","x":1.0}],"nextCursor":""}',
  "prompts/get": '{"messages":[{"role":"user","content":{"type":"text","text":"12345678901234567890"}}],"x":1.0}',
  "resources/list": '{"resources":[{"uri":"a://b","name":"b","size":12345678901234567890}]}',
  "resources/templates/list": '{"resourceTemplates":[]}',
  "resources/read": '{"contents":[{"uri":"a://b","text":"x","_meta":{"k":1.50}}],"x":null}',
  "completion/complete": '{"completion":{"values":["v"],"total":1.0}}',
};
const PARAMS: Readonly<Record<string, Record<string, unknown>>> = {
  "prompts/get": { name: "p", arguments: { a: "1" } },
  "resources/read": { uri: "a://ü" },
  "completion/complete": { ref: { type: "ref/prompt", name: "p" }, argument: { name: "a", value: "1" } },
};
const CACHEABLE = ["prompts/list", "resources/list", "resources/templates/list", "resources/read"];
const ERAS = ["modern", "legacy"] as const;
const CELLS = ERAS.flatMap((client) => ERAS.map((server) => [client, server] as const));

const methodOf = ({ message }: Seen) => String(message["method"]);

async function startDocs(era: Script["era"], first?: Script["first"], capabilities: object = CAPABILITIES) {
  const upstream = scriptedServer({
    era,
    tools: ['{"name":"search","inputSchema":{"type":"object"}}'],
    capabilities: { ...capabilities },
    first: (seen) =>
      first?.(seen) ?? (methodOf(seen) in RESULTS ? resultOf(seen, RESULTS[methodOf(seen)] ?? "") : undefined),
  });
  const gateway = startGateway(upstream.network);
  return { upstream, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

describe.each(CELLS)("a %s client of a %s server", (client, era) => {
  it("gets what the server answers at its door, and the server what the client asks [P-41, P-42, P-43]", async () => {
    const { upstream, agent } = await startDocs(era);
    const session = client === "legacy" ? await agent.initialize("/mcp/docs") : {};
    for (const [method, result] of Object.entries(RESULTS)) {
      const params = PARAMS[method] ?? {};
      const name = { "prompts/get": "p", "resources/read": "=?base64?YTovL8O8?=" }[method];
      const headers = { ...(name === undefined ? {} : { "Mcp-Name": name }) };
      const response =
        client === "modern"
          ? await agent.modern("/mcp/docs", method, params, { headers })
          : await agent.legacy("/mcp/docs", method, params, session);
      const own = client === "modern" ? added(method, era) : "";
      expect(await response.text(), method).toBe(
        `{"jsonrpc":"2.0","id":1,"result":${own === "" ? result : `${result.slice(0, -1)},${own}}`}}`,
      );
      const seen = upstream.seen.findLast((one) => methodOf(one) === method);
      const { _meta: _, ...sent } = (seen?.message["params"] ?? {}) as Record<string, unknown>;
      expect(sent, method).toEqual(params);
      expect(seen?.headers.get("Mcp-Name") ?? undefined, method).toBe(era === "modern" ? name : undefined);
    }
  });

  it("is told what the server can do, without contact to it, but for what is not carried [P-24]", async () => {
    const { upstream, agent } = await startDocs(era);
    const before = upstream.seen.length;
    const response =
      client === "modern"
        ? await agent.modern("/mcp/docs", "server/discover")
        : await agent.legacy("/mcp/docs", "initialize", { protocolVersion: "2025-11-25", capabilities: {} });
    const { result } = await response.json<{ result: { capabilities: unknown } }>();
    const { tasks: _, ...carried } = CAPABILITIES;
    expect(result.capabilities).toEqual({ ...carried, tools: { listChanged: true } });
    expect(upstream.seen.length).toBe(before);
  });

  it("is refused what the server has not said it can do, and all of it at /mcp [P-1]", async () => {
    const { upstream, agent } = await startDocs(era, undefined, { completions: {} });
    const before = upstream.seen.length;
    for (const [door, method] of [
      ["/mcp/docs", "prompts/list"],
      ["/mcp", "completion/complete"],
      ["/mcp/docs", "tasks/list"],
    ] as const) {
      const response = await agent[client](door, method);
      const { error } = await response.json<{ error: { code: number } }>();
      expect([response.status, error.code], method).toEqual([client === "modern" ? 404 : 200, -32601]);
    }
    expect(upstream.seen.length).toBe(before);
  });

  it("is told the same of a server that is not there as of one that it may not use [P-5]", async () => {
    const { gateway, agent } = await startDocs(era);
    const hidden = await gateway.admin("POST", "/v1/servers", {
      name: "hidden",
      server_url: "https://hidden.example/mcp",
    });
    expect(hidden.status).toBe(201);
    const answers = await Promise.all(
      ["hidden", "absent"].map(async (name) => (await agent[client](`/mcp/${name}`, "prompts/list")).text()),
    );
    expect(answers[0]?.replaceAll("hidden", "absent")).toBe(answers[1]);
    expect(answers[1]).toContain("-32602");
  });

  it("gets the server's errors in the words of its own era [P-22]", async () => {
    const { agent } = await startDocs(era, (seen) =>
      methodOf(seen) === "resources/read" ? rpcError(seen.message, -32002, 200) : undefined,
    );
    const headers = { "Mcp-Name": "a://b" };
    const response =
      client === "modern"
        ? await agent.modern("/mcp/docs", "resources/read", { uri: "a://b" }, { headers })
        : await agent.legacy("/mcp/docs", "resources/read", { uri: "a://b" });
    const { error } = await response.json<{ error: { code: number } }>();
    expect(error.code).toBe(client === "modern" ? -32602 : -32002);
  });

  it("gets an error of ours, and a second try, when the server breaks [PS-31]", async () => {
    let broken = 0;
    const { agent } = await startDocs(era, (seen) => {
      if (methodOf(seen) !== "prompts/list") return undefined;
      broken++;
      return new Response("secret words", { status: 500 });
    });
    const response = await agent[client]("/mcp/docs", "prompts/list");
    const { error } = await response.json<{ error: { code: number; message: string } }>();
    expect(error).toEqual({ code: -32603, message: "prompts/list failed. The server answered with HTTP 500." });
    expect(broken).toBe(2);
  });
});

function added(method: string, era: Script["era"]): string {
  const cache = CACHEABLE.includes(method) ? ',"cacheScope":"private","ttlMs":0' : "";
  const info = ',"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"scripted","version":"1"}}';
  return `"resultType":"complete"${cache}${era === "legacy" ? info : ""}`;
}

describe("what a modern server says of keeping its results", () => {
  it("is kept, except that nobody but the asker may be served from them [P-10]", async () => {
    const said = '{"resultType":"complete","prompts":[],"ttlMs":5000,"cacheScope":"public"}';
    const { agent } = await startDocs("modern", (seen) =>
      methodOf(seen) === "prompts/list" ? resultOf(seen, said) : undefined,
    );
    const response = await agent.modern("/mcp/docs", "prompts/list");
    expect(await response.text()).toBe(
      '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","prompts":[],"ttlMs":5000,"cacheScope":"private"}}',
    );
  });
});
