/** Sign-in at the operator's identity provider: OpenID Connect, authorization code with PKCE, the gateway as client. */
import {
  allowInsecureRequests,
  authorizationCodeGrantRequest,
  type Client,
  ClientSecretBasic,
  ClientSecretPost,
  calculatePKCECodeChallenge,
  clockSkew,
  clockTolerance,
  customFetch,
  HTTP_REQUEST_FORBIDDEN,
  INVALID_SERVER_METADATA,
  MISSING_SERVER_METADATA,
  None,
  processAuthorizationCodeResponse,
  REQUEST_PROTOCOL_FORBIDDEN,
  RESPONSE_IS_NOT_CONFORM,
  RESPONSE_IS_NOT_JSON,
  ResponseBodyError,
  validateAuthResponse,
} from "oauth4webapi";
import type { OidcSettings } from "../config.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { AskProvider, Publications } from "./publications.ts";
import { unavailable } from "./remembered.ts";
import { ALGORITHMS, type Claims, reasonOf, TOLERANCE_S } from "./token.ts";

/** What one sign-in is bound to; `state`, `nonce` and `verifier` are fresh, unguessable, and used once. */
export interface SignIn {
  /** Where the provider sends the browser back to; registered there. */
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  /** The PKCE code verifier (RFC 7636). */
  readonly verifier: string;
}

export interface SignInDeps {
  readonly client: NonNullable<OidcSettings["client"]>;
  readonly scopes: readonly string[];
  readonly publications: Publications;
  readonly ask: AskProvider;
  /** Checks the signature of a token made for an audience, and gives its claims. */
  readonly claimsOf: (token: string, audience: string) => Promise<Claims>;
  readonly clock: Clock;
  readonly allowInsecure: boolean;
}

export function createSignIn({ client, scopes, publications, ask, claimsOf, clock, allowInsecure }: SignInDeps) {
  const options = {
    [allowInsecureRequests]: allowInsecure,
    [customFetch]: (url: string, { headers, body }: { headers: Record<string, string>; body: URLSearchParams }) =>
      ask({ url, method: "POST", headers, body: body.toString() }).catch((thrown) => {
        throw unavailable(new Error(reasonOf(thrown)));
      }),
  };

  return {
    /** Where to send the browser. @throws GatewayError `unavailable` */
    async url({ redirectUri, state, nonce, verifier }: SignIn): Promise<string> {
      const { authorization_endpoint }: { authorization_endpoint?: unknown } = await publications.metadata();
      const url = typeof authorization_endpoint === "string" ? URL.parse(authorization_endpoint) : null;
      // A browser must never be sent to `javascript:` and the like (protocol.md 5.5).
      if (url === null || !(url.protocol === "https:" || (url.protocol === "http:" && allowInsecure))) {
        throw unavailable(new Error("the metadata names no authorization endpoint that may be used"));
      }
      const parameters = {
        response_type: "code",
        client_id: client.id,
        redirect_uri: redirectUri,
        scope: [...new Set(["openid", "email", ...scopes])].join(" "),
        state,
        nonce,
        code_challenge: await calculatePKCECodeChallenge(verifier),
        code_challenge_method: "S256",
      };
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
      return url.href;
    },

    /**
     * The claims of the ID token that a callback's code is good for.
     *
     * @throws GatewayError `unauthorized` when the callback or the token is not the answer to this sign-in;
     *   `unavailable` when the provider fails, or refuses us as its client
     * @see OpenID Connect Core 1.0 section 3.1.3, RFC 9207
     */
    async finish(callbackUrl: string, { redirectUri, state, nonce, verifier }: SignIn): Promise<Claims> {
      // The one list of algorithms, whatever the provider says it may use.
      const server = { ...(await publications.metadata()), id_token_signing_alg_values_supported: [...ALGORITHMS] };
      const party: Client = {
        client_id: client.id,
        // The library asks the system for the time.
        [clockSkew]: Math.floor(clock() / 1000) - Math.floor(Date.now() / 1000),
        [clockTolerance]: TOLERANCE_S,
      };
      const proof = clientProof(client.secret?.reveal(), server.token_endpoint_auth_methods_supported);
      try {
        const callback = validateAuthResponse(server, party, new URL(callbackUrl), state);
        const request = [server, party, proof, callback, redirectUri, verifier, options] as const;
        const answer = await authorizationCodeGrantRequest(...request);
        const tokens = await processAuthorizationCodeResponse(server, party, answer, {
          expectedNonce: nonce,
          requireIdToken: true,
        });
        return await claimsOf(tokens.id_token ?? "", client.id);
      } catch (thrown) {
        throw signInFailure(thrown);
      }
    },
  };
}

/** How we prove to be the client: Basic unless the provider takes the other form only (Core section 9). */
function clientProof(secret: string | undefined, methods: unknown) {
  if (secret === undefined) return None();
  const takesPostOnly =
    Array.isArray(methods) && methods.includes("client_secret_post") && !methods.includes("client_secret_basic");
  return takesPostOnly ? ClientSecretPost(secret) : ClientSecretBasic(secret);
}

const BROKEN_PROVIDER = new Set([
  RESPONSE_IS_NOT_CONFORM,
  RESPONSE_IS_NOT_JSON,
  // Of its metadata: there is no token endpoint that may be used.
  MISSING_SERVER_METADATA,
  INVALID_SERVER_METADATA,
  HTTP_REQUEST_FORBIDDEN,
  REQUEST_PROTOCOL_FORBIDDEN,
]);

/** Whose fault a failed sign-in is. What the provider wrote goes nowhere: it may hold tokens. */
function signInFailure(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  const cause = new Error(reasonOf(thrown));
  // A code that is used, old or not ours is the caller's; any other refusal is of the gateway as a client.
  const isRefusedClient = thrown instanceof ResponseBodyError && thrown.error !== "invalid_grant";
  if (isRefusedClient || BROKEN_PROVIDER.has(reasonOf(thrown))) return unavailable(cause);
  return new GatewayError("unauthorized", "The sign-in was not completed.", { cause });
}
