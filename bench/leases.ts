/**
 * Fourth part: what an account of one's own costs. First the warm path, to one server with a credential of the caller's
 * and to the same one without; then many calls at once at the moment when that credential is due for renewal.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Accounts, LINKED, MARGIN_S, OPEN, startAccounts } from "./accounts.ts";
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { median, medianRatio, turned, written } from "./figures.ts";
import type { Sample } from "./load.ts";
import { markdownTable } from "./markdown.ts";
import { type Measure, startUpstream } from "./processes.ts";
import { createVisitor, timed, type Visitor } from "./visitor.ts";
import { exchange } from "./wire.ts";

interface Plan {
  readonly rounds: number;
  readonly leadInMs: number;
  readonly windowMs: number;
  readonly warmUpMs: number;
  readonly bursts: number;
}

const FULL: Plan = { rounds: 9, leadInMs: 80, windowMs: 320, warmUpMs: 1_000, bursts: 5 };
const QUICK: Plan = { rounds: 1, leadInMs: 60, windowMs: 240, warmUpMs: 250, bursts: 1 };

const PARALLEL = [1, 8, 32] as const;
const BURST = 1_000;
/** Due a second after it comes: before workerd ends the idle connections to its database, which it then finds lost. */
const SHORT_S = MARGIN_S + 1;
const LONG_S = 3_600;

type Kind = "open" | "linked";
const PREFIXES: Readonly<Record<Kind, string>> = { open: OPEN, linked: LINKED };

/** Measures both, and prints a table for each. */
export async function measureLeases(
  cleanup: Cleanup,
  bundles: Bundles,
  measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const plan = isQuick ? QUICK : FULL;
  const upstream = await startUpstream(cleanup, "modern");
  const accounts = await startAccounts(cleanup, bundles, `http://127.0.0.1:${upstream.port}/mcp`);
  await accounts.authorization.setLifetime(LONG_S);
  await accounts.link();
  console.log(`${await measureWarm(accounts, measure, plan)}\n`);
  console.log(`${await measureExpiry(accounts, plan)}\n`);
  await accounts.stop();
  await upstream.stop();
}

async function measureWarm({ pid, port, headers }: Accounts, measure: Measure, plan: Plan): Promise<string> {
  const { leadInMs, windowMs, warmUpMs } = plan;
  const sample = (kind: Kind, clients: number, windowMs: number): Promise<Sample> => {
    const load = { exchange: exchange("modern", "tools/call", PREFIXES[kind]), clients: Array(clients).fill(headers) };
    return measure({ ...load, leadInMs, windowMs, pid, port, path: "/mcp" });
  };
  const rows: string[][] = [];
  for (const kind of ["open", "linked"] as const) await sample(kind, Math.max(...PARALLEL), warmUpMs);
  for (const clients of PARALLEL) {
    const samples: Record<Kind, Sample[]> = { open: [], linked: [] };
    for (let round = 0; round < plan.rounds; round++) {
      for (const kind of turned(["open", "linked"] as const, round)) {
        samples[kind].push(await sample(kind, clients, windowMs));
      }
    }
    const { open, linked } = samples;
    const [p50, rate] = [({ p50Ms }: Sample) => p50Ms, ({ perSecond }: Sample) => perSecond];
    const both = ([kind, of, digits]: [Sample[], typeof p50, number]) => written(median(kind.map(of)), digits);
    rows.push([
      String(clients),
      both([open, p50, 2]),
      both([open, rate, 0]),
      both([linked, p50, 2]),
      both([linked, rate, 0]),
      written(medianRatio(linked, open, p50), 2),
      written(medianRatio(linked, open, rate), 2),
    ]);
  }
  const heads = ["clients", "without: p50 ms", "req/s", "with: p50 ms", "req/s", "p50: ratio", "req/s: ratio"];
  return `Warm tools/call, with an account of the caller's and without\n\n${markdownTable(heads, rows)}`;
}

interface Burst {
  readonly warmMs: number;
  readonly dueMs: number;
  /** Requests to the token endpoint that the burst has made. */
  readonly refreshed: number;
}

async function measureExpiry(accounts: Accounts, { bursts }: Plan): Promise<string> {
  const visitors = Array.from({ length: BURST }, () => createVisitor(accounts.port, accounts.headers));
  const measured: Burst[] = [];
  try {
    for (let round = 0; round < bursts; round++) measured.push(await measureBurst(accounts, visitors));
  } finally {
    for (const visitor of visitors) visitor.close();
  }
  const rows = measured.map(({ warmMs, dueMs, refreshed }, round) => {
    return [String(round + 1), written(warmMs, 0), written(dueMs, 0), written(dueMs / warmMs, 2), String(refreshed)];
  });
  const warmMs = median(measured.map((burst) => burst.warmMs));
  const dueMs = median(measured.map((burst) => burst.dueMs));
  const ratio = median(measured.map((burst) => burst.dueMs / burst.warmMs));
  rows.push(["median", written(warmMs, 0), written(dueMs, 0), written(ratio, 2), ""]);
  const heads = ["round", "warm: ms", "due: ms", "ratio", "refresh requests"];
  return `${BURST} calls at once until the last is answered, all rightly: warm, and when the token is due\n\n${markdownTable(heads, rows)}`;
}

async function measureBurst(accounts: Accounts, visitors: readonly Visitor[]): Promise<Burst> {
  const { authorization, link } = accounts;
  await authorization.setLifetime(SHORT_S);
  await link();
  await untilDue(accounts);
  // What the isolate knows of D1 has become old, and workerd has ended idle connections: neither is to be measured.
  await burst(visitors.slice(0, 1), OPEN);
  await burst(visitors, OPEN);
  const before = await authorization.setLifetime(LONG_S);
  const dueMs = await burst(visitors, LINKED);
  const refreshed = (await authorization.setLifetime(LONG_S)) - before;
  return { dueMs, refreshed, warmMs: await burst(visitors, LINKED) };
}

/** The gateway renews a token in use early, and the one that comes of it nobody has used. */
async function untilDue({ dueAt }: Accounts): Promise<void> {
  for (;;) {
    const inMs = (await dueAt()) - Date.now();
    if (inMs <= 0) return;
    await sleep(inMs + 50);
  }
}

/** @returns Milliseconds. @throws Error unless every answer is a right one. */
function burst(visitors: readonly Visitor[], prefix: string): Promise<number> {
  const call = exchange("modern", "tools/call", prefix);
  return timed(() => Promise.all(visitors.map((visitor) => visitor.expect("/mcp", call))));
}
