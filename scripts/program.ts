/**
 * Node programs that this process starts and ends. Each runs in a process group of its own, so that Ctrl-C in the
 * terminal reaches only us, and so that whatever the program starts itself (workerd, esbuild) can be ended with it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a program may take to end by itself before its group is killed. */
const GRACE_MS = 5_000;

/** How long the last lines of a program that has ended may take to arrive. */
const LAST_LINES_MS = 500;

/** How long the kernel may take to clear away a killed group. */
const REAP_MS = 2_000;

/** How often a script that npm runs looks whether npm's shell is still there. */
const PARENT_CHECK_MS = 250;

export interface ProgramOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Receives each line of output, of either stream. */
  readonly onLine: (line: string) => void;
  /** Receives what the program sends over its IPC channel. */
  readonly onMessage?: (message: unknown) => void;
  /** A module of this folder that runs in the program before its own code. */
  readonly preload?: string;
  /** Whether its standard input stays open, for a program that ends with it; else it is empty. */
  readonly isInputOpen?: boolean;
}

export interface Program {
  /** The exit code, or the signal that ended the program. Never rejects. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Ends the program and its whole group; resolves when nothing is left. Idempotent. */
  stop(): Promise<void>;
}

/** Starts a Node program. POSIX only: Windows has no process groups. */
export function startProgram(script: string, args: readonly string[], options: ProgramOptions): Program {
  const preloads = ["leash.ts", ...(options.preload === undefined ? [] : [options.preload])];
  const imports = preloads.map((name) => `--import=${join(import.meta.dirname, name)}`);
  const child = spawn(process.execPath, [...imports, script, ...args], {
    cwd: options.cwd,
    env: options.env,
    stdio: [options.isInputOpen === true ? "pipe" : "ignore", "pipe", "pipe", "ipc"],
    detached: true,
  });
  // A failed spawn shows as a missing pid; failures on the channel show as the program's end.
  child.on("error", () => {});
  const { pid } = child;
  if (pid === undefined) throw new Error(`${script} could not be started.`);

  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on("line", options.onLine);
  }
  child.on("message", (message) => options.onMessage?.(message));

  const closed = once(child, "close");
  const ended = once(child, "exit").then(async ([code, signal]) => {
    await Promise.race([closed, sleep(LAST_LINES_MS, undefined, { ref: false })]);
    return code ?? signal;
  });

  // For the ends that no `finally` sees, such as an uncaught error.
  const killGroup = () => signalGroup(pid, "SIGKILL");
  process.once("exit", killGroup);

  const end = async () => {
    // All are asked at once: an esbuild that outlives wrangler writes its bundle into the folder that wrangler removed.
    signalGroup(pid, "SIGTERM");
    await Promise.race([ended, sleep(GRACE_MS, undefined, { ref: false })]);
    killGroup();
    for (let waited = 0; waited < REAP_MS && signalGroup(pid, 0); waited += 20) await sleep(20);
    process.removeListener("exit", killGroup);
  };
  let ending: Promise<void> | undefined;
  return {
    ended,
    stop() {
      ending ??= end();
      return ending;
    },
  };
}

/** A signal that aborts when this process is asked to end, or when nobody reads its output any more. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Stays in place after the first: npm passes on the signals that the terminal has sent already.
    process.on(name, () => controller.abort(new Error(`stopped by ${name}`)));
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => controller.abort(new Error("nobody reads the output")));
  }
  if (process.env["npm_lifecycle_event"] !== undefined) {
    // npm passes a signal on to the shell in between, which dies of it and tells nobody.
    const shell = process.ppid;
    setInterval(() => {
      if (process.ppid !== shell) controller.abort(new Error("npm has ended"));
    }, PARENT_CHECK_MS).unref();
  }
  return controller.signal;
}

/** What `work` gives, unless `signal` aborts first: then throws the reason and leaves `work` to itself. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** False when the group has no member left. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}
