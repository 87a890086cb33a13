/** The OAuth part of the server record: what is stored, and the rules between its fields (RB-7 to RB-10, RB-29). Pure. */
import type { TokenAuthMethod } from "../credentials/client-proof.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { AuthType } from "./server-record.ts";

export type RegistrationMode = "cimd" | "dcr" | "manual";
/** How a token is come by: a person gives access; the gateway has it for itself; or the caller's own is exchanged. */
export type GrantType = "authorization_code" | "client_credentials" | "token_exchange";

/** What is known of a server's authorization server and of our client there. */
export interface OAuthFields {
  readonly registration_mode: RegistrationMode;
  /** `""` until it is known. */
  readonly oauth_issuer_url: string;
  /** Our client id there; `""` until there is one. */
  readonly client_id: string;
  readonly authorization_endpoint: string | null;
  readonly token_endpoint: string | null;
  readonly registration_endpoint: string | null;
  readonly revocation_endpoint: string | null;
  readonly scopes: readonly string[];
  readonly extra_auth_params: Readonly<Record<string, string>>;
  readonly grant_type: GrantType;
  /** Null: Basic with a secret, else none (CN-19). */
  readonly token_endpoint_auth_method: TokenAuthMethod | null;
}

/** What the gateway has found out by itself about a server's authorization server (BF-26). */
export interface OAuthFindings {
  /** Which of the fields above no admin has given. */
  readonly oauth_found: readonly string[];
  /** The scopes to ask for where no admin names any. */
  readonly scopes_found: readonly string[];
  /** What the server's metadata calls it (RFC 8707); null: its URL. */
  readonly oauth_resource: string | null;
  /** Whether callbacks carry `iss` (RFC 9207). */
  readonly iss_required: boolean;
  /** The gateway's own origins whose callbacks the client was registered with; none where that is not known. */
  readonly registered_origins: readonly string[];
}

export const NOTHING_FOUND: OAuthFindings = {
  oauth_found: [],
  scopes_found: [],
  oauth_resource: null,
  iss_required: false,
  registered_origins: [],
};

export const NO_OAUTH: OAuthFields = {
  registration_mode: "dcr",
  oauth_issuer_url: "",
  client_id: "",
  authorization_endpoint: null,
  token_endpoint: null,
  registration_endpoint: null,
  revocation_endpoint: null,
  scopes: [],
  extra_auth_params: {},
  grant_type: "authorization_code",
  token_endpoint_auth_method: null,
};

/** Fields whose change means another authorization server (RG-22). */
export const ISSUER_FIELDS = [
  "oauth_issuer_url",
  "authorization_endpoint",
  "token_endpoint",
  "registration_endpoint",
  "revocation_endpoint",
] as const;

/** Parameters of an authorization request that are ours to set (RB-10). */
export const OWNED_PARAMS: ReadonlySet<string> = new Set([
  ...["response_type", "response_mode", "client_id", "redirect_uri", "state", "scope"],
  ...["code_challenge", "code_challenge_method", "resource", "request", "request_uri"],
]);

/** RFC 6749 section 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

const refuse = (field: string, rule: string) => new GatewayError("invalid_request", `${field} ${rule}.`, { field });

/**
 * Checks OAuth fields as an admin has given them, each by itself.
 *
 * @param refusalOf Why a URL may not be fetched, or null.
 * @throws GatewayError `invalid_request` with the field
 */
export function checkOAuthFields(fields: Partial<OAuthFields>, refusalOf: (url: string) => string | null): void {
  for (const field of ISSUER_FIELDS) {
    const url = fields[field];
    if (url === undefined || url === null || url === "") continue;
    const refusal = refusalOf(url);
    if (refusal !== null) throw refuse(field, `is refused. ${refusal.slice(0, -1)}`);
  }
  const { scopes, extra_auth_params } = fields;
  if (scopes !== undefined) {
    if (!scopes.every((scope) => SCOPE.test(scope))) throw refuse("scopes", "must hold scopes as OAuth spells them");
    if (new Set(scopes).size < scopes.length) throw refuse("scopes", "must not repeat a scope");
  }
  for (const param of Object.keys(extra_auth_params ?? {})) {
    if (OWNED_PARAMS.has(param)) throw refuse(`extra_auth_params.${param}`, "is set by the gateway itself");
  }
}

/**
 * Checks the rules between the fields of a record as it would be after the write.
 *
 * @param hasSecret Whether a client secret is given or stored.
 * @throws GatewayError `invalid_request` with the field
 */
export function checkOAuth(auth_type: AuthType, oauth: OAuthFields, hasSecret: boolean): void {
  if (auth_type === "none" || auth_type === "headers") {
    const given = (Object.keys(NO_OAUTH) as (keyof OAuthFields)[]).find(
      (field) => JSON.stringify(oauth[field]) !== JSON.stringify(NO_OAUTH[field]),
    );
    const field = given ?? (hasSecret ? "client_secret" : undefined);
    if (field !== undefined) throw refuse(field, `has no meaning with auth_type ${auth_type}`);
    return;
  }
  const { grant_type, registration_mode, token_endpoint_auth_method } = oauth;
  const isFor = {
    client_credentials: "oauth",
    token_exchange: "per_user_oauth",
    authorization_code: auth_type,
  } as const;
  if (isFor[grant_type] !== auth_type) throw refuse("grant_type", `is for auth_type ${isFor[grant_type]} only`);
  if (grant_type !== "authorization_code" && registration_mode !== "manual") {
    throw refuse("registration_mode", `must be manual with grant_type ${grant_type}`);
  }
  if (token_endpoint_auth_method !== null && token_endpoint_auth_method !== "none" && !hasSecret) {
    throw refuse("client_secret", `is needed with token_endpoint_auth_method ${token_endpoint_auth_method}`);
  }
  if (registration_mode === "manual") {
    const endpoint = grant_type === "authorization_code" ? (["authorization_endpoint"] as const) : [];
    for (const field of ["oauth_issuer_url", ...endpoint, "token_endpoint", "client_id"] as const) {
      if (oauth[field] === null || oauth[field] === "") throw refuse(field, "is needed with registration_mode manual");
    }
  }
}

/** The fields as admins have given them, for a registration from the beginning. */
export function withoutFound(oauth: OAuthFields, { oauth_found }: Pick<OAuthFindings, "oauth_found">): OAuthFields {
  const found = oauth_found.filter((field) => Object.hasOwn(NO_OAUTH, field)) as (keyof OAuthFields)[];
  return { ...oauth, ...Object.fromEntries(found.map((field) => [field, NO_OAUTH[field]])) };
}

/** RB-29: a client that is registered by the gateway has no id and no secret of the admin's. */
export function checkGivenClient(
  mode: RegistrationMode,
  given: {
    client_id?: string | undefined;
    client_secret?: string | null | undefined;
    token_endpoint_auth_method?: TokenAuthMethod | null | undefined;
  },
): void {
  if (mode === "manual") return;
  if (given.client_id !== undefined && given.client_id !== "") {
    throw refuse("client_id", `is found by registration with registration_mode ${mode}`);
  }
  if (given.client_secret !== undefined && given.client_secret !== null) {
    throw refuse("client_secret", `is found by registration with registration_mode ${mode}`);
  }
  if (given.token_endpoint_auth_method !== undefined && given.token_endpoint_auth_method !== null) {
    throw refuse("token_endpoint_auth_method", `is found by registration with registration_mode ${mode}`);
  }
}

/** RB-13: what a registration begins as. */
export function initialStatus(auth_type: AuthType, mode: RegistrationMode): "active" | "pending_setup" {
  return auth_type === "none" || auth_type === "headers" || mode === "manual" ? "active" : "pending_setup";
}
