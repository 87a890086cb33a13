import * as z from "zod";
import { pageOf } from "../http/page.ts";

const AllowedToolsInput = z.union([
  z.null(),
  z.tuple([z.literal("*")]),
  z.record(z.string().min(1).max(256), z.boolean()),
]);

/** What a create and a partial update share. Rules that need words of their own are in `server-record.ts`. */
const fields = {
  name: z.string(),
  display_name: z.string(),
  connection_type: z.literal("http"),
  server_url: z.string(),
  enabled: z.unknown(),
  timeout_ms: z.unknown(),
  auth_type: z.enum(["none", "headers"]),
  config: z.unknown(),
  allowed_tools: AllowedToolsInput,
  definition_policy: z.enum(["pin", "trust"]),
  allow_on_all_virtual_keys: z.boolean(),
  is_ping_available: z.boolean(),
};

export const ServerInput = z.strictObject({
  ...z.strictObject(fields).partial().shape,
  server_id: z.string().optional(),
  name: fields.name,
  server_url: fields.server_url,
});
export type ServerInput = z.infer<typeof ServerInput>;

export const ServerPatch = z.strictObject(fields).partial();
export type ServerPatch = z.infer<typeof ServerPatch>;

const DateTime = z.iso.datetime();

export const ServerView = z.strictObject({
  server_id: z.string(),
  name: z.string(),
  display_name: z.string(),
  connection_type: z.enum(["http"]),
  server_url: z.string(),
  enabled: z.boolean(),
  timeout_ms: z.int(),
  auth_type: z.enum(["none", "headers"]),
  config: z.record(z.string(), z.unknown()),
  allowed_tools: z.record(z.string(), z.boolean()).nullable(),
  tool_mode: z.enum(["unset", "list", "all"]),
  definition_policy: z.enum(["pin", "trust"]),
  allow_on_all_virtual_keys: z.boolean(),
  is_ping_available: z.boolean(),
  status: z.enum(["active", "pending_setup", "error"]),
  state: z.enum(["connected", "disconnected", "error"]),
  last_failure: z
    .strictObject({ stage: z.enum(["connect", "auth", "discover"]), message: z.string(), at: DateTime })
    .nullable(),
  created: DateTime,
  created_by: z.string(),
  modified: DateTime,
  modified_by: z.string(),
});
export type ServerView = z.infer<typeof ServerView>;
ServerView.register(z.globalRegistry, { id: "Server" });

/** Query of `GET /v1/servers` (RG-3 to RG-5): unreadable values count as absent, so nothing here refuses. */
export const ServerQuery = z.object({
  page: z.string().optional(),
  page_size: z.string().optional(),
  sort: z.string().optional(),
  direction: z.string().optional(),
  id: z.string().optional(),
  name: z.string().optional(),
  transport: z.string().optional(),
  enabled: z.string().optional(),
});
export type ServerQuery = z.infer<typeof ServerQuery>;

const AllowlistEvent = z.strictObject({
  event_id: z.string(),
  reason: z.enum(["mcp_server_registry_created", "mcp_server_registry_updated", "mcp_server_registry_deleted"]),
  resource_type: z.literal("mcp_server"),
  target: z.string(),
  mode: z.enum(["create", "update", "delete"]),
  server_id: z.string(),
  created_at: DateTime,
});

export const AllowlistView = z.strictObject({
  entries: z.array(
    z.strictObject({
      host: z.string(),
      port: z.int(),
      protocol: z.literal("tcp"),
      source: z.string(),
      purpose: z.literal("mcp_runtime"),
    }),
  ),
  events: pageOf(AllowlistEvent),
});

export const AllowlistQuery = z.object({ page: z.string().optional(), page_size: z.string().optional() });
