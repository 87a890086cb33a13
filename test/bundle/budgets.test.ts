/** One budget, spent from several isolates at once: they share nothing but what is stored and the object of the session. */
import { Server } from "@modelcontextprotocol/server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUILT_IN, calls, createKey, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { type Connection, v1Client, v2Pinned } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { startModernServer } from "./support/modern-server.ts";
import { running } from "./support/running.ts";

const ISOLATES = 4;
const PRICE = 0.01;
const CALLS = 400;
const PAID_FOR = 150;

/** Each call of its one tool is answered. */
function shop(): Server {
  const server = new Server({ name: "shop", version: "1.0.0" }, { capabilities: { tools: {} } });
  const inputSchema = { type: "object" as const };
  server.setRequestHandler("tools/list", () => ({ tools: [{ name: "buy", inputSchema }] }));
  server.setRequestHandler("tools/call", () => ({ content: [{ type: "text", text: "bought" }] }));
  return server;
}

const gateway = running("the gateway", () => startGateway({}, { isolates: ISOLATES }));
const upstream = running("the shop", () => startModernServer(shop));

let registered: RegisteredServer;
beforeAll(async () => {
  registered = await registerServer(gateway(), "shop", upstream().url);
  const path = `/v1/servers/${registered.server_id}/tools/buy`;
  expect((await gateway().admin("PATCH", path, { price_usd: PRICE })).status).toBe(200);
});

interface Run {
  readonly run_id: string;
  readonly spent_usd: number;
  readonly cost_usd: number;
  readonly calls: number;
}

async function runOf(runId: string): Promise<Run> {
  return (await (await gateway().admin("GET", `/v1/runs/${runId}`)).json()) as Run;
}

async function startRun(connection: Connection, args: Record<string, unknown>): Promise<string> {
  const { structuredContent } = await connection.call("run_start", { label: "shopping", ...args });
  return (structuredContent as { run_id: string }).run_id;
}

describe("a budget", () => {
  const open: Connection[] = [];
  let key: VirtualKey;
  beforeAll(async () => {
    key = await createKey(gateway(), registered, BUILT_IN);
    for (const url of gateway().isolates) open.push(await v2Pinned.connect(`${url}/mcp`, { key: key.value }));
  });
  afterAll(() => Promise.all(open.map((connection) => connection.close())));
  const at = (isolate: number) => {
    const connection = open[isolate % ISOLATES];
    if (connection === undefined) throw new Error("there is no such isolate");
    return connection;
  };

  it("is spent to the last call and not beyond, also by isolates that had believed in none [PS-41, R-31, T-27]", async () => {
    for (let isolate = 0; isolate < ISOLATES; isolate++) {
      expect((await at(isolate).call("shop__buy", {})).isError ?? false).toBe(false);
    }
    const run_id = await startRun(at(1), { budget_usd: PAID_FOR * PRICE });
    const before = upstream().requests("tools/call").length;
    const results = await Promise.all(Array.from({ length: CALLS }, (_, n) => at(n).call("shop__buy", { n })));
    const refused = results.filter(({ isError }) => isError === true);
    expect(refused).toHaveLength(CALLS - PAID_FOR);
    expect(upstream().requests("tools/call").length - before).toBe(PAID_FOR);
    for (const { content } of refused) {
      expect(content).toMatchObject([
        { type: "text", text: expect.stringMatching(/^run budget exceeded: .* 0 USD is left/) },
      ]);
    }
    await expect.poll(async () => (await runOf(run_id)).calls, { timeout: 10_000 }).toBe(CALLS);
    expect(await runOf(run_id)).toMatchObject({ spent_usd: PAID_FOR * PRICE, cost_usd: PAID_FOR * PRICE });
    expect(await at(2).call("run_finish", { run_id, outcome: "done" })).toMatchObject({
      structuredContent: { was_open: true },
    });
    expect((await at(3).call("shop__buy", {})).isError ?? false).toBe(false);
  });
});

describe("a session whose requests come to several isolates", () => {
  it("has one stack of runs, and each call is of the run it came in under [OT-17, PS-40, R-11]", async () => {
    const key = await createKey(gateway(), registered, BUILT_IN);
    const through = await v1Client.connect(`${gateway().isolates[0]}/mcp`, { key: key.value });
    const session = through.sessionId ?? "";
    const send = async (isolate: number, name: string, args: unknown) => {
      const response = await fetch(`${gateway().isolates[isolate]}/mcp`, {
        method: "POST",
        headers: {
          ...{ Authorization: `Bearer ${key.value}`, "Content-Type": "application/json", Accept: "application/json" },
          "Mcp-Session-Id": session,
        },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } }),
      });
      return ((await response.json()) as { result: { structuredContent?: { run_id: string } } }).result;
    };
    const begin = async (isolate: number) =>
      (await send(isolate, "run_start", { label: "x" })).structuredContent?.run_id ?? "";
    await send(3, "list_instructions", { kind: "none" });
    const outer = await begin(0);
    await send(1, "list_instructions", { kind: "outer" });
    const inner = await begin(2);
    await send(3, "list_instructions", { kind: "inner" });
    await send(0, "run_finish", { run_id: inner, outcome: "done" });
    await send(1, "list_instructions", { kind: "again" });
    const rows = (await calls(gateway(), key, 7)) as unknown as { args: { kind?: string }; run_id: string | null }[];
    const marked = rows.flatMap(({ args, run_id }) => (args.kind === undefined ? [] : [[args.kind, run_id]]));
    expect(Object.fromEntries(marked)).toEqual({ none: null, outer, inner, again: outer });
    await through.close();
  });
});
