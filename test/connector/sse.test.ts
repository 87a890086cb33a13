import { afterEach, describe, expect, it, vi } from "vitest";
import { openSseLink, type SseLink } from "../../src/connector/sse-link.ts";
import { agentOf, createAgent } from "../support/agent.ts";
import { register, storedValue } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { type OpenStream, type SseScript, sseServer } from "../support/sse-upstream.ts";
import { idOf, scriptedServer } from "../support/upstream.ts";

const tool = (name: string) => JSON.stringify({ name, description: "d", inputSchema: { type: "object" } });
const URL_OF_OLD = "https://old.example/rpc";

function startWith(script: Partial<SseScript> = {}) {
  const upstream = sseServer({ tools: [tool("search")], ...script });
  return { upstream, gateway: startGateway(upstream.network) };
}

/** What the server got, in short. */
const short = (upstream: ReturnType<typeof sseServer>) =>
  upstream.seen.map(({ method, message }) => message["method"] ?? method);

const resultOf = (id: string, text: string) =>
  `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":${JSON.stringify(text)}}]}}`;

describe("the transport of a server [CN-4]", () => {
  const DISCOVERY = ["GET", "initialize", "notifications/initialized", "tools/list"];

  it.each([400, 404, 405])("is HTTP+SSE where Streamable HTTP is answered with %d", async (status) => {
    const { upstream, gateway } = startWith({
      first: ({ url, method }) => (method === "POST" && url === URL_OF_OLD ? new Response("", { status }) : undefined),
    });
    const server = await register(gateway, { name: "old", server_url: URL_OF_OLD, enabled: true });
    expect(server).toMatchObject({ connection_type: "sse", state: "connected", allowed_tools: { search: true } });
    expect(short(upstream)).toEqual(["server/discover", "initialize", ...DISCOVERY]);
    expect(upstream.streams.map(({ isClosed }) => isClosed)).toEqual([true]);
    // What was found is remembered: the next discovery tries nothing else first.
    upstream.seen.length = 0;
    expect((await gateway.admin("POST", `/v1/servers/${server.server_id}/discover`)).status).toBe(200);
    expect(short(upstream)).toEqual(DISCOVERY);
  });

  it.each([401, 403, 500])("is not looked for further where the answer is %d", async (status) => {
    const { upstream, gateway } = startWith({ first: () => new Response("", { status }) });
    const server = await register(gateway, { name: "old", server_url: URL_OF_OLD, enabled: true });
    expect(server).toMatchObject({ connection_type: "http", state: "error" });
    expect(short(upstream)).toEqual(["server/discover"]);
  });

  it("is tried as HTTP+SSE first at a path that ends in /sse", async () => {
    const { upstream, gateway } = startWith();
    const server = await register(gateway, { name: "old", server_url: "https://old.example/sse", enabled: true });
    expect(server).toMatchObject({ connection_type: "sse", state: "connected" });
    expect(short(upstream)).toEqual(DISCOVERY);
  });

  it("is Streamable HTTP at such a path where that is what is spoken", async () => {
    const upstream = scriptedServer({
      era: "modern",
      tools: [tool("search")],
      first: ({ method }) => (method === "GET" ? new Response("", { status: 405 }) : undefined),
    });
    const gateway = startGateway(upstream.network);
    const server = await register(gateway, { name: "new", server_url: "https://new.example/sse", enabled: true });
    expect(server).toMatchObject({ connection_type: "http", state: "connected" });
    expect(await storedValue("SELECT connection_detected FROM servers WHERE name = 'new'")).toBe(1);
  });

  it("is Streamable HTTP where a GET opens a stream that names no address", async () => {
    const upstream = scriptedServer({
      era: "legacy",
      tools: [tool("search")],
      first: ({ method }) =>
        method === "GET"
          ? new Response(": hello\n\nevent: message\ndata: {}\n\n", {
              headers: { "Content-Type": "text/event-stream" },
            })
          : undefined,
    });
    const gateway = startGateway(upstream.network);
    const server = await register(gateway, { name: "new", server_url: "https://new.example/sse", enabled: true });
    expect(server).toMatchObject({ connection_type: "http", state: "connected" });
  });

  it("is not overruled where an admin has chosen it", async () => {
    const { upstream, gateway } = startWith();
    const old = { server_url: URL_OF_OLD, enabled: true };
    const http = await register(gateway, { name: "as-http", connection_type: "http", ...old });
    expect(http).toMatchObject({ connection_type: "http", state: "error", last_failure: { stage: "connect" } });
    expect(short(upstream)).not.toContain("GET");
    upstream.seen.length = 0;
    const sse = await register(gateway, { name: "as-sse", connection_type: "sse", ...old });
    expect(sse).toMatchObject({ connection_type: "sse", state: "connected" });
    expect(short(upstream)).toEqual(DISCOVERY);
    upstream.seen.length = 0;
    upstream.change({ first: ({ method }) => (method === "GET" ? new Response("", { status: 404 }) : undefined) });
    await gateway.admin("POST", `/v1/servers/${sse.server_id}/reconnect`);
    expect(short(upstream)).toEqual(["GET"]);
  });

  it("is found anew after a change of URL, and not after a change of something else", async () => {
    const { upstream, gateway } = startWith();
    const server = await register(gateway, { name: "old", server_url: URL_OF_OLD, enabled: true });
    const patch = (body: object) => gateway.admin("PATCH", `/v1/servers/${server.server_id}`, body);
    upstream.seen.length = 0;
    expect(await (await patch({ display_name: "Old", server_url: URL_OF_OLD })).json()).toMatchObject({
      connection_type: "sse",
      state: "connected",
    });
    expect(short(upstream)).toEqual([]);
    expect(await (await patch({ server_url: "https://old.example/mcp" })).json()).toMatchObject({
      connection_type: "sse",
      state: "connected",
    });
    expect(short(upstream)).toEqual(["server/discover", "initialize", ...DISCOVERY]);
  });
});

describe("a server over HTTP+SSE", () => {
  it("is called by clients of both eras on both doors, with its credential on the stream and on each message [P-38]", async () => {
    const { upstream, gateway } = startWith({ call: (seen, stream) => stream.push(resultOf(idOf(seen), "found")) });
    const config = { headers: { "X-Api-Key": "s3cret" } };
    const agent = await agentOf(gateway, { name: "old", server_url: "https://old.example/sse", config });
    const answers = [
      await agent.modern("/mcp", "tools/call", { name: "old__search", arguments: {} }),
      await agent.modern("/mcp/old", "tools/call", { name: "search", arguments: {} }),
      await agent.legacy("/mcp", "tools/call", { name: "old__search", arguments: {} }),
      await agent.legacy("/mcp/old", "tools/call", { name: "search" }, await agent.initialize("/mcp/old")),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(200);
      expect(await answer.text()).toContain('"content":[{"type":"text","text":"found"}]');
    }
    // One stream for the key's own calls, one for the client's session, and the one of the discovery, which is over.
    expect(upstream.streams.map(({ isClosed }) => isClosed)).toEqual([true, false, false]);
    for (const { headers } of upstream.seen) expect(headers.get("X-Api-Key")).toBe("s3cret");
    expect(await agent.rows()).toMatchObject([{ ok: true }, { ok: true }, { ok: true }]);
  });

  it("posts nothing to an address of another origin", async () => {
    const { upstream, gateway } = startWith({ endpoint: "https://evil.example/messages" });
    const server = await register(gateway, { name: "old", server_url: "https://old.example/sse", enabled: true });
    expect(server).toMatchObject({ state: "error" });
    expect(upstream.seen.every(({ url }) => url.startsWith("https://old.example/"))).toBe(true);
  });

  it("answers calls at once, each with what is its own", async () => {
    const waiting: [string, string, OpenStream][] = [];
    const { upstream, gateway } = startWith({
      call(seen, stream) {
        const params = seen.message["params"] as { arguments: { q: string }; _meta: { progressToken: unknown } };
        const token = JSON.stringify(params._meta.progressToken);
        waiting.push([idOf(seen), params.arguments.q, stream]);
        stream.push(
          `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1,"message":"for ${params.arguments.q}"}}`,
        );
        if (waiting.length < 3) return;
        for (const [id, q, its] of waiting.reverse()) its.push(resultOf(id, `found ${q}`));
      },
    });
    const agent = await agentOf(gateway, { name: "old", server_url: "https://old.example/sse" });
    const call = async (q: string) => {
      const params = { name: "old__search", arguments: { q } };
      const response = await agent.modern("/mcp", "tools/call", params, { meta: { progressToken: "mine" } });
      return response.text();
    };
    const texts = await Promise.all(["a", "b", "c"].map(call));
    texts.forEach((text, at) => {
      const q = "abc"[at];
      expect(text).toContain(`found ${q}`);
      expect(text.match(/for [abc]/g)).toEqual([`for ${q}`]);
    });
    expect(upstream.streams).toHaveLength(2);
  });

  it("fails the calls that wait when its stream ends, and is called on another one after", async () => {
    const { upstream, gateway } = startWith({ call: (_, stream) => stream.end() });
    const agent = await agentOf(gateway, { name: "old", server_url: "https://old.example/sse" });
    const call = () => agent.modern("/mcp", "tools/call", { name: "old__search", arguments: {} });
    const broken = await (await call()).text();
    expect(broken).toContain('"isError":true');
    expect(broken).toContain("broke before its answer was complete");
    expect(upstream.seen.filter(({ message }) => message["method"] === "tools/call")).toHaveLength(1);
    upstream.change({ call: (seen, stream) => stream.push(resultOf(idOf(seen), "found")) });
    expect(await (await call()).text()).toContain("found");
    expect(upstream.streams).toHaveLength(3);
    expect(await agent.rows()).toMatchObject([
      { ok: true, attempts: 2 },
      { ok: false, attempts: 1 },
    ]);
  });

  it("is told that nobody waits any more when a call takes too long", async () => {
    const { upstream, gateway } = startWith({ call: () => undefined });
    const server = { name: "old", server_url: "https://old.example/sse", timeout_ms: 1_000 };
    const agent = await agentOf(gateway, server);
    const answer = await agent.modern("/mcp", "tools/call", { name: "old__search", arguments: {} });
    expect(await answer.text()).toContain("did not answer in time");
    const calls = upstream.seen.filter(({ message }) => message["method"] === "tools/call");
    await expect
      .poll(() => upstream.seen.at(-1)?.message)
      .toMatchObject({ method: "notifications/cancelled", params: { requestId: calls[0]?.message["id"] } });
  });

  it("may answer a call before it says that it has taken it", async () => {
    const { upstream, gateway } = startWith();
    const agent = await agentOf(gateway, { name: "old", server_url: "https://old.example/sse" });
    upstream.change({
      first({ method, message }) {
        if (method !== "POST" || message["method"] !== "tools/call") return undefined;
        const id = JSON.stringify(message["id"]);
        upstream.streams.at(-1)?.push(resultOf(id, "at once"));
        // The answer to the message itself never ends.
        return new Promise<Response>(() => undefined);
      },
    });
    const answer = await agent.modern("/mcp", "tools/call", { name: "old__search", arguments: {} });
    expect(await answer.text()).toContain("at once");
  });

  it("gets a pong, and a refusal of what nobody declared, while nobody calls it", async () => {
    const { upstream, gateway } = startWith();
    const agent = await agentOf(gateway, { name: "old", server_url: "https://old.example/sse" });
    await agent.modern("/mcp", "tools/call", { name: "old__search", arguments: {} });
    const [, stream] = upstream.streams;
    stream?.push('{"jsonrpc":"2.0","id":"p1","method":"ping"}');
    await expect
      .poll(() => upstream.seen.at(-1)?.text, { timeout: 10_000 })
      .toBe('{"jsonrpc":"2.0","id":"p1","result":{}}');
    stream?.push('{"jsonrpc":"2.0","id":"p2","method":"roots/list"}');
    await expect.poll(() => upstream.seen.at(-1)?.message).toMatchObject({ id: "p2", error: { code: -32601 } });
  });

  it("gets no pong any more once it is disabled or deleted, on a stream that is still open [PS-60]", async () => {
    const { upstream, gateway } = startWith();
    for (const [at, [method, body]] of [["PATCH", { enabled: false }], ["DELETE"]].entries()) {
      const fields = { name: `old-${at}`, server_url: "https://old.example/sse" };
      const agent = await agentOf(gateway, fields);
      await agent.modern("/mcp", "tools/call", { name: `old-${at}__search`, arguments: {} });
      const stream = upstream.streams.at(-1);
      expect(stream?.isClosed).toBe(false);
      const path = `/v1/servers/${agent.server_id}`;
      expect((await gateway.admin(String(method), path, body)).status).toBe(200);
      upstream.seen.length = 0;
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 5_001 });
      const warned = vi.spyOn(console, "warn").mockImplementation(() => {});
      stream?.push('{"jsonrpc":"2.0","id":"p1","method":"ping"}');
      await expect.poll(() => warned.mock.calls.join()).toContain("sse_tell_failed");
      vi.useRealTimers();
      expect(upstream.seen).toEqual([]);
    }
  });

  it("is checked on over a stream of its own", async () => {
    const { upstream, gateway } = startWith();
    const server = await register(gateway, { name: "old", server_url: "https://old.example/sse", enabled: true });
    upstream.change({ first: ({ method }) => (method === "GET" ? new Response("", { status: 503 }) : undefined) });
    const failed = await gateway.admin("POST", `/v1/servers/${server.server_id}/reconnect`);
    expect(failed.status).toBe(502);
    upstream.change({ first: () => undefined });
    const again = await gateway.admin("POST", `/v1/servers/${server.server_id}/reconnect`);
    expect(await again.json()).toMatchObject({ state: "connected", last_failure: null });
  });

  it("is called on another stream once its credential has changed", async () => {
    const { upstream, gateway } = startWith();
    const server = await register(gateway, { name: "old", server_url: "https://old.example/sse", enabled: true });
    const agent = await createAgent(gateway, [{ server_id: server.server_id, tools_to_execute: ["*"] }]);
    const call = () => agent.modern("/mcp", "tools/call", { name: "old__search", arguments: {} });
    await call();
    const config = { headers: { "X-Api-Key": "new" } };
    await gateway.admin("PATCH", `/v1/servers/${server.server_id}`, { config, auth_type: "headers" });
    expect((await call()).status).toBe(200);
    expect(upstream.streams.at(-1)?.headers.get("X-Api-Key")).toBe("new");
    // The stream with the former credential is closed.
    expect(upstream.streams.filter(({ isClosed }) => !isClosed)).toHaveLength(1);
  });
});

describe("a link", () => {
  afterEach(() => vi.useRealTimers());

  it("does not take the end of a request for that of a later one with its id", async () => {
    const upstream = sseServer({ tools: [], call: () => undefined });
    const link = await linkTo(upstream);
    const first = new AbortController();
    const answered = await callOver(link, first.signal);
    upstream.streams[0]?.push(resultOf("1", "first"));
    expect(await answered.text()).toContain("first");
    const waiting = await callOver(link, new AbortController().signal);
    first.abort();
    upstream.streams[0]?.push(resultOf("1", "second"));
    expect(await waiting.text()).toContain("second");
    expect(short(upstream)).toEqual(["GET", "tools/call", "tools/call"]);
    link.close();
  });

  it("is closed when nobody has used it for five minutes, and not while a call is under way", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const upstream = sseServer({ tools: [], call: () => undefined });
    const link = await linkTo(upstream);
    const waiting = await callOver(link, new AbortController().signal);
    vi.advanceTimersByTime(540_000);
    expect(upstream.streams[0]?.isClosed).toBe(false);
    upstream.streams[0]?.push(resultOf("1", "at last"));
    expect(await waiting.text()).toContain("at last");
    vi.advanceTimersByTime(299_999);
    expect(upstream.streams[0]?.isClosed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(upstream.streams[0]?.isClosed).toBe(true);
  });

  async function linkTo(upstream: ReturnType<typeof sseServer>): Promise<SseLink> {
    const opened = await openSseLink({
      send: ({ url, ...init }) => upstream.network(new Request(url, init)),
      target: { server_id: "srv_1", server_url: "https://old.example/sse", headers: {}, token: null },
      timeoutMs: 1_000,
    });
    if (!opened.ok) throw new Error("The link did not open");
    return opened.link;
  }

  function callOver(link: SseLink, signal: AbortSignal): Promise<Response> {
    const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}';
    return link.send({ url: "https://session/", method: "POST", headers: {}, body, signal }, "");
  }
});
