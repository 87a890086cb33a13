/** What servers ask of clients, and what clients answer: generated, in every cell, like the rest in `lossless.test.ts`. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { type Era, leftOut } from "../support/era-limits.ts";
import { startGateway } from "../support/gateway.ts";
import {
  fieldOf,
  having,
  just,
  maybe,
  type ObjectText,
  objectText,
  render,
  stringText,
  valueText,
  without,
} from "../support/json-texts.ts";
import { idOf, raw, resultOf, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const RUNS = 10;
const ERAS: readonly Era[] = ["modern", "legacy"];
const CELLS = ERAS.flatMap((client) => ERAS.map((server) => [client, server] as const));
const TOOL = '{"name":"ask","inputSchema":{"type":"object"}}';
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };
const KEY = "dev.postern/asked";

const form = { message: stringText, requestedSchema: objectText({ type: just('"object"'), properties: valueText }) };
const params = fc.oneof(
  objectText({ ...form, mode: maybe(just('"form"')), _meta: maybe(objectText({})) }).map((own) => [
    "elicitation/create",
    own,
  ]),
  objectText({ messages: valueText, maxTokens: fc.constantFrom("100", "1e2") }).map((own) => [
    "sampling/createMessage",
    own,
  ]),
  objectText({ _meta: maybe(objectText({})) }).map((own) => ["roots/list", own]),
) as fc.Arbitrary<[string, ObjectText]>;
const link = objectText({ mode: just('"url"'), url: just('"https:\\/\\/a.example/x"'), message: stringText });

/** A question of a server, and what the client answers; the question has neither `jsonrpc` nor an id. */
const asking = params.chain(([method, own]) =>
  fc.record({
    question: objectText({ method: just(JSON.stringify(method)), params: just(render(own)) }),
    answer: objectText({ action: just('"accept"'), content: maybe(valueText), roots: maybe(valueText) }),
    response: objectText({ jsonrpc: just('"2.0"'), id: just("0"), result: just("{}") }),
    state: stringText,
  }),
);
type Asking = typeof asking extends fc.Arbitrary<infer T> ? T : never;

/** A server of either era that asks within each call what the plan says, and keeps what it is told. */
function startAsking(server: Era) {
  let plan: Asking | undefined;
  let told: string | undefined;
  const waiting = new Map<unknown, () => void>();
  let asked = 100;
  const first: NonNullable<Script["first"]> = (seen) => {
    const { message, text } = seen;
    if (plan === undefined) return undefined;
    if (message["method"] === "tools/call")
      return server === "modern" ? askByResult(seen, plan) : askByRequest(seen, plan);
    if (!("method" in message) && waiting.has(message["id"])) {
      told = text;
      waiting.get(message["id"])?.();
    }
    return undefined;
  };
  const upstream = scriptedServer({ era: server, tools: [TOOL], first });
  return {
    upstream,
    play(next: Asking) {
      plan = next;
      told = undefined;
      upstream.seen.length = 0;
    },
    told: () => told,
    asked: () => String(asked),
  };

  function askByResult(seen: Seen, { question, state }: Asking): Response {
    const params = seen.message["params"] as Record<string, unknown>;
    if ("inputResponses" in params) {
      told = seen.text;
      return resultOf(seen, '{"resultType":"complete","content":[]}');
    }
    const asks = `"inputRequests":{"${KEY}":${render(question)}},"requestState":${state}`;
    return raw(`{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"resultType":"input_required",${asks}}}`);
  }

  function askByRequest(seen: Seen, { question }: Asking): Response {
    const id = ++asked;
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.set(id, resolve);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const write = (text: string) =>
      writer.write(
        new TextEncoder().encode(
          `${text
            .split(/\r\n|\r|\n/)
            .map((line) => `data: ${line}\n`)
            .join("")}\n`,
        ),
      );
    const run = async () => {
      await write(render(having(question, { jsonrpc: '"2.0"', id: String(id) })));
      await promise;
      await write(`{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`);
      await writer.close();
    };
    run().catch(() => undefined);
    return new Response(readable, { headers: { "Content-Type": "text/event-stream" } });
  }
}

/** The messages of a stream, one by one, as texts. */
async function* textsIn(response: Response): AsyncGenerator<string, undefined> {
  let buffer = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    buffer += chunk;
    for (let end = buffer.indexOf("\n\n"); end !== -1; end = buffer.indexOf("\n\n")) {
      const data = buffer
        .slice(0, end)
        .split("\n")
        .filter((line) => line.startsWith("data: "));
      buffer = buffer.slice(end + 2);
      if (data.length > 0) yield data.map((line) => line.slice(6)).join("\n");
    }
  }
  return undefined;
}

const lines = (text: string) => text.replace(/\r\n?/g, "\n");
const id = (text: string) => JSON.stringify((JSON.parse(text) as { id: unknown }).id);

describe.each(CELLS)("between a %s client and a %s server", (client, server) => {
  it("a question and its answer keep their bytes [P-19, P-32, P-41, P-42, P-43]", async () => {
    const { upstream, play, told, asked } = startAsking(server);
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    const opened = await agent.legacy("/mcp/docs", "initialize", {
      protocolVersion: "2025-11-25",
      capabilities: CAPABILITIES,
    });
    const session = { "Mcp-Session-Id": opened.headers.get("Mcp-Session-Id") ?? "" };
    const meta = { "io.modelcontextprotocol/clientCapabilities": CAPABILITIES };

    await fc.assert(
      fc.asyncProperty(asking, async (plan) => {
        play(plan);
        const { question, answer, response, state } = plan;
        const answered = render(answer);
        if (client === "legacy") {
          const stream = textsIn(await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, session));
          const got = (await stream.next()).value ?? "";
          const put = server === "legacy" ? { jsonrpc: '"2.0"', id: id(got) } : { jsonrpc: '"2.0"', id: id(got) };
          expect(got).toBe(lines(render(having(question, put))));
          const own = having(response, { id: id(got), result: answered });
          expect((await agent.post("/mcp/docs", render(own), session)).status).toBe(202);
          await stream.next();
          const all = render(having(own, { id: asked() }));
          if (server === "legacy") expect(told()).toBe(all);
          else expect(told()).toContain(`"inputResponses":{"${KEY}":${answered}},"requestState":${state}`);
        } else {
          const first = await agent.modern("/mcp/docs", "tools/call", { name: "ask" }, { meta });
          const text = (await first.text())
            .replace(/^(event: message\n)?data: |\n\n$/g, "")
            .replaceAll("\ndata: ", "\n");
          const shown = server === "legacy" ? lines(render(question)) : render(question);
          expect(text).toContain(`"inputRequests":{"${KEY}":${shown}}`);
          const { requestState } = (JSON.parse(text) as { result: { requestState: string } }).result;
          const call = `{"name":"ask","requestState":${JSON.stringify(requestState)},"inputResponses":{"${KEY}":${answered}}`;
          const envelope = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", ...meta };
          const body = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":${call},"_meta":${JSON.stringify(envelope)}}}`;
          const headers = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "ask" };
          await (await agent.post("/mcp/docs", body, headers)).text();
          if (server === "legacy") expect(told()).toBe(`{"jsonrpc":"2.0","id":${asked()},"result":${answered}}`);
          else expect(told()).toBe(body.replace(JSON.stringify(requestState), () => state));
        }
        await gateway.settled();
      }),
      { numRuns: RUNS },
    );
  });
});

describe("a link that a server wants opened", () => {
  const named = (own: ObjectText) => having(own, { elicitationId: '"e_51"' });

  it("keeps all but its name for a modern client, as an error and as a question [P-22]", async () => {
    let sent = "";
    const upstream = scriptedServer({
      era: "legacy",
      tools: [TOOL],
      call: (seen) =>
        raw(
          `{"jsonrpc":"2.0","id":${idOf(seen)},"error":{"code":-32042,"message":"m","data":{"elicitations":[${sent}]}}}`,
        ),
    });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const meta = { "io.modelcontextprotocol/clientCapabilities": { elicitation: { url: {} } } };
    await fc.assert(
      fc.asyncProperty(link, async (own) => {
        sent = render(named(own));
        const response = await agent.modern("/mcp/docs", "tools/call", { name: "ask" }, { meta });
        const shown = render(without(named(own), ...leftOut("question", "modern", "legacy")));
        expect(await response.text()).toContain(`{"method":"elicitation/create","params":${shown}}`);
      }),
      { numRuns: RUNS },
    );
  });

  it("keeps all of it for a legacy client that takes links, which gets a name with it [P-31]", async () => {
    let sent = "";
    const upstream = scriptedServer({
      era: "modern",
      tools: [TOOL],
      call: (seen) =>
        resultOf(
          seen,
          `{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":${sent}}}}`,
        ),
    });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const opened = await agent.legacy("/mcp/docs", "initialize", {
      protocolVersion: "2025-11-25",
      capabilities: CAPABILITIES,
    });
    const session = { "Mcp-Session-Id": opened.headers.get("Mcp-Session-Id") ?? "" };
    await fc.assert(
      fc.asyncProperty(link, async (own) => {
        sent = render(own);
        const text = await (await agent.legacy("/mcp/docs", "tools/call", { name: "ask" }, session)).text();
        const name = /"elicitationId":("[^"]+")/.exec(text)?.[1] ?? "";
        expect(text).toContain(`"elicitations":[${render(having(own, { elicitationId: name }))}]`);
        expect(fieldOf(own, "elicitationId")).toBeUndefined();
      }),
      { numRuns: RUNS },
    );
  });
});
