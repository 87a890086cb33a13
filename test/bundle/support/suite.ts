/** The official conformance suite's server scenarios (protocol.md 10.1). */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startProgram } from "../../../scripts/program.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const PACKAGES = {
  "0.2": join(ROOT, "node_modules", "@modelcontextprotocol", "conformance"),
  "0.1": join(ROOT, "node_modules", "conformance-0.1"),
};

export interface SuiteRun {
  /** The exit code: 0 where the suite finds nothing that is not expected. */
  readonly how: number | NodeJS.Signals;
  readonly lines: readonly string[];
  readonly scenarios: ReadonlySet<string>;
  /** What has not passed, warnings included, as `scenario:check`; also of the scenarios that the suite does not score. */
  readonly failed: ReadonlySet<string>;
}

/**
 * Runs scenarios against a server.
 *
 * @param options Which ones: a frozen set (`--requirements`), or all of a revision.
 * @param release Of the suite; 0.1 is the line that ended before 2026-07-28.
 */
export async function runServerSuite(
  url: string,
  options: readonly string[],
  release: keyof typeof PACKAGES = "0.2",
): Promise<SuiteRun> {
  const results = await mkdtemp(join(tmpdir(), "postern-conformance-"));
  const lines: string[] = [];
  const args = ["server", "--url", url, ...options, "--output-dir", results];
  const suite = startProgram(join(PACKAGES[release], "dist", "index.js"), args, {
    cwd: ROOT,
    env: process.env,
    onLine: (line) => lines.push(line),
  });
  try {
    const how = await suite.ended;
    const folders = await readdir(results);
    const checks = await Promise.all(folders.map((folder) => checksOf(join(results, folder))));
    return {
      how,
      lines,
      scenarios: new Set(folders.map(scenarioOf)),
      failed: new Set(
        folders.flatMap((folder, at) =>
          (checks[at] ?? []).filter(hasFailed).map(({ id }) => `${scenarioOf(folder)}:${id}`),
        ),
      ),
    };
  } finally {
    await suite.stop();
    await rm(results, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Check {
  readonly id: string;
  readonly status: string;
}

/** A scenario has a folder of its own, `server-<scenario>-<when>`. */
function scenarioOf(folder: string): string {
  const [, scenario] = /^server-(.+?)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(folder) ?? [];
  if (scenario === undefined) throw new Error(`${folder} is not named as results of a scenario are`);
  return scenario;
}

const hasFailed = ({ status }: Check) => status === "FAILURE" || status === "WARNING";

async function checksOf(folder: string): Promise<Check[]> {
  return JSON.parse(await readFile(join(folder, "checks.json"), "utf8")) as Check[];
}

export interface Judgement {
  /** Has failed and is not expected to. */
  readonly unexpected: readonly string[];
  /** Is expected to fail and has not. */
  readonly stale: readonly string[];
}

/**
 * Compares what has failed with what is expected to. The suite does the same for whatever it scores; here all counts.
 *
 * @param expected Of `scenario`, for the whole of it, or `scenario:check`.
 */
export function judge({ failed }: SuiteRun, expected: readonly string[]): Judgement {
  const covers = (entry: string, failure: string) => failure === entry || failure.startsWith(`${entry}:`);
  const failures = Array.from(failed).sort();
  return {
    unexpected: failures.filter((failure) => !expected.some((entry) => covers(entry, failure))),
    stale: expected.filter((entry) => !failures.some((failure) => covers(entry, failure))),
  };
}

/** The entries of a file of expected failures, under `server:`. */
export async function expectedFailures(path: string): Promise<string[]> {
  const text = await readFile(join(ROOT, path), "utf8");
  return Array.from(text.matchAll(/^ {2}- (\S+)$/gm), ([, entry = ""]) => entry);
}
