/** What a server may answer that is odd, long, late or wrong, and what becomes of it. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { DEADLINE_CAP_MS, startDeadline } from "../../src/connector/deadline.ts";
import { MAX_MESSAGE_BYTES } from "../../src/connector/exchange.ts";
import { type Agent, agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { events, idOf, resultOf, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const ERAS = ["modern", "legacy"] as const;
const CELLS = ERAS.flatMap((client) => ERAS.map((server) => [client, server] as const));

afterEach(() => {
  // In this order: a spy on a fake timer would put that back when the real ones are there again.
  vi.restoreAllMocks();
  vi.useRealTimers();
});

async function startDocs(script: Partial<Script>, server: Record<string, unknown> = {}) {
  const upstream = scriptedServer({ era: "modern", tools: [SEARCH], ...script });
  const gateway = startGateway(upstream.network);
  return { upstream, gateway, agent: await agentOf(gateway, { name: "docs", ...server }) };
}

const callAs = (agent: Agent, era: (typeof ERAS)[number], params: Record<string, unknown> = {}) =>
  agent[era]("/mcp/docs", "tools/call", { name: "search", ...params });

/** The messages of an answer, whichever form it has. */
async function messagesIn(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  const texts = text.startsWith("{") ? [text] : Array.from(text.matchAll(/^data: (.*)$/gm), ([, data = ""]) => data);
  return texts.map((one) => JSON.parse(one) as Record<string, unknown>);
}

describe.each(CELLS)("for a %s client, a result of a %s server", (client, era) => {
  const TOOL = '{"name":"search","inputSchema":{"type":"object"},"outputSchema":{"type":"object","required":["n"]}}';
  it.each([
    ["without the structured content that its tool promises", '{"content":[{"type":"text","text":"a"}]}'],
    ["with structured content that does not fit its schema", '{"content":[],"structuredContent":{"other":1.0}}'],
    ["without anything", "{}"],
    ["with content that is none", '{"content":{"x":1},"isError":"no"}'],
  ])("%s passes as it is [R-23]", async (_, result) => {
    const { agent } = await startDocs({ era, tools: [TOOL], call: (seen) => resultOf(seen, result) });
    const text = await (await callAs(agent, client)).text();
    expect(text).toContain(result.slice(0, -1));
  });
});

describe.each(ERAS)("an answer of a %s server", (era) => {
  const CHUNK = new TextEncoder().encode("x".repeat(64 * 1024));
  /** A body without end, and how much of it has been asked for. */
  const endless = (start: string, type: string, line: Uint8Array = CHUNK) => {
    const pulled = { bytes: 0 };
    const answer = () => {
      const body = new ReadableStream<Uint8Array>(
        {
          start: (controller) => controller.enqueue(new TextEncoder().encode(start)),
          pull(controller) {
            pulled.bytes += line.length;
            controller.enqueue(line);
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(body, { headers: { "Content-Type": type } });
    };
    return { pulled, answer };
  };
  it.each([
    ["JSON", '{"jsonrpc":"2.0","id":1,"result":"', "application/json"],
    ["one event", 'data: {"jsonrpc":"2.0","id":1,"result":"', "text/event-stream"],
    ["a comment", ": ", "text/event-stream"],
    ["bare JSON under the type of a stream", '{"jsonrpc":"2.0","id":1,"result":"', "text/event-stream"],
  ])("without end as %s is read to its cap, and fails clearly [P-69]", async (_, start, type) => {
    const { pulled, answer } = endless(start, type);
    const { agent } = await startDocs({ era, call: answer });
    const [message] = await messagesIn(await callAs(agent, "modern"));
    const text = "Tool execution failed for search. The server's answer is too large.";
    expect(message).toMatchObject({ result: { isError: true, content: [{ type: "text", text }] } });
    expect(pulled.bytes).toBeLessThan(MAX_MESSAGE_BYTES + 1024 * 1024);
    expect(await agent.rows()).toMatchObject([{ ok: false, outcome: "upstream_failed", attempts: 1 }]);
  });

  it("to tools/list without end leaves the catalog as it was, and the admin hears why [P-69]", async () => {
    const { pulled, answer } = endless('{"jsonrpc":"2.0","id":1,"result":{"tools":["', "application/json");
    const { upstream, gateway, agent } = await startDocs({ era });
    upstream.change({ first: ({ message }: Seen) => (message["method"] === "tools/list" ? answer() : undefined) });
    const response = await gateway.admin("POST", `/v1/servers/${agent.server_id}/discover`);
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ detail: "The server's answer is too large." });
    expect(pulled.bytes).toBeLessThan(MAX_MESSAGE_BYTES + 1024 * 1024);
    expect(await (await agent.modern("/mcp", "tools/list")).text()).toContain("docs__search");
  });
});

describe("progress", () => {
  it("restarts the deadline, until the cap ends the call all the same [R-19]", () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const deadline = startDeadline(60_000);
    for (let passed = 0; passed < DEADLINE_CAP_MS; passed += 50_000) {
      expect(deadline.isOver(), `${passed} ms`).toBe(false);
      vi.advanceTimersByTime(50_000);
      deadline.restart();
    }
    vi.advanceTimersByTime(0);
    expect(deadline.isOver()).toBe(true);
    expect(deadline.signal.aborted).toBe(true);

    const silent = startDeadline(60_000);
    vi.advanceTimersByTime(60_000);
    expect(silent.isOver()).toBe(true);
  });

  it.each(CELLS)(
    "of a call goes on beyond its deadline, under the token that was sent: a %s client, a %s server [R-19]",
    async (client, era) => {
      const tokens: unknown[] = [];
      const slow = (seen: Seen) => {
        const { progressToken } = (seen.message["params"] as { _meta: { progressToken?: unknown } })._meta;
        tokens.push(progressToken);
        const params = { progressToken, progress: 1 };
        const notice = `data: ${JSON.stringify({ jsonrpc: "2.0", method: "notifications/progress", params })}\n\n`;
        const last = `data: {"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}\n\n`;
        const parts = [notice, notice, notice, last];
        const body = new ReadableStream<Uint8Array>({
          async pull(controller) {
            await new Promise((resolve) => setTimeout(resolve, 400));
            controller.enqueue(new TextEncoder().encode(parts.shift()));
            if (parts.length === 0) controller.close();
          },
        });
        return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
      };
      const { agent } = await startDocs({ era, call: slow }, { timeout_ms: 1_000 });
      const response =
        client === "modern"
          ? await agent.modern("/mcp/docs", "tools/call", { name: "search" }, { meta: { progressToken: "p-1" } })
          : await agent.legacy("/mcp/docs", "tools/call", { name: "search", _meta: { progressToken: "p-1" } });
      const messages = await messagesIn(response);
      expect(messages.slice(0, 3).map(({ params }) => params)).toEqual(
        Array(3).fill({ progressToken: "p-1", progress: 1 }),
      );
      expect(messages.at(-1)).toMatchObject({ id: 1, result: { content: [] } });
      // Several clients share a session with a legacy server, so that theirs are made unique there.
      if (era === "modern") expect(tokens).toEqual(["p-1"]);
      else expect(tokens).toEqual([expect.any(String)]);
    },
  );
});

describe("a stream", () => {
  it.each(ERAS)("that is silent gets a comment every 15 s, and nothing else: a %s client [R-20]", async (client) => {
    let end = () => {};
    const { agent } = await startDocs({
      call: (seen) => {
        const body = new ReadableStream<Uint8Array>({
          start(controller) {
            const write = (text: string) => controller.enqueue(new TextEncoder().encode(text));
            write(": welcome\n\n");
            end = () => {
              write(`data: {"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}\n\n`);
              controller.close();
            };
          },
        });
        return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
      },
    });
    // Fifteen seconds pass at once; everything else takes its time.
    const real = globalThis.setTimeout;
    const timers = vi.spyOn(globalThis, "setTimeout");
    timers.mockImplementation(((run: () => void, ms = 0) => real(run, ms === 15_000 ? 1 : ms)) as typeof setTimeout);
    const reader = (await callAs(agent, client)).body?.pipeThrough(new TextDecoderStream()).getReader();
    const heard: unknown[] = [];
    for (let beat = 0; beat < 3; beat++) heard.push((await reader?.read())?.value);
    expect(heard).toEqual([":\n\n", ":\n\n", ":\n\n"]);
    end();
    let rest = "";
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) rest += next.value;
    expect(rest.replaceAll(":\n\n", "")).toMatch(/^event: message\ndata: \{.*"content":\[\].*\}\n\n$/);
  });

  it("may bring a response of another, a notification of nobody and noise before its own response [P-72]", async () => {
    const { agent } = await startDocs({
      call: (seen) =>
        events(
          '{"jsonrpc":"2.0","id":"foreign","result":{}}',
          '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"foreign","progress":1}}',
          '{"jsonrpc":"2.0","method":"notifications/of/the/future"}',
          `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`,
        ),
    });
    expect(await messagesIn(await callAs(agent, "modern"))).toEqual([
      { jsonrpc: "2.0", id: 1, result: { content: [], resultType: "complete" } },
    ]);
  });
});
