/** The call log in Bifrost's wire format, as far as it has one: what is not known here is left out, unknown filters are ignored. */
import * as z from "zod";

/** Numbers and times come as text, because their refusals have words of their own; lists have commas between members. */
const filters = {
  tool_names: z.string().optional(),
  server_labels: z.string().optional(),
  status: z.string().optional().describe("Of success and error; nothing is logged while it is processing."),
  virtual_key_ids: z.string().optional(),
  llm_request_ids: z.string().optional().describe("Nothing has any: models are no business of this gateway."),
  start_time: z.string().optional(),
  end_time: z.string().optional(),
  min_latency: z.string().optional(),
  max_latency: z.string().optional(),
  content_search: z.string().optional(),
};

export const McpLogFilters = z.object(filters);
export type McpLogFilters = z.infer<typeof McpLogFilters>;

export const McpLogQuery = z.object({
  ...filters,
  limit: z.string().optional(),
  offset: z.string().optional(),
  sort_by: z.string().optional(),
  order: z.string().optional(),
});
export type McpLogQuery = z.infer<typeof McpLogQuery>;

export const McpLog = z
  .strictObject({
    id: z.string(),
    timestamp: z.iso.datetime(),
    tool_name: z.string(),
    /** The server's slug at the time of the call. */
    server_label: z.string(),
    virtual_key_id: z.string().optional(),
    arguments: z.record(z.string(), z.unknown()),
    error_details: z
      .strictObject({
        is_bifrost_error: z.literal(false),
        error: z.strictObject({ type: z.string(), message: z.string() }),
      })
      .optional(),
    /** Milliseconds. */
    latency: z.number(),
    /** USD. */
    cost: z.number(),
    status: z.enum(["success", "error"]),
    metadata: z.record(z.string(), z.string()),
    created_at: z.iso.datetime(),
  })
  .meta({ id: "MCPToolLogEntry" });
export type McpLog = z.infer<typeof McpLog>;

/** Zero where there is no call. */
export const McpLogStats = z
  .strictObject({
    total_executions: z.int(),
    /** A percentage. */
    success_rate: z.number(),
    /** Milliseconds. */
    average_latency: z.number(),
    /** USD. */
    total_cost: z.number(),
  })
  .meta({ id: "MCPToolLogStats" });
export type McpLogStats = z.infer<typeof McpLogStats>;

export const McpLogList = z.strictObject({
  logs: z.array(McpLog),
  pagination: z.strictObject({
    limit: z.int(),
    offset: z.int(),
    sort_by: z.enum(["timestamp", "latency", "cost"]),
    order: z.enum(["asc", "desc"]),
    total_count: z.int(),
  }),
  /** Of all that match, whatever the page. */
  stats: McpLogStats,
  /** Whether there are any at all. */
  has_logs: z.boolean(),
});
export type McpLogList = z.infer<typeof McpLogList>;

export const McpLogNames = z.strictObject({ tool_names: z.array(z.string()), server_labels: z.array(z.string()) });
