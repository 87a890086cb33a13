import * as z from "zod";

/** `McpServerOrgContextRecord` (RB-22). */
export const ContextView = z.strictObject({
  server_id: z.string(),
  org_id: z.string(),
  context: z.string(),
  created: z.iso.datetime(),
  created_by: z.string(),
  modified: z.iso.datetime(),
  modified_by: z.string(),
});

export const ContextInput = z.strictObject({ context: z.string() });
