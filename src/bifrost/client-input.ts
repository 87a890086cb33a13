/** From Bifrost's wire format to what the registry is asked to write: B.2, inward. Pure. */
import { GatewayError } from "../failure/gateway-error.ts";
import { NO_OAUTH } from "../registry/oauth-fields.ts";
import type { OpenServer } from "../registry/open-server.ts";
import type { ServerInput, ServerPatch } from "../registry/registry.wire.ts";
import { originOf } from "../registry/server-draft.ts";
import {
  type AuthType,
  defaultAuthType,
  PROVIDED_BY_CODE,
  parseDisplayName,
  type ServerConfig,
} from "../registry/server-record.ts";
import type { AllowedTools } from "../registry/tool-policy.ts";
import type { ClientCreate, ClientQuery, ClientUpdate } from "./bifrost.wire.ts";
import type { OAuthConfigInput } from "./oauth.wire.ts";
import { looksRedacted, redact, shownUrl } from "./redaction.ts";

const refuse = (field: string, message: string) => new GatewayError("invalid_request", message, { field });

const MAX_SLUG_LENGTH = 63;

/** PS-28: the slug of a server from the name that people give it. @throws GatewayError `invalid_request` */
export function slugOf(name: string): string {
  const slug = name
    .trim()
    .replaceAll(/[^A-Za-z0-9-]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, MAX_SLUG_LENGTH);
  if (slug === "") throw refuse("name", "name must have a letter or digit of the Latin alphabet.");
  return slug;
}

/**
 * A server to be registered (BF-8 to BF-21), without its OAuth.
 *
 * @throws GatewayError `invalid_request` with the field
 */
export function serverInput(client: ClientCreate): ServerInput {
  if (client.connection_type === "inprocess") throw refuse("connection_type", PROVIDED_BY_CODE);
  const display_name = parseDisplayName(client.name, "display_name");
  const headers = client.headers ?? {};
  return {
    ...(client.client_id === undefined || client.client_id === "" ? {} : { server_id: client.client_id }),
    name: slugOf(display_name),
    display_name,
    connection_type: client.connection_type,
    ...(client.connection_type === "stdio"
      ? { stdio_config: client.stdio_config }
      : { server_url: client.connection_string }),
    auth_type: authTypeOf(client),
    ...(Object.keys(headers).length === 0 ? {} : { config: { headers } }),
    allowed_tools: policyOf(client.tools_to_execute ?? []),
    tools_to_auto_execute: client.tools_to_auto_execute ?? [],
    ...flagsOf(client),
  };
}

/** What a create says of its account: the configuration of a client to be, or the id of one that is authorized. */
export interface GivenOAuth {
  readonly config?: OAuthConfigInput;
  readonly configId?: string;
}

/**
 * BF-15, BF-17: for `oauth` and `per_user_oauth` one of both, in this order.
 *
 * @throws GatewayError `invalid_request`, field `oauth_config` or `connection_type`
 */
export function oauthOf(client: ClientCreate): GivenOAuth {
  if (client.connection_type === "inprocess") return {};
  const { oauth_config: config, oauth_config_id: configId = "", connection_type } = client;
  const auth_type = authTypeOf(client);
  if (auth_type !== "oauth" && auth_type !== "per_user_oauth") {
    if (config === undefined) return {};
    throw refuse("oauth_config", "oauth_config is for auth_type oauth and per_user_oauth only.");
  }
  if (connection_type === "stdio")
    throw refuse("connection_type", `auth_type ${auth_type} needs connection_type http or sse.`);
  if (config !== undefined) return { config };
  if (auth_type === "oauth" && configId !== "") return { configId };
  throw refuse("oauth_config", `OAuth configuration is required when auth_type is '${auth_type}'`);
}

function authTypeOf({ auth_type, headers = {} }: Pick<ClientUpdate, "auth_type" | "headers">): AuthType {
  return auth_type ?? defaultAuthType({ headers });
}

/**
 * A change of a server (BF-29 to BF-38).
 *
 * @param before The server as it is: what is redacted, or named in part, is understood from it.
 * @throws GatewayError `invalid_request` with the field
 */
export function serverPatch(client: ClientUpdate, before: OpenServer): ServerPatch {
  const { record } = before;
  const { name, auth_type, tools_to_execute, tool_pricing } = client;
  checkConnectionType(client, record.connection_type);
  checkOAuthConfig(client, record);
  const display_name = name === undefined ? undefined : parseDisplayName(name, "display_name");
  const server_url = urlOf(client, before);
  const config = configOf(client, before, server_url);
  const auto = autoOf(client, before);
  return {
    // The slug stands in the names of tools, so that it changes only with the name (BF-37).
    ...(display_name === undefined || display_name === record.display_name
      ? {}
      : { name: slugOf(display_name), display_name }),
    // Sent back as it was found, it is no choice of the admin's (CN-4).
    ...(client.connection_type === undefined || client.connection_type === record.connection_type
      ? {}
      : { connection_type: client.connection_type }),
    ...(server_url === undefined ? {} : { server_url }),
    ...(client.stdio_config === undefined || record.connection_type !== "stdio"
      ? {}
      : { stdio_config: client.stdio_config }),
    ...(auth_type === undefined ? {} : { auth_type }),
    ...(auth_type === "none" || auth_type === "headers" ? withoutOAuth(record) : {}),
    ...(config === undefined ? {} : { config }),
    ...(tools_to_execute === undefined ? {} : { allowed_tools: policyOf(tools_to_execute) }),
    ...(auto === undefined ? {} : { tools_to_auto_execute: auto }),
    ...(tool_pricing === undefined ? {} : { tool_pricing }),
    ...flagsOf(client),
  };
}

/** What OAuth has left in a record goes with it: here nobody could take it out (PS-53). */
function withoutOAuth({ auth_type }: OpenServer["record"]): ServerPatch {
  if (auth_type === "none" || auth_type === "headers") return {};
  return { ...NO_OAUTH, scopes: [], extra_auth_params: {}, client_secret: null };
}

/** BF-15, BF-29: what is sent back as it was found changes nothing, and an account is not exchanged here. */
function checkOAuthConfig({ auth_type, oauth_config_id = "" }: ClientUpdate, record: OpenServer["record"]): void {
  if ((auth_type ?? record.auth_type) !== "oauth") return;
  if (oauth_config_id === "" || oauth_config_id === record.oauth_config_id) return;
  const message = "oauth_config_id cannot be changed: link another account by POST /v1/servers/{id}/oauth/start.";
  throw refuse("oauth_config_id", message);
}

/** BF-31. */
function checkConnectionType({ connection_type }: ClientUpdate, stored: string): void {
  if (connection_type === undefined) return;
  if (connection_type !== "inprocess" && (connection_type === "stdio") === (stored === "stdio")) return;
  throw refuse("connection_type", "connection_type cannot be changed for an existing MCP client");
}

/** The endpoint, where it is another one: what is shown of the stored one counts as unchanged (BF-31). */
function urlOf({ connection_string }: ClientUpdate, { record }: OpenServer): string | undefined {
  if (connection_string === undefined || record.connection_type === "stdio") return undefined;
  return connection_string.trim() === shownUrl(record.server_url) ? undefined : connection_string;
}

/** BF-34: `headers` of the config, other keys as they are; a redacted value is the stored one. */
function configOf(
  { headers }: ClientUpdate,
  { record, config }: OpenServer,
  server_url: string | undefined,
): ServerConfig | undefined {
  if (headers === undefined) return undefined;
  const origin = server_url === undefined ? undefined : URL.parse(server_url.trim())?.origin;
  const isMoved = origin !== undefined && origin !== originOf(record.server_url);
  const stored = new Map(Object.entries(config.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
  const given = Object.entries(headers).map(([name, value]): [string, string] => {
    const former = stored.get(name.toLowerCase());
    const isEcho = former !== undefined && value === redact(former) && value !== "";
    // A secret of one origin is not shown to another (PS-52).
    if (isEcho && isMoved) throw refuse(headerField(name), "A redacted header cannot move to another origin.");
    if (isEcho) return [name, former];
    if (looksRedacted(value)) throw refuse(headerField(name), "A redacted header has to be one that is stored.");
    return [name, value];
  });
  const { headers: _, ...others } = isMoved ? {} : config;
  return given.length === 0 ? others : { ...others, headers: Object.fromEntries(given) };
}

/** The name goes into the answer, so it must be a harmless one before it may. */
function headerField(name: string): string {
  return /^[\w-]{1,64}$/.test(name) ? `headers.${name}` : "headers";
}

/** The auto list, where it has to be written: a narrower execute list is held against the stored one (BF-38). */
function autoOf({ tools_to_execute, tools_to_auto_execute }: ClientUpdate, before: OpenServer) {
  if (tools_to_auto_execute !== undefined || tools_to_execute === undefined) return tools_to_auto_execute;
  return tools_to_execute.length === 0 ? [] : [...before.tools_to_auto_execute];
}

function policyOf(tools: readonly string[]): NonNullable<AllowedTools> & ServerInput["allowed_tools"] {
  return tools[0] === "*" ? ["*"] : Object.fromEntries(tools.map((tool) => [tool, true]));
}

function flagsOf(client: Pick<ClientUpdate, Flag>): Pick<ServerPatch, Flag> {
  const given = FLAGS.filter((flag) => client[flag] !== undefined);
  return Object.fromEntries(given.map((flag) => [flag, client[flag]]));
}

const FLAGS = ["is_code_mode_client", "is_ping_available", "allow_on_all_virtual_keys"] as const;
type Flag = (typeof FLAGS)[number];

/** The part of the list that is asked for; `limit` null is all of it. */
export interface ClientSlice {
  readonly search: string | null;
  readonly limit: number | null;
  readonly offset: number;
}

const DEFAULT_LIMIT = 25;
const MAX_LIMIT = 100;

/** BF-41. @throws GatewayError `invalid_request`, field `limit` or `offset` */
export function sliceOf({ limit, offset, search }: ClientQuery): ClientSlice {
  if (limit === undefined && offset === undefined && search === undefined) {
    return { search: null, limit: null, offset: 0 };
  }
  return {
    search: search ?? null,
    limit: Math.min(MAX_LIMIT, countOf("limit", limit) || DEFAULT_LIMIT),
    offset: countOf("offset", offset),
  };
}

/** A parameter of a list. @throws GatewayError `invalid_request` with the words of BF-41 */
export function countOf(field: "limit" | "offset", text = "0"): number {
  const fail = (rule: string) => refuse(field, `Invalid ${field} parameter: must be ${rule}`);
  if (!/^[+-]?\d+$/.test(text)) throw fail("a number");
  const number = Number(text);
  if (number < 0) throw fail("non-negative");
  return Math.min(number, Number.MAX_SAFE_INTEGER);
}
