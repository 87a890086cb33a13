/**
 * Second part: what the journal costs a client. The same gateway three times: with rows written behind the answer, with
 * `JOURNAL_MODE=sync`, and built without a journal, which no deployment can be.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { median, medianRatio, turned, written } from "./figures.ts";
import type { Sample } from "./load.ts";
import { markdownTable } from "./markdown.ts";
import { type Measure, startUpstream } from "./processes.ts";
import { exchange } from "./wire.ts";
import { startGatewayOver } from "./workers.ts";

interface Plan {
  readonly rounds: number;
  readonly leadInMs: number;
  readonly windowMs: number;
  readonly warmUpMs: number;
}

const FULL: Plan = { rounds: 15, leadInMs: 80, windowMs: 320, warmUpMs: 1_000 };
const QUICK: Plan = { rounds: 1, leadInMs: 60, windowMs: 240, warmUpMs: 250 };

const MODES = ["without", "gathered", "sync"] as const;
type Mode = (typeof MODES)[number];
const PARALLEL = [1, 8, 32] as const;

/** Where rows enter the journal, in the bundle. */
const RECORD = "async record(sessionName, row) {";

/** Measures `tools/call` of modern clients, and prints one table. */
export async function measureJournal(
  cleanup: Cleanup,
  bundles: Bundles,
  measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const { rounds, leadInMs, windowMs, warmUpMs } = isQuick ? QUICK : FULL;
  const upstream = await startUpstream(cleanup, "modern");
  const url = `http://127.0.0.1:${upstream.port}/mcp`;
  const start = (mode: Mode, of: Bundles, vars = {}) => startGatewayOver(cleanup, of, `journal-${mode}`, url, vars);
  const gateways = {
    without: await start("without", withoutJournal(cleanup, bundles)),
    gathered: await start("gathered", bundles),
    sync: await start("sync", bundles, { JOURNAL_MODE: "sync" }),
  };
  const sample = (mode: Mode, clients: number, windowMs: number): Promise<Sample> => {
    const { pid, port, key } = gateways[mode];
    const client = { Authorization: `Bearer ${key}` };
    const load = { exchange: exchange("modern", "tools/call", "bench__"), clients: Array(clients).fill(client) };
    return measure({ ...load, leadInMs, windowMs, pid, port, path: "/mcp" });
  };
  const rows: string[][] = [];
  for (const mode of MODES) await sample(mode, Math.max(...PARALLEL), warmUpMs);
  for (const clients of PARALLEL) {
    const samples: Record<Mode, Sample[]> = { without: [], gathered: [], sync: [] };
    for (let round = 0; round < rounds; round++) {
      for (const mode of turned(MODES, round)) samples[mode].push(await sample(mode, clients, windowMs));
    }
    for (const mode of MODES) rows.push([String(clients), mode, ...figuresOf(samples[mode], samples.without)]);
  }
  for (const { stop } of [...Object.values(gateways), upstream]) await stop();
  const heads = ["clients", "journal", "p50 ms", "p95 ms", "req/s", "p50: ratio", "p95: ratio", "req/s: ratio"];
  console.log(markdownTable(heads, rows));
  console.log(`
tools/call of modern clients; medians over ${rounds} rounds in which the three take turns, ratios to "without" within
the round. The objects and their storage live in the gateway's own process: where clients leave it no time, rows cost
throughput, and every client waits for that.
`);
}

function figuresOf(samples: readonly Sample[], base: readonly Sample[]): string[] {
  const measures = [({ p50Ms }: Sample) => p50Ms, ({ p95Ms }: Sample) => p95Ms, ({ perSecond }: Sample) => perSecond];
  const medians = measures.map((of, at) => written(median(samples.map(of)), at === 2 ? 0 : 2));
  return [...medians, ...measures.map((of) => written(medianRatio(samples, base, of), 2))];
}

/** The bundle with a journal that takes rows and forgets them. */
function withoutJournal({ folder }: Cleanup, bundles: Bundles): Bundles {
  const script = readFileSync(bundles.gateway, "utf8");
  if (script.split(RECORD).length !== 2) throw new Error(`the bundle does not have "${RECORD}" once`);
  const gateway = join(folder, "unjournaled.js");
  writeFileSync(gateway, script.replace(RECORD, `${RECORD} return;`));
  return { ...bundles, gateway };
}
