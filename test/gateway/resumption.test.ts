import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { readStream } from "../support/event-reader.ts";
import { startGateway } from "../support/gateway.ts";
import { idOf, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const TOOL = '{"name":"slow","inputSchema":{"type":"object"}}';
const PROGRESS = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}';
const stream = (body: string) => new Response(body, { headers: { "Content-Type": "text/event-stream" } });
const result = (id: string) => `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"done"}]}}`;

/** A server that closes the stream of each call, and goes on where somebody comes back with the name of a place. */
function closingServer(again: (seen: Seen, id: string) => Response) {
  let id = "null";
  const first: NonNullable<Script["first"]> = (seen) => {
    if (seen.method === "GET") return again(seen, id);
    if (seen.message["method"] !== "tools/call") return undefined;
    id = idOf(seen);
    return stream("id: e-1\nretry: 5\ndata:\n\n");
  };
  return scriptedServer({ era: "legacy", tools: [TOOL], first });
}

async function startDocs(again: Parameters<typeof closingServer>[0]) {
  const upstream = closingServer(again);
  const gateway = startGateway(upstream.network);
  return { upstream, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

const params = { name: "slow", _meta: { progressToken: "p" } };

describe("a stream that a legacy server closes before it has answered", () => {
  it("is opened again where it ended, for a client of either era [P-37]", async () => {
    let parts = 0;
    const { upstream, agent } = await startDocs((_, id) =>
      ++parts % 2 === 1 ? stream(`id: e-2\ndata: ${PROGRESS}\n\n`) : stream(`id: e-3\ndata: ${result(id)}\n\n`),
    );
    const session = await agent.initialize("/mcp/docs");
    const meta = { "io.modelcontextprotocol/clientCapabilities": { roots: {} } };
    const callers = [
      () => agent.legacy("/mcp/docs", "tools/call", params, session),
      () => agent.modern("/mcp/docs", "tools/call", params),
      () => agent.modern("/mcp/docs", "tools/call", params, { meta }),
    ];
    for (const call of callers) {
      const answer = await call();
      let last: unknown;
      for await (const message of readStream(answer)) last = message;
      expect(last).toMatchObject({ id: 1, result: { content: [{ text: "done" }] } });
    }
    const resumed = upstream.seen.filter(({ method }) => method === "GET");
    expect(resumed.map(({ headers }) => headers.get("Last-Event-ID"))).toEqual([
      "e-1",
      "e-2",
      "e-1",
      "e-2",
      "e-1",
      "e-2",
    ]);
    expect(resumed[0]?.headers.get("Mcp-Session-Id")).toBe(upstream.calls()[0]?.headers.get("Mcp-Session-Id"));
    expect(upstream.calls()).toHaveLength(3);
  });

  it("counts as cut where the server does not go on with it, and the call is not made again [R-27]", async () => {
    const { upstream, agent } = await startDocs(() => new Response(null, { status: 405 }));
    const answer = await agent.modern("/mcp/docs", "tools/call", params);
    let last: unknown;
    for await (const message of readStream(answer)) last = message;
    expect(last).toMatchObject({ result: { isError: true } });
    expect(upstream.calls()).toHaveLength(1);
  });
});

describe("a legacy client that comes back for a stream", () => {
  it("knows its places from the server, and gets what has followed there", async () => {
    const { gateway, agent, upstream } = await startDocs((seen, id) =>
      seen.headers.get("Last-Event-ID") === "e-1"
        ? stream(`id: e-2\ndata: ${PROGRESS}\n\nid: e-3\ndata: ${result(id)}\n\n`)
        : new Response(null, { status: 405 }),
    );
    const session = await agent.initialize("/mcp/docs");
    const call = await agent.legacy("/mcp/docs", "tools/call", params, session);
    const text = await call.text();
    expect(text).toContain("id: e-1\ndata: \n\n");
    expect(text).toContain("id: e-2\ndata: {");
    expect(text).toContain("id: e-3\ndata: {");
    const back = await gateway.fetch("/mcp/docs", {
      headers: { Authorization: `Bearer ${agent.key.value}`, ...session, "Last-Event-ID": "e-1" },
    });
    expect(back.status).toBe(200);
    const again = await back.text();
    expect(again).toContain(`id: e-2\ndata: ${PROGRESS}\n\n`);
    expect(again).toContain(`id: e-3\ndata: ${result("1")}\n\n`);
    expect(upstream.calls()).toHaveLength(1);
  });

  it("waits while its former stream is still read for the log", async () => {
    let asked = 0;
    const { gateway, agent } = await startDocs((seen, id) => {
      if (seen.headers.get("Last-Event-ID") !== "e-9") return stream(`data: ${result(id)}\n\n`);
      return ++asked === 1 ? new Response(null, { status: 409 }) : stream(`id: e-10\ndata: ${result("1")}\n\n`);
    });
    const session = await agent.initialize("/mcp/docs");
    const back = await gateway.fetch("/mcp/docs", {
      headers: { Authorization: `Bearer ${agent.key.value}`, ...session, "Last-Event-ID": "e-9" },
    });
    expect(await back.text()).toContain("e-10");
  });

  it("is told of no places at /mcp, where several servers may have the same ones", async () => {
    const { agent } = await startDocs((_, id) => stream(`id: e-3\ndata: ${result(id)}\n\n`));
    const session = await agent.initialize("/mcp");
    const call = await agent.legacy("/mcp", "tools/call", { ...params, name: "docs__slow" }, session);
    expect(await call.text()).not.toContain("e-");
  });
});
