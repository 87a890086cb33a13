/**
 * Third part: what it costs to have many registered servers. Gateways with few and with many of them run side by side
 * and take turns within a round, so that a busy machine disturbs all of them alike.
 */
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { difference, type FirstRequest, measureColdStart } from "./cold.ts";
import { type Figures, turned } from "./figures.ts";
import { type Measure, memoryOf, startUpstream } from "./processes.ts";
import {
  type AdminRow,
  adminTable,
  type ColdRow,
  coldTable,
  memoryTable,
  type RequestGroup,
  requestTable,
  SIZES_LEGEND,
} from "./sizes-report.ts";
import { type Subject, startSubject, stopTarget, type Target } from "./subjects.ts";
import { createVisitor, readServers, repeat, walkServers, walkTools } from "./visitor.ts";
import { exchange, type Method } from "./wire.ts";
import { startBare } from "./workers.ts";

interface Plan {
  /** Numbers of servers, ascending. */
  readonly sizes: readonly number[];
  readonly rounds: number;
  readonly coldRounds: number;
  /** For each size and kind of request, before the first round. */
  readonly warmUpMs: number;
  readonly leadInMs: number;
  readonly windowMs: number;
}

/** Measures one kind of request, for so long. */
type Probe<T> = (target: T, windowMs: number) => Promise<Figures>;

const FULL: Plan = {
  sizes: [1, 10, 100, 1_000],
  rounds: 3,
  coldRounds: 3,
  warmUpMs: 300,
  leadInMs: 60,
  windowMs: 240,
};
const QUICK: Plan = { sizes: [1, 100, 1_000], rounds: 1, coldRounds: 1, warmUpMs: 60, leadInMs: 20, windowMs: 100 };

/** Clients at once, for the numbers of answers per second; the times are those of one client. */
const PARALLEL = 8;
const PAGE_SIZES = { one: 25, all: 200 } as const;

const FIRST_REQUESTS = {
  call: { method: "tools/call", clients: 1 },
  list: { method: "tools/list", clients: 1 },
  calls: { method: "tools/call", clients: PARALLEL },
} as const satisfies Record<string, FirstRequest>;

/** Measures every size, and prints a table for each of: warm requests, cold isolates, the admin list, memory. */
export async function measureSizes(
  cleanup: Cleanup,
  bundles: Bundles,
  measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const plan = isQuick ? QUICK : FULL;
  const upstream = await startUpstream(cleanup, "modern");
  const serverUrl = `http://127.0.0.1:${upstream.port}/mcp`;
  const bare = await startBareTarget(cleanup, bundles, serverUrl);
  const subjects: Subject[] = [];
  for (const servers of plan.sizes) subjects.push(await startSubject(cleanup, bundles, servers, serverUrl));

  const cold = await measureCold(cleanup, bundles, subjects, plan);
  // Before any call to these: the rows of the log reach D1 later, and would be counted as well.
  const admin = await measureAdmin(subjects, plan);
  const requests = await measureRequests(measure, bare, subjects, plan);
  const memory = subjects.map(({ servers, process, idle, listed }) => {
    return { servers, idle, listed, loaded: memoryOf(process.pid) };
  });
  for (const target of [...subjects, bare]) await stopTarget(target);
  await upstream.stop();
  console.log([requestTable(requests), coldTable(cold), adminTable(admin), memoryTable(memory)].join("\n\n"));
  console.log(`\n${SIZES_LEGEND}\n`);
}

async function startBareTarget(cleanup: Cleanup, bundles: Bundles, serverUrl: string): Promise<Target> {
  const process = await startBare(cleanup, bundles, "sizes-bare", serverUrl);
  return { process, headers: {}, agent: createVisitor(process.port, {}) };
}

async function measureCold(
  cleanup: Cleanup,
  bundles: Bundles,
  subjects: readonly Subject[],
  { coldRounds }: Plan,
): Promise<ColdRow[]> {
  const measure = (kind: keyof typeof FIRST_REQUESTS) =>
    takeTurns(subjects, coldRounds, (subject, round) => {
      const name = `cold-${kind}-${subject.servers}-${round}`;
      return measureColdStart(cleanup, bundles, name, subject, FIRST_REQUESTS[kind]);
    });
  const [call, list, calls] = [await measure("call"), await measure("list"), await measure("calls")];
  return subjects.map(({ servers }, at) => {
    return { servers, call: call[at] ?? [], list: list[at] ?? [], calls: calls[at] ?? [] };
  });
}

async function measureAdmin(subjects: readonly Subject[], plan: Plan): Promise<AdminRow[]> {
  const readOne = ({ admin }: Subject) => readServers(admin, 0, PAGE_SIZES.one);
  const readAll = ({ admin }: Subject) => walkServers(admin, PAGE_SIZES.all);
  const usages = [];
  for (const subject of subjects) {
    const before = await subject.database.usage();
    await readOne(subject);
    const between = await subject.database.usage();
    await readAll(subject);
    const after = await subject.database.usage();
    usages.push({ ofOne: difference(between, before), ofAll: difference(after, between) });
  }
  const one = await probeAll(subjects, plan, (subject, ms) => repeat(ms, () => readOne(subject)));
  const all = await probeAll(subjects, plan, (subject, ms) => repeat(ms, () => readAll(subject)));
  return usages.map((usage, at) => {
    return { servers: subjects[at]?.servers ?? 0, one: one[at] ?? [], all: all[at] ?? [], ...usage };
  });
}

async function measureRequests(
  measure: Measure,
  bare: Target,
  subjects: readonly Subject[],
  plan: Plan,
): Promise<RequestGroup[]> {
  const load = async (method: Method, path: string, prefix: string, target: Target, ms: number): Promise<Figures> => {
    const asked = exchange("modern", method, prefix);
    // What a gateway remembered may be too old by its next turn; that is measured by itself.
    await target.agent.expect(path, asked);
    const { pid, port } = target.process;
    const common = { pid, port, path, exchange: asked, leadInMs: plan.leadInMs, windowMs: ms };
    const { p50Ms, p95Ms } = await measure({ ...common, clients: [target.headers] });
    const clients = Array.from({ length: PARALLEL }, () => target.headers);
    const { perSecond } = await measure({ ...common, clients });
    return { p50Ms, p95Ms, perSecond };
  };
  const walk = async ({ agent }: Subject, ms: number) => {
    await walkTools(agent, "/mcp");
    return repeat(ms, () => walkTools(agent, "/mcp"));
  };
  const page = await probeAll(subjects, plan, (target, ms) => load("tools/list", "/mcp", "bench__", target, ms));
  const whole = await probeAll(subjects, plan, walk);
  const own = await probeAll(subjects, plan, (target, ms) => load("tools/list", "/mcp/bench", "", target, ms));
  const [direct = [], ...call] = await probeAll<Target>([bare, ...subjects], plan, (target, ms) =>
    load("tools/call", "/mcp", target === bare ? "" : "bench__", target, ms),
  );
  const groupOf = (name: string, samples: readonly (readonly Figures[])[], bare?: readonly Figures[]) => {
    const sizes = subjects.map(({ servers }, at) => ({ servers, samples: samples[at] ?? [] }));
    return { name, sizes, ...(bare === undefined ? {} : { bare }) };
  };
  return [
    groupOf("tools/list /mcp, first page", page),
    groupOf("tools/list /mcp, all pages", whole),
    groupOf("tools/list /mcp/bench", own),
    groupOf("tools/call /mcp", call, direct),
  ];
}

/** Warms every target up, and measures them in turns. @returns The samples of each target, in the order of rounds. */
async function probeAll<T>(targets: readonly T[], plan: Plan, probe: Probe<T>): Promise<Figures[][]> {
  for (const target of targets) await probe(target, plan.warmUpMs);
  return takeTurns(targets, plan.rounds, (target) => probe(target, plan.windowMs));
}

async function takeTurns<T, S>(
  targets: readonly T[],
  rounds: number,
  take: (target: T, round: number) => Promise<S>,
): Promise<S[][]> {
  const samples: S[][] = targets.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [at, target] of turned([...targets.entries()], round)) samples[at]?.push(await take(target, round));
  }
  return samples;
}
