/** The command line of the MCP inspector: a client that comes as a program and connects anew for each request. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ToolResult } from "./clients.ts";

const MODULES = join(import.meta.dirname, "..", "..", "..", "node_modules");
const LAUNCHER = join(MODULES, "@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js");
const RUN_MS = 30_000;

export interface Inspector {
  toolNames(): Promise<string[]>;
  call(name: string, args: Record<string, unknown>): Promise<ToolResult>;
}

/** @param key A virtual key. */
export function inspector(era: "legacy" | "modern", url: string, key: string): Inspector {
  const target = ["--transport", "http", "--server-url", url, "--header", `Authorization: Bearer ${key}`];
  const ask = (method: string, ...args: string[]) =>
    run(["--cli", ...target, "--protocol-era", era, "--format", "json", "--quiet", "--method", method, ...args]);
  return {
    async toolNames() {
      const { tools } = (await ask("tools/list")) as { tools: { name: string }[] };
      return tools.map(({ name }) => name);
    },
    async call(name, args) {
      const result = await ask("tools/call", "--tool-name", name, "--tool-args-json", JSON.stringify(args));
      const { _meta: _, ...rest } = result;
      return rest as unknown as ToolResult;
    },
  };
}

/** The result that the inspector prints. It leaves with an error code for a result with `isError` as well. */
async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const home = await mkdtemp(join(tmpdir(), "postern-inspector-"));
  const { promise, resolve } = Promise.withResolvers<{ error: Error | null; stdout: string; stderr: string }>();
  execFile(
    process.execPath,
    [LAUNCHER, ...args],
    { timeout: RUN_MS, env: { ...process.env, HOME: home } },
    (error, stdout, stderr) => resolve({ error, stdout, stderr }),
  );
  const { error, stdout, stderr } = await promise;
  await rm(home, { recursive: true, force: true });
  try {
    return JSON.parse(stdout).result;
  } catch (cause) {
    throw new Error(`The inspector gave no result: ${error?.message}\n${stdout}\n${stderr}`, { cause });
  }
}
