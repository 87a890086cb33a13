/** MCP servers as programs of their own, each on a port of its own of this machine. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startProgram } from "../../../scripts/program.ts";
import type { Running } from "./running.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const MODULES = join(ROOT, "node_modules");
const READY_MS = 30_000;
const PROBE_PAUSE_MS = 50;

export interface ServerProcess extends Running {
  readonly port: number;
  /** Its MCP endpoint. */
  readonly url: string;
}

/**
 * `server-everything` over Streamable HTTP: legacy, with sessions.
 *
 * @param port Given to start it again where it was; else a free one.
 */
export async function startEverything(port?: number): Promise<ServerProcess> {
  const at = port ?? (await freePort());
  const script = join(MODULES, "@modelcontextprotocol", "server-everything", "dist", "index.js");
  return startServer(at, script, ["streamableHttp"], { PORT: `${at}` });
}

/** `server-memory` behind `mcp-proxy`, which serves both eras at one URL. What it remembers ends with it. */
export async function startMemory(): Promise<ServerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "postern-memory-"));
  const port = await freePort();
  const memory = join(MODULES, "@modelcontextprotocol", "server-memory", "dist", "index.js");
  const args = ["--port", `${port}`, "--host", "127.0.0.1", "--", process.execPath, memory];
  const proxy = join(MODULES, "mcp-proxy", "dist", "bin", "mcp-proxy.mjs");
  const server = await startServer(port, proxy, args, { MEMORY_FILE_PATH: join(folder, "memory.jsonl") });
  return {
    ...server,
    async stop() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startServer(
  port: number,
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ServerProcess> {
  const lines: string[] = [];
  const program = startProgram(script, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    onLine: (line) => lines.push(line),
    preload: "loopback.ts",
  });
  const url = `http://127.0.0.1:${port}/mcp`;
  const failure = program.ended.then((how) => `it ended by itself, ${how}`);
  const problem = await Promise.race([untilAnswered(url), failure]);
  if (problem === undefined) return { port, url, logs: () => [...lines], stop: program.stop };
  await program.stop();
  throw new Error(`${script} did not start: ${problem}. Its output:\n${lines.join("\n")}`);
}

/** Waits for an HTTP answer of any status; says what is wrong when none comes. */
async function untilAnswered(url: string): Promise<string | undefined> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(READY_MS) });
      await response.body?.cancel();
      return undefined;
    } catch (error) {
      if (Date.now() > deadline) return `no answer within ${READY_MS} ms, ${error}`;
    }
    await sleep(PROBE_PAUSE_MS);
  }
}

async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer();
  server.once("error", reject);
  server.listen({ port: 0, host: "127.0.0.1" }, () => {
    const address = server.address();
    server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
  });
  return promise;
}
