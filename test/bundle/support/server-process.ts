/** MCP servers as programs of their own, each on a port of its own of this machine. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ProgramOptions, startProgram } from "../../../scripts/program.ts";
import type { Running } from "./running.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const MODULES = join(ROOT, "node_modules");
const EVERYTHING = join(MODULES, "@modelcontextprotocol", "server-everything", "dist", "index.js");
const MCP_PROXY = join(MODULES, "mcp-proxy", "dist", "bin", "mcp-proxy.mjs");
const SUPERGATEWAY = join(MODULES, "supergateway", "dist", "index.js");
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
  return startServer(urlOf(at), EVERYTHING, ["streamableHttp"], { env: { PORT: `${at}` } });
}

/**
 * `server-everything` over HTTP+SSE.
 *
 * @param port Given to start it again where it was; else a free one.
 */
export async function startEverythingOverSse(port?: number): Promise<ServerProcess> {
  const at = port ?? (await freePort());
  return startServer(urlOf(at, "/sse"), EVERYTHING, ["sse"], { env: { PORT: `${at}` } });
}

/** `server-everything` behind `mcp-proxy`, which serves both eras at one URL, and one program to all. */
export async function startEverythingBehindMcpProxy(): Promise<ServerProcess> {
  const port = await freePort();
  const args = ["--port", `${port}`, "--host", "127.0.0.1", "--", process.execPath, EVERYTHING, "stdio"];
  return startServer(urlOf(port), MCP_PROXY, args, {});
}

/** `server-everything` behind `supergateway`: legacy; each session has a program of its own. */
export async function startEverythingBehindSupergateway(): Promise<ServerProcess> {
  const port = await freePort();
  const command = [process.execPath, EVERYTHING, "stdio"].map((word) => `'${word}'`).join(" ");
  const args = ["--stdio", command, "--outputTransport", "streamableHttp", "--stateful", "--port", `${port}`];
  return startServer(urlOf(port), SUPERGATEWAY, [...args, "--logLevel", "none"], { isInputOpen: true });
}

/** `server-memory` behind `mcp-proxy`, which serves both eras at one URL. What it remembers ends with it. */
export async function startMemory(): Promise<ServerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "postern-memory-"));
  const port = await freePort();
  const memory = join(MODULES, "@modelcontextprotocol", "server-memory", "dist", "index.js");
  const args = ["--port", `${port}`, "--host", "127.0.0.1", "--", process.execPath, memory];
  const env = { MEMORY_FILE_PATH: join(folder, "memory.jsonl") };
  return withFolder(folder, startServer(urlOf(port), MCP_PROXY, args, { env }));
}

/** `server-filesystem` behind `supergateway`: legacy, without sessions; each request has a program of its own. */
export async function startFiles(files: Readonly<Record<string, string>>): Promise<ServerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "postern-files-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const port = await freePort();
  const server = join(MODULES, "@modelcontextprotocol", "server-filesystem", "dist", "index.js");
  const command = [process.execPath, server, folder].map((word) => `'${word}'`).join(" ");
  const args = ["--stdio", command, "--outputTransport", "streamableHttp", "--port", `${port}`, "--logLevel", "none"];
  return withFolder(folder, startServer(urlOf(port), SUPERGATEWAY, args, { isInputOpen: true }));
}

/** A server that works in a folder, which goes with it. */
async function withFolder(folder: string, starting: Promise<ServerProcess>): Promise<ServerProcess> {
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const server = await starting;
    return { ...server, stop: () => server.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}

function urlOf(port: number, path = "/mcp"): string {
  return `http://127.0.0.1:${port}${path}`;
}

async function startServer(
  url: string,
  script: string,
  args: readonly string[],
  options: Pick<Partial<ProgramOptions>, "env" | "isInputOpen">,
): Promise<ServerProcess> {
  const lines: string[] = [];
  const program = startProgram(script, args, {
    cwd: ROOT,
    ...options,
    env: { ...process.env, ...options.env },
    onLine: (line) => lines.push(line),
    preload: "loopback.ts",
  });
  const failure = program.ended.then((how) => `it ended by itself, ${how}`);
  const problem = await Promise.race([untilAnswered(url), failure]);
  if (problem === undefined)
    return { port: Number(new URL(url).port), url, logs: () => [...lines], stop: program.stop };
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

export async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer();
  server.once("error", reject);
  server.listen({ port: 0, host: "127.0.0.1" }, () => {
    const address = server.address();
    server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
  });
  return promise;
}
