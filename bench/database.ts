/** D1 in a process of its own, as it is on Cloudflare. */
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type Bundles, ROOT } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Running } from "./processes.ts";
import type { Usage } from "./storage.ts";
import { startWorkerd } from "./workerd.ts";

export interface Statement {
  readonly sql: string;
  readonly params?: readonly (string | number | null)[];
}

export interface Database extends Running {
  /** Runs all of them, or none. @throws Error with what SQLite says. */
  run(statements: readonly Statement[]): Promise<void>;
  usage(): Promise<Usage>;
}

/** An empty database, after all migrations. @param name Unlike that of every other process of the run. */
export async function startDatabase(cleanup: Cleanup, bundles: Bundles, name: string): Promise<Database> {
  const { storage: script, date, flags } = bundles;
  const objects = { DATABASE: "Database" };
  const storage = await startWorkerd(cleanup, { name, script, date, flags, bindings: [], objects });
  const ask = async (path: string, body: string) => {
    // A connection of its own: behind a statement of some seconds workerd takes the old one for idle, and ends it.
    const asking = request({ host: "127.0.0.1", port: storage.port, path, method: "POST", agent: false });
    asking.end(body);
    const [answer] = await once(asking, "response");
    return text(answer);
  };
  const run = async (statements: readonly Statement[]) => {
    const answer = await ask("/query", JSON.stringify(statements));
    if (!answer.startsWith("[")) throw new Error(answer);
  };
  for (const { file, statements } of migrations()) {
    await run(statements).catch((cause: unknown) => {
      throw new Error(`migration ${file} failed`, { cause });
    });
  }
  return { ...storage, run, usage: async (): Promise<Usage> => JSON.parse(await ask("/usage", "")) };
}

function migrations(): { readonly file: string; readonly statements: Statement[] }[] {
  const folder = join(ROOT, "migrations");
  const files = readdirSync(folder).filter((file) => file.endsWith(".sql"));
  return files.sort().map((file) => {
    const parts = readFileSync(join(folder, file), "utf8").split("--> statement-breakpoint");
    return { file, statements: parts.map((sql) => ({ sql })) };
  });
}
