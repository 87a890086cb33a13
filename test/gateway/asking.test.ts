import { describe, expect, it } from "vitest";
import { agentOf, createAgent } from "../support/agent.ts";
import { type Message, readStream } from "../support/event-reader.ts";
import { startGateway } from "../support/gateway.ts";
import { idOf, resultOf, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const FORM = '{"mode":"form","message":"Which?","requestedSchema":{"type":"object","properties":{}},"x":1.0}';
const TOOL = '{"name":"ask","inputSchema":{"type":"object"}}';
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

const methodOf = ({ message }: Seen) => message["method"];

async function startDocs(script: Partial<Script> & Pick<Script, "era">) {
  const upstream = scriptedServer({ tools: [TOOL], ...script });
  const gateway = startGateway(upstream.network);
  return { upstream, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

/** A legacy server that asks something within a call, and answers with what it is told. */
function askingServer(question: (id: string) => string) {
  const told = Promise.withResolvers<Record<string, unknown>>();
  const first: NonNullable<Script["first"]> = (seen) => {
    if (methodOf(seen) === "tools/call") {
      const encoder = new TextEncoder();
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const writer = writable.getWriter();
      const write = (text: string) => writer.write(encoder.encode(`data: ${text}\n\n`));
      const run = async () => {
        await write(question("7"));
        const answer = await told.promise;
        const text = JSON.stringify(JSON.stringify(answer["result"] ?? answer["error"]));
        await write(`{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[{"type":"text","text":${text}}]}}`);
        await writer.close();
      };
      run().catch(() => undefined);
      return new Response(readable, { headers: { "Content-Type": "text/event-stream" } });
    }
    if (!("method" in seen.message) && seen.message["id"] === 7) told.resolve(seen.message);
    return undefined;
  };
  return first;
}

const elicit = (id: string) => `{"jsonrpc":"2.0","id":${id},"method":"elicitation/create","params":${FORM}}`;

async function openSession(
  agent: Awaited<ReturnType<typeof agentOf>>,
  door: string,
  capabilities: object = CAPABILITIES,
) {
  const opened = await agent.legacy(door, "initialize", {
    protocolVersion: "2025-11-25",
    capabilities,
    clientInfo: { name: "old", version: "1" },
  });
  return { "Mcp-Session-Id": opened.headers.get("Mcp-Session-Id") ?? "" };
}

describe("a legacy client of a legacy server", () => {
  it.each(["/mcp/docs", "/mcp"])(
    "is asked on the stream of its call at %s, and the answer finds who has asked [P-32]",
    async (door) => {
      const { upstream, agent } = await startDocs({ era: "legacy", first: askingServer(elicit) });
      const session = await openSession(agent, door);
      const name = door === "/mcp" ? "docs__ask" : "ask";
      const stream = readStream(await agent.legacy(door, "tools/call", { name }, session));
      const asked = await stream.next();
      expect(asked.value).toMatchObject({ method: "elicitation/create", params: JSON.parse(FORM) });
      const answer = `{"jsonrpc":"2.0","id":${JSON.stringify(asked.value.id)},"result":{"action":"accept","content":{"n":1.0}}}`;
      expect((await agent.post(door, answer, session)).status).toBe(202);
      const last = await stream.next();
      expect(last.value.result.content[0].text).toBe('{"action":"accept","content":{"n":1}}');
      const told = upstream.seen.find((seen) => !("method" in seen.message) && seen.message["id"] === 7);
      expect(told?.text).toBe('{"jsonrpc":"2.0","id":7,"result":{"action":"accept","content":{"n":1.0}}}');
      const opened = upstream.seen.findLast((seen) => methodOf(seen) === "initialize");
      expect(opened?.message["params"]).toMatchObject({ capabilities: CAPABILITIES, clientInfo: { name: "old" } });
      expect(told?.headers.get("Mcp-Session-Id")).toBe(upstream.calls()[0]?.headers.get("Mcp-Session-Id"));
    },
  );

  it("answers what nobody of its session was asked, and no server hears of it [P-32]", async () => {
    const { upstream, gateway, agent } = await startDocs({ era: "legacy", first: askingServer(elicit) });
    const session = await openSession(agent, "/mcp/docs");
    const stream = readStream(await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, session));
    const { id } = (await stream.next()).value;
    const before = upstream.seen.length;
    const other = await createAgent(gateway, [{ server_id: agent.server_id, tools_to_execute: ["*"] }]);
    const foreign = await other.initialize("/mcp/docs");
    const answer = JSON.stringify({ jsonrpc: "2.0", id, result: { action: "accept" } });
    expect((await other.post("/mcp/docs", answer, session)).status).toBe(404);
    for (const made of [1, "pst-r.x", "pst-r.WyJ4IiwiMSJd", "pst-q.1"]) {
      const text = JSON.stringify({ jsonrpc: "2.0", id: made, result: {} });
      expect((await other.post("/mcp/docs", text, foreign)).status).toBe(202);
    }
    expect(upstream.seen.slice(before)).toEqual([]);
    await agent.post("/mcp/docs", answer, session);
    await stream.next();
  });

  it("without a session, or without a stream, is asked nothing: the server is told so", async () => {
    const { agent } = await startDocs({ era: "legacy", first: askingServer(elicit) });
    const session = await openSession(agent, "/mcp/docs");
    for (const headers of [{}, { ...session, Accept: "application/json" }]) {
      const response = await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, headers);
      expect(await response.text()).toContain("-32601");
    }
  });
});

describe("a modern client of a legacy server", () => {
  const meta = { "io.modelcontextprotocol/clientCapabilities": CAPABILITIES };
  const ASKED = "dev.postern/asked";
  type Answer = { result: { resultType: string; requestState: string; inputRequests: object; content: unknown } };

  it("is asked with a result, and goes on with the call that waits", async () => {
    const { upstream, agent } = await startDocs({ era: "legacy", first: askingServer(elicit) });
    const first = await agent.modern("/mcp/docs", "tools/call", { name: "ask" }, { meta });
    const { result } = (await lastOf(first)) as Answer;
    expect(result).toMatchObject({
      resultType: "input_required",
      inputRequests: { [ASKED]: { method: "elicitation/create", params: JSON.parse(FORM) } },
    });
    const { requestState } = result;
    // Who says nothing to the question is asked again.
    const again = await agent.modern("/mcp/docs", "tools/call", { name: "ask", requestState }, { meta, id: 2 });
    expect((await lastOf(again)).result).toMatchObject({ resultType: "input_required" });
    const inputResponses = { [ASKED]: { action: "accept", content: { a: "b" } } };
    const last = await agent.modern(
      "/mcp/docs",
      "tools/call",
      { name: "ask", requestState, inputResponses },
      { meta, id: 3 },
    );
    expect(await lastOf(last)).toMatchObject({
      id: 3,
      result: { resultType: "complete", content: [{ text: '{"action":"accept","content":{"a":"b"}}' }] },
    });
    expect(upstream.calls()).toHaveLength(1);
    const opened = upstream.seen.findLast((seen) => methodOf(seen) === "initialize");
    expect(opened?.message["params"]).toMatchObject({ capabilities: CAPABILITIES });
    // It is gone by now, and the call is not made a second time.
    const late = await agent.modern(
      "/mcp/docs",
      "tools/call",
      { name: "ask", requestState, inputResponses },
      { meta, id: 4 },
    );
    expect(await lastOf(late)).toMatchObject({ result: { isError: true } });
    expect(upstream.calls()).toHaveLength(1);
  });

  it("that has not said it can be asked that is not asked, and the server is told so [P-17]", async () => {
    const { agent } = await startDocs({ era: "legacy", first: askingServer(elicit) });
    const sampling = { "io.modelcontextprotocol/clientCapabilities": { sampling: {} } };
    for (const declared of [{}, { meta: sampling }]) {
      const response = await agent.modern("/mcp/docs", "tools/call", { name: "ask" }, declared);
      expect(await response.text()).toContain("-32601");
    }
  });

  it("shows a state only for what it was given for [P-18]", async () => {
    const { gateway, agent, upstream } = await startDocs({ era: "legacy", first: askingServer(elicit) });
    const first = await agent.modern("/mcp/docs", "tools/call", { name: "ask" }, { meta });
    const { requestState } = ((await lastOf(first)) as Answer).result;
    const other = await createAgent(gateway, [{ server_id: agent.server_id, tools_to_execute: ["*"] }]);
    const inputResponses = { [ASKED]: { action: "accept" } };
    const shown: [typeof other, Record<string, unknown>][] = [
      [other, { name: "ask", requestState, inputResponses }],
      [agent, { name: "ask", requestState, inputResponses, arguments: { more: 1 } }],
      [agent, { name: "ask", requestState: `${requestState}x`, inputResponses }],
      [agent, { name: "ask", requestState: "made up", inputResponses }],
      [agent, { name: "ask", requestState: 7, inputResponses }],
    ];
    const before = upstream.seen.length;
    for (const [who, params] of shown) {
      const response = await who.modern("/mcp/docs", "tools/call", params, { meta });
      const { error } = await response.json<{ error: { code: number } }>();
      expect([response.status, error.code]).toEqual([200, -32602]);
    }
    expect(upstream.seen.length).toBe(before);
    await agent.modern("/mcp/docs", "tools/call", { name: "ask", requestState, inputResponses }, { meta });
  });
});

/** A modern server that asks twice and then answers with what it has been told. */
const asksTwice = (requests: (round: number) => object) => (seen: Seen) => {
  const params = seen.message["params"] as Record<string, unknown>;
  const round = params["requestState"] === undefined ? 1 : Number(String(params["requestState"]).slice(6)) + 1;
  if (round > 2)
    return resultOf(seen, JSON.stringify({ resultType: "complete", content: [], told: params["inputResponses"] }));
  const result = { resultType: "input_required", requestState: `state-${round}`, inputRequests: requests(round) };
  return resultOf(seen, JSON.stringify(result));
};
const form = () => ({
  first: { method: "elicitation/create", params: JSON.parse(FORM) },
  second: { method: "roots/list" },
});

describe("a modern client of a modern server", () => {
  it("is asked as the server asks, and the server gets its own state back [P-17, P-19]", async () => {
    const { upstream, agent } = await startDocs({ era: "modern", call: asksTwice(form) });
    const meta = { "io.modelcontextprotocol/clientCapabilities": CAPABILITIES };
    let params: Record<string, unknown> = { name: "ask", arguments: { a: 1 } };
    for (const round of [1, 2]) {
      const response = await agent.modern("/mcp/docs", "tools/call", params, { meta, id: round });
      const { result } = await response.json<{ result: Record<string, unknown> }>();
      expect(result).toMatchObject({ resultType: "input_required", inputRequests: form() });
      expect(result["requestState"]).not.toContain("state-");
      params = { ...params, requestState: result["requestState"], inputResponses: { first: { action: "decline" } } };
    }
    const last = await agent.modern("/mcp/docs", "tools/call", params, { meta, id: 3 });
    expect(await last.json()).toMatchObject({ result: { told: { first: { action: "decline" } } } });
    const states = upstream
      .calls()
      .map(({ message }) => (message["params"] as Record<string, unknown>)["requestState"]);
    expect(states).toEqual([undefined, "state-1", "state-2"]);
    const tampered = await agent.modern("/mcp/docs", "tools/call", { ...params, arguments: { a: 2 } }, { meta });
    expect(await tampered.json()).toMatchObject({ error: { code: -32602 } });
    expect(upstream.calls()).toHaveLength(3);
  });

  it("is not asked for what this request has not declared [P-17]", async () => {
    const { agent } = await startDocs({ era: "modern", call: asksTwice(form) });
    const meta = { "io.modelcontextprotocol/clientCapabilities": { roots: {} } };
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "ask" }, { meta });
    expect(await response.json()).toMatchObject({ result: { resultType: "complete", isError: true } });
  });
});

describe("a legacy client of a modern server", () => {
  it("is asked with requests on the stream of its call, round by round", async () => {
    const { upstream, agent } = await startDocs({ era: "modern", call: asksTwice(form) });
    const session = await openSession(agent, "/mcp/docs");
    const stream = readStream(await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, session));
    for (const action of ["accept", "decline"]) {
      const [one, two] = [(await stream.next()).value, (await stream.next()).value];
      expect(one).toMatchObject({ method: "elicitation/create", params: JSON.parse(FORM) });
      expect(two).toMatchObject({ method: "roots/list" });
      for (const [{ id }, result] of [
        [two, { roots: [] }],
        [one, { action }],
      ] as const) {
        await agent.post("/mcp/docs", JSON.stringify({ jsonrpc: "2.0", id, result }), session);
      }
    }
    const { value } = await stream.next();
    expect(value).toEqual({
      jsonrpc: "2.0",
      id: 1,
      result: { content: [], told: { first: { action: "decline" }, second: { roots: [] } } },
    });
    const sent = upstream.calls().map(({ message }) => message);
    expect(sent.map(({ params }) => (params as Record<string, unknown>)["requestState"])).toEqual([
      undefined,
      "state-1",
      "state-2",
    ]);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(3);
    const meta = (sent[0]?.["params"] as { _meta: Record<string, unknown> } | undefined)?._meta ?? {};
    expect(meta["io.modelcontextprotocol/clientCapabilities"]).toEqual(CAPABILITIES);
  });

  const link = () => ({
    one: { method: "elicitation/create", params: { mode: "url", url: "https://a.example/x", message: "Open it" } },
  });

  it("that shows links is told of them with -32042 [P-31]", async () => {
    const { agent } = await startDocs({ era: "modern", call: asksTwice(link) });
    const session = await openSession(agent, "/mcp/docs");
    const response = await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, session);
    const data = {
      elicitations: [
        { mode: "url", url: "https://a.example/x", message: "Open it", elicitationId: expect.any(String) },
      ],
    };
    expect(await response.json()).toMatchObject({ error: { code: -32042, data } });
  });

  it.each([
    ["without a session", {}, null],
    ["without a stream", { Accept: "application/json" }, CAPABILITIES],
    ["that has not declared it", {}, { roots: {} }],
  ] as const)("%s reads what it would be asked, with the link", async (_, headers, capabilities) => {
    const both = () => ({ ...link(), ...form() });
    const { agent } = await startDocs({ era: "modern", call: asksTwice(both) });
    const session = capabilities === null ? {} : await openSession(agent, "/mcp/docs", capabilities);
    const response = await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, { ...session, ...headers });
    const { result } = await response.json<{ result: { isError: boolean; content: { text: string }[] } }>();
    expect(result.isError).toBe(true);
    expect(result.content[0]?.text).toContain("https://a.example/x");
  });
});

async function lastOf(response: Response): Promise<Message> {
  let last: Message = {};
  for await (const message of readStream(response)) last = message;
  return last;
}
