/** Servers over HTTP+SSE whose streams are real connections: who has one, what goes over it, and how it ends. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { calls, createKey, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { type ClientKind, type Connection, v1Client, v2Pinned, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { postRaw } from "./support/raw-client.ts";
import { labelled, running } from "./support/running.ts";
import { startEverythingOverSse } from "./support/server-process.ts";
import { type SseServer, type SseStream, startSseServer, type WaitingCall } from "./support/sse-server.ts";

const gateway = running("the gateway", startGateway);

const CLIENTS = labelled([v1Client, v2Pinned]);
const WAIT = { timeout: 10_000 };
/** How soon a server hears that a client has left (P-67). */
const SOON = { timeout: 1_000 };

let count = 0;
let upstream: SseServer;
let registered: RegisteredServer;
let key: VirtualKey;
beforeEach(async () => {
  upstream = await startSseServer();
  registered = await registerServer(gateway(), `old${++count}`, upstream.url);
  key = await createKey(gateway(), registered);
});
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") console.error(upstream.logs().join("\n"));
  await upstream.stop();
});

describe("a server whose URL does not tell its transport", () => {
  it("is found to speak HTTP+SSE, and is called [CN-4]", async () => {
    expect(registered.connection_type).toBe("sse");
    expect(await echo(v2Pinned, "hello")).toEqual(textOf("hello"));
    expect(postsTo(upstream, "/rpc")).toEqual(["server/discover", "initialize"]);
  });
});

describe("server-everything over HTTP+SSE", () => {
  const everything = running("server-everything", startEverythingOverSse);

  it("is found by its path, and holds one stream for each client's session [CN-4, CN-3]", async () => {
    const server = await registerServer(gateway(), "everything", everything().url);
    expect(server.connection_type).toBe("sse");
    const { value } = await createKey(gateway(), server);
    const open = () => {
      const has = (what: string) =>
        everything()
          .logs()
          .filter((line) => line.startsWith(what)).length;
      return has("Client Connected") - has("Client Disconnected");
    };
    await expect.poll(open, WAIT).toBe(0);
    const url = `${gateway().url}/mcp/everything`;
    const clients = await Promise.all([1, 2].map(() => v1Client.connect(url, { key: value })));
    // Each of them listens from the beginning.
    await expect.poll(open, WAIT).toBe(clients.length);
    for (const [at, client] of clients.entries()) {
      expect((await client.call("echo", { message: `${at}` })).content).toEqual(textOf(`Echo: ${at}`));
      expect((await client.call("echo", { message: "again" })).content).toEqual(textOf("Echo: again"));
      // The server says that its tools have changed, which is looked at on one more.
      await expect.poll(open, WAIT).toBe(clients.length);
    }
    for (const [at, client] of clients.entries()) {
      await client.terminate();
      await expect.poll(open, WAIT).toBe(1 - at);
      await client.close();
    }
  });
});

describe("calls at once on one stream", () => {
  it.each(CLIENTS)("have their own results and progress each, for %s", async (_, client) => {
    const all = Array.from({ length: 20 }, (_item, at) => at);
    const progress = all.map((): number[] => []);
    const texts = await withClient(client, door(), { key: key.value }, async (through) => {
      const results = all.map((at) =>
        through.call("wait", { at }, (reported) => progress[at]?.push(reported.progress)),
      );
      await expect.poll(() => upstream.calls.length, WAIT).toBe(all.length);
      for (const step of [1, 2, 3])
        for (const call of upstream.calls) call.progress(1_000 * step + Number(call.args["at"]));
      for (const call of upstream.calls.toReversed()) call.answer(`for ${call.args["at"]}`);
      return (await Promise.all(results)).map(({ content }) => content);
    });
    expect(texts).toEqual(all.map((at) => textOf(`for ${at}`)));
    expect(progress).toEqual(all.map((at) => [1_000 + at, 2_000 + at, 3_000 + at]));
    expect(new Set(upstream.calls.map(({ stream }) => stream)).size).toBe(1);
    expect(openStreams()).toHaveLength(1);
  });

  it("pass results of 5 MiB, and those behind them", async () => {
    const large = "é".repeat(2_621_440);
    await withClient(v2Pinned, door(), { key: key.value }, async (through) => {
      const results = [1, 2].map(() => through.call("wait", {}));
      await expect.poll(() => upstream.calls.length, WAIT).toBe(2);
      for (const call of upstream.calls) call.answer(large);
      for (const { content } of await Promise.all(results)) expect(isText(content, large)).toBe(true);
      expect((await through.call("echo", { text: "small" })).content).toEqual(textOf("small"));
    });
    expect(openStreams()).toHaveLength(1);
  });
});

describe("a client that leaves its call", () => {
  const WHEN = labelled([
    { label: "when progress has come", progressToken: "p" },
    { label: "before anything has come", progressToken: undefined },
  ]);

  it.each(WHEN)("has it cancelled at the server, on a stream that goes on: modern, %s [P-67]", async (_, when) => {
    const { leave, call } = await leaver(
      { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "wait" },
      { ...MODERN_META, ...when },
    );
    leave();
    const requestId = call.id;
    await expect.poll(() => posted(call.stream, "notifications/cancelled"), SOON).toMatchObject([{ requestId }]);
    call.answer("too late");
    expect(await echo(v2Pinned, "hello")).toEqual(textOf("hello"));
    expect(posted(call.stream, "tools/call")).toHaveLength(2);
    expect(posted(call.stream, "notifications/cancelled")).toHaveLength(1);
    expect(openStreams()).toEqual([call.stream]);
    expect(await calls(gateway(), key, 2)).toMatchObject([{ ok: false, attempts: 1 }, { ok: true }]);
  });

  it.each(WHEN)("lets it go on to its end: legacy, %s [P-29]", async (_, when) => {
    const { leave, call } = await leaver({ "MCP-Protocol-Version": "2025-11-25" }, when);
    leave();
    expect(await echo(v2Pinned, "hello")).toEqual(textOf("hello"));
    call.answer("to nobody");
    expect(await calls(gateway(), key, 2)).toMatchObject([{ ok: true }, { ok: true }]);
    expect(posted(call.stream, "notifications/cancelled")).toEqual([]);
  });

  const MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };

  async function leaver(headers: Readonly<Record<string, string>>, _meta: { progressToken: string | undefined }) {
    const message = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "wait", arguments: {}, _meta } };
    const authorization = { Authorization: `Bearer ${key.value}` };
    const client = postRaw(door(), { ...authorization, ...headers }, JSON.stringify(message));
    const call = await nextCall(0);
    if (_meta.progressToken !== undefined) {
      call.progress(1);
      await expect.poll(client.received, WAIT).toContain("notifications/progress");
    }
    return { leave: () => client.leave("reset"), call };
  }
});

describe("a stream that ends with calls under way", () => {
  const WAYS = labelled([
    { label: "closed", how: "close" },
    { label: "reset", how: "reset" },
  ] as const);

  describe.each(WAYS)("%s by the server", (_way, { how }) => {
    it.each(CLIENTS)("fails them, and the next call of %s opens another [CN-3, CN-13]", async (_, client) => {
      await withClient(client, door(), { key: key.value }, async (through) => {
        const results = [1, 2, 3].map(() => through.call("wait", {}));
        const call = await nextCall(2);
        call.stream.end(how);
        for (const result of await Promise.all(results)) {
          expect(result).toMatchObject({ isError: true, content: [{ text: expect.stringContaining(BROKE) }] });
        }
        expect(upstream.calls).toHaveLength(3);
        expect((await through.call("echo", { text: "again" })).content).toEqual(textOf("again"));
        expect(openStreams()).toHaveLength(1);
        expect(openStreams()).not.toContain(call.stream);
      });
    });
  });

  it("by the death of the server, fails them and what comes after, until it is back", async () => {
    const { port } = upstream;
    await withClient(v1Client, door(), { key: key.value }, async (through) => {
      const result = through.call("wait", {});
      await nextCall(0);
      await upstream.stop();
      expect(await result).toMatchObject({ isError: true, content: [{ text: expect.stringContaining(BROKE) }] });
      const unreachable = { isError: true, content: [{ text: expect.stringContaining("cannot be reached") }] };
      expect(await through.call("echo", { text: "anybody?" })).toMatchObject(unreachable);
      expect(await through.call("echo", { text: "anybody?" })).toMatchObject(unreachable);
      upstream = await startSseServer(port);
      expect((await through.call("echo", { text: "back" })).content).toEqual(textOf("back"));
    });
    expect(upstream.streams).toHaveLength(1);
  });

  const BROKE = "Tool execution failed for wait. The connection to the server broke before its answer was complete.";
});

describe("a server that is restarted between calls", () => {
  it.each(CLIENTS)("is called by %s as if nothing had happened [CN-3, P-36]", async (_, client) => {
    await withClient(client, door(), { key: key.value }, async (through) => {
      expect((await through.call("echo", { text: "before" })).content).toEqual(textOf("before"));
      await upstream.stop();
      upstream = await startSseServer(upstream.port);
      expect((await through.call("echo", { text: "after" })).content).toEqual(textOf("after"));
      expect((await through.call("echo", { text: "later" })).content).toEqual(textOf("later"));
    });
    expect(upstream.streams).toHaveLength(1);
    expect(await calls(gateway(), key, 3)).toMatchObject([{ attempts: 1 }, { attempts: 2 }, { attempts: 1 }]);
  });
});

describe("two clients", () => {
  it("have a stream each, and DELETE of a session closes its own [P-26]", async () => {
    const clients = await Promise.all([1, 2].map(() => v1Client.connect(door(), { key: key.value })));
    const streams: SseStream[] = [];
    for (const [at, client] of clients.entries()) {
      const result = client.call("wait", {});
      const { stream, answer } = await nextCall(at);
      answer("done");
      await result;
      streams.push(stream);
    }
    expect(new Set(openStreams())).toEqual(new Set(streams));
    for (const [at, client] of clients.entries()) {
      await client.terminate();
      await expect.poll(openStreams, WAIT).toEqual(streams.slice(at + 1));
      await client.close();
    }
  });

  it("of two keys have a stream each [R-13]", async () => {
    const other = await createKey(gateway(), registered);
    for (const { value } of [key, other, key, other]) await echo(v2Pinned, "hello", value);
    expect(openStreams().map((stream) => posted(stream, "tools/call").length)).toEqual([2, 2]);
  });
});

describe("a gateway that is restarted", () => {
  it("leaves no stream behind, and serves open sessions on new ones", async () => {
    const clients: Connection[] = [];
    for (const [, kind] of CLIENTS) clients.push(await kind.connect(door(), { key: key.value }));
    const echoes = (text: string) =>
      Promise.all(clients.map(async (client) => (await client.call("echo", { text })).content));
    expect(await echoes("before")).toEqual(clients.map(() => textOf("before")));
    const before = openStreams();
    expect(before).toHaveLength(clients.length);
    await gateway().restart();
    await expect.poll(openStreams, WAIT).toEqual([]);
    expect(await echoes("after")).toEqual(clients.map(() => textOf("after")));
    expect(openStreams()).toHaveLength(clients.length);
    for (const client of clients) await client.close();
  });
});

function door(): string {
  return `${gateway().url}/mcp/${registered.name}`;
}

async function echo(client: ClientKind, text: string, value = key.value): Promise<unknown> {
  const { content } = await withClient(client, door(), { key: value }, (through) => through.call("echo", { text }));
  return content;
}

/** The call of `wait` with that number, once it is there. */
async function nextCall(at: number): Promise<WaitingCall> {
  await expect.poll(() => upstream.calls[at], WAIT).toBeDefined();
  const call = upstream.calls[at];
  if (call === undefined) throw new Error("There is no such call");
  return call;
}

function openStreams(): SseStream[] {
  return upstream.streams.filter(({ isOpen }) => isOpen);
}

/** The parameters of what was posted for a stream with a method. */
function posted(stream: SseStream, method: string) {
  return stream.posted.filter((message) => message.method === method).map(({ params }) => params);
}

function textOf(text: string) {
  return [{ type: "text", text }];
}

/** Without showing a text of megabytes where it is another. */
function isText(content: unknown, text: string): boolean {
  return JSON.stringify(content) === JSON.stringify(textOf(text));
}

/** The methods of what was posted to a path. */
function postsTo(server: SseServer, path: string): string[] {
  return server.logs().flatMap((line) => {
    const [, body] = line.match(new RegExp(`^POST ${path} (.*)$`)) ?? [];
    return body === undefined ? [] : [/"method":"([^"]*)"/.exec(body)?.[1] ?? ""];
  });
}
