/**
 * Calls in the four cells of client and server: what the gateway adds where it translates, and where it does not. Set
 * against the bare Worker, whose client speaks as the server does.
 */
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { median, medianRatio, turned, written } from "./figures.ts";
import type { Sample } from "./load.ts";
import { markdownTable } from "./markdown.ts";
import { type Endpoint, endpoint } from "./overhead.ts";
import { type Measure, startUpstream } from "./processes.ts";
import { type Era, exchange } from "./wire.ts";
import { startBare, startGatewayOver } from "./workers.ts";

const ERAS: readonly Era[] = ["modern", "legacy"];
const PARALLEL = [1, 8] as const;
const HEADS = ["client and server", "clients", "bare p50", "gateway p50", "ratio p50", "ratio p99", "ratio req/s"];

/** @see measureOverhead */
export async function measureCells(
  cleanup: Cleanup,
  bundles: Bundles,
  measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const rows: string[][] = [];
  for (const server of ERAS) {
    const upstream = await startUpstream(cleanup, server);
    const url = `http://127.0.0.1:${upstream.port}/mcp`;
    const bare = await startBare(cleanup, bundles, `cells-${server}-bare`, url);
    const gateway = await startGatewayOver(cleanup, bundles, `cells-${server}-gateway`, url);
    const key = { Authorization: `Bearer ${gateway.key}` };
    const targets = [
      { era: server, at: await endpoint(server, bare, "", {}) },
      { era: "modern", at: await endpoint("modern", gateway, "bench__", key) },
      { era: "legacy", at: await endpoint("legacy", gateway, "bench__", key) },
    ] as const;
    for (const clients of PARALLEL) {
      const [ofBare = [], ...ofGateway] = await rounds(measure, targets, clients, isQuick);
      for (const [index, samples] of ofGateway.entries()) {
        rows.push([`${ERAS[index]} client, ${server} server`, String(clients), ...figures(samples, ofBare)]);
      }
    }
    for (const { stop } of [gateway, bare, upstream]) await stop();
  }
  console.log(`tools/call in the four cells; p50 in milliseconds\n${markdownTable(HEADS, rows)}\n`);
}

/** The samples of each target, round by round. */
async function rounds(
  measure: Measure,
  targets: readonly { readonly era: Era; readonly at: Endpoint }[],
  clients: number,
  isQuick: boolean,
): Promise<Sample[][]> {
  const samples: Sample[][] = targets.map(() => []);
  const sample = (
    { era, at: { pid, port, path, prefix, clients: all } }: (typeof targets)[number],
    windowMs: number,
  ) => {
    const load = {
      exchange: exchange(era, "tools/call", prefix),
      clients: all.slice(0, clients),
      leadInMs: 60,
      windowMs,
    };
    return measure({ ...load, pid, port, path });
  };
  for (const target of targets) await sample(target, isQuick ? 250 : 1_000);
  const order = targets.map((target, index) => ({ target, index }));
  for (let round = 0; round < (isQuick ? 1 : 9); round++) {
    for (const { target, index } of turned(order, round)) samples[index]?.push(await sample(target, 300));
  }
  return samples;
}

function figures(gateway: readonly Sample[], bare: readonly Sample[]): string[] {
  const p50 = (samples: readonly Sample[]) => written(median(samples.map(({ p50Ms }) => p50Ms)), 2);
  const ratio = (of: (sample: Sample) => number) => written(medianRatio(gateway, bare, of), 2);
  return [
    p50(bare),
    p50(gateway),
    ratio(({ p50Ms }) => p50Ms),
    ratio(({ p99Ms }) => p99Ms),
    ratio(({ perSecond }) => perSecond),
  ];
}
