/** A real MCP server to try the gateway with: `@modelcontextprotocol/server-everything` over Streamable HTTP. */
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startProgram, unlessAborted } from "./program.ts";

const READY_MS = 30_000;

export interface EverythingServer {
  /** Its MCP endpoint. */
  readonly url: string;
  stop(): Promise<void>;
}

/** @throws Error when the server does not come up; nothing is left running then. */
export async function startEverythingServer(root: string, signal?: AbortSignal): Promise<EverythingServer> {
  const port = await freePort();
  const lines: string[] = [];
  const listening = Promise.withResolvers<void>();
  const script = join(root, "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js");
  const program = startProgram(script, ["streamableHttp"], {
    cwd: root,
    // Nothing else of our environment: one of its tools shows it to whoever asks.
    env: { PATH: process.env["PATH"], PORT: `${port}` },
    // It listens on every address, and has no setting for that.
    preload: "loopback.ts",
    onLine(line) {
      lines.push(line);
      if (line.includes("listening on port")) listening.resolve();
    },
  });
  const failed = program.ended.then((how) => Promise.reject(new Error(`it ended with ${how}: ${lines.join("\n")}`)));
  try {
    await unlessAborted(Promise.race([listening.promise, failed, late()]), signal);
  } catch (error) {
    await program.stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}/mcp`, stop: program.stop };
}

/** The server cannot say which port it took, so it is told one. */
async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once("error", reject);
  server.listen({ port: 0, host: "127.0.0.1" }, () => {
    const address = server.address();
    server.close(() =>
      typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no free port")),
    );
  });
  return promise;
}

async function late(): Promise<never> {
  await sleep(READY_MS, undefined, { ref: false });
  throw new Error(`it did not listen after ${READY_MS / 1000} s`);
}
