/** Bundles the Workers with wrangler: the gateway as a deployment would, the others alike. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Cleanup } from "./cleanup.ts";

export interface Bundles {
  /** Absolute paths of the bundled scripts. */
  readonly gateway: string;
  readonly bare: string;
  readonly storage: string;
  /** The date and the flags of `wrangler.toml`, for all of them. */
  readonly date: string;
  readonly flags: readonly string[];
}

export const ROOT = join(import.meta.dirname, "..");

const WRANGLER_TOML = join(ROOT, "wrangler.toml");

export async function buildWorkers(cleanup: Cleanup): Promise<Bundles> {
  const toml = readFileSync(WRANGLER_TOML, "utf8");
  const date = /^compatibility_date = "(.+)"/m.exec(toml)?.[1];
  const flags = /^compatibility_flags = (\[.*\])/m.exec(toml)?.[1];
  if (date === undefined || flags === undefined) throw new Error("wrangler.toml states no compatibility");
  const [gateway, bare, storage] = await Promise.all([
    build(cleanup, "gateway", WRANGLER_TOML),
    build(cleanup, "bare", helperConfig(cleanup, "bare", date)),
    build(cleanup, "storage", helperConfig(cleanup, "storage", date)),
  ]);
  return {
    gateway: join(gateway, "index.js"),
    bare: join(bare, "bare.js"),
    storage: join(storage, "storage.js"),
    date,
    // Such a list is JSON as well.
    flags: JSON.parse(flags),
  };
}

/** A configuration for a script of the benchmark: without one, wrangler takes that of the gateway. */
function helperConfig({ folder }: Cleanup, name: string, compatibility_date: string): string {
  const path = join(folder, `${name}.json`);
  const main = join(import.meta.dirname, `${name}.ts`);
  writeFileSync(path, JSON.stringify({ name, main, compatibility_date }));
  return path;
}

/** @returns The folder of the bundle. */
async function build(cleanup: Cleanup, name: string, configPath: string): Promise<string> {
  const out = join(cleanup.folder, `${name}-bundle`);
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const child = spawn(process.execPath, [wrangler, "deploy", "--config", configPath, "--dry-run", "--outdir", out], {
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_LOG_PATH: cleanup.folder, CI: "true" },
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, so that its bundler ends with it.
    detached: true,
  });
  // It deletes its own temporary files when it is asked to end, and not when it is killed.
  cleanup.adopt(child, "asks");
  const [status, stdout, stderr] = await Promise.all([
    once(child, "exit").then(([code]) => code),
    text(child.stdout),
    text(child.stderr),
  ]);
  if (status !== 0) throw new Error(`wrangler could not build ${name}:\n${stdout}${stderr}`);
  return out;
}
