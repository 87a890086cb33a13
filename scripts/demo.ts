/**
 * `npm run demo`: the main job against real parts. A gateway and an MCP server are started, the server is registered,
 * a virtual key made, and an MCP client calls a tool with it and finds the call in the log. Every step is checked; the
 * gateway's state is thrown away.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import * as z from "zod";
import { type EverythingServer, startEverythingServer } from "./everything-server.ts";
import { type Gateway, startGateway } from "./gateway.ts";
import { interruption, unlessAborted } from "./program.ts";

const ROOT = join(import.meta.dirname, "..");
const LIMIT_MS = 120_000;

/** A call is logged after its answer, in batches. */
const CALL_ROW_MS = 15_000;
const CALL_ROW_PAUSE_MS = 500;

/** How long the client may take to say goodbye. */
const CLOSE_MS = 2_000;

const QUOTED_LINES = 20;
const MESSAGE = "Hello through the gateway";
const SERVER = "everything";
const TOOL = `${SERVER}__echo`;

const Server = z.object({ server_id: z.string(), name: z.literal(SERVER), state: z.literal("connected") });
const VirtualKey = z.object({ virtual_key_id: z.string(), value: z.string().startsWith("sk-pst-") });
const Calls = z.object({
  rows: z.array(
    z.object({
      id: z.string(),
      created_at: z.string(),
      server: z.string().nullable(),
      tool: z.string(),
      virtual_key_id: z.string().nullable(),
      ok: z.boolean(),
      duration_ms: z.number(),
    }),
  ),
});

/** What runs and must end; filled as the demo goes. */
interface Running {
  gateway?: Gateway;
  server?: EverythingServer;
  client?: Client;
}

/** Where the demo got to, for the words of a failure. */
interface Progress {
  step: string;
}

async function demo(running: Running, progress: Progress, stateDir: string, onLog: OnLog, signal: AbortSignal) {
  /**
   * Says what is done when it is done, with what came of it. `work` heeds the signal itself: what it starts must have
   * ended again before the clearing up begins.
   */
  async function step<T>(name: string, work: () => Promise<T>, outcome: (result: T) => string): Promise<T> {
    progress.step = name;
    signal.throwIfAborted();
    const result = await work();
    console.log(`  ok  ${name}: ${outcome(result)}`);
    return result;
  }

  const gateway = await step(
    "start the gateway",
    async () => {
      running.gateway = await startGateway({ root: ROOT, port: 0, stateDir, vars: {}, onLog, signal });
      return running.gateway;
    },
    ({ url }) => url,
  );

  const server = await step(
    "start an MCP server",
    async () => {
      running.server = await startEverythingServer(ROOT, signal);
      return running.server;
    },
    ({ url }) => `server-everything at ${url}`,
  );

  const api = createApi(gateway, signal);

  const { server_id } = await step(
    "register the server",
    () => api("POST", "/v1/servers", Server, { name: SERVER, server_url: server.url }),
    ({ name, state }) => `${name} is ${state}`,
  );

  const key = await step(
    "create a virtual key",
    () =>
      api("POST", "/v1/virtual-keys", VirtualKey, { name: "demo", servers: [{ server_id, tools_to_execute: ["*"] }] }),
    ({ virtual_key_id }) => `${virtual_key_id}, for every tool of the server`,
  );

  const client = await step(
    "connect an MCP client",
    async () => {
      running.client = new Client({ name: "postern-demo", version: "1" }, { versionNegotiation: { mode: "auto" } });
      const headers = { Authorization: `Bearer ${key.value}` };
      const transport = new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp`), { requestInit: { headers } });
      // Its probe of the server's era does not listen to a signal.
      await unlessAborted(running.client.connect(transport), signal);
      return running.client;
    },
    (connected) => `${gateway.url}/mcp, protocol revision ${connected.getNegotiatedProtocolVersion()}`,
  );

  await step(
    "list its tools",
    async () => {
      const { tools } = await client.listTools(undefined, { signal });
      const names = tools.map(({ name }) => name);
      if (!names.includes(TOOL)) throw new Error(`${TOOL} is not among ${names.length} tools: ${names.join(", ")}`);
      return names;
    },
    (names) => `${names.length}: ${names.join(", ")}`,
  );

  await step(
    "call a tool",
    async () => {
      const { content, isError } = await client.callTool({ name: TOOL, arguments: { message: MESSAGE } }, { signal });
      const text = content.map((block) => (block.type === "text" ? block.text : "")).join("");
      if (isError || !text.includes(MESSAGE))
        throw new Error(`${TOOL} did not echo the message: ${text.slice(0, 500)}`);
      return text;
    },
    (text) => `${TOOL} answered ${JSON.stringify(text)}`,
  );

  await step(
    "find the call in the log",
    async () => {
      const deadline = Date.now() + CALL_ROW_MS;
      for (;;) {
        const { rows } = await api("GET", "/v1/calls", Calls);
        const row = rows.find(({ virtual_key_id }) => virtual_key_id === key.virtual_key_id);
        if (row?.ok && row.server === SERVER) return row;
        if (row !== undefined) throw new Error(`the call is logged otherwise: ${JSON.stringify(row)}`);
        if (Date.now() > deadline) throw new Error(`GET /v1/calls had no row after ${CALL_ROW_MS / 1000} s`);
        await sleep(CALL_ROW_PAUSE_MS, undefined, { signal });
      }
    },
    ({ id, created_at, server, tool, ok, duration_ms }) =>
      `${id}, ${created_at}, server ${server}, tool ${tool}, ok ${ok}, ${duration_ms} ms`,
  );
}

/** Requests to the JSON API, with the admin key. */
function createApi(gateway: Gateway, signal: AbortSignal) {
  return async <T>(method: "GET" | "POST", path: string, schema: z.ZodType<T>, body?: object): Promise<T> => {
    const response = await fetch(`${gateway.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${gateway.adminKey}`, "Content-Type": "application/json" },
      signal,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const expected = method === "POST" ? 201 : 200;
    // Nothing of an expected answer is ever quoted: it may hold a key.
    if (response.status !== expected) {
      throw new Error(`${method} ${path} answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
    }
    const parsed = schema.safeParse(await response.json());
    if (!parsed.success)
      throw new Error(`${method} ${path} answered something else:\n${z.prettifyError(parsed.error)}`);
    return parsed.data;
  };
}

type OnLog = (line: string) => void;

/** Ends what runs, the clients before their servers. One that cannot be ended does not spare the others. */
async function end({ client, server, gateway }: Running): Promise<void> {
  await Promise.race([Promise.allSettled([client?.close()]), sleep(CLOSE_MS, undefined, { ref: false })]);
  await Promise.allSettled([server?.stop(), gateway?.stop()]);
}

async function main(): Promise<void> {
  const interrupted = interruption();
  const tooLong = new AbortController();
  setTimeout(() => tooLong.abort(new Error(`the demo took longer than ${LIMIT_MS / 1000} s`)), LIMIT_MS).unref();
  const signal = AbortSignal.any([interrupted, tooLong.signal]);
  const log: string[] = [];
  const running: Running = {};
  const progress: Progress = { step: "prepare" };
  const stateDir = await mkdtemp(join(tmpdir(), "postern-demo-"));
  try {
    console.log("Postern demo: a gateway, an MCP server and an MCP client, all on this machine.\n");
    await demo(running, progress, stateDir, (line) => log.push(line), signal);
    console.log("\nThe demo is complete. Next: npm start");
  } catch (error) {
    process.exitCode = interrupted.aborted ? 130 : 1;
    const reason: unknown = signal.aborted ? signal.reason : error;
    console.error(`  FAILED  ${progress.step}: ${reason instanceof Error ? reason.message : reason}`);
    if (!interrupted.aborted && log.length > 0) {
      console.error(`\nThe gateway's log ends with:\n${log.slice(-QUOTED_LINES).join("\n")}`);
    }
  } finally {
    await end(running);
    await rm(stateDir, { recursive: true, force: true, maxRetries: 3 });
  }
}

await main();
