import { describe, expect, it } from "vitest";
import { type Agent, agentOf, createAgent } from "../support/agent.ts";
import { type Message, readStream } from "../support/event-reader.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { type PushedStream, pushedStream } from "../support/pushed-stream.ts";
import { idOf, resultOf, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const TOOL = '{"name":"search","inputSchema":{"type":"object"}}';
const CAPABILITIES = { prompts: { listChanged: true }, resources: { subscribe: true, listChanged: true }, logging: {} };
const methodOf = ({ message }: Seen) => message["method"];
const changed = (kind: string) => `{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed"}`;
const updated = (uri: string) =>
  `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"${uri}","x":1.0}}`;

/** A server with a stream of its own, on which a test says what it wants. */
function streamingServer(era: Script["era"], more: Script["first"] = () => undefined) {
  const streams: { readonly stream: PushedStream; readonly seen: Seen }[] = [];
  const first: NonNullable<Script["first"]> = (seen) => {
    const isStream = seen.method === "GET" || methodOf(seen) === "subscriptions/listen";
    if (!isStream) {
      const isSet = ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"].includes(
        String(methodOf(seen)),
      );
      return more(seen) ?? (isSet ? resultOf(seen, "{}") : undefined);
    }
    const stream = pushedStream(seen.signal);
    streams.push({ stream, seen });
    return stream.response;
  };
  const upstream = scriptedServer({ era, tools: [TOOL], capabilities: CAPABILITIES, first });
  return { upstream, streams };
}

async function startDocs(era: Script["era"], more?: Script["first"]) {
  const { upstream, streams } = streamingServer(era, more);
  const gateway = startGateway(upstream.network, { SNAPSHOT_TTL_MS: "200" });
  return { upstream, streams, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

function getStream(gateway: TestGateway, agent: Agent, door: string, headers: Record<string, string>) {
  const signal = new AbortController();
  const opened = gateway.fetch(door, {
    headers: { Authorization: `Bearer ${agent.key.value}`, Accept: "text/event-stream", ...headers },
    signal: signal.signal,
  });
  return opened.then((response) => ({ response, messages: readStream(response), close: () => signal.abort() }));
}

async function listen(agent: Agent, door: string, notifications: object, id = "l-1", meta: object = {}) {
  const response = await agent.modern(door, "subscriptions/listen", { notifications }, { id, meta: { ...meta } });
  return { response, messages: readStream(response) };
}

const until = async (isThere: () => boolean) => {
  for (let tries = 0; tries < 1_000 && !isThere(); tries++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isThere()).toBe(true);
};

const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";

describe.each(["legacy", "modern"] as const)("a modern client that listens to a %s server", (era) => {
  it("is told first what it will be told, then that and nothing else, under its own id [P-13]", async () => {
    const { agent, streams, upstream } = await startDocs(era);
    const asked = { promptsListChanged: true, resourceSubscriptions: ["a://b"], somethingNew: true };
    const { response, messages } = await listen(agent, "/mcp/docs", asked);
    expect(response.headers.get("Content-Type")).toBe("text/event-stream");
    expect((await messages.next()).value).toEqual({
      jsonrpc: "2.0",
      method: "notifications/subscriptions/acknowledged",
      params: {
        notifications: { promptsListChanged: true, resourceSubscriptions: ["a://b"] },
        _meta: { [SUBSCRIPTION]: "l-1" },
      },
    });
    await until(() => streams.length === 1);
    if (era === "legacy") {
      await until(() => upstream.seen.some((seen) => methodOf(seen) === "resources/subscribe"));
      const subscribed = upstream.seen.find((seen) => methodOf(seen) === "resources/subscribe");
      expect(subscribed?.message["params"]).toEqual({ uri: "a://b" });
      expect(subscribed?.headers.get("Mcp-Session-Id")).toBe(streams[0]?.seen.headers.get("Mcp-Session-Id"));
    } else {
      const params = streams[0]?.seen.message["params"];
      expect(params).toMatchObject({ notifications: { promptsListChanged: true, resourceSubscriptions: ["a://b"] } });
    }
    for (const text of [
      changed("resources"),
      changed("tools"),
      updated("a://other"),
      '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}',
      '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}',
      changed("prompts"),
      updated("a://b"),
    ]) {
      streams[0]?.stream.push(text);
    }
    expect((await messages.next()).value).toEqual({
      jsonrpc: "2.0",
      method: "notifications/prompts/list_changed",
      params: { _meta: { [SUBSCRIPTION]: "l-1" } },
    });
    expect((await messages.next()).value).toEqual({
      jsonrpc: "2.0",
      method: "notifications/resources/updated",
      params: { uri: "a://b", x: 1, _meta: { [SUBSCRIPTION]: "l-1" } },
    });
    await messages.return({});
  });

  it("gets the completing result when its key is revoked, and hears no more [P-15]", async () => {
    const { gateway, agent, streams } = await startDocs(era);
    const { messages } = await listen(agent, "/mcp/docs", { promptsListChanged: true }, "l-2");
    await messages.next();
    await until(() => streams.length === 1);
    await gateway.admin("DELETE", `/v1/virtual-keys/${agent.key.virtual_key_id}`);
    expect((await messages.next()).value).toMatchObject({
      id: "l-2",
      result: { resultType: "complete", _meta: { [SUBSCRIPTION]: "l-2" } },
    });
    expect((await messages.next()).done).toBe(true);
  });
});

describe("a listener", () => {
  it.each(["/mcp", "/mcp/docs"])("at %s is told when the list of its own tools has changed [P-14]", async (door) => {
    const { gateway, agent } = await startDocs("legacy");
    const { messages } = await listen(agent, door, { toolsListChanged: true, promptsListChanged: true });
    const acknowledged = (await messages.next()).value;
    expect(acknowledged.params.notifications).toEqual({
      toolsListChanged: true,
      ...(door === "/mcp" ? {} : { promptsListChanged: true }),
    });
    const patched = await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, {
      allowed_tools: { search: false },
    });
    expect(patched.status).toBe(200);
    expect((await messages.next()).value).toMatchObject({ method: "notifications/tools/list_changed" });
    await messages.return({});
  });

  it("must say what it wants, and take a stream; a server that it may not see is unknown [P-1]", async () => {
    const { agent, gateway } = await startDocs("modern");
    const wrong = [undefined, 1, [], { resourceSubscriptions: "a://b" }, { resourceSubscriptions: [1] }];
    for (const notifications of wrong) {
      const response = await agent.modern("/mcp/docs", "subscriptions/listen", { notifications });
      expect(await response.json()).toMatchObject({ error: { code: -32602 } });
    }
    await gateway.admin("POST", "/v1/servers", { name: "hidden", server_url: "https://hidden.example/mcp" });
    for (const name of ["hidden", "absent"]) {
      const response = await agent.modern(`/mcp/${name}`, "subscriptions/listen", { notifications: {} });
      expect(await response.json()).toMatchObject({ error: { code: -32602, message: `Unknown server: ${name}` } });
    }
  });
});

describe.each(["legacy", "modern"] as const)("a client that leaves a %s server", (era) => {
  it("ends what was listened to for it alone [P-67]", async () => {
    const { gateway, agent, streams } = await startDocs(era);
    const session = await agent.initialize("/mcp/docs");
    const get = await getStream(gateway, agent, "/mcp/docs", session);
    await until(() => streams.length === 1);
    get.close();
    await until(() => streams[0]?.stream.isOver() === true);
    const signal = new AbortController();
    const params = { notifications: { promptsListChanged: true } };
    const listening = await agent.modern("/mcp/docs", "subscriptions/listen", params, { signal: signal.signal });
    await readStream(listening).next();
    await until(() => streams.length === 2);
    signal.abort();
    await until(() => streams[1]?.stream.isOver() === true);
  });
});

describe.each(["legacy", "modern"] as const)("the GET stream of a session before a %s server", (era) => {
  it("brings what the server says that belongs to no request", async () => {
    const { gateway, agent, streams, upstream } = await startDocs(era);
    const session = await agent.initialize("/mcp/docs");
    for (const uri of ["a://b", "a://c"]) {
      const set = await agent.legacy("/mcp/docs", "resources/subscribe", { uri }, session);
      expect(await set.json()).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
    }
    await agent.legacy("/mcp/docs", "resources/unsubscribe", { uri: "a://c" }, session);
    const { response, messages } = await getStream(gateway, agent, "/mcp/docs", session);
    expect([response.status, response.headers.get("Content-Type")]).toEqual([200, "text/event-stream"]);
    await until(() => streams.length === 1);
    if (era === "modern") {
      expect(streams[0]?.seen.message["params"]).toMatchObject({
        notifications: { toolsListChanged: true, resourceSubscriptions: ["a://b"] },
      });
      expect(upstream.seen.some((seen) => methodOf(seen) === "resources/subscribe")).toBe(false);
    }
    const meta = era === "modern" ? `,"_meta":{"${SUBSCRIPTION}":"x","v/k":1}` : "";
    streams[0]?.stream.push(updated("a://b").replace('"x":1.0', `"x":1.0${meta}`));
    const { value } = await messages.next();
    expect(value).toEqual({
      jsonrpc: "2.0",
      method: "notifications/resources/updated",
      params: { uri: "a://b", x: 1, ...(era === "modern" ? { _meta: { "v/k": 1 } } : {}) },
    });
    streams[0]?.stream.push(changed("prompts"));
    expect((await messages.next()).value).toEqual(JSON.parse(changed("prompts")));
    await messages.return({});
  });

  it("gives way to a new one of its session [P-30]", async () => {
    const { gateway, agent, streams } = await startDocs(era);
    const session = await agent.initialize("/mcp/docs");
    const old = await getStream(gateway, agent, "/mcp/docs", session);
    await until(() => streams.length === 1);
    const anew = await getStream(gateway, agent, "/mcp/docs", session);
    expect((await old.messages.next()).done).toBe(true);
    await until(() => streams.length === 2);
    streams[1]?.stream.push(changed("prompts"));
    expect((await anew.messages.next()).value).toEqual(JSON.parse(changed("prompts")));
    await anew.messages.return({});
  });

  it("takes a session of one's own, and an Accept that admits it [P-1]", async () => {
    const { gateway, agent } = await startDocs(era);
    const session = await agent.initialize("/mcp/docs");
    const other = await createAgent(gateway, [{ server_id: agent.server_id, tools_to_execute: ["*"] }]);
    const asked: [Agent, Record<string, string>, number][] = [
      [agent, {}, 405],
      [agent, { ...session, Accept: "application/json" }, 406],
      [other, session, 404],
      [agent, { "Mcp-Session-Id": "ses_x" }, 404],
      [agent, { ...session, "MCP-Protocol-Version": "1999-01-01" }, 400],
    ];
    for (const [who, headers, status] of asked) {
      expect((await getStream(gateway, who, "/mcp/docs", headers)).response.status).toBe(status);
    }
  });
});

describe("a GET stream", () => {
  it("brings a legacy server's requests, and takes their answers back [P-32]", async () => {
    const { gateway, agent, streams, upstream } = await startDocs("legacy");
    const session = await agent.initialize("/mcp/docs");
    const { messages } = await getStream(gateway, agent, "/mcp/docs", session);
    await until(() => streams.length === 1);
    streams[0]?.stream.push('{"jsonrpc":"2.0","id":"q-1","method":"ping"}');
    streams[0]?.stream.push('{"jsonrpc":"2.0","id":"q-2","method":"roots/list"}');
    const { value } = await messages.next();
    expect(value).toMatchObject({ method: "roots/list" });
    await agent.post("/mcp/docs", JSON.stringify({ jsonrpc: "2.0", id: value.id, result: { roots: [] } }), session);
    const answers = () => upstream.seen.filter(({ message }) => "result" in message).map(({ text }) => text);
    await until(() => answers().length === 2);
    expect(new Set(answers())).toEqual(
      new Set(['{"jsonrpc":"2.0","id":"q-1","result":{}}', '{"jsonrpc":"2.0","id":"q-2","result":{"roots":[]}}']),
    );
    await messages.return({});
  });

  it.each([
    ["waits for one that begins late: what the call makes it ask is heard", 300, ["stream", "call"]],
    ["is called without one that never begins", 60_000, ["call"]],
  ])("is there when the first call goes to a server, which %s [P-32]", async (_, beginsMs, order) => {
    const came: string[] = [];
    const first: Script["first"] = async (seen) => {
      if (methodOf(seen) === "tools/call") came.push("call");
      if (seen.method !== "GET") return undefined;
      const begins = Date.now() + beginsMs;
      while (Date.now() < begins && !seen.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 10));
      came.push("stream");
      return pushedStream(seen.signal).response;
    };
    const upstream = scriptedServer({ era: "legacy", tools: [TOOL], first });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    const session = await agent.initialize("/mcp/docs");
    const { close } = await getStream(gateway, agent, "/mcp/docs", session);
    await (await agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session)).text();
    expect(came).toEqual(order);
    close();
  });

  it("at /mcp says when the list of tools has changed [P-14]", async () => {
    const { gateway, agent } = await startDocs("legacy");
    const session = await agent.initialize("/mcp");
    const { messages } = await getStream(gateway, agent, "/mcp", session);
    await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, { allowed_tools: { search: false } });
    expect((await messages.next()).value).toEqual(JSON.parse(changed("tools")));
    await messages.return({});
  });
});

describe("a session's log level", () => {
  it.each(["legacy", "modern"] as const)("is told to a %s server: once, or with each call", async (era) => {
    const { agent, upstream } = await startDocs(era);
    const session = await agent.initialize("/mcp/docs");
    const wrong = await agent.legacy("/mcp/docs", "logging/setLevel", { level: "loud" }, session);
    expect(await wrong.json()).toMatchObject({ error: { code: -32602 } });
    const set = await agent.legacy("/mcp/docs", "logging/setLevel", { level: "warning" }, session);
    expect(await set.json()).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
    await agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session);
    const told = upstream.seen.filter((seen) => methodOf(seen) === "logging/setLevel");
    const meta = (upstream.calls()[0]?.message["params"] as Message | undefined)?._meta;
    expect(told.map(({ message }) => message["params"])).toEqual(era === "legacy" ? [{ level: "warning" }] : []);
    expect(meta?.["io.modelcontextprotocol/logLevel"]).toBe(era === "modern" ? "warning" : undefined);
  });
});

describe("what a legacy client takes back", () => {
  it("stops the call that it names and no other, and a late one changes nothing [P-28, T-44]", async () => {
    const open: { readonly id: string; readonly stream: PushedStream }[] = [];
    const { agent, upstream } = await startDocs("legacy", (seen) => {
      if (methodOf(seen) !== "tools/call") return undefined;
      const stream = pushedStream(seen.signal);
      open.push({ id: idOf(seen), stream });
      return stream.response;
    });
    const session = await agent.initialize("/mcp/docs");
    const call = (id: string) =>
      agent.post(
        "/mcp/docs",
        JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "search" } }),
        session,
      );
    const cancel = (requestId: string) =>
      agent.post(
        "/mcp/docs",
        JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } }),
        session,
      );
    const [one, two] = [await call("one"), await call("two")];
    const streams = [readStream(one), readStream(two)] as const;
    await cancel("never");
    await cancel("one");
    const ended = (await streams[0].next()).value;
    expect(ended).toMatchObject({ id: "one", result: { isError: true } });
    const cancelled = () => upstream.seen.filter((seen) => methodOf(seen) === "notifications/cancelled");
    await until(() => cancelled().length === 1);
    expect(cancelled()[0]?.message["params"]).toMatchObject({ requestId: "one" });
    const still = open.find(({ id }) => id === '"two"');
    still?.stream.push('{"jsonrpc":"2.0","id":"two","result":{"content":[]}}');
    expect((await streams[1].next()).value).toMatchObject({ id: "two", result: { content: [] } });
    expect((await cancel("two")).status).toBe(202);
    const rows = await agent.rows(session["Mcp-Session-Id"] ?? "");
    expect(rows.map(({ outcome }) => outcome).toSorted()).toEqual(["abandoned", "ok"]);
  });
});

describe("a batch of 2025-03-26", () => {
  it("has each of its messages served on its own, and answered together [P-27]", async () => {
    const { agent, upstream } = await startDocs("legacy");
    const session = await agent.initialize("/mcp/docs", "2025-03-26");
    const call = (id: unknown, name: string) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name } });
    const batch = [
      call(1, "search"),
      call(2, "unknown"),
      { jsonrpc: "2.0", method: "notifications/initialized" },
      { jsonrpc: "2.0", id: "p", method: "ping" },
      { jsonrpc: "2.0", id: "f", method: "no/such" },
      { jsonrpc: "2.0", id: 9, result: {} },
      call(3, "search"),
    ];
    const response = await agent.post("/mcp/docs", JSON.stringify(batch), session);
    const answers = await response.json<Message[]>();
    expect(answers.map(({ id, error }) => [id, error?.code ?? "ok"])).toEqual([
      [1, "ok"],
      [2, -32602],
      ["p", "ok"],
      ["f", -32601],
      [3, "ok"],
    ]);
    expect(upstream.calls()).toHaveLength(2);
    expect(await agent.rows(session["Mcp-Session-Id"] ?? "")).toHaveLength(3);
    const silent = await agent.post("/mcp/docs", JSON.stringify([batch[2], batch[5]]), session);
    expect([silent.status, await silent.text()]).toEqual([202, ""]);
  });

  it("is refused in later revisions, with a handshake in it, and beyond fifty messages [P-27]", async () => {
    const { agent } = await startDocs("legacy");
    const later = await agent.initialize("/mcp/docs", "2025-06-18");
    const session = await agent.initialize("/mcp/docs", "2025-03-26");
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    const initialize = { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-03-26" } };
    const refused: [unknown[], Record<string, string>][] = [
      [[ping], later],
      [[ping], { "MCP-Protocol-Version": "2025-11-25" }],
      [[initialize], {}],
      [Array.from({ length: 51 }, () => ping), session],
      [[], session],
    ];
    for (const [batch, headers] of refused) {
      const response = await agent.post("/mcp/docs", JSON.stringify(batch), headers);
      const { error } = await response.json<{ error: { code: number } }>();
      expect([response.status, error.code]).toEqual([400, -32600]);
    }
  });
});
