/**
 * First part: what the gateway adds to a call, measured against the same server asked directly and through a Worker
 * that only forwards. First the modern wire, then the legacy one, each with processes of its own.
 *
 * The targets take turns within a round, and rounds are short, so that a busy machine disturbs all of them alike.
 */
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { turned, written } from "./figures.ts";
import type { Sample } from "./load.ts";
import { type Measure, memoryOf, startUpstream } from "./processes.ts";
import { LEGEND, type Row, TARGETS, type Target, table } from "./report.ts";
import { TOOLS } from "./tools.ts";
import { type Era, exchange, expectTools, type Method, openSession } from "./wire.ts";
import { startBare, startGatewayOver } from "./workers.ts";

interface Plan {
  readonly rounds: number;
  readonly leadInMs: number;
  readonly windowMs: number;
  /** For each target and method, before the first round. */
  readonly warmUpMs: number;
}

/** A place to send requests to. */
export interface Endpoint {
  readonly pid: number;
  readonly port: number;
  readonly path: string;
  readonly prefix: string;
  /** The headers of every client that may be needed at once. */
  readonly clients: readonly Readonly<Record<string, string>>[];
}

type Endpoints = Readonly<Record<Target, Endpoint>>;

const FULL: Plan = { rounds: 9, leadInMs: 80, windowMs: 320, warmUpMs: 1_000 };
const QUICK: Plan = { rounds: 1, leadInMs: 60, windowMs: 240, warmUpMs: 250 };

const ERAS: readonly Era[] = ["modern", "legacy"];
const METHODS: readonly Method[] = ["tools/call", "tools/list"];
const PARALLEL = [1, 8, 32] as const;
const MOST_PARALLEL = Math.max(...PARALLEL);

/** Measures both eras, and prints what comes of each. */
export async function measureOverhead(
  cleanup: Cleanup,
  bundles: Bundles,
  measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const plan = isQuick ? QUICK : FULL;
  for (const era of ERAS) console.log(`${await runEra(cleanup, bundles, measure, era, plan)}\n`);
  console.log(`${LEGEND}\n`);
}

/** @returns The text to print. */
async function runEra(cleanup: Cleanup, bundles: Bundles, measure: Measure, era: Era, plan: Plan): Promise<string> {
  const upstream = await startUpstream(cleanup, era);
  const serverUrl = `http://127.0.0.1:${upstream.port}/mcp`;
  const bare = await startBare(cleanup, bundles, `${era}-bare`, serverUrl);
  const gateway = await startGatewayOver(cleanup, bundles, `${era}-gateway`, serverUrl);
  const endpoints: Endpoints = {
    upstream: await endpoint(era, upstream, "", {}),
    bare: await endpoint(era, bare, "", {}),
    gateway: await endpoint(era, gateway, "bench__", { Authorization: `Bearer ${gateway.key}` }),
  };
  const megabytes = (pid: number) => `${written(memoryOf(pid).residentMb, 0)} MB`;
  const idle = megabytes(gateway.pid);
  const rows = await measureAll(measure, endpoints, era, plan);
  const [loaded, ofBare] = [megabytes(gateway.pid), megabytes(bare.pid)];
  for (const { stop } of [gateway, bare, upstream]) await stop();
  const ofGateway = `${idle} before the load, ${loaded} after it`;
  return `${table(era, rows)}\nMemory (RSS) of the gateway: ${ofGateway}; of the bare Worker: ${ofBare}.`;
}

async function measureAll(measure: Measure, endpoints: Endpoints, era: Era, plan: Plan): Promise<Row[]> {
  const { leadInMs, windowMs, warmUpMs } = plan;
  const sample = (target: Target, method: Method, clients: number, windowMs: number): Promise<Sample> => {
    const { pid, port, path, prefix, clients: all } = endpoints[target];
    const load = { exchange: exchange(era, method, prefix), clients: all.slice(0, clients), leadInMs, windowMs };
    return measure({ ...load, pid, port, path });
  };
  const rows: Row[] = [];
  for (const method of METHODS) {
    for (const target of TARGETS) await sample(target, method, MOST_PARALLEL, warmUpMs);
    for (const clients of PARALLEL) {
      const samples: Record<Target, Sample[]> = { upstream: [], bare: [], gateway: [] };
      for (let round = 0; round < plan.rounds; round++) {
        for (const target of turned(TARGETS, round)) {
          samples[target].push(await sample(target, method, clients, windowMs));
        }
      }
      rows.push({ method, clients, samples });
    }
  }
  return rows;
}

/** Checks the list, and opens the sessions that legacy clients need. */
export async function endpoint(
  era: Era,
  { pid, port }: { readonly pid: number; readonly port: number },
  prefix: string,
  headers: Record<string, string>,
): Promise<Endpoint> {
  const path = "/mcp";
  const url = `http://127.0.0.1:${port}${path}`;
  const clients: Record<string, string>[] = [];
  for (let index = 0; index < MOST_PARALLEL; index++) {
    clients.push({ ...headers, ...(era === "legacy" ? await openSession(url, headers) : {}) });
  }
  const names = TOOLS.map(({ name }) => `${prefix}${name}`);
  await expectTools(url, exchange(era, "tools/list", prefix), clients[0] ?? {}, names);
  return { pid, port, path, prefix, clients };
}
