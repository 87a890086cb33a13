import * as z from "zod";
import { ToolList } from "../http/tool-list.wire.ts";

const ToolName = z.string().min(1).max(256);

/** D1 takes two megabytes in one parameter. */
const MAX_POLICY_LENGTH = 1_000_000;

const AllowedToolsInput = z.union([
  z.null(),
  z.tuple([z.literal("*")]),
  z
    .record(ToolName, z.boolean())
    .refine((flags) => JSON.stringify(flags).length <= MAX_POLICY_LENGTH, "must have at most a million characters"),
]);

const StdioInput = z.strictObject({
  command: z.string(),
  args: z.array(z.string()).optional(),
  envs: z.array(z.string()).optional(),
});

/** What a create and a partial update share. Rules that need words of their own are in `server-record.ts`. */
const fields = {
  name: z.string(),
  display_name: z.string(),
  connection_type: z.string(),
  server_url: z.string().nullable(),
  stdio_config: StdioInput.nullable(),
  enabled: z.unknown(),
  timeout_ms: z.unknown(),
  auth_type: z.enum(["none", "headers", "oauth", "per_user_oauth"]),
  config: z.unknown(),
  registration_mode: z.enum(["cimd", "dcr", "manual"]),
  oauth_issuer_url: z.string().max(2_048),
  client_id: z.string().max(2_048),
  client_secret: z.string().min(1).max(4_096).nullable(),
  authorization_endpoint: z.string().max(2_048).nullable(),
  token_endpoint: z.string().max(2_048).nullable(),
  registration_endpoint: z.string().max(2_048).nullable(),
  revocation_endpoint: z.string().max(2_048).nullable(),
  scopes: z.array(z.string()).max(100),
  extra_auth_params: z.record(z.string().min(1), z.string()),
  grant_type: z.enum(["authorization_code", "client_credentials", "token_exchange"]),
  token_endpoint_auth_method: z
    .enum(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])
    .nullable(),
  org_ids: z.array(z.string()).max(1_000),
  allowed_tools: AllowedToolsInput,
  tools_to_auto_execute: ToolList,
  definition_policy: z.enum(["pin", "trust"]),
  allow_on_all_virtual_keys: z.boolean(),
  is_code_mode_client: z.boolean(),
  is_ping_available: z.boolean(),
};

export const ServerInput = z.strictObject({
  ...z.strictObject(fields).partial().shape,
  server_id: z.string().optional(),
  name: fields.name,
});
export type ServerInput = z.infer<typeof ServerInput>;

/** PS-76: prices can be set once there are tools, so not at creation. */
export const ServerPatch = z.strictObject({ ...fields, tool_pricing: z.record(ToolName, z.number()) }).partial();
export type ServerPatch = z.infer<typeof ServerPatch>;

const DateTime = z.iso.datetime();

/** Editors see all of it, but `config`, which admins of the platform see; members what it takes to use the server. */
export const ServerView = z.strictObject({
  server_id: z.string(),
  name: z.string(),
  display_name: z.string(),
  connection_type: z.enum(["http", "sse", "stdio", "inprocess"]),
  server_url: z.string().nullable(),
  stdio_config: z
    .strictObject({ command: z.string(), args: z.array(z.string()), envs: z.array(z.string()) })
    .nullable()
    .optional(),
  enabled: z.boolean(),
  timeout_ms: z.int(),
  auth_type: z.enum(["none", "headers", "oauth", "per_user_oauth"]),
  config: z.record(z.string(), z.unknown()).optional(),
  registration_mode: z.enum(["cimd", "dcr", "manual"]),
  oauth_issuer_url: z.string(),
  client_id: z.string(),
  authorization_endpoint: z.string().nullable().optional(),
  token_endpoint: z.string().nullable().optional(),
  registration_endpoint: z.string().nullable().optional(),
  revocation_endpoint: z.string().nullable().optional(),
  scopes: z.array(z.string()),
  extra_auth_params: z.record(z.string(), z.string()).optional(),
  grant_type: z.enum(["authorization_code", "client_credentials", "token_exchange"]),
  token_endpoint_auth_method: z
    .enum(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])
    .nullable()
    .optional(),
  org_ids: z.array(z.string()),
  allowed_tools: z.record(z.string(), z.boolean()).nullable(),
  tool_mode: z.enum(["unset", "list", "all"]),
  tools_to_auto_execute: z.array(z.string()),
  tool_pricing: z.record(z.string(), z.number()),
  definition_policy: z.enum(["pin", "trust"]),
  allow_on_all_virtual_keys: z.boolean(),
  is_code_mode_client: z.boolean(),
  is_ping_available: z.boolean(),
  status: z.enum(["active", "pending_setup", "error"]),
  status_reason: z.string().nullable(),
  state: z.enum(["connected", "disconnected", "error"]),
  last_failure: z
    .strictObject({ stage: z.enum(["connect", "auth", "discover"]), message: z.string().optional(), at: DateTime })
    .nullable(),
  /** What the server tells its clients about itself, as it is in force. */
  instructions: z.string().nullable(),
  created: DateTime,
  created_by: z.string().optional(),
  modified: DateTime,
  modified_by: z.string().optional(),
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

export const AllowlistEventView = z.strictObject({
  event_id: z.string(),
  reason: z.enum(["mcp_server_registry_created", "mcp_server_registry_updated", "mcp_server_registry_deleted"]),
  resource_type: z.literal("mcp_server"),
  target: z.string(),
  mode: z.enum(["create", "update", "delete"]),
  server_id: z.string(),
  created_at: DateTime,
});

export const AllowlistEntryView = z.strictObject({
  host: z.string(),
  port: z.int(),
  protocol: z.literal("tcp"),
  source: z.string(),
  purpose: z.enum(["mcp_runtime", "mcp_oauth"]),
});

export const OrgIds = z.strictObject({ org_ids: fields.org_ids });
export const AllowedTools = z.strictObject({ allowed_tools: AllowedToolsInput });
export const CopySource = z.strictObject({ source_server_id: z.string() });
