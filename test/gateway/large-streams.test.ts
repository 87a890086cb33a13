/** What becomes of messages beyond the size that is held, at the doors. */
import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { readStream } from "../support/event-reader.ts";
import { startGateway } from "../support/gateway.ts";
import { events, idOf, raw, type Script, scriptedServer } from "../support/upstream.ts";

const TOOL = '{"name":"get","inputSchema":{"type":"object"}}';
const MIB = 1024 * 1024;
const LARGE = "é".repeat(MIB);
const CONTENT = `"content":[{"type":"text","text":"${LARGE}"}]`;
const TOO_LARGE = "Tool execution failed for get. The server's answer is too large.";

async function startDocs(era: Script["era"], call: Script["call"]) {
  const upstream = scriptedServer({ era, tools: [TOOL], ...(call === undefined ? {} : { call }) });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf({ ...gateway, fetch: gateway.open }, { name: "docs" });
  return { gateway, agent };
}

async function messagesOf(response: Response) {
  const messages = [];
  for await (const message of readStream(response)) messages.push(message);
  return messages;
}

describe("a large message of a server", () => {
  it("is dropped where it answers another request, and the answer follows [P-72]", async () => {
    const { agent } = await startDocs("modern", (seen) =>
      events(
        `{"jsonrpc":"2.0","id":"other","result":{${CONTENT}}}`,
        `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"x":1}}`,
      ),
    );
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "get" });
    expect(await messagesOf(response)).toEqual([{ jsonrpc: "2.0", id: 1, result: { x: 1, resultType: "complete" } }]);
    expect(await agent.rows()).toMatchObject([{ ok: true, outcome: "ok" }]);
  });

  it("reaches the client where it is a notification, an error or a large answer behind them [PS-32]", async () => {
    const { agent } = await startDocs("legacy", (seen) =>
      events(
        `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${idOf(seen)},"progress":1,"message":"${LARGE}"}}`,
        `{"result":{${CONTENT},"isError":true},"jsonrpc":"2.0","id":${idOf(seen)}}`,
      ),
    );
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "get" }, { meta: { progressToken: 5 } });
    const [progress, answer] = await messagesOf(response);
    expect(progress.params.message === LARGE).toBe(true);
    expect(answer).toMatchObject({ id: 1, result: { isError: true, resultType: "complete" } });
    expect(answer.result.content[0].text === LARGE).toBe(true);
    expect(await agent.rows()).toMatchObject([{ ok: false, outcome: "tool_error", attempts: 1 }]);
  });

  it("is an error as any other, of which the client learns the code [P-22]", async () => {
    const { agent } = await startDocs("legacy", (seen) =>
      raw(`{"jsonrpc":"2.0","id":${idOf(seen)},"error":{"data":"${LARGE}","code":-32002,"message":"m"}}`),
    );
    const [{ error }] = await messagesOf(await agent.modern("/mcp/docs", "tools/call", { name: "get" }));
    expect({ code: error.code, isWhole: error.data === LARGE }).toEqual({ code: -32602, isWhole: true });
  });

  it("is a question where its beginning says so, and not passed on in parts", async () => {
    const { agent } = await startDocs("modern", (seen) =>
      raw(
        `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"requestState":"s","x":"${LARGE}","resultType":"input_required"}}`,
      ),
    );
    const [{ result }] = await messagesOf(await agent.modern("/mcp/docs", "tools/call", { name: "get" }));
    expect(result.resultType).toBe("input_required");
    expect(result.requestState).not.toBe("s");
  });

  it.each(["error", "method"])("fails beyond 16 MiB where it has to be read whole: %s [PS-32, P-69]", async (name) => {
    const { agent } = await startDocs("modern", (seen) =>
      raw(`{"jsonrpc":"2.0","id":${idOf(seen)},"${name}":"${LARGE.repeat(9)}"}`),
    );
    const [{ result }] = await messagesOf(await agent.modern("/mcp/docs", "tools/call", { name: "get" }));
    expect(result).toMatchObject({ isError: true, content: [{ text: TOO_LARGE }] });
    expect(await agent.rows()).toMatchObject([{ ok: false, outcome: "upstream_failed", attempts: 1 }]);
  });

  it("is cut where it is found to be no answer, and its row says so [P-71]", async () => {
    const { agent } = await startDocs("legacy", () => raw(`{"jsonrpc":"2.0","result":{${CONTENT}},"id":"other"}`));
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "get" });
    await expect(response.text()).rejects.toThrow();
    const error = "The server answered with something that is not MCP.";
    expect(await agent.rows()).toMatchObject([{ ok: false, outcome: "upstream_failed", error, attempts: 1 }]);
  });

  it("is one event for a client that takes no JSON, without the line breaks of its server", async () => {
    const { agent } = await startDocs("legacy", (seen) =>
      raw(`{\n"jsonrpc":"2.0",\r\n"result":{${CONTENT},\n"x":[1,\n2]\n},"id":${idOf(seen)}\n}\n`),
    );
    const call = JSON.stringify({ jsonrpc: "2.0", id: 4, method: "tools/call", params: { name: "get" } });
    const [answer] = await messagesOf(await agent.post("/mcp/docs", call, { Accept: "text/event-stream" }));
    expect(answer).toMatchObject({ id: 4, result: { x: [1, 2] } });
    expect(answer.result.content[0].text === LARGE).toBe(true);
  });

  it("takes its place in the answers of a batch [P-27]", async () => {
    const { agent } = await startDocs("legacy", (seen) =>
      raw(`{"jsonrpc":"2.0","result":{${CONTENT}},"id":${idOf(seen)}}`),
    );
    const session = await agent.initialize("/mcp/docs", "2025-03-26");
    const call = (id: number) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "get" } });
    const response = await agent.post("/mcp/docs", JSON.stringify([call(1), call(2)]), session);
    const answers = await response.json<{ id: number; result: { content: { text: string }[] } }[]>();
    expect(answers.map(({ id, result }) => [id, result.content[0]?.text === LARGE])).toEqual([
      [1, true],
      [2, true],
    ]);
  });
});
