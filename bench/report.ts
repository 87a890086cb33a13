/** The printed form of the first part. */
import { median, medianRatio, written } from "./figures.ts";
import type { Sample } from "./load.ts";
import type { Era, Method } from "./wire.ts";

export const TARGETS = ["upstream", "bare", "gateway"] as const;
export type Target = (typeof TARGETS)[number];

/** One line: every target, under the same load. */
export interface Row {
  readonly method: Method;
  readonly clients: number;
  /** One sample of each round, in order. */
  readonly samples: Readonly<Record<Target, readonly Sample[]>>;
}

interface Metric {
  readonly head: string;
  readonly width: number;
  readonly digits: number;
  /** NaN when it could not be measured. */
  readonly of: (sample: Sample) => number;
}

const P50: Metric = { head: "p50", width: 8, digits: 2, of: ({ p50Ms }) => p50Ms };
const P99: Metric = { head: "p99", width: 7, digits: 2, of: ({ p99Ms }) => p99Ms };
const RATE: Metric = { head: "req/s", width: 7, digits: 0, of: ({ perSecond }) => perSecond };
const CPU: Metric = { head: "cpu", width: 6, digits: 0, of: ({ cpuMicros }) => cpuMicros ?? Number.NaN };

const LATENCY_AND_RATE = [P50, P99, RATE];
const ALL = [P50, P99, RATE, CPU];

/** From this share of one core on, the load generator holds its target back. */
export const CLIENT_LIMIT = 0.9;

export const LEGEND = [
  "p50, p99 in milliseconds; req/s: answers per second; cpu: microseconds of processor time that the Worker's process",
  "took for each answer. Medians over the rounds; a ratio is the median of the rounds' own ratios.",
  `* the load generator was the limit (${CLIENT_LIMIT * 100} % of a core), so that its target could do more.`,
  "The objects live in the gateway's own process, so their time is part of its numbers; D1 has a process of its own.",
  "tools/list goes through the bare Worker to the upstream server; the gateway answers it by itself.",
].join("\n");

export function table(era: Era, rows: readonly Row[]): string {
  const revision = era === "modern" ? "2026-07-28" : "2025-11-25, with sessions";
  const titles = [
    "".padEnd(15),
    centred("upstream", LATENCY_AND_RATE),
    centred("bare Worker", ALL),
    centred("gateway", ALL),
    centred("gateway : bare", ALL),
  ];
  const heads = [LATENCY_AND_RATE, ALL, ALL, ALL].flat().map(({ head, width }) => head.padStart(width));
  const text = [`${era} wire (${revision})`, titles.join(""), `        clients${heads.join("")}`, ...rows.map(lineOf)];
  return text.map((line) => line.trimEnd()).join("\n");
}

function lineOf({ method, clients, samples: { upstream, bare, gateway } }: Row): string {
  const ratio = ({ width, of }: Metric) => written(medianRatio(gateway, bare, of), 2).padStart(width);
  return [
    method.padEnd(11) + String(clients).padStart(4),
    ...LATENCY_AND_RATE.map((metric) => cell(metric, upstream)),
    ...ALL.map((metric) => cell(metric, bare)),
    ...ALL.map((metric) => cell(metric, gateway)),
    ...ALL.map(ratio),
  ].join("");
}

function cell(metric: Metric, samples: readonly Sample[]): string {
  const text = written(median(samples.map(metric.of)), metric.digits);
  const isClientBound = median(samples.map(({ clientShare }) => clientShare)) >= CLIENT_LIMIT;
  return (metric === RATE && isClientBound ? `${text}*` : text).padStart(metric.width);
}

/** Over the columns of these metrics, a little to the right, as their heads are. */
function centred(text: string, metrics: readonly Metric[]): string {
  const width = metrics.reduce((total, metric) => total + metric.width, 0);
  return text.padStart(Math.ceil((width + 3 + text.length) / 2)).padEnd(width);
}
