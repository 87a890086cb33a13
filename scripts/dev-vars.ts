/**
 * The file of local secrets that wrangler hands to the Worker, `.dev.vars`. Values that are there stay; missing ones
 * are made up. Deployed gateways get theirs from `wrangler secret`, which is no business of this file.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fchmodSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEnv } from "node:util";

const LOCK_ATTEMPTS = 100;
const LOCK_PAUSE_MS = 50;

/** What is written to a new file and to nothing else. */
const HEADING =
  "# Secrets of the local gateway, written by scripts/dev-vars.ts. Never commit them, never deploy them.\n";

/** Fresh values for what a local gateway needs. Written without quotes: none holds a quote, blank, `#` or `$`. */
export function freshVars(): Record<string, string> {
  return {
    ADMIN_KEY: `adm-${randomBytes(32).toString("base64url")}`,
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString("base64")}`,
    ALLOW_INSECURE_UPSTREAMS: "true",
  };
}

/**
 * Appends to `file` those of `vars` whose names it lacks, and leaves the rest of it as it is, byte for byte. The file
 * is made if need be, and readable by its owner alone once something was written. Safe against another process that
 * does the same at the same time: both end with the same values.
 *
 * @returns The value in force for each name of `vars`.
 */
export async function ensureVars(file: string, vars: Readonly<Record<string, string>>): Promise<Map<string, string>> {
  const lock = `${file}.lock`;
  await takeLock(lock);
  try {
    // Synchronous to the end, so that no signal handler of ours runs while the lock is held.
    const before = readIfThere(file);
    const missing = Object.entries(vars).filter(([name]) => !names(before ?? "", name));
    if (missing.length > 0) append(file, before, missing.map(([name, value]) => `${name}=${value}\n`).join(""));
    return valuesOf(file, Object.keys(vars));
  } finally {
    rmSync(lock, { force: true });
  }
}

async function takeLock(lock: string): Promise<void> {
  for (let attempt = 1; attempt <= LOCK_ATTEMPTS; attempt += 1) {
    try {
      closeSync(openSync(lock, "wx", 0o600));
      return;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    await sleep(LOCK_PAUSE_MS);
  }
  throw new Error(`${lock} stands in the way; delete it if no other start is under way.`);
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  return undefined;
}

/** Whether the text sets `name`, in any of the forms that wrangler's parser knows. */
function names(text: string, name: string): boolean {
  return new RegExp(`^\\s*(?:export\\s+)?${name}(?:\\s*=|:\\s)`, "m").test(text);
}

function append(file: string, before: string | undefined, lines: string): void {
  const opening = before === undefined ? HEADING : before === "" || before.endsWith("\n") ? "" : "\n";
  const fd = openSync(file, "a", 0o600);
  try {
    fchmodSync(fd, 0o600);
    // One write, so that a reader without the lock sees all of it or nothing.
    writeSync(fd, opening + lines);
  } finally {
    closeSync(fd);
  }
}

function valuesOf(file: string, wanted: readonly string[]): Map<string, string> {
  const parsed = parseEnv(readFileSync(file, "utf8"));
  return new Map(
    wanted.map((name) => {
      const value = parsed[name];
      if (!value) throw new Error(`${file}: ${name} has no value; write ${name}=value, or delete the line.`);
      return [name, value];
    }),
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
