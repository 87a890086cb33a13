/**
 * `npm run bench -- [--quick] [--part overhead|cells|streams|journal|sizes|leases|calls]`: what the gateway adds to a
 * call, also where client and server are of two eras, and to a large result; what of that is the journal, what it costs
 * to have many servers, what accounts of one's own cost, and what to ask a long call log. Every part prints its own
 * tables.
 */
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { buildWorkers } from "./build.ts";
import { measureCalls } from "./calls.ts";
import { measureCells } from "./cells.ts";
import { type Cleanup, createCleanup } from "./cleanup.ts";
import { measureJournal } from "./journal.ts";
import { measureLeases } from "./leases.ts";
import { measureOverhead } from "./overhead.ts";
import { startLoad } from "./processes.ts";
import { measureSizes } from "./sizes.ts";
import { measureStreams } from "./streams.ts";

const PARTS = {
  ...{ overhead: measureOverhead, cells: measureCells, streams: measureStreams, journal: measureJournal },
  ...{ sizes: measureSizes, leases: measureLeases, calls: measureCalls },
};

async function main(cleanup: Cleanup, part: string | undefined, isQuick: boolean): Promise<void> {
  const parts = Object.entries(PARTS).filter(([name]) => part === undefined || part === name);
  if (parts.length === 0) throw new Error(`--part is one of ${Object.keys(PARTS).join(", ")}`);
  const startedAt = performance.now();
  const seconds = (since: number) => `${((performance.now() - since) / 1_000).toFixed(0)} s`;
  console.log(`${availableParallelism()} cores, load average ${loadavg()[0]?.toFixed(1)} before the start\n`);
  const bundles = await buildWorkers(cleanup);
  const measure = startLoad(cleanup);
  for (const [name, run] of parts) {
    const partAt = performance.now();
    await run(cleanup, bundles, measure, isQuick);
    console.log(`Time of the part "${name}": ${seconds(partAt)}\n`);
  }
  console.log(`Total time: ${seconds(startedAt)}`);
}

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false }, part: { type: "string" } } });
const cleanup = createCleanup();
try {
  await main(cleanup, values.part, values.quick);
} catch (thrown) {
  process.exitCode = 1;
  if (!cleanup.isInterrupted()) console.error(thrown);
}
await cleanup.close();
// The handler of a signal ends the process itself, with the code of that signal.
if (!cleanup.isInterrupted()) process.exit();
