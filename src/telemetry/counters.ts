/** Calls counted by server and outcome, and the form in which a collector takes them. Plain values. */
import { ValueType } from "@opentelemetry/api";
import { millisToHrTime } from "@opentelemetry/core";
import type { Resource } from "@opentelemetry/resources";
import { AggregationTemporality, DataPointType, type ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { CallRow } from "../calls/call.ts";
import { POSTERN } from "../platform/version.ts";

/** Calls of one server that ended in one way. */
interface Count {
  /** Its slug; empty where the name led to none. */
  readonly server: string;
  readonly outcome: CallRow["outcome"];
  calls: number;
}

/** By server and outcome. */
export type Counts = Map<string, Count>;

export function count(counts: Counts, { server, outcome }: Pick<CallRow, "server" | "outcome">): void {
  const key = `${server ?? ""} ${outcome}`;
  const known = counts.get(key);
  if (known === undefined) counts.set(key, { server: server ?? "", outcome, calls: 1 });
  else known.calls++;
}

/**
 * `postern.calls`: a sum of what has happened since the last batch, because isolates come and go and none could say what
 * there has been in all.
 *
 * @param from When counting began, `to` when it ended; milliseconds since the Unix epoch.
 */
export function metricsOf(
  counts: Counts,
  resource: Resource,
  { from, to }: { readonly from: number; readonly to: number },
): ResourceMetrics {
  const [startTime, endTime] = [millisToHrTime(from), millisToHrTime(to)];
  const dataPoints = Array.from(counts.values(), ({ server, outcome, calls }) => {
    return { startTime, endTime, attributes: { server, outcome }, value: calls };
  });
  const descriptor = {
    ...{ name: "postern.calls", description: "Tool calls by server and outcome", unit: "{call}" },
    valueType: ValueType.INT,
  };
  const sum = {
    descriptor,
    dataPointType: DataPointType.SUM as const,
    aggregationTemporality: AggregationTemporality.DELTA,
    isMonotonic: true,
    dataPoints,
  };
  return { resource, scopeMetrics: [{ scope: POSTERN, metrics: [sum] }] };
}
