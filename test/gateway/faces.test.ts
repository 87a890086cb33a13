/** What each face of the gateway shows to its clients, and what it keeps from them. */
import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { readStream } from "../support/event-reader.ts";
import { startGateway } from "../support/gateway.ts";
import { type PushedStream, pushedStream } from "../support/pushed-stream.ts";
import { events, idOf, raw, type Script, scriptedServer } from "../support/upstream.ts";

const TOOLS = ["search", "fetch"].map((name) => `{"name":"${name}","inputSchema":{"type":"object"}}`);
const ERAS = ["modern", "legacy"] as const;
const CELLS = ERAS.flatMap((client) => ERAS.map((server) => [client, server] as const));
const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

async function startDocs(script: Partial<Script> & Pick<Script, "era">) {
  const upstream = scriptedServer({ tools: TOOLS, ...script });
  const gateway = startGateway(upstream.network);
  return { upstream, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

describe("tools/list", () => {
  it("is the same for every connection and session of a principal, before and after its calls [P-12]", async () => {
    const { agent } = await startDocs({ era: "legacy" });
    const lists = async (headers: Record<string, string>) => {
      const answers = [
        await agent.legacy("/mcp", "tools/list", {}, headers),
        await agent.legacy("/mcp", "tools/list", {}, headers),
      ];
      return Promise.all(answers.map((answer) => answer.text()));
    };
    const sessions = [await agent.initialize("/mcp"), await agent.initialize("/mcp")];
    const before = [await lists({}), ...(await Promise.all(sessions.map(lists)))].flat();
    await agent.legacy("/mcp", "tools/call", { name: "docs__search" }, sessions[0]);
    await agent.legacy("/mcp", "tools/call", { name: "docs__unknown" }, sessions[1]);
    const after = [await lists({}), ...(await Promise.all(sessions.map(lists)))].flat();
    expect(new Set([...before, ...after]).size).toBe(1);
    const filtered = await lists({ "x-bf-mcp-include-tools": "docs-search" });
    expect(filtered[0]).not.toBe(before[0]);
  });
});

describe.each(ERAS)("log messages of a %s server", (era) => {
  const log = (level: string) =>
    `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"${level}","data":"${level}"}}`;

  it.each([
    [undefined, []],
    ["debug", ["debug", "warning", "error"]],
    ["warning", ["warning", "error"]],
    ["emergency", []],
  ] as const)("reach a modern client that asks for %s: %j [P-16]", async (level, expected) => {
    const call: Script["call"] = (seen) =>
      events(
        log("debug"),
        log("warning"),
        log("error"),
        `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`,
      );
    const { agent } = await startDocs({ era, call });
    const meta = level === undefined ? {} : { [LOG_LEVEL]: level };
    const heard: string[] = [];
    for await (const { method, params } of readStream(
      await agent.modern("/mcp/docs", "tools/call", { name: "search" }, { meta }),
    )) {
      if (method === "notifications/message") heard.push(params.level);
    }
    expect(heard).toEqual(expected);
  });
});

describe("a modern client", () => {
  it.each(ERAS)("sees no session, no places in streams and no requests of a %s server [P-23]", async (era) => {
    const call: Script["call"] = (seen) => {
      const answer = `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`;
      const asked = '{"jsonrpc":"2.0","id":"q","method":"roots/list"}';
      const body = `id: e-1\nretry: 5\ndata:\n\nid: e-2\ndata: ${asked}\n\nid: e-3\ndata: ${answer}\n\n`;
      return new Response(body, { headers: { "Content-Type": "text/event-stream", "Mcp-Session-Id": "up-1" } });
    };
    const { agent } = await startDocs({ era, call });
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "search" });
    expect(response.headers.has("Mcp-Session-Id")).toBe(false);
    const text = await response.text();
    expect(text).toContain('"content":[]');
    for (const foreign of ["e-1", "e-2", "e-3", "retry", "roots/list"]) expect(text).not.toContain(foreign);
  });
});

const HOSTILE = {
  "WWW-Authenticate": 'Bearer resource_metadata="https://evil.example/prm"',
  "Set-Cookie": "tracked=1",
  Location: "https://evil.example/",
  Server: "Evil/1.0",
  "Mcp-Session-Id": "up-of-the-server",
};

describe.each(CELLS)("for a %s client, a %s server", (client, era) => {
  it.each([200, 401, 403, 500])(
    "that answers %i sets no header, and quotes nothing in an error of ours [P-51, PS-33]",
    async (status) => {
      const call: Script["call"] = (seen) =>
        status === 200
          ? raw(`{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`, {
              headers: { ...HOSTILE, "Content-Type": "application/json" },
            })
          : new Response("words of the server", { status, headers: HOSTILE });
      const { agent } = await startDocs({ era, call });
      const response = await agent[client]("/mcp/docs", "tools/call", { name: "search" });
      expect(response.status).toBe(200);
      const shown =
        [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n") + (await response.text());
      for (const foreign of ["evil.example", "tracked", "Evil/1.0", "up-of-the-server", "words of the server"]) {
        expect(shown).not.toContain(foreign);
      }
    },
  );

  it("hears nothing of how its client has shown itself to the gateway [PS-33]", async () => {
    const { agent, upstream } = await startDocs({ era });
    const own = {
      Cookie: "c=1",
      "X-Org-Id": "default",
      "x-bf-mcp-include-clients": "docs",
      "X-Forwarded-For": "9.9.9.9",
    };
    const params = { name: "search" };
    await (client === "modern"
      ? agent.modern("/mcp/docs", "tools/call", params, { headers: own })
      : agent.legacy("/mcp/docs", "tools/call", params, own));
    const [call] = upstream.calls();
    const told = JSON.stringify([...(call?.headers ?? [])]);
    for (const mine of [agent.key.value, "c=1", "x-org-id", "x-bf-", "9.9.9.9", "authorization"]) {
      expect(told.toLowerCase()).not.toContain(mine.toLowerCase());
    }
  });
});

describe("a stream of notices that breaks", () => {
  it("takes neither running calls nor the list of tools with it [R-21]", async () => {
    const notices: PushedStream[] = [];
    const calls: { readonly id: string; readonly stream: PushedStream }[] = [];
    const { agent, gateway } = await startDocs({
      era: "legacy",
      first(seen) {
        if (seen.method === "GET") {
          const stream = pushedStream(seen.signal);
          notices.push(stream);
          return stream.response;
        }
        if (seen.message["method"] !== "tools/call") return undefined;
        const stream = pushedStream(seen.signal);
        calls.push({ id: idOf(seen), stream });
        return stream.response;
      },
    });
    const session = await agent.initialize("/mcp/docs");
    const get = await gateway.fetch("/mcp/docs", {
      headers: { Authorization: `Bearer ${agent.key.value}`, Accept: "text/event-stream", ...session },
    });
    const heard = readStream(get);
    const call = readStream(await agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session));
    for (let tries = 0; tries < 1_000 && notices.length === 0; tries++) await new Promise((go) => setTimeout(go, 10));
    notices[0]?.close();
    const before = await (await agent.legacy("/mcp/docs", "tools/list", {}, session)).text();
    expect(before).toContain('"search"');
    const [running] = calls;
    running?.stream.push(`{"jsonrpc":"2.0","id":${running.id},"result":{"content":[]}}`);
    expect((await call.next()).value).toMatchObject({ result: { content: [] } });
    // The server is listened to again, and its client has noticed nothing.
    for (let tries = 0; tries < 1_000 && notices.length < 2; tries++) await new Promise((go) => setTimeout(go, 10));
    notices[1]?.push('{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}');
    expect((await heard.next()).value).toMatchObject({ method: "notifications/prompts/list_changed" });
    await heard.return({});
  });
});

describe("what a server says on the way", () => {
  it.each(CELLS)(
    "of its progress reaches a %s client, and its instructions do [T-44]: a %s server",
    async (client, era) => {
      const call: Script["call"] = (seen) => {
        const token = JSON.stringify(
          (seen.message["params"] as { _meta: Record<string, unknown> })._meta["progressToken"],
        );
        const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1}}`;
        return events(progress, `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`);
      };
      const { agent } = await startDocs({ era, call, instructions: "Search before you fetch." });
      const meta = { progressToken: "mine" };
      const response = await (client === "modern"
        ? agent.modern("/mcp/docs", "tools/call", { name: "search" }, { meta })
        : agent.legacy("/mcp/docs", "tools/call", { name: "search", _meta: meta }));
      const first = (await readStream(response).next()).value;
      expect(first).toMatchObject({ params: { progressToken: "mine", progress: 1 } });
      const hello = await (client === "modern"
        ? agent.modern("/mcp/docs", "server/discover")
        : agent.legacy("/mcp/docs", "initialize", { protocolVersion: "2025-11-25" }));
      expect(await hello.text()).toContain("Search before you fetch.");
    },
  );
});
