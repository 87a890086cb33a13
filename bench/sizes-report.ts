/** The printed form of the third part. */
import type { ColdStart } from "./cold.ts";
import { TOOLS_PER_SERVER } from "./definitions.ts";
import { type Figures, median, medianRatio, written } from "./figures.ts";
import { markdownTable } from "./markdown.ts";
import type { Memory } from "./processes.ts";
import type { Usage } from "./storage.ts";

/** Samples are one of each round, in order; the smallest size comes first. */
export interface RequestGroup {
  readonly name: string;
  readonly sizes: readonly { readonly servers: number; readonly samples: readonly Figures[] }[];
  /** The same through the bare Worker, where that is possible. */
  readonly bare?: readonly Figures[];
}

export interface ColdRow {
  readonly servers: number;
  readonly call: readonly ColdStart[];
  readonly list: readonly ColdStart[];
  /** Calls of several clients at once. */
  readonly calls: readonly ColdStart[];
}

export interface AdminRow {
  readonly servers: number;
  /** One page, and the whole list in the largest pages. */
  readonly one: readonly Figures[];
  readonly all: readonly Figures[];
  readonly ofOne: Usage;
  readonly ofAll: Usage;
}

export interface MemoryRow {
  readonly servers: number;
  readonly idle: Memory;
  readonly listed: Memory;
  readonly loaded: Memory;
}

export const SIZES_LEGEND = [
  "Times are those of one client, req/s those of eight at once; of all pages, lists of one client. Medians over the",
  "rounds; `: 1` is the ratio to the smallest size, `: bare` to the bare Worker, medians of the rounds' own ratios.",
  "Cold: another process on the same database, its script loaded, this its first request. Anew: the same request to",
  "an isolate that is warm and has not been asked for twice SNAPSHOT_TTL_MS. At once: until the last has its answer.",
  "Rows read are those of D1's `meta`; memory is that of the gateway's process, with its objects and without D1.",
].join("\n");

const P50 = ({ p50Ms }: Figures) => p50Ms;
const P95 = ({ p95Ms }: Figures) => p95Ms;
const RATE = ({ perSecond }: Figures) => perSecond;

export function requestTable(groups: readonly RequestGroup[]): string {
  const heads = ["request", "servers", "p50 ms", "p95 ms", "req/s", "p50 : 1", "p95 : 1", "req/s : 1"];
  const rows = groups.flatMap(({ name, sizes, bare }) => {
    const smallest = sizes[0]?.samples ?? [];
    return sizes.map(({ servers, samples }) => [
      name,
      counted(servers),
      ...cells(samples),
      ...[P50, P95].map((of) => written(medianRatio(samples, smallest, of), 2)),
      written(medianRatio(samples, smallest, RATE), 3),
      ...[P50, RATE].map((of) => (bare === undefined ? "" : written(medianRatio(samples, bare, of), 2))),
    ]);
  });
  return markdownTable([...heads, "p50 : bare", "req/s : bare"], rows);
}

export function coldTable(rows: readonly ColdRow[]): string {
  const heads = [
    "cold isolate: servers",
    "tools",
    "tools/call ms",
    ": 1",
    "anew ms",
    "tools/list ms",
    ": 1",
    "anew ms",
  ];
  const more = ["rows read", "D1 sent MB", "peak MB", "8 calls at once ms", "rows read", "peak MB"];
  const [smallest] = rows;
  const first = ({ firstMs }: ColdStart) => firstMs;
  const of = (samples: readonly ColdStart[], value: (start: ColdStart) => number, digits: number) =>
    written(median(samples.map(value)), digits);
  const single = (samples: readonly ColdStart[], base: readonly ColdStart[] = []) => [
    of(samples, first, 1),
    written(medianRatio(samples, base, first), 1),
    of(samples, ({ anewMs }) => anewMs, 1),
  ];
  const cells = rows.map(({ servers, call, list, calls }) => [
    counted(servers),
    counted(servers * TOOLS_PER_SERVER),
    ...single(call, smallest?.call),
    ...single(list, smallest?.list),
    counted(median(list.map(({ usage }) => usage.rows_read))),
    of(list, ({ usage }) => usage.answered / MEGA, 2),
    of(list, ({ peakMb }) => peakMb, 0),
    of(calls, first, 1),
    counted(median(calls.map(({ usage }) => usage.rows_read))),
    of(calls, ({ peakMb }) => peakMb, 0),
  ]);
  return markdownTable([...heads, ...more], cells);
}

export function adminTable(rows: readonly AdminRow[]): string {
  const heads = ["GET /v1/servers: servers", "25: p50 ms", "p95 ms", "rows read", "200, all pages: p50 ms", "p95 ms"];
  const cells = rows.map(({ servers, one, all, ofOne, ofAll }) => [
    counted(servers),
    ...times(one),
    counted(ofOne.rows_read),
    ...times(all),
    counted(ofAll.rows_read),
    written(ofAll.rows_read / servers, 0),
  ]);
  return markdownTable([...heads, "rows read", "per server"], cells);
}

export function memoryTable(rows: readonly MemoryRow[]): string {
  const heads = ["memory in MB: servers", "idle", "whole list read once", "after the load", "peak"];
  const cells = rows.map(({ servers, idle, listed, loaded }) => [
    counted(servers),
    ...[idle.residentMb, listed.residentMb, loaded.residentMb, loaded.peakMb].map((mb) => written(mb, 0)),
  ]);
  return markdownTable(heads, cells);
}

const MEGA = 1_000_000;

function cells(samples: readonly Figures[]): string[] {
  return [...times(samples), written(median(samples.map(RATE)), 0)];
}

function times(samples: readonly Figures[]): string[] {
  return [P50, P95].map((of) => written(median(samples.map(of)), 2));
}

function counted(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}
