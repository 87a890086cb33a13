/** OAuth in Bifrost's wire format. */
import * as z from "zod";
import { omissible } from "./omissible.wire.ts";

const Endpoint = omissible(z.string().max(2_048));

/** BF-25. What is left out is found, or registered. */
export const OAuthConfigInput = z.object({
  client_id: omissible(z.string().max(2_048)),
  client_secret: omissible(z.string().max(4_096)),
  authorize_url: Endpoint,
  token_url: Endpoint,
  registration_url: Endpoint,
  scopes: omissible(z.array(z.string()).max(100)),
});
export type OAuthConfigInput = z.infer<typeof OAuthConfigInput>;

const DateTime = z.iso.datetime();

/** BF-23: the server waits for somebody to authorize the gateway. */
export const PendingOAuth = z.strictObject({
  status: z.literal("pending_oauth"),
  message: z.string(),
  oauth_config_id: z.string(),
  /** Where to send the browser of whoever has the account. */
  authorize_url: z.string(),
  expires_at: DateTime,
  mcp_client_id: z.string(),
  complete_url: z.string(),
  status_url: z.string(),
  next_steps: z.array(z.string()).length(3),
});
export type PendingOAuth = z.infer<typeof PendingOAuth>;

/** BF-48. */
export const Completed = z.strictObject({
  status: z.literal("success"),
  message: z.string(),
  /** For `per_user_oauth`: how many tools the server was found to have. */
  tools_count: z.int().optional(),
});
export type Completed = z.infer<typeof Completed>;

/** BF-47. */
export const OAuthConfigStatus = z.strictObject({
  id: z.string(),
  status: z.enum(["pending", "authorized", "failed", "expired", "revoked"]),
  created_at: DateTime,
  expires_at: DateTime,
  /** The token, while there is one. */
  token_id: z.string().optional(),
  token_expires_at: DateTime.optional(),
  token_scopes: z.array(z.string()).optional(),
});
export type OAuthConfigStatus = z.infer<typeof OAuthConfigStatus>;
