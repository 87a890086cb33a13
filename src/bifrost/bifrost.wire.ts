/**
 * The registry in Bifrost's wire format: MCP clients, as Bifrost calls servers. Unknown fields are dropped and `null`
 * counts as omitted (requirements.md A.0); rules that need words of their own are in `client-input.ts` and in the
 * registry.
 */
import * as z from "zod";
import { ToolList } from "../http/tool-list.wire.ts";
import { OAuthConfigInput } from "./oauth.wire.ts";
import { omissible } from "./omissible.wire.ts";

const CONNECTION_TYPES = ["http", "stdio", "sse", "inprocess"] as const;

const StdioConfig = z.object({
  command: z.string("must be a text"),
  args: omissible(z.array(z.string())),
  envs: omissible(z.array(z.string())),
});

/** What a create and an update share. */
const shared = {
  is_code_mode_client: omissible(z.boolean()),
  is_ping_available: omissible(z.boolean()),
  auth_type: omissible(z.enum(["none", "headers", "oauth", "per_user_oauth"])),
  oauth_config_id: omissible(z.string()),
  headers: omissible(z.record(z.string(), z.string())),
  tools_to_execute: omissible(ToolList),
  tools_to_auto_execute: omissible(ToolList),
  allow_on_all_virtual_keys: omissible(z.boolean()),
};

const createBase = {
  ...shared,
  client_id: omissible(z.string()),
  name: z.string("is required"),
  oauth_config: omissible(OAuthConfigInput),
};

const connection_string = z.string("is required");

/** BF-8: told apart by `connection_type`; a field of another kind is dropped like any that is not known. */
export const ClientCreate = z.discriminatedUnion(
  "connection_type",
  [
    z
      .object({ ...createBase, connection_type: z.literal("http"), connection_string })
      .meta({ id: "MCPClientCreateRequestHTTP" }),
    z
      .object({ ...createBase, connection_type: z.literal("sse"), connection_string })
      .meta({ id: "MCPClientCreateRequestSSE" }),
    z
      .object({
        ...createBase,
        connection_type: z.literal("stdio"),
        stdio_config: z.object(StdioConfig.shape, "is required"),
      })
      .meta({ id: "MCPClientCreateRequestSTDIO" }),
    // Known, so that its refusal can say what to do instead.
    z.object({ connection_type: z.literal("inprocess") }),
  ],
  { error: ({ code }) => (code === "invalid_union" ? "must be one of: http, sse, stdio" : undefined) },
);
export type ClientCreate = z.infer<typeof ClientCreate>;

/** D1 takes two megabytes in one parameter. */
const MAX_KEYS_LENGTH = 1_000_000;

/** BF-6, BF-33. */
const KeyConfigs = z
  .array(z.object({ virtual_key_id: z.string().min(1, "must not be empty"), tools_to_execute: ToolList }))
  .max(1_000)
  .refine((list) => new Set(list.map((key) => key.virtual_key_id)).size === list.length, "must not repeat a key")
  .refine((list) => JSON.stringify(list).length <= MAX_KEYS_LENGTH, "must have at most a million characters");

/** BF-29. The id is that of the path: one in the body says nothing. */
export const ClientUpdate = z.object({
  ...shared,
  name: omissible(z.string()),
  connection_type: omissible(z.enum(CONNECTION_TYPES)),
  connection_string: omissible(z.string()),
  stdio_config: omissible(StdioConfig),
  tool_pricing: omissible(z.record(z.string(), z.number())),
  vk_configs: omissible(KeyConfigs),
});
export type ClientUpdate = z.infer<typeof ClientUpdate>;

export const ClientView = z
  .strictObject({
    config: z.strictObject({
      client_id: z.string(),
      name: z.string(),
      is_code_mode_client: z.boolean(),
      is_ping_available: z.boolean(),
      connection_type: z.enum(CONNECTION_TYPES),
      /** Redacted where it has a query (BF-44). */
      connection_string: z.string().optional(),
      stdio_config: z
        .strictObject({ command: z.string(), args: z.array(z.string()), envs: z.array(z.string()) })
        .optional(),
      auth_type: z.enum(["none", "headers", "oauth", "per_user_oauth"]),
      /** Where an `oauth` server was made from one here (BF-39). */
      oauth_config_id: z.string().optional(),
      /** Values are redacted. */
      headers: z.record(z.string(), z.string()),
      tools_to_execute: z.array(z.string()),
      tools_to_auto_execute: z.array(z.string()),
      tool_pricing: z.record(z.string(), z.number()),
      allow_on_all_virtual_keys: z.boolean(),
    }),
    tools: z.array(
      z.strictObject({
        name: z.string(),
        description: z.string(),
        parameters: z.record(z.string(), z.unknown()),
        strict: z.boolean().optional(),
      }),
    ),
    state: z.enum(["connected", "disconnected", "error"]),
    vk_configs: z.array(
      z.strictObject({
        virtual_key_id: z.string(),
        virtual_key_name: z.string(),
        tools_to_execute: z.array(z.string()),
      }),
    ),
  })
  .meta({ id: "MCPClient" });
export type ClientView = z.infer<typeof ClientView>;

/** BF-41. Numbers come as text, because their refusals have words of their own. */
export const ClientQuery = z.object({
  limit: z.string().optional(),
  offset: z.string().optional(),
  search: z.string().optional(),
});
export type ClientQuery = z.infer<typeof ClientQuery>;

export const ClientList = z.strictObject({
  clients: z.array(ClientView),
  count: z.int(),
  total_count: z.int(),
  limit: z.int(),
  offset: z.int(),
});

export const Done = z.strictObject({ status: z.literal("success"), message: z.string() });
export type Done = z.infer<typeof Done>;

/** BF-35: everything is stored but the headers. */
export const PartlyDone = z.strictObject({
  status: z.literal("partial_success"),
  message: z.string(),
  credential_error: z.string(),
});

/** The error body (BF-45). */
const AuthRequired = z.strictObject({
  mcp_client_id: z.string(),
  mcp_client_name: z.string(),
  /** To be opened in a browser. */
  authorize_url: z.string(),
  session_id: z.string(),
  message: z.string(),
});

export const BifrostError = z
  .strictObject({
    is_bifrost_error: z.literal(false),
    status_code: z.int(),
    error: z.strictObject({ message: z.string() }),
    extra_fields: z.strictObject({
      code: z.string(),
      field: z.string().optional().describe("The one field to blame, where there is one."),
      request_id: z.string(),
      mcp_auth_required: AuthRequired.optional().describe("What the caller has to link first (BF-60)."),
    }),
  })
  .meta({ id: "BifrostError" });
