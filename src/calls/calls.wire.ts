import * as z from "zod";

export const CallView = z.strictObject({
  id: z.string(),
  created_at: z.iso.datetime(),
  server: z.string().nullable(),
  server_id: z.string().nullable(),
  tool: z.string(),
  door: z.string(),
  sub: z.string().nullable(),
  email: z.string().nullable(),
  virtual_key_id: z.string().nullable(),
  session_id: z.string().nullable(),
  run_id: z.string().nullable(),
  args: z.record(z.string(), z.unknown()).nullable(),
  ok: z.boolean(),
  error: z.string().nullable(),
  reason: z.string().nullable(),
  duration_ms: z.int(),
  upstream_ms: z.int().nullable(),
  attempts: z.int(),
  /** USD; 0 for a call that failed, or whose tool has no price. */
  cost_usd: z.number(),
  definition_hash: z.string().nullable(),
});
export type CallView = z.infer<typeof CallView>;

/** PS-71: calls page by an opaque cursor, because new rows arrive all the time. */
export const CallPage = z.strictObject({
  rows: z.array(CallView),
  next_cursor: z.string().nullable(),
  page_size: z.int(),
  filters: z.record(z.string(), z.unknown()),
  sort: z.strictObject({ by: z.literal("created_at"), direction: z.literal("desc") }),
});
export type CallPage = z.infer<typeof CallPage>;

export const CallQuery = z.strictObject({
  cursor: z.string().optional(),
  page_size: z.string().optional(),
  server_id: z.string().optional(),
  tool: z.string().optional(),
  virtual_key_id: z.string().optional(),
  ok: z.enum(["true", "false"]).optional(),
});
export type CallQuery = z.infer<typeof CallQuery>;

/** What a cursor holds. */
export const Cursor = z.tuple([z.int(), z.string()]);
