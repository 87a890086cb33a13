/** Statistics of calls, from what the store has summed up. Pure. */
import { NANO } from "../registry/tool-policy.ts";
import type { CallStats } from "./calls.wire.ts";
import { type Latencies, percentile } from "./latency.ts";

/** What is summed up of some calls. */
export interface CallSum {
  readonly calls: number;
  readonly succeeded: number;
  readonly cost_nano: number;
  readonly duration_ms: number;
}

/** Sums of the same calls, in several ways. */
export interface CallSums {
  /** In the order of time; `day` is its first instant, in UTC. */
  readonly days: readonly (CallSum & { readonly day: number })[];
  /** The most used first; `server` is the slug that the server had last. */
  readonly tools: readonly (CallSum & ToolName)[];
  /** The most used first. */
  readonly keys: readonly (CallSum & { readonly virtual_key_id: string | null })[];
  readonly latencies: Latencies;
}

interface ToolName {
  readonly server_id: string | null;
  readonly server: string | null;
  readonly tool: string;
}

/** Entries of one list: the most used. */
const SHOWN = 1_000;

/** Rates and averages are null where there is no call. */
export function statsOf({ days, tools, keys, latencies }: CallSums): Omit<CallStats, "filters"> {
  const byServer = [...Map.groupBy(tools, ({ server_id }) => server_id)].map(([server_id, own]) => {
    const server = own.find((tool) => tool.server !== null)?.server ?? null;
    return { server_id, server, sum: sumOf(own) };
  });
  return {
    ...measuresOf(sumOf(days)),
    p50_duration_ms: percentile(latencies, 0.5),
    p95_duration_ms: percentile(latencies, 0.95),
    p99_duration_ms: percentile(latencies, 0.99),
    by_server: byServer
      .sort((a, b) => b.sum.calls - a.sum.calls)
      .slice(0, SHOWN)
      .map(({ sum, ...server }) => ({ ...server, ...measuresOf(sum) })),
    by_tool: tools.slice(0, SHOWN).map(({ server_id, server, tool, ...sum }) => {
      return { server_id, server, tool, ...measuresOf(sum) };
    }),
    by_key: keys.slice(0, SHOWN).map(({ virtual_key_id, ...sum }) => ({ virtual_key_id, ...measuresOf(sum) })),
    by_day: days.map(({ day, ...sum }) => ({ day: new Date(day).toISOString().slice(0, 10), ...measuresOf(sum) })),
  };
}

function measuresOf({ calls, succeeded, cost_nano, duration_ms }: CallSum) {
  return {
    total: calls,
    succeeded,
    success_rate: calls === 0 ? null : succeeded / calls,
    average_duration_ms: calls === 0 ? null : duration_ms / calls,
    total_cost_usd: cost_nano / NANO,
  };
}

function sumOf(sums: readonly CallSum[]): CallSum {
  const total = (of: (sum: CallSum) => number) => sums.reduce((sum, one) => sum + of(one), 0);
  return {
    calls: total((sum) => sum.calls),
    succeeded: total((sum) => sum.succeeded),
    cost_nano: total((sum) => sum.cost_nano),
    duration_ms: total((sum) => sum.duration_ms),
  };
}
