import * as z from "zod";

const Outcome = z.enum(["done", "abandoned", "failed", "blocked"]);

export const RunView = z.strictObject({
  run_id: z.string(),
  org_id: z.string(),
  user_id: z.string().describe("Who began it: a user, or `key:` and the id of a virtual key."),
  session_id: z.string().nullable().describe("The client's session; null for clients without one."),
  label: z.string(),
  doctrine: z.string().nullable(),
  parent_run_id: z.string().nullable().describe("The run that it stands in."),
  status: z.enum(["open", "finished"]),
  outcome: Outcome.nullable().describe("Null while it is open; `abandoned` also when nobody has finished it."),
  note: z.string().nullable(),
  calls: z.int().describe("Calls in it, without those in runs inside it."),
  cost_usd: z.number().describe("What these have cost."),
  spent_usd: z.number().describe("The same with the runs inside it; what counts against the budget."),
  budget_usd: z.number().nullable(),
  started_at: z.iso.datetime(),
  finished_at: z.iso.datetime().nullable(),
  duration_ms: z.int().describe("So far, while it is open."),
});
RunView.register(z.globalRegistry, { id: "Run" });
export type RunView = z.infer<typeof RunView>;

/** PS-71: runs page by an opaque cursor, because new ones begin all the time. */
export const RunPage = z.strictObject({
  rows: z.array(RunView),
  next_cursor: z.string().nullable(),
  page_size: z.int(),
  filters: z.record(z.string(), z.unknown()),
  sort: z.strictObject({ by: z.literal("started_at"), direction: z.literal("desc") }),
});
export type RunPage = z.infer<typeof RunPage>;

const Time = z.iso.datetime({ offset: true, error: "must be a date-time of ISO 8601" });
export const RunQuery = z.strictObject({
  cursor: z.string().optional(),
  page_size: z.string().optional(),
  open: z.enum(["true", "false"]).optional(),
  outcome: Outcome.optional(),
  user_id: z.string().optional(),
  from: Time.optional().describe("Begun then or later."),
  to: Time.optional().describe("Begun before."),
});
export type RunQuery = z.infer<typeof RunQuery>;

/** What a cursor holds. */
export const Cursor = z.tuple([z.int(), z.string()]);
