/** From what an admin sends to what is stored: defaults, normalisation and the rules between fields. Pure. */
import { GatewayError } from "../failure/gateway-error.ts";
import { canonicalJson } from "../platform/canonical-json.ts";
import {
  checkGivenClient,
  checkOAuth,
  checkOAuthFields,
  ISSUER_FIELDS,
  initialStatus,
  NO_OAUTH,
  NOTHING_FOUND,
  type OAuthFields,
  withoutFound,
} from "./oauth-fields.ts";
import type { ServerInput, ServerPatch } from "./registry.wire.ts";
import {
  type ConnectionType,
  defaultAuthType,
  likelyConnectionType,
  parseConfig,
  parseConnectionType,
  parseDisplayName,
  parseEnabled,
  parseServerName,
  parseServerUrl,
  parseStdioConfig,
  parseTimeout,
  type ServerConfig,
  type ServerRecord,
  type StdioConfig,
  WAITING_FOR_BRIDGE,
} from "./server-record.ts";
import { checkAuto, type PolicyChange, parsePrices, type ToolFlags, toolModeOf } from "./tool-policy.ts";

/** Everything of a record but its identity, its times and its sealed values. */
export type ServerDraft = Omit<
  ServerRecord,
  "server_id" | "config_sealed" | "client_secret_sealed" | "created" | "created_by" | "modified" | "modified_by"
>;

export interface Draft {
  readonly draft: ServerDraft;
  readonly config: ServerConfig;
  readonly client_secret: string | null;
  readonly policy: PolicyChange;
}

/** A server as it is before a partial update, open. */
export interface Before {
  readonly record: ServerRecord;
  readonly config: ServerConfig;
  readonly flags: readonly ToolFlags[];
}

export interface DraftChange {
  readonly change: Partial<ServerDraft>;
  /** Given: `config` is replaced by it. */
  readonly config?: ServerConfig;
  /** Given: the secret is replaced by it; null removes it. */
  readonly client_secret?: string | null;
  readonly policy?: PolicyChange;
  /** Whether `config` changes while the origin stays, so that the former one could stay too (BF-35). */
  readonly isOtherCredential: boolean;
  /** Whether what is reached, or with what, changes: an event is due (RG-22). */
  readonly isRuntime: boolean;
  /** Whether the server has to be connected to anew (B.5). */
  readonly isReset: boolean;
  /** Whether the tokens that there are have to go. */
  readonly isOtherAccount: boolean;
}

export interface DraftContext {
  /** Why a URL may not be fetched, or null. */
  readonly refusalOf: (url: string) => string | null;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
}

/** @throws GatewayError `invalid_request` with the field */
export function draftServer(input: ServerInput, { refusalOf, now }: DraftContext): Draft {
  const name = parseServerName(input.name);
  const config = parseConfig(input.config ?? null);
  const connection_detected = input.connection_type === undefined;
  const connection_type =
    input.connection_type === undefined
      ? likelyConnectionType(input.server_url ?? "")
      : parseConnectionType(input.connection_type);
  const auth_type = input.auth_type ?? defaultAuthType(config);
  const oauth: OAuthFields = { ...NO_OAUTH, ...given(input) };
  checkOAuthFields(oauth, refusalOf);
  if (auth_type === "oauth" || auth_type === "per_user_oauth") checkGivenClient(oauth.registration_mode, input);
  checkOAuth(auth_type, oauth, input.client_secret !== undefined && input.client_secret !== null);
  const allowed = input.allowed_tools ?? null;
  const auto = input.tools_to_auto_execute ?? [];
  checkAuto(auto, executableBy(allowed, []));
  const isStdio = connection_type === "stdio";
  return {
    draft: {
      name,
      display_name: input.display_name === undefined ? name : parseDisplayName(input.display_name, "display_name"),
      connection_type,
      connection_detected,
      ...endpointOf(connection_type, input.server_url ?? null, input.stdio_config ?? null, refusalOf),
      enabled: parseEnabled(input.enabled ?? true),
      timeout_ms: parseTimeout(input.timeout_ms),
      auth_type,
      ...oauth,
      ...NOTHING_FOUND,
      oauth_config_id: null,
      tool_mode: toolModeOf(allowed),
      auto_all: auto[0] === "*",
      definition_policy: input.definition_policy ?? "pin",
      allow_on_all_virtual_keys: input.allow_on_all_virtual_keys ?? false,
      is_code_mode_client: input.is_code_mode_client ?? false,
      is_ping_available: input.is_ping_available ?? true,
      status: initialStatus(auth_type, oauth.registration_mode),
      status_reason: null,
      state: "disconnected",
      last_failure: isStdio ? { stage: "connect", message: WAITING_FOR_BRIDGE, at: now } : null,
      era: null,
      server_info: null,
      capabilities: null,
      instructions: null,
      approved_instructions: null,
    },
    config,
    client_secret: input.client_secret ?? null,
    policy: { allowed, auto },
  };
}

/** @throws GatewayError `invalid_request` with the field; `conflict` never */
export function draftChange(before: Before, patch: ServerPatch, { refusalOf }: DraftContext): DraftChange {
  const { record } = before;
  const connection_detected = record.connection_detected && patch.connection_type === undefined;
  const connection_type =
    patch.connection_type !== undefined
      ? parseConnectionType(patch.connection_type)
      : // What was found at one URL says nothing about another one.
        connection_detected && typeof patch.server_url === "string" && patch.server_url.trim() !== record.server_url
        ? likelyConnectionType(patch.server_url)
        : record.connection_type;
  if ((connection_type === "stdio") !== (record.connection_type === "stdio")) {
    throw invalid("connection_type", "cannot be changed to or from stdio");
  }
  const endpoint =
    patch.server_url === undefined && patch.stdio_config === undefined
      ? { server_url: record.server_url, stdio_config: record.stdio_config }
      : endpointOf(
          connection_type,
          patch.server_url === undefined ? (record.server_url === "" ? null : record.server_url) : patch.server_url,
          patch.stdio_config === undefined ? record.stdio_config : patch.stdio_config,
          refusalOf,
        );
  const isMoved = originOf(endpoint.server_url) !== originOf(record.server_url);
  const auth_type = patch.auth_type ?? record.auth_type;
  const mode = patch.registration_mode ?? record.registration_mode;
  const isOtherMode = auth_type !== record.auth_type || mode !== record.registration_mode;
  const isIssuerGiven = patch.oauth_issuer_url !== undefined && patch.oauth_issuer_url !== record.oauth_issuer_url;
  // Another place, or another way, to register at: what was found for the former one is forgotten.
  const isAnew = isMoved || isOtherMode || (mode !== "manual" && isIssuerGiven);
  const former = oauthOf(record);
  const oauth: OAuthFields = { ...(isAnew ? withoutFound(former, record) : former), ...given(patch) };
  const isFoundClient = record.oauth_found.includes("client_id");
  checkOAuthFields(given(patch), refusalOf);
  if (auth_type === "oauth" || auth_type === "per_user_oauth") checkGivenClient(oauth.registration_mode, patch);
  checkOAuth(auth_type, oauth, hasSecret(record, patch) && !(isAnew && isFoundClient));
  const isOtherIssuer = (["oauth_issuer_url", "token_endpoint"] as const).some(
    (field) => originOf(oauth[field] ?? "") !== originOf(record[field] ?? ""),
  );
  const isSecretKept = record.client_secret_sealed !== null && patch.client_secret === undefined && !isFoundClient;
  if (isOtherIssuer && isSecretKept) {
    throw invalid("client_secret", "must be given again with another issuer or token endpoint");
  }
  const config = patch.config === undefined ? undefined : parseConfig(patch.config);
  const enabled = patch.enabled === undefined ? record.enabled : parseEnabled(patch.enabled);
  const isOtherPlace =
    endpoint.server_url !== record.server_url ||
    connection_type !== record.connection_type ||
    enabled !== record.enabled;
  const isOtherConfig = config !== undefined && canonicalJson(config) !== canonicalJson(before.config);
  const isOtherAuth =
    isAnew ||
    (["client_id", "grant_type", "token_endpoint_auth_method"] as const).some(
      (field) => oauth[field] !== record[field],
    ) ||
    (patch.client_secret !== undefined && (patch.client_secret !== null || record.client_secret_sealed !== null)) ||
    canonicalJson(endpoint.stdio_config) !== canonicalJson(record.stdio_config);
  const isOtherEndpoints = ISSUER_FIELDS.some((field) => oauth[field] !== record[field]);
  const policy = policyOf(patch, before);
  const isRegistration = isAnew || isOtherAuth;
  const status = isRegistration ? initialStatus(auth_type, oauth.registration_mode) : record.status;
  return {
    change: {
      ...(patch.name === undefined ? {} : { name: parseServerName(patch.name) }),
      ...(patch.display_name === undefined
        ? {}
        : { display_name: parseDisplayName(patch.display_name, "display_name") }),
      connection_type,
      connection_detected,
      ...endpoint,
      enabled,
      auth_type,
      ...oauth,
      ...(isAnew ? NOTHING_FOUND : { oauth_found: record.oauth_found.filter((field) => !(field in given(patch))) }),
      // What was found at one endpoint says nothing about another one.
      ...(isOtherPlace ? NOTHING_SEEN : {}),
      ...(isRegistration ? { status, status_reason: null } : {}),
      // What waits for its registration is not connected to (PS-64).
      ...(status === "active" ? {} : { state: "disconnected" as const }),
      ...("timeout_ms" in patch ? { timeout_ms: parseTimeout(patch.timeout_ms) } : {}),
      ...(patch.allowed_tools === undefined ? {} : { tool_mode: toolModeOf(patch.allowed_tools) }),
      ...(policy?.auto === undefined ? {} : { auto_all: policy.auto[0] === "*" }),
      ...flagsOf(patch),
    },
    ...(config !== undefined ? { config } : isMoved ? { config: {} } : {}),
    ...(patch.client_secret !== undefined
      ? { client_secret: patch.client_secret }
      : isAnew && isFoundClient
        ? { client_secret: null }
        : {}),
    ...(policy === undefined ? {} : { policy }),
    isOtherCredential: isOtherConfig && !isMoved,
    isRuntime: isOtherPlace || isOtherConfig || isOtherEndpoints,
    isReset: isOtherPlace || isOtherConfig || isOtherEndpoints || isOtherAuth,
    // Tokens were given to one client for one server; another is not theirs (PS-52, PS-53).
    isOtherAccount: isMoved || isOtherAuth || isOtherIssuer,
  };
}

/** What a server is known to be, before anybody has looked. */
const NOTHING_SEEN = {
  era: null,
  server_info: null,
  capabilities: null,
  state: "disconnected",
  last_failure: null,
} as const;

/** The columns that are taken over as they are given. */
function flagsOf(patch: ServerPatch): Partial<ServerDraft> {
  const { definition_policy, allow_on_all_virtual_keys, is_code_mode_client, is_ping_available } = patch;
  return {
    ...(definition_policy === undefined ? {} : { definition_policy }),
    ...(allow_on_all_virtual_keys === undefined ? {} : { allow_on_all_virtual_keys }),
    ...(is_code_mode_client === undefined ? {} : { is_code_mode_client }),
    ...(is_ping_available === undefined ? {} : { is_ping_available }),
  };
}

function policyOf(patch: ServerPatch, { record, flags }: Before): PolicyChange | undefined {
  const { allowed_tools, tools_to_auto_execute, tool_pricing } = patch;
  if (allowed_tools === undefined && tools_to_auto_execute === undefined && tool_pricing === undefined)
    return undefined;
  if (tools_to_auto_execute !== undefined) {
    const allowed = allowed_tools === undefined ? storedPolicy(record, flags) : allowed_tools;
    checkAuto(tools_to_auto_execute, executableBy(allowed, flags));
  }
  const known = new Set(flags.filter((flag) => flag.known).map(({ tool }) => tool));
  return {
    ...(allowed_tools === undefined ? {} : { allowed: allowed_tools }),
    ...(tools_to_auto_execute === undefined ? {} : { auto: tools_to_auto_execute }),
    ...(tool_pricing === undefined ? {} : { prices: parsePrices(tool_pricing, known) }),
  };
}

function storedPolicy({ tool_mode }: ServerRecord, flags: readonly ToolFlags[]) {
  if (tool_mode === "all") return ["*"] as const;
  return tool_mode === "unset" ? null : Object.fromEntries(flags.map(({ tool, allowed }) => [tool, allowed]));
}

/** What may be executed under a policy; while nobody has set one, whatever the first discovery finds. */
function executableBy(
  allowed: PolicyChange["allowed"],
  flags: readonly ToolFlags[],
): ((tool: string) => boolean) | "nothing" {
  if (allowed === undefined || allowed === null || Array.isArray(allowed)) return () => true;
  const map = allowed as Readonly<Record<string, boolean>>;
  const may = (tool: string) => Object.hasOwn(map, tool) && map[tool] === true;
  return Object.keys(map).some(may) || flags.some(({ tool }) => may(tool)) ? may : "nothing";
}

/** BF-10: each kind of server has the fields of its own kind, and none of the other. */
function endpointOf(
  type: ConnectionType,
  server_url: string | null,
  stdio: Parameters<typeof parseStdioConfig>[0] | null,
  refusalOf: (url: string) => string | null,
): { server_url: string; stdio_config: StdioConfig | null } {
  if (type === "stdio") {
    if (server_url !== null) throw invalid("server_url", "has no meaning for a stdio server");
    if (stdio === null) throw invalid("stdio_config", "is needed for a stdio server");
    return { server_url: "", stdio_config: parseStdioConfig(stdio) };
  }
  if (stdio !== null) throw invalid("stdio_config", "is for stdio servers only");
  if (server_url === null) throw invalid("server_url", "is needed");
  return { server_url: parseServerUrl(server_url, refusalOf), stdio_config: null };
}

/** The OAuth fields that are given. */
function given(input: Partial<Record<keyof OAuthFields, unknown>>): Partial<OAuthFields> {
  const fields = (Object.keys(NO_OAUTH) as (keyof OAuthFields)[]).filter((field) => input[field] !== undefined);
  return Object.fromEntries(fields.map((field) => [field, input[field]]));
}

function oauthOf(record: ServerRecord): OAuthFields {
  return Object.fromEntries(
    (Object.keys(NO_OAUTH) as (keyof OAuthFields)[]).map((field) => [field, record[field]]),
  ) as unknown as OAuthFields;
}

function hasSecret({ client_secret_sealed }: ServerRecord, { client_secret }: ServerPatch): boolean {
  return client_secret === undefined ? client_secret_sealed !== null : client_secret !== null;
}

/** The origin of an endpoint; `""` for none. */
export function originOf(url: string): string {
  return url === "" ? "" : new URL(url).origin;
}

function invalid(field: string, rule: string): GatewayError {
  return new GatewayError("invalid_request", `${field} ${rule}.`, { field });
}
