/**
 * The Bifrost surface as existing tooling uses it. The schemas are those of Bifrost's own API document; every answer
 * that a test gets is held against them, and nothing but what they name may be in it.
 */
import { expect } from "vitest";
import * as z from "zod";
import type { TestGateway } from "./gateway.ts";

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const texts = { type: "array", items: text } as const;
const headers = { type: "object", additionalProperties: text } as const;
const connection_type = { type: "string", enum: ["http", "stdio", "sse", "inprocess"] } as const;
const auth_type = { type: "string", enum: ["none", "headers", "oauth", "per_user_oauth"] } as const;
const tool_pricing = { type: "object", additionalProperties: { type: "number" } } as const;
const stdio_config = { type: "object", properties: { command: text, args: texts, envs: texts } } as const;

const createFields = {
  client_id: text,
  name: text,
  is_code_mode_client: flag,
  is_ping_available: flag,
  auth_type,
  oauth_config_id: text,
  headers,
  oauth_config: { type: "object" },
  tools_to_execute: texts,
  tools_to_auto_execute: texts,
  allow_on_all_virtual_keys: flag,
} as const;

const createRequest = (type: string, needed: string, fields: object) => ({
  type: "object",
  required: ["name", "connection_type", needed],
  properties: { ...createFields, connection_type: { type: "string", enum: [type] }, ...fields },
  additionalProperties: false,
});

/** What both an update and an answer hold. */
const configFields = {
  client_id: text,
  name: text,
  is_code_mode_client: flag,
  connection_type,
  connection_string: text,
  stdio_config,
  auth_type,
  oauth_config_id: text,
  headers,
  tools_to_execute: texts,
  tools_to_auto_execute: texts,
  tool_pricing,
  allow_on_all_virtual_keys: flag,
} as const;

const closed = (properties: object, required = Object.keys(properties)) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

/** Optional in the document and always given here: only what a server cannot have is left out of its `config`. */
const ALWAYS = Object.keys(configFields).filter(
  (field) => !["connection_string", "stdio_config", "oauth_config_id"].includes(field),
);

const key = { virtual_key_id: text, tools_to_execute: texts };

const SCHEMAS = {
  MCPClientCreateRequestHTTP: createRequest("http", "connection_string", { connection_string: text }),
  MCPClientCreateRequestSSE: createRequest("sse", "connection_string", { connection_string: text }),
  MCPClientCreateRequestSTDIO: createRequest("stdio", "stdio_config", { stdio_config }),
  // `is_ping_available` is not in the document's update and answer; Bifrost itself has it there (BF-29, BF-39).
  MCPClientUpdateRequest: closed(
    { ...configFields, is_ping_available: flag, vk_configs: { type: "array", items: closed(key) } },
    [],
  ),
  MCPClient: closed({
    config: closed({ ...configFields, is_ping_available: flag }, [...ALWAYS, "is_ping_available"]),
    tools: {
      type: "array",
      items: closed({ name: text, description: text, parameters: { type: "object" }, strict: flag }, [
        "name",
        "description",
        "parameters",
      ]),
    },
    state: { type: "string", enum: ["connected", "disconnected", "error"] },
    vk_configs: { type: "array", items: closed({ ...key, virtual_key_name: text }) },
  }),
};

const schemaOf = (name: keyof typeof SCHEMAS) =>
  z.fromJSONSchema(JSON.parse(JSON.stringify(SCHEMAS[name])) as Parameters<typeof z.fromJSONSchema>[0]);

const ClientList = z.strictObject({
  clients: z.array(schemaOf("MCPClient")),
  count: z.int(),
  total_count: z.int(),
  limit: z.int(),
  offset: z.int(),
});

/** BF-50 and B.2: Bifrost's document of that API is not among ours. */
const Key = z.strictObject({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  value: z.string(),
  is_active: z.boolean(),
  provider_configs: z.array(z.unknown()).length(0),
  mcp_configs: z.array(
    z.strictObject({ id: z.int(), mcp_client_name: z.string(), tools_to_execute: z.array(z.string()) }),
  ),
});

const KeyAnswer = z.union([
  z.strictObject({
    virtual_keys: z.array(Key),
    count: z.int(),
    total_count: z.int(),
    limit: z.int(),
    offset: z.int(),
  }),
  z.strictObject({ virtual_key: Key }),
  z.strictObject({ message: z.string(), virtual_key: Key }),
  z.strictObject({ message: z.string() }),
]);

const Answer = z.union([
  z.strictObject({ status: z.literal("success"), message: z.string() }),
  z.strictObject({ status: z.literal("partial_success"), message: z.string(), credential_error: z.string() }),
  z.strictObject({ status: z.literal("success"), message: z.string(), tools_count: z.int() }),
  z.strictObject({
    status: z.literal("pending_oauth"),
    ...{ message: z.string(), oauth_config_id: z.string(), authorize_url: z.url(), expires_at: z.iso.datetime() },
    ...{ mcp_client_id: z.string(), complete_url: z.string(), status_url: z.string() },
    next_steps: z.array(z.string()).length(3),
  }),
  z.strictObject({
    id: z.string(),
    status: z.enum(["pending", "authorized", "failed", "expired", "revoked"]),
    ...{ created_at: z.iso.datetime(), expires_at: z.iso.datetime() },
    token_id: z.string().optional(),
    token_expires_at: z.iso.datetime().optional(),
    token_scopes: z.array(z.string()).optional(),
  }),
]);

const Failure = z.strictObject({
  is_bifrost_error: z.literal(false),
  status_code: z.int(),
  error: z.strictObject({ message: z.string().min(1) }),
  extra_fields: z.strictObject({
    code: z.string(),
    field: z.string().optional(),
    request_id: z.uuid(),
    mcp_auth_required: z
      .strictObject({
        mcp_client_id: z.string(),
        mcp_client_name: z.string(),
        authorize_url: z.url(),
        session_id: z.string(),
        message: z.string(),
      })
      .optional(),
  }),
});

/** Fails for a request that Bifrost's own document does not allow. */
export function expectRequest(name: Exclude<keyof typeof SCHEMAS, "MCPClient">, body: unknown): void {
  expect(z.treeifyError(schemaOf(name).safeParse(body).error ?? new z.ZodError([])), name).toEqual({ errors: [] });
}

/** Fails unless the answer of this surface has the shape it must have; what a test asks for comes on top. */
export async function expectBifrost(method: string, path: string, response: Response): Promise<void> {
  const body: unknown = await response.clone().json();
  const isList = method === "GET" && path.startsWith("/api/mcp/clients");
  const isOfKeys = path.startsWith("/api/governance/");
  const schema = response.status >= 400 ? Failure : isOfKeys ? KeyAnswer : isList ? ClientList : Answer;
  const { error } = schema.safeParse(body);
  expect(error === undefined ? "" : z.prettifyError(error), `${method} ${path} ${response.status}`).toBe("");
  if (response.status >= 400) expect(body).toMatchObject({ status_code: response.status });
  expect(response.headers.get("Content-Type")).toBe("application/json");
  expect(response.headers.get("Cache-Control")).toBe("no-store");
  expect(response.headers.get("X-Content-Type-Options")).toBe("nosniff");
}

export interface Client {
  readonly config: Record<string, unknown> & { client_id: string; name: string };
  readonly tools: readonly Record<string, unknown>[];
  readonly state: string;
  readonly vk_configs: readonly Record<string, unknown>[];
}

export interface Listed {
  readonly clients: readonly Client[];
  readonly count: number;
  readonly total_count: number;
  readonly limit: number;
  readonly offset: number;
}

/** A failure by what a program and a person read of it. */
export interface Refused {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly field?: string;
}

export async function refused(response: Response): Promise<Refused> {
  const { error, extra_fields } = await response.json<z.infer<typeof Failure>>();
  const { request_id: _, ...rest } = extra_fields;
  return { status: response.status, message: error.message, ...rest } as Refused;
}

/** Requests of an admin to this surface, each answer checked. */
export function bifrostOf(gateway: TestGateway) {
  const send = async (method: string, path: string, body?: unknown): Promise<Response> => {
    const response = await gateway.admin(method, path, body);
    await expectBifrost(method, path, response);
    return response;
  };
  const list = async (query = ""): Promise<Listed> => {
    const response = await send("GET", `/api/mcp/clients${query}`);
    expect(response.status).toBe(200);
    return response.json<Listed>();
  };
  return {
    send,
    list,
    create: (body: unknown) => send("POST", "/api/mcp/client", body),
    update: (id: string, body: unknown) => send("PUT", `/api/mcp/client/${id}`, body),
    remove: (id: string) => send("DELETE", `/api/mcp/client/${id}`),
    reconnect: (id: string) => send("POST", `/api/mcp/client/${id}/reconnect`),
    /** All clients but the built-in one. */
    own: async () => (await list()).clients.filter(({ config }) => config["connection_type"] !== "inprocess"),
    async client(id: string): Promise<Client> {
      const found = (await list()).clients.find(({ config }) => config.client_id === id);
      if (found === undefined) throw new Error(`there is no client ${id}`);
      return found;
    },
    /** Creates a client that must come to be, and returns it. */
    async created(body: Record<string, unknown>): Promise<Client> {
      const response = await send("POST", "/api/mcp/client", { client_id: "docs", ...HTTP, ...body });
      expect({ status: response.status, body: await response.json() }).toMatchObject({ status: 200 });
      return this.client(String(body["client_id"] ?? "docs"));
    },
  };
}

/** A create with only what an HTTP client needs. */
export const HTTP = { name: "Docs", connection_type: "http", connection_string: "https://docs.example/mcp" } as const;

/** JSON text of a tool as a server lists it. */
export const tool = (name: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({ name, description: `does ${name}`, inputSchema: { type: "object" }, ...more });
