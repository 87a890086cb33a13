/** The OAuth part of the server record: what is stored, and the rules between its fields (RB-7 to RB-10, RB-29). Pure. */
import { GatewayError } from "../failure/gateway-error.ts";
import type { AuthType } from "./server-record.ts";

export type RegistrationMode = "cimd" | "dcr" | "manual";

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
}

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
  if (oauth.registration_mode === "manual") {
    for (const field of ["oauth_issuer_url", "authorization_endpoint", "token_endpoint", "client_id"] as const) {
      if (oauth[field] === null || oauth[field] === "") throw refuse(field, "is needed with registration_mode manual");
    }
  }
}

/** RB-29: a client that is registered by the gateway has no id and no secret of the admin's. */
export function checkGivenClient(
  mode: RegistrationMode,
  given: { client_id?: string | undefined; client_secret?: string | null | undefined },
): void {
  if (mode === "manual") return;
  if (given.client_id !== undefined && given.client_id !== "") {
    throw refuse("client_id", `is found by registration with registration_mode ${mode}`);
  }
  if (given.client_secret !== undefined && given.client_secret !== null) {
    throw refuse("client_secret", `is found by registration with registration_mode ${mode}`);
  }
}

/** RB-13: what a registration begins as. */
export function initialStatus(auth_type: AuthType, mode: RegistrationMode): "active" | "pending_setup" {
  return auth_type === "none" || auth_type === "headers" || mode === "manual" ? "active" : "pending_setup";
}
