/**
 * The operator's identity provider: tokens that it made, and sign-in there. What a proven user may do in which org is
 * decided elsewhere; so is for how long, up to `expiresAt`, anybody remembers one.
 */
import type { OidcSettings } from "../config.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { unauthorized } from "./credential.ts";
import { type ProvenUser, provenUser } from "./proven-user.ts";
import { askProvider, createPublications } from "./publications.ts";
import type { ProviderMemory } from "./remembered.ts";
import { createSignIn, type SignIn } from "./sign-in.ts";
import { verifyToken } from "./token.ts";

export interface IdentityProviderDeps {
  readonly settings: OidcSettings;
  readonly send: Send;
  readonly memory: ProviderMemory;
  readonly clock: Clock;
  /** Development: the provider may be on plain http and on this machine. */
  readonly allowInsecure: boolean;
}

export interface IdentityProvider {
  /** Whether people can sign in through the gateway: it is a client of the provider. */
  readonly canSignIn: boolean;

  /**
   * The user of an access token that was made for the gateway (PS-3).
   *
   * @throws GatewayError `unauthorized` for anything wrong with the token, always the same text; `unavailable` when the
   *   provider's keys cannot be had
   */
  verify(token: string): Promise<ProvenUser>;

  /**
   * Where to send a browser to sign in: authorization code, PKCE S256.
   *
   * @throws GatewayError `unavailable`; `not_found` unless `canSignIn`
   */
  signInUrl(signIn: SignIn): Promise<string>;

  /**
   * Exchanges the code of a callback for the user who signed in.
   *
   * @param callbackUrl As the browser asked for it, with its query.
   * @throws GatewayError `unauthorized` unless callback and ID token answer this very sign-in; `unavailable` when the
   *   provider fails or does not accept us; `not_found` unless `canSignIn`
   */
  finishSignIn(signIn: SignIn & { readonly callbackUrl: string }): Promise<ProvenUser>;
}

/** The longest bearer token that is looked at; request headers end at the same length. */
const MAX_TOKEN_LENGTH = 8 * 1024;

export function createIdentityProvider(deps: IdentityProviderDeps): IdentityProvider {
  const { settings, send, memory, clock, allowInsecure } = deps;
  const { issuer, client, scopes } = settings;
  const ask = askProvider(send);
  const publications = createPublications({ issuer, ask, memory, clock });
  const claimsOf = (token: string, audience: string) =>
    verifyToken(token, { issuer, audience, clock, keys: publications.keys, keysAfter: publications.keysAfter });
  const signIn =
    client === null ? null : createSignIn({ client, scopes, publications, ask, claimsOf, clock, allowInsecure });

  function requireSignIn() {
    if (signIn === null) throw new GatewayError("not_found", "Sign-in is not configured.");
    return signIn;
  }

  return {
    canSignIn: signIn !== null,
    async verify(token) {
      if (token.length > MAX_TOKEN_LENGTH) throw unauthorized("the token is too long");
      return provenUser(await claimsOf(token, settings.audience), settings);
    },
    async signInUrl(started) {
      return requireSignIn().url(started);
    },
    async finishSignIn({ callbackUrl, ...started }) {
      return provenUser(await requireSignIn().finish(callbackUrl, started), settings);
    },
  };
}
