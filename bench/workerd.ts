/**
 * A Worker in plain workerd: a socket, the Worker, and the network, with nothing between them. Miniflare would add a
 * Worker of its own to every outgoing request, and wrangler a proxy before each incoming one as well.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Cleanup } from "./cleanup.ts";
import { pidOf, type Running } from "./processes.ts";

export interface WorkerdConfig {
  /** Unlike that of every other workerd of the run. */
  readonly name: string;
  /** Absolute path of the bundled script. */
  readonly script: string;
  readonly date: string;
  readonly flags: readonly string[];
  /** Cap'n Proto text of the members of `bindings`, such as `text("KEY", "value")` returns. */
  readonly bindings: readonly string[];
  /** The classes of the Worker's objects, each with SQLite; bound under the given names. */
  readonly objects?: Readonly<Record<string, string>>;
  /** Cap'n Proto text of further services that bindings refer to. */
  readonly services?: readonly string[];
}

const START_MS = 15_000;

export async function startWorkerd(cleanup: Cleanup, config: WorkerdConfig): Promise<Running> {
  const folder = join(cleanup.folder, config.name);
  mkdirSync(folder);
  mkdirSync(join(folder, "objects"));
  writeFileSync(join(folder, "config.capnp"), configText(config, join(folder, "objects")));
  const logFile = join(folder, "log");
  // A file, not a pipe: reading what the Worker logs would cost the benchmark time.
  const log = openSync(logFile, "w");
  // Cap'n Proto looks for absolute paths below the import paths, and nowhere else.
  const child = spawn(workerdPath(), ["serve", "config.capnp", "--import-path=/", "--control-fd=3"], {
    cwd: folder,
    stdio: ["ignore", log, log, "pipe"],
  });
  closeSync(log);
  // SIGTERM would only ask it to wait for its connections.
  const stop = cleanup.adopt(child);
  const ended = new AbortController();
  child.once("exit", () => ended.abort(new Error("it ended")));
  try {
    const control = createInterface({ input: child.stdio[3] as Readable });
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(START_MS)]);
    // Its first message is that the one socket is open.
    const [line] = await once(control, "line", { signal });
    const { port }: { port: number } = JSON.parse(line);
    return { pid: pidOf(child), port, stop };
  } catch (thrown) {
    await stop();
    throw new Error(`workerd "${config.name}" did not start: ${readFileSync(logFile, "utf8")}`, { cause: thrown });
  }
}

export function text(name: string, value: string): string {
  return `(name = ${quoted(name)}, text = ${quoted(value)})`;
}

/** A string, as Cap'n Proto text writes it. */
export function quoted(value: string): string {
  return JSON.stringify(value);
}

function configText(
  { script, date, flags, bindings, objects = {}, services = [] }: WorkerdConfig,
  disk: string,
): string {
  const classes = Object.values(objects).map(
    (name) => `(className = ${quoted(name)}, uniqueKey = ${quoted(name)}, enableSql = true)`,
  );
  const objectBindings = Object.entries(objects).map(
    ([name, className]) => `(name = ${quoted(name)}, durableObjectNamespace = ${quoted(className)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";

const worker :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed ${quoted(script)})],
  compatibilityDate = ${quoted(date)},
  compatibilityFlags = [${flags.map(quoted).join(", ")}],
  bindings = [${[...bindings, ...objectBindings].join(", ")}],
  durableObjectNamespaces = [${classes.join(", ")}],
  durableObjectStorage = (localDisk = "objects")
);

const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "objects", disk = (path = ${quoted(disk)}, writable = true)),
    ${services.join(", ")}
  ],
  sockets = [(name = "worker", address = "127.0.0.1:0", http = (), service = "worker")]
);
`;
}

function workerdPath(): string {
  const { default: path }: { default: string } = createRequire(import.meta.url)("workerd");
  return path;
}
