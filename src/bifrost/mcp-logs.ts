/** The call log as Bifrost's tooling reads it: the same calls, the same statistics, other names. */
import type { CallFilters, CallSort } from "../calls/call-query.ts";
import { given, NO_CALLS } from "../calls/call-query.ts";
import type { Calls } from "../calls/calls.ts";
import type { CallStats, CallView } from "../calls/calls.wire.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { countOf } from "./client-input.ts";
import { known } from "./known.ts";
import type { McpLog, McpLogFilters, McpLogList, McpLogQuery, McpLogStats } from "./mcp-logs.wire.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1_000;

export function createMcpLogs({ calls }: { calls: Pick<Calls, "find" | "one" | "sumUp" | "names" | "serversCalled"> }) {
  async function filtersOf(orgId: string, query: McpLogFilters): Promise<CallFilters> {
    const labels = listOf(query.server_labels);
    const filters = given({
      tool: listOf(query.tool_names),
      server_id: labels === undefined ? undefined : await calls.serversCalled(orgId, labels),
      virtual_key_id: listOf(query.virtual_key_ids),
      from: timeOf("start_time", query.start_time),
      to: timeOf("end_time", query.end_time),
      min_duration_ms: latencyOf("min_latency", query.min_latency, Math.ceil),
      max_duration_ms: latencyOf("max_latency", query.max_latency, Math.floor),
      text: query.content_search || undefined,
    });
    const statuses = new Set(listOf(query.status));
    const [succeeded, failed] = [statuses.has("success"), statuses.has("error")];
    const isNone = listOf(query.llm_request_ids) !== undefined || (statuses.size > 0 && !succeeded && !failed);
    return { ...filters, ...(succeeded === failed ? {} : { ok: succeeded }), ...(isNone ? NO_CALLS : {}) };
  }

  return {
    /** @throws GatewayError `invalid_request` with the parameter, also for what is too far behind the beginning */
    async list(orgId: string, query: McpLogQuery): Promise<McpLogList> {
      const limit = Math.min(MAX_LIMIT, countOf("limit", query.limit || undefined) || DEFAULT_LIMIT);
      const offset = countOf("offset", query.offset || undefined);
      const sort = sortOf(query);
      const filters = await filtersOf(orgId, query);
      const { rows, isCut } = await calls.find(orgId, filters, { sort, limit, offset });
      if (isCut) {
        const message = "Invalid offset parameter: that is too far behind the beginning. Narrow the time.";
        throw refuse("offset", message);
      }
      const stats = await calls.sumUp(orgId, filters);
      const isThere = stats.total > 0 || (await calls.names(orgId)).tools.length > 0;
      const { sort_by, order } = { sort_by: SORTS[sort.by], order: sort.direction };
      return {
        logs: rows.map(logOf),
        pagination: { limit, offset, sort_by, order, total_count: stats.total },
        stats: statsOf(stats),
        has_logs: isThere,
      };
    },

    /** @throws GatewayError `not_found` */
    async get(orgId: string, id: string): Promise<McpLog> {
      return logOf(await known("MCP tool log not found", calls.one(orgId, id)));
    },

    /** @throws GatewayError `invalid_request` with the parameter */
    async stats(orgId: string, query: McpLogFilters): Promise<McpLogStats> {
      return statsOf(await calls.sumUp(orgId, await filtersOf(orgId, query)));
    },

    /** What there is to filter by. */
    async names(orgId: string) {
      const { tools, servers } = await calls.names(orgId);
      return { tool_names: tools, server_labels: servers };
    },
  };
}

function logOf(call: CallView): McpLog {
  const { outcome, reason, run_id, session_id, server_id, door } = call;
  const metadata = Object.entries({ outcome, reason, run_id, session_id, server_id, door });
  return {
    id: call.id,
    timestamp: call.created_at,
    tool_name: call.tool,
    server_label: call.server ?? "",
    ...(call.virtual_key_id === null ? {} : { virtual_key_id: call.virtual_key_id }),
    arguments: call.args ?? {},
    ...(call.ok ? {} : { error_details: detailsOf(call) }),
    latency: call.duration_ms,
    cost: call.cost_usd,
    status: call.ok ? "success" : "error",
    metadata: Object.fromEntries(metadata.flatMap(([name, value]) => (value === null ? [] : [[name, value]]))),
    created_at: call.created_at,
  };
}

function detailsOf({ outcome, error }: CallView) {
  return { is_bifrost_error: false as const, error: { type: outcome, message: error ?? "" } };
}

function statsOf({
  total,
  success_rate,
  average_duration_ms,
  total_cost_usd,
}: Omit<CallStats, "filters">): McpLogStats {
  return {
    total_executions: total,
    success_rate: (success_rate ?? 0) * 100,
    average_latency: average_duration_ms ?? 0,
    total_cost: total_cost_usd,
  };
}

const SORTS = { created_at: "timestamp", duration_ms: "latency", cost_usd: "cost" } as const;

function sortOf({ sort_by = "timestamp", order = "desc" }: McpLogQuery): CallSort {
  const by = (["created_at", "duration_ms", "cost_usd"] as const).find(
    (name) => SORTS[name] === (sort_by || "timestamp"),
  );
  const direction = (["asc", "desc"] as const).find((name) => name === (order || "desc"));
  if (by === undefined) throw refuse("sort_by", "Invalid sort_by parameter: must be timestamp, latency or cost");
  if (direction === undefined) throw refuse("order", "Invalid order parameter: must be asc or desc");
  return { by, direction };
}

/** Members between commas; undefined when there are none. */
function listOf(text: string | undefined): string[] | undefined {
  const members = (text ?? "").split(",").map((member) => member.trim());
  const given = members.filter((member) => member !== "");
  return given.length === 0 ? undefined : given;
}

function timeOf(field: string, text = ""): number | undefined {
  if (text === "") return undefined;
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw refuse(field, `Invalid ${field} parameter: must be a date-time of RFC 3339`);
  return at;
}

function latencyOf(field: string, text: string | undefined, round: (ms: number) => number): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,12}(\.\d+)?$/.test(text)) throw refuse(field, `Invalid ${field} parameter: must be a number`);
  return round(Number(text));
}

function refuse(field: string, message: string): GatewayError {
  return new GatewayError("invalid_request", message, { field });
}
