import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { callsOf } from "../support/execute.ts";
import { startGateway } from "../support/gateway.ts";
import { events, idOf, raw, resultOf, rpcError, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";

async function startDocs(call: Script["call"]) {
  const upstream = scriptedServer({ era: "modern", tools: [SEARCH], ...(call === undefined ? {} : { call }) });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs" });
  upstream.seen.length = 0;
  const callTool = (capabilities: object = {}) =>
    agent.modern("/mcp/docs", "tools/call", { name: "search" }, { meta: { [CAPABILITIES]: capabilities } });
  const methods = () => upstream.seen.map(({ message }) => message["method"]);
  return { upstream, gateway, agent, callTool, methods };
}

const inError = (code: number, status: number) => (seen: Seen) => {
  const data = { requiredCapabilities: { sampling: {} }, supported: ["2099-01-01"] };
  return raw(`{"jsonrpc":"2.0","id":${idOf(seen)},"error":${JSON.stringify({ code, message: "Ignore", data })}}`, {
    status,
  });
};
const inStream = (code: number) => (seen: Seen) =>
  events(`{"jsonrpc":"2.0","id":${idOf(seen)},"error":{"code":${code},"message":"Ignore"}}`);

const failure = (reason: string) => ({
  isError: true,
  content: [{ type: "text", text: `Tool execution failed for search. ${reason}` }],
});
const REVISION = failure("The server does not speak the revision of MCP any more that it was found to speak.");
const CAPABILITY = failure("The server needs a capability of its client that the gateway does not pass on.");

/** The message of an answer, as JSON or as the only event. */
const messageOf = async (response: Response) =>
  JSON.parse((await response.text()).replace(/^event: message\ndata: /, ""));

describe("-32021 of a server", () => {
  it("is relayed to a client whose capabilities it was told of [P-40]", async () => {
    const { callTool, upstream } = await startDocs(inError(-32021, 400));
    const response = await callTool({ elicitation: { form: {} } });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { id: 1, error: { code: -32021, data: { requiredCapabilities: { sampling: {} } } } },
    ]);
    expect(upstream.calls()[0]?.message).toMatchObject({
      params: { _meta: { [CAPABILITIES]: { elicitation: { form: {} } } } },
    });
  });

  it("is ours to explain where an extension was cut from them [P-40]", async () => {
    const { callTool, upstream } = await startDocs(inError(-32021, 400));
    const tasks = { "io.modelcontextprotocol/tasks": {}, "com.example/x": { deep: [1.5] } };
    const response = await callTool({ roots: {}, extensions: tasks, sampling: {} });
    expect([response.status, await response.json()]).toMatchObject([200, { id: 1, result: CAPABILITY }]);
    const [call] = upstream.calls();
    const carried = '"extensions":{"io.modelcontextprotocol/tasks":{}}';
    expect(call?.text).toContain(`"${CAPABILITIES}":{"roots":{},${carried},"sampling":{}}`);
  });

  it.each([
    ["as JSON", inError(-32021, 400)],
    ["on a stream", inStream(-32021)],
  ])("that comes %s never reaches a client that has declared nothing [P-40]", async (_, call) => {
    const { agent, gateway } = await startDocs(call);
    const response = await agent.legacy("/mcp/docs", "tools/call", { name: "search" });
    expect(await messageOf(response)).toEqual({ jsonrpc: "2.0", id: 1, result: CAPABILITY });
    const { chat } = callsOf(gateway, { "x-bf-vk": agent.key.value });
    expect((await chat("docs__search")).status).toBe(502);
  });
});

describe("-32022 of a server", () => {
  it.each([
    ["as JSON", inError(-32022, 400)],
    ["on a stream", inStream(-32022)],
  ])("that comes %s ends in a clear failure, and a new probe [P-22, P-34]", async (_, call) => {
    const { upstream, gateway, agent, callTool, methods } = await startDocs(call);
    upstream.change({ era: "legacy" });
    const response = await callTool();
    expect([response.status, await messageOf(response)]).toMatchObject([200, { result: REVISION }]);
    await gateway.settled();
    const probe = ["server/discover", "initialize", "notifications/initialized", "tools/list", undefined];
    expect(methods(), "one call, and then a look at the server").toEqual(["tools/call", ...probe]);
    upstream.change({ call: (seen) => resultOf(seen, '{"content":[]}') });
    expect(await (await callTool()).json()).toMatchObject({ result: { content: [], resultType: "complete" } });
    expect(await agent.rows()).toMatchObject([{ ok: true }, { ok: false, outcome: "upstream_failed", attempts: 1 }]);
  });
});

describe("a modern call that is answered as by a legacy server", () => {
  it.each([
    [-32000, 400],
    [-32601, 404],
  ])("with %i and %i brings one new probe [P-34]", async (code, status) => {
    const { upstream, callTool } = await startDocs(({ message }) => rpcError(message, code, status));
    upstream.change({ era: "legacy" });
    expect((await callTool()).status).toBeGreaterThanOrEqual(200);
    expect(upstream.seen.filter(({ message }) => message["method"] === "server/discover")).toHaveLength(1);
    upstream.change({ call: (seen) => resultOf(seen, '{"content":[]}') });
    expect(await (await callTool()).json()).toMatchObject({ result: { content: [] } });
  });
});

describe("codes that are no client's to know", () => {
  it.each([-32002, -32042, -32023, -32050, -32099])("%i becomes another one [P-22]", async (code) => {
    const { callTool } = await startDocs(inError(code, 400));
    const { error } = (await (await callTool()).json()) as { error: { code: number } };
    expect(error.code).toBe(code === -32002 ? -32602 : -32603);
  });
});
