import * as z from "zod";

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
  known: z.boolean(),
  is_new: z.boolean(),
  definition_hash: z.string().nullable(),
});
export type ToolView = z.infer<typeof ToolView>;

export const ToolQuery = z.object({ page: z.string().optional(), page_size: z.string().optional() });

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
