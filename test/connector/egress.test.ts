/** What the Worker and its objects may contact, whoever has asked for it (PS-60, PS-61); at registration: `registry/server-url.test.ts`. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Agent, agentOf, createAgent } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { sseServer } from "../support/sse-upstream.ts";
import { scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const REFUSED = "The server's address, or a redirect of it, may not be contacted.";

/** Servers of each kind of transport and era, with the requests they have seen. */
const KINDS = {
  modern: () => scriptedServer({ era: "modern", tools: [SEARCH] }),
  legacy: () => scriptedServer({ era: "legacy", tools: [SEARCH] }),
  sse: () => sseServer({ tools: [SEARCH] }),
} as const;

afterEach(() => void vi.useRealTimers());

type Docs = Agent & { server_id: string };

async function start(kind: keyof typeof KINDS) {
  const upstream = KINDS[kind]();
  const gateway = startGateway(upstream.network);
  const connection_type = kind === "sse" ? "sse" : "http";
  const docs = await agentOf(gateway, { name: "docs", connection_type, server_url: "https://docs.example/mcp" });
  upstream.seen.length = 0;
  return { upstream, gateway, docs };
}

/** Asks for a server in every way there is; what calls came to. */
async function useEverywhere(gateway: TestGateway, { server_id, ...agent }: Docs): Promise<string[]> {
  for (const operation of ["discover", "reconnect"]) {
    expect((await gateway.admin("POST", `/v1/servers/${server_id}/${operation}`)).status).toBeGreaterThanOrEqual(400);
  }
  expect((await gateway.admin("POST", `/api/mcp/client/${server_id}/reconnect`)).status).toBeGreaterThanOrEqual(400);
  await look(server_id);
  const session = await agent.initialize("/mcp/docs").catch(() => ({}));
  const calls = [
    await agent.modern("/mcp", "tools/call", { name: "docs__search" }),
    await agent.modern("/mcp/docs", "tools/call", { name: "search" }),
    await agent.legacy("/mcp", "tools/call", { name: "docs__search" }),
    await agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session),
  ];
  return Promise.all(calls.map((call) => call.text()));
}

/** Lets the alarm ring, where one stands. */
async function look(serverId: string): Promise<void> {
  const object = env.CONNECTOR.getByName(serverId);
  for (let n = 0; n < 3; n++) {
    const at = await runInDurableObject(object, (_, { storage }) => storage.getAlarm());
    if (at === null) return;
    vi.useFakeTimers({ toFake: ["Date"], now: at + 1 });
    await runDurableObjectAlarm(object);
  }
  vi.useRealTimers();
}

/** The trap of T-5, and some more spellings. */
const FORBIDDEN = [
  ...["https://127.0.0.1/mcp", "https://2130706433/mcp", "https://0x7f.1/mcp", "https://0177.0.0.1/mcp"],
  ...["https://[::1]/mcp", "https://[::ffff:10.0.0.1]/mcp", "https://[fe80::1]/mcp", "https://[ff02::1]/mcp"],
  ...["https://10.0.0.1/mcp", "https://169.254.169.254/mcp", "https://0.0.0.0/mcp", "https://224.0.0.1/mcp"],
  ...["https://localhost./mcp", "https://a.localhost/mcp", "https://a.local/mcp", "https://a.internal/mcp"],
  ...["https://docs/mcp", "http://docs.example/mcp", "https://user@docs.example/mcp", "https://:p@docs.example/mcp"],
  ...["https://gateway.example/mcp", "https://GATEWAY.example.:443/mcp/docs"],
];

describe.each([
  ["modern", FORBIDDEN],
  ["legacy", ["https://127.0.0.1/mcp", "http://docs.example/mcp", "https://gateway.example/mcp"]],
  ["sse", ["https://127.0.0.1/mcp", "http://docs.example/mcp", "https://gateway.example/mcp"]],
] as const)("a server (%s) at an address that may not be contacted", (kind, urls) => {
  it("is contacted neither by discovery, nor by alarm, nor by a call, however it got there [PS-61, T-5]", async () => {
    const { upstream, gateway, docs } = await start(kind);
    for (const server_url of urls) {
      await env.DB.prepare("UPDATE servers SET server_url = ? WHERE server_id = ?")
        .bind(server_url, docs.server_id)
        .run();
      await accepted(await gateway.admin("PATCH", `/v1/servers/${docs.server_id}`, { display_name: server_url }));
      const calls = await useEverywhere(gateway, docs);
      expect([server_url, upstream.seen]).toEqual([server_url, []]);
      for (const text of calls) expect(text).toContain(`Tool execution failed for search. ${REFUSED}`);
      const record = await accepted(await gateway.admin("GET", `/v1/servers/${docs.server_id}`));
      expect(record).toMatchObject({ last_failure: { stage: "connect", message: REFUSED } });
    }
  });
});

describe.each(["modern", "legacy", "sse"] as const)("a disabled server (%s)", (kind) => {
  it("is not contacted, whoever asks, though another enabled one at its host is [PS-60]", async () => {
    const { upstream, gateway, docs } = await start(kind);
    const session = await docs.initialize("/mcp/docs");
    await (await docs.legacy("/mcp/docs", "tools/call", { name: "search" }, session)).text();
    await gateway.settled();
    const twin = await agentOf(gateway, {
      ...{ name: "twin", connection_type: kind === "sse" ? "sse" : "http", server_url: "https://docs.example/mcp" },
    });
    await accepted(await gateway.admin("PATCH", `/v1/servers/${docs.server_id}`, { enabled: false }));
    upstream.seen.length = 0;
    for (const text of await useEverywhere(gateway, docs)) expect(text).toContain("Unknown ");
    // What a session holds at the server is left to end by itself.
    const headers = { Authorization: `Bearer ${docs.key.value}`, ...session };
    expect((await gateway.fetch("/mcp/docs", { method: "DELETE", headers })).status).toBeLessThan(300);
    expect(upstream.seen).toEqual([]);

    const called = await twin.modern("/mcp", "tools/call", { name: "twin__search" });
    expect(await called.text()).toContain('"content":[]');
    await accepted(await gateway.admin("POST", `/v1/servers/${twin.server_id}/discover`));
    expect(upstream.seen.length).toBeGreaterThan(0);
    expect(new Set(upstream.seen.map(({ url }) => new URL(url).host))).toEqual(new Set(["docs.example"]));
  });
});

describe("what is contacted", () => {
  it("is the host and port of the server that is asked, and those a write of this moment names [PS-60]", async () => {
    const { upstream, gateway, docs } = await start("modern");
    const hosts = () => [...new Set(upstream.seen.splice(0).map(({ url }) => new URL(url).host))];
    await (await docs.modern("/mcp", "tools/call", { name: "docs__search" })).text();
    expect(hosts()).toEqual(["docs.example"]);
    await accepted(
      await gateway.admin("PATCH", `/v1/servers/${docs.server_id}`, { server_url: "https://moved.example:8443/mcp" }),
    );
    expect(hosts()).toEqual(["moved.example:8443"]);
    const client = { client_id: "tried", name: "Tried", connection_type: "http" };
    const tried = { ...client, connection_string: "https://tried.example/mcp" };
    await accepted(await gateway.admin("POST", "/api/mcp/client", tried));
    expect(hosts()).toEqual(["tried.example"]);
    const { entries } = await accepted<{ entries: { host: string; port: number }[] }>(
      await gateway.admin("GET", "/v1/allowlist"),
    );
    expect(entries.map(({ host, port }) => `${host}:${port}`)).toEqual(["moved.example:8443", "tried.example:443"]);
    // A name on the allowlist is open to its own server only.
    upstream.change({
      first: () => new Response(null, { status: 307, headers: { Location: "https://tried.example/mcp" } }),
    });
    expect((await gateway.admin("POST", `/v1/servers/${docs.server_id}/discover`)).status).toBe(502);
    expect(hosts()).toEqual(["moved.example:8443"]);
  });
});

describe("a redirect", () => {
  const redirect = (Location: string, status = 307) => new Response(null, { status, headers: { Location } });

  it.each([
    [1, true],
    [3, true],
    [4, false],
  ])("within the origin is followed, %i in a row: %o [PS-61]", async (redirects, isFollowed) => {
    const { upstream, gateway, docs } = await start("modern");
    upstream.change({
      first: ({ url }) => {
        const at = Number(new URL(url).searchParams.get("at") ?? 0);
        return at < redirects ? redirect(`/mcp?at=${at + 1}`, at % 2 === 0 ? 307 : 308) : undefined;
      },
    });
    const response = await gateway.admin("POST", `/v1/servers/${docs.server_id}/discover`);
    expect(response.status).toBe(isFollowed ? 200 : 502);
    const called = await (await docs.modern("/mcp", "tools/call", { name: "docs__search" })).text();
    expect(called.includes(REFUSED)).toBe(!isFollowed);
  });

  it.each([
    "https://other.example/mcp",
    "https://docs.example:8443/mcp",
    "http://docs.example/mcp",
    "https://user@docs.example/mcp",
    "https://10.0.0.1/mcp",
    "https://gateway.example/mcp",
    "//169.254.169.254/latest",
    "https://",
  ])("to %s is not followed, at first or later, and nothing is carried there [PS-61, P-63, P-64]", async (location) => {
    const { upstream, gateway, docs } = await start("modern");
    for (const first of [true, false]) {
      upstream.seen.length = 0;
      upstream.change({
        first: ({ url }) => redirect(first || url.endsWith("?second") ? location : "https://docs.example/mcp?second"),
      });
      expect((await gateway.admin("POST", `/v1/servers/${docs.server_id}/discover`)).status).toBe(502);
      const called = await (await docs.modern("/mcp", "tools/call", { name: "docs__search" })).text();
      expect(called).toContain(REFUSED);
      expect(new Set(upstream.seen.map(({ url }) => new URL(url).origin))).toEqual(new Set(["https://docs.example"]));
    }
  });
});

describe("an address that a server names", () => {
  it.each([
    "https://other.example/messages",
    "http://docs.example/messages",
    "https://user@docs.example/messages",
    "https://169.254.169.254/messages",
    "//gateway.example/mcp",
  ])("is judged like any other: %s [PS-61]", async (endpoint) => {
    const { upstream, gateway, docs } = await start("sse");
    upstream.change({ endpoint });
    expect((await gateway.admin("POST", `/v1/servers/${docs.server_id}/discover`)).status).toBe(502);
    const agent = await createAgent(gateway, [{ server_id: docs.server_id, tools_to_execute: ["*"] }]);
    expect(await (await agent.modern("/mcp", "tools/call", { name: "docs__search" })).text()).toContain(
      '"isError":true',
    );
    expect(upstream.seen.map(({ method }) => method).filter((method) => method !== "GET")).toEqual([]);
  });
});
