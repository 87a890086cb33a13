import * as z from "zod";

export const GenerationView = z.strictObject({
  org_id: z.string(),
  generation: z.string().describe("Opaque; another one after each such write."),
});

export const ToolView = z.strictObject({
  name: z.string(),
  title: z.string().nullable(),
  description: z.string(),
  input_schema: z.record(z.string(), z.unknown()),
  output_schema: z.unknown(),
  annotations: z.unknown(),
  server_id: z.string(),
  exposed_name: z.string(),
  allowed: z.boolean(),
  auto_execute: z.boolean(),
  price_usd: z.number().nullable(),
  known: z.boolean(),
  is_new: z.boolean(),
  definition_hash: z.string().nullable(),
  /** Why modern clients are not offered the tool: its `x-mcp-header` annotations break a rule (P-46). */
  header_problem: z.string().nullable(),
  /** The change that waits for a decision. */
  pending_change_id: z.string().nullable(),
});
export type ToolView = z.infer<typeof ToolView>;

/** What a discovery on demand answers (PS-24). */
export const DiscoveryReport = z.strictObject({
  known: z.int(),
  added: z.array(z.string()),
  changed: z.array(z.string()),
  vanished: z.array(z.string()),
  skipped: z.array(z.strictObject({ name: z.string(), reason: z.string() })),
  fetched_at: z.iso.datetime(),
});
export type DiscoveryReport = z.infer<typeof DiscoveryReport>;

/** Of a tool; a text for instructions. */
const Definition = z.union([z.record(z.string(), z.unknown()), z.string()]);

export const ChangeView = z.strictObject({
  change_id: z.string(),
  server_id: z.string(),
  /** Null: the server's own instructions. */
  tool: z.string().nullable(),
  state: z.enum(["held", "approved", "refused", "withdrawn"]),
  found_at: z.iso.datetime(),
  decided_at: z.iso.datetime().nullable(),
  decided_by: z.string().nullable(),
  /** The definition that was in force when the change was found. */
  approved: Definition,
  proposed: Definition,
  /** Field by field; a side that lacks the field has no value. */
  diff: z.array(z.strictObject({ field: z.string(), before: z.unknown().optional(), after: z.unknown().optional() })),
});
export type ChangeView = z.infer<typeof ChangeView>;
ChangeView.register(z.globalRegistry, { id: "ToolChange" });

export const ChangeQuery = z.strictObject({
  page: z.string().optional(),
  page_size: z.string().optional(),
  state: z.enum(["held", "approved", "refused", "withdrawn"]).optional(),
});

export const Decided = z.strictObject({ decided: z.array(z.string()) });

export const ToolPatch = z.strictObject({
  allowed: z.boolean().optional(),
  auto_execute: z.boolean().optional(),
  /** USD per execution; null takes the price away. */
  price_usd: z.number().nullable().optional(),
});
