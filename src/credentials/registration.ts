/** Registering the gateway as a client of an authorization server (RFC 7591, BF-27, P-60). */
import type { Send } from "../platform/guarded-fetch.ts";
import { isTokenAuthMethod, type TokenAuthMethod, tokenAuthMethodFor } from "./client-proof.ts";
import type { AuthorizationServer } from "./discovery.ts";
import { type Found, unreachable, unusable } from "./found.ts";
import { ask, jsonObject } from "./oauth-exchange.ts";

/** Our client as the authorization server has registered it. */
export interface RegisteredClient {
  readonly client_id: string;
  readonly client_secret: string | null;
  readonly token_auth_method: TokenAuthMethod;
  /** Milliseconds since the epoch; null: never. */
  readonly secret_expires_at: number | null;
}

export interface RegistrationDeps {
  readonly send: Send;
  readonly timeoutMs: number;
}

/** Which the gateway can do with what a registration gives it, the best first. */
const METHODS = ["none", "client_secret_basic", "client_secret_post"] as const;
const BY_HAND = "register a client there by hand and give client_id, with registration_mode manual";
/** RFC 6749 appendix A.1. */
const CLIENT_ID = /^[\x20-\x7e]+$/;

/**
 * Registers a client. A request whose fate is not known is not sent again: it may have made a client.
 *
 * @param redirectUris All that any flow of the gateway may use.
 */
export async function registerClient(
  { send, timeoutMs }: RegistrationDeps,
  {
    server,
    redirectUris,
    scopes,
  }: {
    readonly server: Pick<AuthorizationServer, "registration_endpoint" | "token_auth_methods">;
    readonly redirectUris: readonly string[];
    readonly scopes: readonly string[];
  },
): Promise<Found<RegisteredClient>> {
  const { registration_endpoint: url, token_auth_methods: listed } = server;
  if (url === null) return impossible("The authorization server registers no clients");
  const wanted = listed.length === 0 ? "none" : METHODS.find((method) => listed.includes(method));
  if (wanted === undefined)
    return impossible("The authorization server takes none of the proofs that we could register");
  const signal = AbortSignal.timeout(timeoutMs);
  const register = (scope: { scope?: string }) => {
    const body = {
      client_name: "Postern",
      application_type: "web",
      redirect_uris: redirectUris,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: wanted,
      ...scope,
    };
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    return ask(send, { url, method: "POST", headers, body: JSON.stringify(body), signal });
  };
  let exchanged = await register(scopes.length === 0 ? {} : { scope: scopes.join(" ") });
  // Some take only scopes of their own here, and those of a resource when they are asked for.
  if (scopes.length > 0 && exchanged.kind === "answer" && [400, 403].includes(exchanged.status)) {
    exchanged = await register({});
  }
  switch (exchanged.kind) {
    case "answer":
      return readRegistration(exchanged.status, exchanged.text, listed);
    case "refused":
      return unusable(`The registration was stopped. ${exchanged.reason}`, "registration_endpoint");
    case "too_large":
      return unreadable();
    default:
      return unreachable("The authorization server did not answer the registration.");
  }
}

function readRegistration(status: number, text: string, listed: readonly string[]): Found<RegisteredClient> {
  if (status === 429 || status >= 500) return unreachable(`The registration failed with status ${status}.`);
  if (status === 401 || status === 403) {
    return impossible("The authorization server lets nobody register without a token of its own");
  }
  if (status !== 200 && status !== 201) {
    return impossible(`The authorization server refused the registration with status ${status}`);
  }
  const body = jsonObject(text);
  const { client_id, client_secret, client_secret_expires_at: expires, token_endpoint_auth_method: said } = body ?? {};
  if (typeof client_id !== "string" || !CLIENT_ID.test(client_id)) return unreadable();
  const secret = typeof client_secret === "string" && client_secret !== "" ? client_secret : null;
  if (said === "private_key_jwt" || (said !== undefined && said !== null && !isTokenAuthMethod(said))) {
    return impossible("The authorization server registered a client whose proof we cannot give");
  }
  return {
    ok: true,
    value: {
      client_id,
      client_secret: secret,
      token_auth_method: secret === null ? "none" : (said ?? tokenAuthMethodFor(secret, listed)),
      // RFC 7591 section 3.2.1: seconds, and 0 for never.
      secret_expires_at: secret !== null && typeof expires === "number" && expires > 0 ? expires * 1000 : null,
    },
  };
}

const impossible = (why: string) => unusable(`${why}: ${BY_HAND}.`, "client_id");

const unreadable = () => impossible("The answer to the registration cannot be read");
