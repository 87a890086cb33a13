/** Large results: how soon their first byte is there, and how fast they pass, against the bare Worker. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { median, medianRatio, turned, written } from "./figures.ts";
import { markdownTable } from "./markdown.ts";
import { type Endpoint, endpoint } from "./overhead.ts";
import { type Measure, memoryOf, startUpstream } from "./processes.ts";
import { type Era, largeCall } from "./wire.ts";
import { startBare, startGatewayOver } from "./workers.ts";

const ERAS: readonly Era[] = ["modern", "legacy"];
const FORMS = ["json", "events"] as const;
const MIB = 1_024 * 1_024;
const HEADS = [
  "wire and form",
  "upstream: first byte",
  "MB/s",
  "bare: first byte",
  "MB/s",
  "gateway: first byte",
  "MB/s",
  "ratio first byte",
  "ratio MB/s",
];

interface Passed {
  readonly firstMs: number;
  readonly megabytesPerSecond: number;
}

/** @see measureOverhead */
export async function measureStreams(
  cleanup: Cleanup,
  bundles: Bundles,
  _measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const mebibytes = isQuick ? 16 : 100;
  const rows: string[][] = [];
  const memory: string[] = [];
  for (const era of ERAS) {
    const upstream = await startUpstream(cleanup, era);
    const url = `http://127.0.0.1:${upstream.port}/mcp`;
    const bare = await startBare(cleanup, bundles, `streams-${era}-bare`, url);
    const gateway = await startGatewayOver(cleanup, bundles, `streams-${era}-gateway`, url);
    const key = { Authorization: `Bearer ${gateway.key}` };
    const targets = [
      await endpoint(era, upstream, "", {}),
      await endpoint(era, bare, "", {}),
      await endpoint(era, gateway, "bench__", key),
    ];
    const before = memoryOf(gateway.pid).peakMb;
    for (const form of FORMS) {
      const passed: Passed[][] = targets.map(() => []);
      for (const target of targets) await pass(target, era, form, Math.min(16, mebibytes));
      const order = targets.map((target, index) => ({ target, index }));
      for (let round = 0; round < (isQuick ? 1 : 7); round++) {
        for (const { target, index } of turned(order, round)) {
          passed[index]?.push(await pass(target, era, form, mebibytes));
        }
      }
      rows.push([`${era}, ${form}`, ...figures(passed)]);
    }
    const after = memoryOf(gateway.pid).peakMb;
    memory.push(`${era}: ${written(before, 0)} MB before, ${written(after, 0)} MB after`);
    for (const { stop } of [gateway, bare, upstream]) await stop();
  }
  console.log(`tools/call with a result of ${mebibytes} MiB, one at a time; first byte in milliseconds`);
  console.log(`${markdownTable(HEADS, rows)}\nPeak memory (RSS) of the gateway, ${memory.join("; ")}.\n`);
}

/** One call, its answer read as fast as it comes. */
async function pass(
  { port, path, prefix, clients: [own = {}] }: Endpoint,
  era: Era,
  form: (typeof FORMS)[number],
  mebibytes: number,
): Promise<Passed> {
  const { headers, body } = largeCall(era, prefix, mebibytes, form);
  const options = { port, path, host: "127.0.0.1", method: "POST", agent: false, headers: { ...headers, ...own } };
  const startedAt = performance.now();
  const outgoing = request(options).end(body);
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  let firstAt = Number.NaN;
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (bytes === 0) firstAt = performance.now();
    bytes += chunk.length;
  }
  if (bytes < mebibytes * MIB) throw new Error(`an answer of ${bytes} bytes came with ${response.statusCode}`);
  return { firstMs: firstAt - startedAt, megabytesPerSecond: bytes / 1e3 / (performance.now() - startedAt) };
}

function figures([upstream = [], bare = [], gateway = []]: readonly Passed[][]): string[] {
  const of = (passed: readonly Passed[]) => [
    written(median(passed.map(({ firstMs }) => firstMs)), 1),
    written(median(passed.map(({ megabytesPerSecond }) => megabytesPerSecond)), 0),
  ];
  return [
    ...[upstream, bare, gateway].flatMap(of),
    written(
      medianRatio(gateway, bare, ({ firstMs }) => firstMs),
      2,
    ),
    written(
      medianRatio(gateway, bare, ({ megabytesPerSecond }) => megabytesPerSecond),
      2,
    ),
  ];
}
