/**
 * One local gateway under `wrangler dev`: secrets, migrations, start, first health check, stop. What to print about it
 * is for its callers, `start.ts` and `demo.ts`. Needs no Cloudflare account.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureVars, freshVars } from "./dev-vars.ts";
import { type Program, startProgram, unlessAborted } from "./program.ts";
import { WranglerLog } from "./wrangler-log.ts";

const ADDRESS = "127.0.0.1";

/** Bundling and starting workerd: seconds, unless the machine is busy. */
const READY_MS = 90_000;

/** From the open port to the first healthy answer. */
const HEALTHY_MS = 20_000;
const PROBE_MS = 5_000;
const PROBE_PAUSE_MS = 200;

export interface GatewayOptions {
  /** The folder of `wrangler.toml` and `migrations`. */
  readonly root: string;
  /** On 127.0.0.1. 0 takes a free one. */
  readonly port: number;
  /** An absolute path; made if need be. A gateway started again on the same folder goes on where it was. */
  readonly stateDir: string;
  /**
   * Left out: secrets come from `.dev.vars` of `root`, which is completed first. Given: `.dev.vars` is not read; these
   * and fresh secrets are kept in `stateDir`, and what an earlier start left there stays in force. Values must hold no
   * quote, blank, `#` or `$`.
   */
  readonly vars?: Readonly<Record<string, string>>;
  /** Receives each line that wrangler logs once the gateway is up. Default: nobody. */
  readonly onLog?: (line: string) => void;
  /** Ends a start that is under way. A gateway that is up ends by `stop()` only. */
  readonly signal?: AbortSignal;
}

export interface Gateway {
  /** Without a trailing slash. */
  readonly url: string;
  readonly adminKey: string;
  /** Why the gateway ended, should it end by itself. Never rejects. */
  readonly ended: Promise<string>;
  /** Ends wrangler and all it started. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a gateway and waits until `GET /v1/health` says that all is well.
 *
 * @throws Error with a text for the user: port in use, migration refused, Worker broken or not well. Nothing is left
 *   running then.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { root, port, stateDir, vars } = options;
  await assertFree(port);
  await mkdir(stateDir, { recursive: true });
  const varsFile = vars === undefined ? join(root, ".dev.vars") : join(stateDir, "dev.vars");
  const values = await ensureVars(varsFile, { ...freshVars(), ...vars });

  // Wrangler's temporary files go here, because it leaves some behind when it is ended during its start.
  const scratch = await mkdtemp(join(tmpdir(), "postern-"));
  const removeScratch = () => rm(scratch, { recursive: true, force: true, maxRetries: 3 });
  const place = { ...options, scratch };
  try {
    await migrate(place);
    // Wrangler reads `.dev.vars` by itself; a file that is named replaces it.
    const gateway = await serve(place, vars === undefined ? [] : ["--env-file", varsFile]);
    const stop = () => gateway.stop().finally(removeScratch);
    return { ...gateway, adminKey: values.get("ADMIN_KEY") ?? "", stop };
  } catch (error) {
    await removeScratch();
    throw error;
  }
}

type Place = GatewayOptions & { readonly scratch: string };

/** Applies what is not applied yet to the local database. */
async function migrate(options: Place): Promise<void> {
  const log = new WranglerLog();
  const args = ["d1", "migrations", "apply", "DB", "--local", "--persist-to", options.stateDir];
  const wrangler = startWrangler(options, args, log.add);
  try {
    const how = await unlessAborted(wrangler.ended, options.signal);
    if (how !== 0) throw quoting("The migrations could not be applied to the local database", log);
  } finally {
    await wrangler.stop();
  }
}

async function serve(options: Place, more: readonly string[]): Promise<Omit<Gateway, "adminKey">> {
  const { port, stateDir, onLog, signal } = options;
  const log = new WranglerLog(onLog);
  const args = [
    ...["dev", "--local", "--ip", ADDRESS, "--port", `${port}`, "--inspector-port", "0"],
    ...["--persist-to", stateDir, "--show-interactive-dev-session=false", ...more],
  ];
  const ready = Promise.withResolvers<number>();
  const wrangler = startWrangler(options, args, log.add, (message) => {
    const bound = readyPort(message);
    if (bound !== undefined) ready.resolve(bound);
  });
  const ended = wrangler.ended.then(
    (how) => `wrangler ended by itself: ${typeof how === "number" ? "exit code " : ""}${how}`,
  );
  const died = fail(ended);
  const over = new AbortController();
  try {
    const starting = Promise.race([ready.promise, fail(log.failure), died, late(READY_MS)]);
    const url = `http://${ADDRESS}:${await unlessAborted(starting, signal)}`;
    // An error that is logged from here on is the Worker's, and may pass.
    await unlessAborted(Promise.race([untilHealthy(url, over.signal), died]), signal);
    log.passOn();
    return { url, ended, stop: wrangler.stop };
  } catch (error) {
    over.abort();
    await wrangler.stop();
    if (signal?.aborted) throw error;
    throw quoting(error instanceof Error ? error.message : "The gateway could not be started", log);
  }
}

function startWrangler(
  { root, stateDir, scratch }: Place,
  args: readonly string[],
  onLine: (line: string) => void,
  onMessage?: (message: unknown) => void,
): Program {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    TMPDIR: scratch,
    // Nothing is reported, looked up or kept outside the project.
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_SEND_ERROR_REPORTS: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_WRITE_LOGS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    // Gateways that run side by side do not find each other.
    WRANGLER_REGISTRY_PATH: join(stateDir, "registry"),
    // Wrangler's own pages would show the database to whoever reaches the port, without a key.
    X_LOCAL_EXPLORER: "false",
    X_LOCAL_OBSERVABILITY: "false",
    // The Worker's variables come from one file alone.
    CLOUDFLARE_INCLUDE_PROCESS_ENV: "false",
  };
  // It would choose another file than `.dev.vars`.
  delete env["CLOUDFLARE_ENV"];
  const script = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
  return startProgram(script, args, { cwd: root, env, onLine, ...(onMessage && { onMessage }) });
}

/** The port that `wrangler dev` tells its parent once it listens. */
function readyPort(message: unknown): number | undefined {
  const port = /"event":"DEV_SERVER_READY".*"port":(\d+)/.exec(String(message))?.[1];
  return port === undefined ? undefined : Number(port);
}

/** Wrangler's own words for a port in use are many, and come after the migrations. */
async function assertFree(port: number): Promise<void> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (error: NodeJS.ErrnoException) => {
    const inUse = error.code === "EADDRINUSE";
    reject(
      new Error(`Port ${port} ${inUse ? "is in use" : `cannot be used (${error.code})`}; name another with PORT.`),
    );
  });
  server.listen({ port, host: ADDRESS }, () => server.close(() => resolve()));
  await promise;
}

async function untilHealthy(url: string, over: AbortSignal): Promise<void> {
  const deadline = Date.now() + HEALTHY_MS;
  for (;;) {
    const problem = await probe(url, over);
    if (problem === undefined) return;
    if (Date.now() > deadline) throw new Error(problem);
    await sleep(PROBE_PAUSE_MS, undefined, { signal: over });
  }
}

/** What is wrong with the gateway's health; nothing when all is well. */
async function probe(url: string, over: AbortSignal): Promise<string | undefined> {
  try {
    const response = await fetch(`${url}/v1/health`, {
      signal: AbortSignal.any([over, AbortSignal.timeout(PROBE_MS)]),
    });
    const text = await response.text();
    if (response.status === 200 && /"status"\s*:\s*"ok"/.test(text)) return undefined;
    return `GET /v1/health answered ${response.status}: ${text.slice(0, 500)}`;
  } catch (error) {
    return `GET /v1/health was not answered: ${error instanceof Error ? error.message : error}`;
  }
}

async function fail(reason: Promise<string>): Promise<never> {
  throw new Error(await reason);
}

async function late(timeoutMs: number): Promise<never> {
  await sleep(timeoutMs, undefined, { ref: false });
  throw new Error(`wrangler was not ready after ${timeoutMs / 1000} s`);
}

function quoting(message: string, log: WranglerLog): Error {
  const quote = log.quote();
  return new Error(quote === "" ? `${message}.` : `${message}. Its output:\n${quote}`);
}
