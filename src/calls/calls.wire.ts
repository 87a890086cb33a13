import * as z from "zod";

/**
 * How a call ended.
 *
 * - `ok`: the tool gave its result; the only one that succeeded, and that costs anything.
 * - `tool_error`: the tool's result says that it failed (`isError`).
 * - `server_error`: the server answered with an error of the protocol.
 * - `unsupported`: the server answered with something that cannot be passed on to this client.
 * - `refused`: admission said no, for the `reason` (PS-10); nothing was sent.
 * - `input_required`: the server asks its client for input; the call goes on with another request.
 * - `link_needed`: an account has to be linked with the server first.
 * - `bridge_missing`: a `stdio` server that waits for its bridge.
 * - `upstream_failed`, `upstream_timeout`: there was no answer, or none within the deadline.
 * - `abandoned`: the client left before there was an answer.
 * - `gateway_failed`: a part of the gateway itself did not answer.
 */
export const Outcome = z.enum([
  ...(["ok", "tool_error", "server_error", "unsupported", "refused", "link_needed", "bridge_missing"] as const),
  "input_required",
  ...(["upstream_failed", "upstream_timeout", "abandoned", "gateway_failed"] as const),
]);
export type Outcome = z.infer<typeof Outcome>;

export const CallView = z.strictObject({
  id: z.string(),
  created_at: z.iso.datetime(),
  org_id: z.string(),
  server: z.string().nullable(),
  server_id: z.string().nullable(),
  tool: z.string(),
  /** The name as sent. */
  exposed_name: z.string().nullable(),
  door: z.string(),
  sub: z.string().nullable(),
  email: z.string().nullable(),
  virtual_key_id: z.string().nullable(),
  session_id: z.string().nullable(),
  run_id: z.string().nullable(),
  parent_run_id: z.string().nullable(),
  args: z.record(z.string(), z.unknown()).nullable(),
  ok: z.boolean(),
  outcome: Outcome,
  error: z.string().nullable(),
  reason: z.string().nullable(),
  duration_ms: z.int(),
  upstream_ms: z.int().nullable(),
  /** What of the duration was not spent on the server. */
  gateway_ms: z.int(),
  attempts: z.int(),
  /** USD; 0 for a call that failed, or whose tool has no price. */
  cost_usd: z.number(),
  definition_hash: z.string().nullable(),
});
CallView.register(z.globalRegistry, { id: "Call" });
export type CallView = z.infer<typeof CallView>;

const SortField = z.enum(["created_at", "duration_ms", "cost_usd"]);
const Direction = z.enum(["asc", "desc"]);
/** As applied. */
const Filters = z.record(z.string(), z.unknown());

/** PS-71: calls page by an opaque cursor, because new rows arrive all the time. */
export const CallPage = z.strictObject({
  rows: z.array(CallView),
  next_cursor: z.string().nullable(),
  page_size: z.int(),
  filters: Filters,
  sort: z.strictObject({ by: SortField, direction: Direction }),
});
export type CallPage = z.infer<typeof CallPage>;

const Scope = { org_id: z.string().optional().describe("`*`: all orgs, for admins of the platform.") };
const Given = z.string().min(1);
const Time = z.iso.datetime({ offset: true, error: "must be a date-time of ISO 8601 with an offset" });
const Milliseconds = z.string().regex(/^\d{1,9}$/, "must be a whole number of milliseconds");

/** What narrows calls (B.6). All of it must apply; a text is looked for in the tool, the error and the arguments. */
const filters = {
  ...Scope,
  server_id: Given.optional(),
  tool: Given.optional(),
  user_id: Given.optional(),
  virtual_key_id: Given.optional(),
  run_id: Given.optional(),
  session_id: Given.optional(),
  ok: z.enum(["true", "false"]).optional(),
  outcome: Outcome.optional(),
  reason: Given.optional(),
  from: Time.optional().describe("The first instant."),
  to: Time.optional().describe("The first instant that does not count any more."),
  min_duration_ms: Milliseconds.optional(),
  max_duration_ms: Milliseconds.optional(),
  text: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe("A part of the tool, the error, or the arguments as JSON; ASCII letters ignore case."),
};

export const CallStatsQuery = z.strictObject(filters);
export type CallStatsQuery = z.infer<typeof CallStatsQuery>;

const order = { sort: SortField.optional(), direction: Direction.optional() };

export const CallQuery = z.strictObject({
  ...filters,
  ...order,
  cursor: z.string().optional(),
  page_size: z.string().optional(),
});
export type CallQuery = z.infer<typeof CallQuery>;

export const CallExportQuery = z.strictObject({ ...filters, ...order, format: z.enum(["csv", "ndjson"]).optional() });
export type CallExportQuery = z.infer<typeof CallExportQuery>;

export const OneCallQuery = z.strictObject(Scope);

/** What a cursor holds: the order it belongs to, and the last row in it. */
export const Cursor = z.tuple([SortField, Direction, z.int(), z.string()]);

const measures = {
  total: z.int(),
  succeeded: z.int(),
  /** From 0 to 1. Null when there is no call, like every rate, average and percentile. */
  success_rate: z.number().nullable(),
  average_duration_ms: z.number().nullable(),
  total_cost_usd: z.number(),
};

export const CallStats = z.strictObject({
  ...measures,
  /** Percentiles are taken from a histogram: within 5 % of the exact value, and within half a millisecond below 10. */
  p50_duration_ms: z.int().nullable(),
  p95_duration_ms: z.int().nullable(),
  p99_duration_ms: z.int().nullable(),
  by_server: z.array(z.strictObject({ server_id: z.string().nullable(), server: z.string().nullable(), ...measures })),
  by_tool: z.array(
    z.strictObject({
      server_id: z.string().nullable(),
      server: z.string().nullable(),
      tool: z.string(),
      ...measures,
    }),
  ),
  by_key: z.array(z.strictObject({ virtual_key_id: z.string().nullable(), ...measures })),
  by_day: z.array(z.strictObject({ day: z.iso.date(), ...measures })),
  filters: Filters,
});
export type CallStats = z.infer<typeof CallStats>;
