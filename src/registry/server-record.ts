/** The server record (design.md section 4) and the rules of its fields. Pure: values in, values or a refusal out. */
import { GatewayError } from "../failure/gateway-error.ts";
import type { OAuthFields, OAuthFindings } from "./oauth-fields.ts";
import type { ToolMode } from "./tool-policy.ts";

export type AuthType = "none" | "headers" | "oauth" | "per_user_oauth";
export type ConnectionType = "http" | "sse" | "stdio" | "inprocess";
export type ServerStatus = "active" | "pending_setup" | "error";
export type ServerState = "connected" | "disconnected" | "error";
export type DefinitionPolicy = "pin" | "trust";

/** Why the last attempt to use a server failed, and in which step. */
export interface LastFailure {
  readonly stage: "connect" | "auth" | "discover";
  /** Our own words. */
  readonly message: string;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** How a bridge is to start a stdio server (BF-4). */
export interface StdioConfig {
  readonly command: string;
  readonly args: readonly string[];
  /** Names of environment variables that it needs. */
  readonly envs: readonly string[];
}

/** A server as stored, its secrets sealed. */
export interface ServerRecord extends OAuthFields, OAuthFindings {
  readonly server_id: string;
  readonly name: string;
  readonly display_name: string;
  readonly connection_type: ConnectionType;
  /** No admin has chosen the transport: it was found, or is a guess until it is (CN-4). */
  readonly connection_detected: boolean;
  /** `""` for stdio and in-process servers. */
  readonly server_url: string;
  /** Null for all others. */
  readonly stdio_config: StdioConfig | null;
  readonly enabled: boolean;
  /** Milliseconds; null when no admin set it. */
  readonly timeout_ms: number | null;
  readonly auth_type: AuthType;
  readonly config_sealed: string | null;
  readonly client_secret_sealed: string | null;
  /** The configuration of the Bifrost surface that it was made from (BF-39). */
  readonly oauth_config_id: string | null;
  readonly tool_mode: ToolMode;
  /** Whether every executable tool may run unasked, later ones too (BF-19). */
  readonly auto_all: boolean;
  readonly definition_policy: DefinitionPolicy;
  readonly allow_on_all_virtual_keys: boolean;
  readonly is_code_mode_client: boolean;
  readonly is_ping_available: boolean;
  readonly status: ServerStatus;
  readonly status_reason: string | null;
  readonly state: ServerState;
  readonly last_failure: LastFailure | null;
  readonly era: "legacy" | "modern" | null;
  /** JSON text of the server's own `serverInfo`. */
  readonly server_info: string | null;
  /** JSON text of the capabilities that the server has named. */
  readonly capabilities: string | null;
  /** What the server tells its clients about itself, as the last discovery had it. */
  readonly instructions: string | null;
  /** The instructions in force (PS-22). */
  readonly approved_instructions: string | null;
  readonly created: number;
  readonly created_by: string;
  readonly modified: number;
  readonly modified_by: string;
}

/** What the connector found out about a server; no write of an admin. */
export type ServerSighting = Pick<ServerRecord, "state" | "last_failure">;

/** The `config` of a server, open: `headers` and `api_key` have a meaning, other keys are kept (RG-29). */
export interface ServerConfig {
  readonly headers?: Readonly<Record<string, string>>;
  readonly api_key?: string;
  readonly [key: string]: unknown;
}

/** Shown, and used for connecting and listing, when no admin set a time-out (RG-11, PS-30). */
export const DEFAULT_TIMEOUT_MS = 15_000;

const RESERVED_NAMES = new Set(["gateway", "server-card"]);

/** RG-8, RG-14: the slug of a server, trimmed. @throws GatewayError `invalid_request`, field `name` */
export function parseServerName(name: string): string {
  // A line break is no blank around a name: it is refused below.
  const trimmed = name.replace(/^[ \t]+|[ \t]+$/g, "");
  const fail = (rule: string) => new GatewayError("invalid_request", `name ${rule}`, { field: "name" });
  if (trimmed === "") throw fail("must not be empty.");
  if (trimmed.length > 63) throw fail("must have at most 63 characters.");
  if (!/^[A-Za-z0-9-]+$/.test(trimmed)) throw fail("may only have letters, digits and hyphens.");
  if (RESERVED_NAMES.has(trimmed.toLowerCase())) throw fail("is reserved.");
  return trimmed;
}

/** RB-5: free text for people, trimmed. Also what a virtual key is called. */
export function parseDisplayName(text: string, field: string): string {
  const trimmed = text.trim();
  const length = [...trimmed].length;
  if (length === 0 || length > 128 || /\p{Cc}/u.test(trimmed)) {
    const rule = "must have 1 to 128 characters and no control characters";
    throw new GatewayError("invalid_request", `${field} ${rule}.`, { field });
  }
  return trimmed;
}

/** What no two servers have alike. */
export function alreadyThere(field: "name" | "server_id" | "oauth_config_id", cause?: unknown): GatewayError {
  return new GatewayError("conflict", `A server with this ${field} exists already.`, { field, cause });
}

/** RB-4: an id that the creator gives. */
export function parseServerId(id: string): string {
  if (/^\.{1,2}$/.test(id) || RESERVED_NAMES.has(id.toLowerCase())) {
    // The first would vanish from a path; the others are what the gateway calls itself (PS-29).
    throw new GatewayError("invalid_request", "server_id is reserved.", { field: "server_id" });
  }
  if (/^[A-Za-z0-9._:-]{1,255}$/.test(id)) return id;
  const rule = "must have 1 to 255 letters, digits, dots, underscores, colons or hyphens";
  throw new GatewayError("invalid_request", `server_id ${rule}.`, { field: "server_id" });
}

/** RG-11: never refuses. Null means not set; set values are clamped to 1,000 to 300,000 ms. */
export function parseTimeout(value: unknown): number | null {
  const isInteger =
    typeof value === "number" ? Number.isInteger(value) : typeof value === "string" && INTEGER.test(value);
  return isInteger ? Math.min(300_000, Math.max(1_000, Number(value))) : null;
}

const INTEGER = /^\s*[+-]?\d+\s*$/;

/** RG-13: booleans, numbers by truth, and the usual words. @throws GatewayError `invalid_request`, field `enabled` */
export function parseEnabled(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  if (typeof value === "number" && !Number.isNaN(value)) return value !== 0;
  const word = typeof value === "string" ? value.trim().toLowerCase() : "";
  if (["1", "true", "yes", "on", "y"].includes(word)) return true;
  if (["0", "false", "no", "off", "n"].includes(word)) return false;
  throw new GatewayError("invalid_request", "enabled must be true or false.", { field: "enabled" });
}

const MAX_CONFIG_BYTES = 64 * 1024;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Headers that belong to the transport or to MCP itself; an admin must not set them (BF-16). */
const OWNED_HEADERS =
  /^(host|content-length|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|mcp-.*)$/i;

/** RG-12, BF-16: the shape of `config`; null is `{}`. @throws GatewayError `invalid_request` naming the part */
export function parseConfig(value: unknown): ServerConfig {
  const refuse = (field: string, rule: string) => new GatewayError("invalid_request", `${field} ${rule}.`, { field });
  if (value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw refuse("config", "must be an object");
  const config = value as Record<string, unknown>;
  if (new TextEncoder().encode(JSON.stringify(config)).length > MAX_CONFIG_BYTES) {
    throw refuse("config", "must have at most 64 KiB");
  }
  const { headers, api_key } = config;
  if (api_key !== undefined && (typeof api_key !== "string" || !isHeaderValue(api_key) || api_key.trim() === "")) {
    throw refuse("config.api_key", "must be a text that fits a header");
  }
  if (headers === undefined) return config;
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    throw refuse("config.headers", "must be an object");
  }
  for (const [name, text] of Object.entries(headers)) {
    // The name goes into the answer, so it must be a harmless one before it may.
    if (!TOKEN.test(name)) throw refuse("config.headers", "has a name that is no header name");
    if (OWNED_HEADERS.test(name)) throw refuse(`config.headers.${name}`, "is set by the gateway itself");
    if (typeof text !== "string" || !isHeaderValue(text)) {
      throw refuse(`config.headers.${name}`, "must be a text without line breaks");
    }
  }
  return config;
}

/** Visible ASCII, spaces and tabs (RFC 9110 section 5.5): what every server reads alike. */
function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e]*$/.test(text);
}

/** BF-1: what `auth_type` is when nobody says. */
export function defaultAuthType(config: ServerConfig): AuthType {
  const hasHeaders = config.headers !== undefined && Object.keys(config.headers).length > 0;
  return hasHeaders || config.api_key !== undefined ? "headers" : "none";
}

/** PS-63. */
export const PROVIDED_BY_CODE = "in-process servers must be provided programmatically";

/**
 * RG-9, BF-8: the transport.
 *
 * @throws GatewayError `invalid_request`, field `connection_type`
 */
export function parseConnectionType(text: string): ConnectionType {
  const type = text.trim().toLowerCase();
  if (type === "http" || type === "sse" || type === "stdio") return type;
  const field = "connection_type";
  if (type === "inprocess") {
    throw new GatewayError("invalid_request", PROVIDED_BY_CODE, { field });
  }
  throw new GatewayError("invalid_request", "connection_type must be one of: http, sse, stdio", { field });
}

/** CN-4: what is tried first where no admin has chosen. */
export function likelyConnectionType(serverUrl: string): "http" | "sse" {
  return URL.parse(serverUrl)?.pathname.endsWith("/sse") ? "sse" : "http";
}

/** BF-4. @throws GatewayError `invalid_request` naming the part */
export function parseStdioConfig({ command, args = [], envs = [] }: StdioInput): StdioConfig {
  const refuse = (field: string, rule: string) => new GatewayError("invalid_request", `${field} ${rule}.`, { field });
  if (command.trim() === "") throw refuse("stdio_config.command", "must not be empty");
  if (!envs.every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))) {
    throw refuse("stdio_config.envs", "must hold names of variables, without values");
  }
  return { command, args, envs };
}

interface StdioInput {
  readonly command: string;
  readonly args?: readonly string[] | undefined;
  readonly envs?: readonly string[] | undefined;
}

/** What `last_failure` says of a stdio server until a bridge connects (PS-62). */
export const WAITING_FOR_BRIDGE = "waiting for a bridge";

const MAX_URL_LENGTH = 2_048;

/**
 * RB-6: the endpoint of a server.
 *
 * @param refusalOf Says why a URL may not be fetched (PS-61), or null.
 */
export function parseServerUrl(text: string, refusalOf: (url: string) => string | null): string {
  const trimmed = text.trim();
  const fail = (rule: string) => new GatewayError("invalid_request", rule, { field: "server_url" });
  if (trimmed.length > MAX_URL_LENGTH) throw fail(`server_url must have at most ${MAX_URL_LENGTH} characters.`);
  const refusal = refusalOf(trimmed);
  if (refusal !== null) throw fail(`server_url is refused. ${refusal}`);
  if (trimmed.includes("#")) throw fail("server_url must not have a fragment.");
  return trimmed;
}
