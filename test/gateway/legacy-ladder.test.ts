import { beforeEach, describe, expect, it } from "vitest";
import { type Agent, agentOf, createAgent } from "../support/agent.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { type ScriptedServer, scriptedServer } from "../support/upstream.ts";

const VERSION = "MCP-Protocol-Version";
const SESSION = "Mcp-Session-Id";
const UNKNOWN = `ses_${"A".repeat(32)}`;

let upstream: ScriptedServer;
let gateway: TestGateway;
let agent: Agent & { server_id: string };

beforeEach(async () => {
  upstream = scriptedServer({ era: "modern", tools: ['{"name":"search","inputSchema":{"type":"object"}}'] });
  gateway = startGateway(upstream.network);
  agent = await agentOf(gateway, { name: "docs" });
  upstream.seen.length = 0;
});

/** Status, code and id of an answer; the server must not have been asked. */
async function refusal(response: Response): Promise<unknown> {
  expect(upstream.seen, "requests to the server").toEqual([]);
  const text = await response.text();
  const body = text === "" ? {} : (JSON.parse(text) as { id?: unknown; error?: { code: number } });
  return { status: response.status, code: body.error?.code, ...("id" in body ? { id: body.id } : {}) };
}

const START = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "a", version: "1" } };
const call = (params: unknown) => agent.legacy("/mcp", "tools/call", params);

describe("the legacy ladder", () => {
  it.each<[string, () => Promise<Response>, { status: number; code?: number; id?: unknown }]>([
    ["3.4.1 without a version", () => agent.legacy("/mcp", "initialize", {}), { status: 200, code: -32602, id: 1 }],
    [
      "3.4.2 initialize within a session",
      async () => agent.legacy("/mcp", "initialize", START, await agent.initialize("/mcp")),
      { status: 400, code: -32600, id: 1 },
    ],
    [
      "3.4.2 initialize within a session that is none",
      () => agent.legacy("/mcp", "initialize", START, { [SESSION]: "x" }),
      { status: 400, code: -32600, id: 1 },
    ],
    [
      "3.4.3 a revision that is not served",
      () => agent.legacy("/mcp", "ping", {}, { [VERSION]: "2024-11-05" }),
      { status: 400, code: -32600, id: 1 },
    ],
    [
      "3.4.3 what is no revision",
      () => agent.legacy("/mcp", "ping", {}, { [VERSION]: "latest" }),
      { status: 400, code: -32600, id: 1 },
    ],
    [
      "3.4.5 an unknown session",
      () => agent.legacy("/mcp", "ping", {}, { [SESSION]: UNKNOWN }),
      { status: 404, code: -32600, id: 1 },
    ],
    [
      "3.4.5 what is no session id",
      () => agent.legacy("/mcp", "ping", {}, { [SESSION]: "x" }),
      { status: 404, code: -32600, id: 1 },
    ],
    [
      "3.4.5 a session of another door",
      async () => agent.legacy("/mcp/docs", "ping", {}, await agent.initialize("/mcp")),
      { status: 404, code: -32600, id: 1 },
    ],
    [
      "3.4.5 a session of another principal [P-66]",
      async () => {
        const thief = await createAgent(gateway, [{ server_id: agent.server_id, tools_to_execute: ["*"] }]);
        return thief.legacy("/mcp", "ping", {}, await agent.initialize("/mcp"));
      },
      { status: 404, code: -32600, id: 1 },
    ],
    ["3.4.6 an unknown method", () => agent.legacy("/mcp", "tools/erase"), { status: 200, code: -32601, id: 1 }],
    [
      "3.4.6 a method of the other era",
      () => agent.legacy("/mcp", "server/discover"),
      { status: 200, code: -32601, id: 1 },
    ],
    ["3.4.11 no name", () => call({}), { status: 200, code: -32602, id: 1 }],
    [
      "3.4.11 arguments that are no object",
      () => call({ name: "docs__search", arguments: "x" }),
      { status: 200, code: -32602, id: 1 },
    ],
    ["3.4.11 an unknown tool", () => call({ name: "docs__other" }), { status: 200, code: -32602, id: 1 }],
    ["3.4.11 an unknown server", () => agent.legacy("/mcp/other", "tools/list"), { status: 200, code: -32602, id: 1 }],
  ])("%s is refused [P-1]", async (_, send, expected) => {
    expect(await refusal(await send())).toEqual(expected);
  });

  it("answers every session that is not the caller's in the same words [P-66, R-10]", async () => {
    const session = await agent.initialize("/mcp");
    const thief = await createAgent(gateway, []);
    const headers = { Authorization: `Bearer ${agent.key.value}`, ...session };
    const said = async (response: Response) => `${response.status} ${await response.text()}`;
    const foreign = await said(await thief.legacy("/mcp", "ping", {}, session));
    const unknown = await said(await agent.legacy("/mcp", "ping", {}, { [SESSION]: UNKNOWN }));
    const atOtherDoor = await said(await agent.legacy("/mcp/docs", "ping", {}, session));
    expect((await gateway.fetch("/mcp", { method: "DELETE", headers })).status).toBe(204);
    const ended = await said(await agent.legacy("/mcp", "ping", {}, session));
    expect(foreign).toMatch(/^404 /);
    expect([unknown, atOtherDoor, ended]).toEqual([foreign, foreign, foreign]);
  });

  it("names the served revisions, and reads nothing of a modern request's headers [P-1]", async () => {
    const refused = await agent.legacy("/mcp", "ping", {}, { [VERSION]: "2024-11-05" });
    expect(await refused.text()).toContain("2025-03-26, 2025-06-18, 2025-11-25");
    const headers = {
      "Mcp-Method": "tools/list",
      "Mcp-Name": "x",
      "Mcp-Param-A": "=?base64?x?=",
      "Last-Event-ID": "5",
    };
    const response = await agent.legacy("/mcp", "ping", {}, headers);
    expect([response.status, await response.text()]).toEqual([200, '{"jsonrpc":"2.0","id":1,"result":{}}']);
  });

  it.each([
    ["a notification", '{"jsonrpc":"2.0","method":"notifications/unheard_of"}'],
    ["a late cancellation", '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}'],
    ["a response that nobody waits for", '{"jsonrpc":"2.0","id":99,"result":{}}'],
    ["an error that nobody waits for", '{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":""}}'],
  ])("3.4.8 %s is taken without a word, in a session and without [P-1]", async (_, body) => {
    for (const headers of [{}, await agent.initialize("/mcp")]) {
      expect(await refusal(await agent.post("/mcp", body, headers))).toEqual({ status: 202 });
    }
    expect(await refusal(await agent.post("/mcp", body, { [SESSION]: UNKNOWN }))).toEqual({
      status: 404,
      code: -32600,
    });
  });
});
