/** Fifth part: what it costs to ask a call log of a million rows. */
import type { Bundles } from "./build.ts";
import { DAYS, KEYS, SERVERS, seedCalls, TOOLS_PER_SERVER, UNTIL, USERS } from "./calls-seed.ts";
import type { Cleanup } from "./cleanup.ts";
import { startDatabase } from "./database.ts";
import { median, quantile, written } from "./figures.ts";
import { markdownTable } from "./markdown.ts";
import type { Measure } from "./processes.ts";
import { createVisitor, timed, type Visitor } from "./visitor.ts";
import { startGateway } from "./workers.ts";

interface Plan {
  readonly calls: number;
  /** Requests of each kind. */
  readonly requests: number;
}

const FULL: Plan = { calls: 1_000_000, requests: 200 };
const QUICK: Plan = { calls: 100_000, requests: 20 };

/** The n-th request of a kind; every one asks for something else, as far as there is. */
type Question = readonly [name: string, path: (n: number) => string];

const ago = (days: number) => new Date(UNTIL - days * 86_400_000).toISOString();
const server = (n: number) => `server_id=srv_${String(n % SERVERS).padStart(26, "0")}`;
const tool = (n: number) => `tool=tool_${n % SERVERS}_${n % TOOLS_PER_SERVER}`;
const key = (n: number) => `virtual_key_id=key_${String(n % KEYS).padStart(26, "0")}`;
const user = (n: number) => `user_id=user-${n % USERS}`;
const run = (n: number) => `run_id=run_${String(n).padStart(28, "0")}`;
const session = (n: number) => `session_id=ses_${n}`;
/** No range ends where another does. */
const range = (days: number) => (n: number) => `from=${ago(days + n / 1_000)}&to=${ago((n % 7) / 1_000)}`;

const LIST = "/v1/calls";
const STATS = "/v1/calls/stats";
const QUESTIONS: readonly Question[] = [
  ["list", () => LIST],
  ["list, 200 rows", () => `${LIST}?page_size=200`],
  ["list, a month", (n) => `${LIST}?${range(30)(n)}`],
  ["list, of a server", (n) => `${LIST}?${server(n)}`],
  ["list, of a tool of a server", (n) => `${LIST}?${server(n)}&${tool(n)}`],
  ["list, of a user", (n) => `${LIST}?${user(n)}`],
  ["list, of a key", (n) => `${LIST}?${key(n)}`],
  ["list, of a run", (n) => `${LIST}?${run(n)}`],
  ["list, of a session", (n) => `${LIST}?${session(n)}`],
  ["list, of a key and a tool, failed", (n) => `${LIST}?${key(n)}&${tool(n)}&ok=false`],
  ["list, failed", () => `${LIST}?ok=false`],
  ["list, an outcome that there is none of", () => `${LIST}?outcome=upstream_timeout`],
  ["list, slower than 2 s", () => `${LIST}?min_duration_ms=2000`],
  ["list, a text in every row", () => `${LIST}?text=limit`],
  ["list, a text in no row", (n) => `${LIST}?text=nothing-${n}`],
  ["list, a text in no row of a key", (n) => `${LIST}?${key(n)}&text=nothing-${n}`],
  ["list, the slowest", () => `${LIST}?sort=duration_ms`],
  ["list, the slowest of a day", (n) => `${LIST}?sort=duration_ms&${range(1)(n)}`],
  ["list, the slowest of a month", (n) => `${LIST}?sort=duration_ms&${range(30)(n)}`],
  ["list, the slowest of a key", (n) => `${LIST}?sort=duration_ms&${key(n)}`],
  ["list, the dearest of a user", (n) => `${LIST}?sort=cost_usd&${user(n)}`],
  ["list, the cheapest of a tool", (n) => `${LIST}?sort=cost_usd&direction=asc&${tool(n)}`],
  ["list, all orgs", () => `${LIST}?org_id=*`],
  ["list, a key in all orgs", (n) => `${LIST}?org_id=*&${key(n)}`],
  ["stats", () => STATS],
  ["stats, a day", (n) => `${STATS}?${range(1)(n)}`],
  ["stats, a month", (n) => `${STATS}?${range(30)(n)}`],
  ["stats, of a server", (n) => `${STATS}?${server(n)}`],
  ["stats, of a tool of a server, a month", (n) => `${STATS}?${server(n)}&${tool(n)}&${range(30)(n)}`],
  ["stats, of a tool", (n) => `${STATS}?${tool(n)}`],
  ["stats, of a key", (n) => `${STATS}?${key(n)}`],
  ["stats, of a key, a month", (n) => `${STATS}?${key(n)}&${range(30)(n)}`],
  ["stats, of a user", (n) => `${STATS}?${user(n)}`],
  ["stats, of a user and a tool", (n) => `${STATS}?${user(n)}&${tool(n)}`],
  ["stats, failed", () => `${STATS}?ok=false`],
  ["stats, of a run", (n) => `${STATS}?${run(n)}`],
  ["stats, of a text, some hours", (n) => `${STATS}?text=agent&${range(0.3)(n)}`],
  ["stats, all orgs", () => `${STATS}?org_id=*`],
];

/** Measures every kind of question, and prints one table. */
export async function measureCalls(
  cleanup: Cleanup,
  bundles: Bundles,
  _measure: Measure,
  isQuick: boolean,
): Promise<void> {
  const { calls, requests } = isQuick ? QUICK : FULL;
  const database = await startDatabase(cleanup, bundles, "calls-storage");
  const seedMs = await timed(() => seedCalls(database, calls));
  const gateway = await startGateway(cleanup, bundles, "calls", database);
  const visitor = createVisitor(gateway.port, { Authorization: `Bearer ${gateway.adminKey}` });
  const rows: string[][] = [];
  for (const [name, path] of QUESTIONS) {
    // Not the first of its kind: a statement is compiled once.
    await visitor.get(path(0));
    const before = await database.usage();
    const times = await takeTimes(visitor, path, requests);
    const after = await database.usage();
    const read = (after.rows_read - before.rows_read) / requests;
    const figures = [median(times), quantile(times, 0.95), quantile(times, 0.99)].map((ms) => written(ms, 2));
    rows.push([name, ...figures, read.toLocaleString("en-US", { maximumFractionDigits: 0 })]);
  }
  visitor.close();
  await gateway.stop();
  await database.stop();
  console.log(markdownTable(["question", "p50 ms", "p95 ms", "p99 ms", "rows read"], rows));
  const size = calls.toLocaleString("en-US");
  console.log(`
${size} calls of ${DAYS} days, made in ${(seedMs / 1_000).toFixed(0)} s; ${requests} requests of each kind, one after the other,
as an admin asks over HTTP. Rows read are those of D1's \`meta\`, of one request.
`);
}

/** @returns Milliseconds, ascending. */
async function takeTimes(visitor: Visitor, path: (n: number) => string, requests: number): Promise<number[]> {
  const times: number[] = [];
  for (let n = 1; n <= requests; n++) times.push(await timed(() => visitor.get(path(n))));
  return times.sort((a, b) => a - b);
}
