/**
 * The built Worker in workerd, as `wrangler deploy` would upload it. Miniflare runs it, and not wrangler's own harness:
 * that one sends the Worker's requests through the fetch of Node, which follows redirects, answers a refused connection
 * with a 500, and goes on reading when the Worker has aborted. Here they leave through the runtime's own network.
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions, unstable_readConfig, unstable_splitSqlQuery } from "wrangler";
import type { Running } from "./running.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const WRANGLER_TOML = join(ROOT, "wrangler.toml");
const BUILD_MS = 30_000;

export interface Gateway extends Running {
  /** Without a trailing slash. */
  readonly url: string;
  readonly adminKey: string;
  /** A request of the platform admin; a body is sent as JSON. */
  admin(method: string, path: string, body?: unknown): Promise<Response>;
  /** Ends workerd, and starts it anew at the same address with what is stored. */
  restart(): Promise<void>;
  /** Kills workerd in whatever it is doing; `restart` starts it anew. */
  kill(): void;
  /** Megabytes of memory that its process holds. */
  memory(): number;
  /** Where each isolate answers by itself; the objects are all in the first. */
  readonly isolates: readonly string[];
}

export interface GatewayOptions {
  /** So many Workers share what is stored and the objects, as isolates in several places of the world do. */
  readonly isolates?: number;
  /** The text of a module to run around the built one, which it finds at `./gateway.js`. */
  readonly entry?: string;
}

/** @param vars On top of the secrets and of `ALLOW_INSECURE_UPSTREAMS`; nothing is read from `.dev.vars`. */
export async function startGateway(
  vars: Readonly<Record<string, string>> = {},
  {
    isolates = 1,
    entry = 'export * from "./gateway.js"; export { default } from "./gateway.js";',
  }: GatewayOptions = {},
): Promise<Gateway> {
  // Here and in the build, wrangler writes no logs of its own and asks nobody for news of itself.
  const quiet = { WRANGLER_WRITE_LOGS: "false", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" };
  Object.assign(process.env, quiet);
  const adminKey = `adm-${crypto.randomUUID()}`;
  const bindings = {
    ADMIN_KEY: adminKey,
    ENCRYPTION_KEYS: `k1:${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64")}`,
    ALLOW_INSECURE_UPSTREAMS: "true",
    ...vars,
  };
  const lines: string[] = [];
  const folder = await mkdtemp(join(tmpdir(), "postern-gateway-"));
  let miniflare: Miniflare | undefined;
  const stop = async () => {
    await miniflare?.dispose();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const script = await buildWorker(folder);
    const moduleAt = (path: string, contents: string) => ({ type: "ESModule" as const, path, contents });
    const modules =
      entry === undefined
        ? [moduleAt("index.js", script)]
        : [moduleAt("index.js", entry), moduleAt("gateway.js", script)];
    const onLine = (line: string) => void lines.push(line);
    const start = (port: number) => startWorkers({ folder, modules, bindings, port, isolates, onLine });
    let workerd: number[] = [];
    const startAt = async (at: number) => {
      const before = runtimes();
      miniflare = start(at);
      const url = await miniflare.ready;
      workerd = runtimes().filter((pid) => !before.includes(pid));
      return url;
    };
    const { origin, port } = await startAt(0);
    if (miniflare === undefined) throw new Error("Miniflare is not there.");
    await migrate(miniflare);
    const headers = { Authorization: `Bearer ${adminKey}`, "Content-Type": "application/json" };
    const names = Array.from({ length: isolates }, (_, at) => nameOf(at));
    const urls = await Promise.all(names.map((name) => miniflare?.unsafeGetDirectURL(name)));
    return {
      url: origin,
      adminKey,
      isolates: urls.map((url) => url?.origin ?? ""),
      admin: (method, path, body) =>
        fetch(`${origin}${path}`, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) }),
      logs: () => [...lines],
      async restart() {
        await miniflare?.dispose();
        await startAt(Number(port));
      },
      memory() {
        const kilobytes = execFileSync("ps", ["-o", "rss=", "-p", workerd.join(",")], { encoding: "utf8" });
        return kilobytes.split("\n").reduce((sum, line) => sum + Number(line), 0) / 1_024;
      },
      kill() {
        for (const pid of workerd) process.kill(pid, "SIGKILL");
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw new Error(`The gateway did not start.\n${lines.join("\n")}`, { cause: error });
  }
}

/** The processes of workerd that this one has started. */
function runtimes(): number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,comm="], { encoding: "utf8" }).split("\n");
  return lines.flatMap((line) => {
    const [pid = "", parent, name = ""] = line.trim().split(/\s+/);
    return Number(parent) === process.pid && name.includes("workerd") ? [Number(pid)] : [];
  });
}

interface WorkersOptions {
  readonly folder: string;
  /** The first is the one that answers. */
  readonly modules: { type: "ESModule"; path: string; contents: string }[];
  readonly bindings: Record<string, string>;
  /** 0 for a free one. */
  readonly port: number;
  readonly isolates: number;
  readonly onLine: (line: string) => void;
}

const nameOf = (isolate: number) => `postern-${isolate}`;

/** Starts workerd with what it stores in a folder: Miniflare takes the system's, and does not wait for its clearing. */
function startWorkers({ folder, modules, bindings, port, isolates, onLine }: WorkersOptions): Miniflare {
  const {
    // The bundle has no other modules; and the bindings that are read here may come from `.dev.vars`.
    modulesRules: _rules,
    bindings: _bindings,
    durableObjects: objects,
    ...workerOptions
  } = unstable_getMiniflareWorkerOptions(WRANGLER_TOML).workerOptions;
  const durableObjects = objects as Record<string, { readonly className: string; readonly useSQLite: boolean }>;
  const elsewhere = Object.entries(durableObjects).map(([binding, object]) => {
    return [binding, { ...object, scriptName: nameOf(0) }];
  });
  const before = tmpdir();
  process.env["TMPDIR"] = folder;
  try {
    return new Miniflare(
      convertV4MiniflareOptions({
        workers: Array.from({ length: isolates }, (_, isolate) => ({
          ...workerOptions,
          name: nameOf(isolate),
          durableObjects: isolate === 0 ? durableObjects : Object.fromEntries(elsewhere),
          bindings,
          modules,
          unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
        })),
        host: "127.0.0.1",
        port,
        cf: false,
        resourcePersistencePath: join(folder, "stored"),
        handleStructuredLogs: ({ level, message }) => onLine(`${level} ${message}`),
      }),
    );
  } finally {
    process.env["TMPDIR"] = before;
  }
}

/** The text of the bundle. */
async function buildWorker(folder: string): Promise<string> {
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const options = { cwd: ROOT, timeout: BUILD_MS };
  await promisify(execFile)(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", folder], options);
  return readFile(join(folder, "index.js"), "utf8");
}

async function migrate(miniflare: Miniflare): Promise<void> {
  const [database] = unstable_readConfig({ config: WRANGLER_TOML }).d1_databases;
  if (database?.migrations_dir === undefined) throw new Error("wrangler.toml names no folder of migrations.");
  const folder = join(ROOT, database.migrations_dir);
  const db = await miniflare.getD1Database(database.binding);
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort()) {
    const statements = unstable_splitSqlQuery(await readFile(join(folder, file), "utf8"));
    await db.batch(statements.map((statement) => db.prepare(statement)));
  }
}
