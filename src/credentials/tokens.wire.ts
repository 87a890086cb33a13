import * as z from "zod";

/** What is shown of an upstream token: never its value (RB-17, RB-19). */
export const McpTokenRecord = z.strictObject({
  server_id: z.string(),
  /** Who authorized it; empty, with `org_id`, for a server's own. */
  user_id: z.string(),
  org_id: z.string(),
  token_status: z.enum(["valid", "expired", "refresh_failed"]),
  /** When the access token ends, if known. */
  expires_at: z.iso.datetime().nullable(),
  /** Those granted. */
  scopes: z.array(z.string()),
  created: z.iso.datetime(),
  modified: z.iso.datetime(),
});
export type McpTokenRecord = z.infer<typeof McpTokenRecord>;
McpTokenRecord.register(z.globalRegistry, { id: "McpTokenRecord" });

export const TokenQuery = z.object({
  page: z.string().optional(),
  page_size: z.string().optional(),
  /** For org admins: one user, or `*` for all; omitted, one's own. */
  user_id: z.string().optional(),
});
export type TokenQuery = z.infer<typeof TokenQuery>;

export const StartedLink = z.strictObject({
  /** On this gateway: it asks for consent, then goes on to the authorization server. */
  authorization_url: z.url(),
  state: z.string(),
});
