/**
 * Grants: what a person has let a client do. Each is a row in D1 beside the library's records in KV, and counts only
 * while the row is there: codes are used up there, and revocation is proven there (design.md section 3).
 */
import { type AuthRequest, OAuthError } from "@cloudflare/workers-oauth-provider";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { Clock } from "../platform/clock.ts";
import type { NewId } from "../platform/ids.ts";
import { unauthorized } from "./credential.ts";
import type { Consent, Grant, GrantStore } from "./grants.store.ts";
import {
  CLAIMED_REFRESH_TOKEN_S,
  grantIdOf,
  isServable,
  oauthHelpers,
  oauthLibrary,
  REFRESH_TOKEN_S,
  watchedKv,
} from "./oauth-library.ts";
import { Grantor } from "./person.wire.ts";
import { covers, resourceOf, SCOPE } from "./resource.ts";

export interface GrantsDeps {
  readonly kv: KVNamespace;
  readonly store: GrantStore;
  /** What follows a revocation: this isolate forgets what it verified. */
  readonly onWritten: () => void;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** A token that was good at the door it came to. */
export interface ProvenGrant {
  readonly grantor: Grantor;
  /** Milliseconds since the Unix epoch: nothing may be remembered beyond it. */
  readonly expiresAt: number;
  /** Of the org, read with the proof that the grant still counts. */
  readonly generation: number;
}

export type Grants = ReturnType<typeof createGrants>;

/** What a code is good for, before somebody has come with it: as long as the library keeps it. */
const CODE_MS = 600_000;
/** As long as what it gave: a client whose grant has ended by itself asks again. */
const CONSENT_MS = REFRESH_TOKEN_S * 1_000;

export function createGrants({ kv, store, onWritten, clock, newId }: GrantsDeps) {
  const isLive = (grant: Grant) => grant.expires_at > clock();
  const { unwrap } = withOutages({
    unwrap: (token: string, origin: string) => oauthHelpers(origin, null, kv).unwrapToken<unknown>(token),
  });

  /**
   * Runs at the token endpoint once client, code and verifier are known to be good. D1 decides what KV cannot: whether a
   * code is used for the first time, and whether the grant still counts. `invalid_grant` ends the grant.
   */
  async function allowExchange(grantId: string, isCode: boolean, props: unknown): Promise<{ refreshTokenTTL: number }> {
    const grantor = Grantor.safeParse(props).data;
    const seconds = grantor === undefined ? 0 : refreshSeconds(grantor);
    const found = await store.get(grantId);
    const isGood = grantor !== undefined && found !== null && isLive(found.grant);
    if (isGood && (!isCode || (await store.useCode(grantId, clock() + seconds * 1_000)))) {
      return { refreshTokenTTL: seconds };
    }
    throw new OAuthError("invalid_grant", { description: "The grant has ended." });
  }

  return {
    /**
     * Serves the metadata, token, revocation and registration endpoints.
     *
     * @param body The whole body, bounded by the caller.
     */
    async serve(request: Request, body: string, ctx: ExecutionContext): Promise<Response> {
      const { origin } = new URL(request.url);
      const form = new URLSearchParams(body);
      const grantId = grantIdOf(form.get("code") ?? form.get("refresh_token") ?? "");
      const found = grantId === null ? null : await store.get(grantId);
      const library = oauthLibrary({
        origin,
        resource: found?.grant.resource ?? null,
        tokenExchangeCallback: ({ userId, grantType, props }) =>
          allowExchange(userId, grantType === "authorization_code", props),
      });
      const ended = new Set<string>();
      const { method, headers } = request;
      const hasBody = method !== "GET" && method !== "HEAD";
      const response = await library.fetch(
        new Request(request.url, { method, headers, ...(hasBody && { body }) }),
        { OAUTH_KV: watchedKv(kv, (id) => ended.add(id)) },
        ctx,
      );
      // A client that gives back one token gives back its whole grant (RFC 7009 section 2.1 allows it): the row is one.
      for (const id of ended) await store.revoke(id);
      if (ended.size > 0) onWritten();
      return response;
    },

    /** Whether somebody has let this client in before, at this door and redirect URI, and not too long ago. */
    hasConsent(ask: AuthRequest, grantor: Grantor): Promise<boolean> {
      return store.hasConsent(grantor.org, consentOf(ask, grantor), clock());
    },

    /**
     * Gives a client what it asks for, and remembers that the person did.
     *
     * @returns Where the browser takes the code.
     */
    async give(ask: AuthRequest, grantor: Grantor): Promise<string> {
      const now = clock();
      const { origin } = new URL(ask.issuer ?? "");
      const resource = ask.resource ?? resourceOf(origin, null);
      const consent = consentOf(ask, grantor);
      const { user_id, client_id } = consent;
      const virtual_key_id = grantor.kind === "key" ? grantor.virtual_key_id : null;
      const grant_id = newId("gra");
      const made = { grant_id, org_id: grantor.org, user_id, virtual_key_id, client_id, resource };
      await store.putConsent(grantor.org, consent, now, now + CONSENT_MS);
      await store.insert(grantor.org, { ...made, is_code_used: false, created: now, expires_at: now + CODE_MS });
      const { redirectTo } = await oauthHelpers(origin, resource, kv).completeAuthorization({
        request: ask,
        // Not the person: it stands in every token and code, where clients and logs can read it.
        userId: grant_id,
        metadata: {},
        // Whatever was asked for: there is one scope (RFC 6749 section 3.3).
        scope: [SCOPE],
        props: grantor,
        revokeExistingGrants: false,
      });
      return redirectTo;
    },

    /** Whether a bearer token has the form of ours. */
    isOurs: (token: string) => grantIdOf(token) !== null,

    /**
     * The grant behind an access token.
     *
     * @param resource The door that it was shown at.
     * @throws GatewayError `unauthorized` for a token that is unknown, has ended, or is for another door: all look alike;
     *   `insufficient_scope`
     */
    async verify(token: string, resource: string): Promise<ProvenGrant> {
      const { origin } = new URL(resource);
      if (!isServable(origin)) throw unauthorized();
      const summary = await unwrap(token, origin);
      const audience = typeof summary?.audience === "string" ? summary.audience : null;
      if (summary === null || audience === null || !covers(audience, resource)) throw unauthorized();
      const found = await store.get(summary.userId);
      const grantor = Grantor.safeParse(summary.grant.props).data;
      if (found === null || !isLive(found.grant) || grantor === undefined) throw unauthorized();
      if (!summary.scope.includes(SCOPE)) {
        throw new GatewayError("insufficient_scope", `The token does not have the scope ${SCOPE}.`);
      }
      const expiresAt = Math.min(summary.expiresAt * 1_000, found.grant.expires_at);
      return { grantor, expiresAt, generation: found.generation };
    },
  };
}

/** The id of the principal that a grant acts as (PS-9). */
export function principalIdOf(person: Grantor | { readonly kind: "user"; readonly user: { readonly sub: string } }) {
  return person.kind === "key" ? `key:${person.virtual_key_id}` : person.user.sub;
}

function consentOf({ clientId, redirectUri, resource = "" }: AuthRequest, grantor: Grantor): Consent {
  return { user_id: principalIdOf(grantor), client_id: clientId, redirect_uri: redirectUri, resource };
}

function refreshSeconds(grantor: Grantor): number {
  if (grantor.kind === "key") return REFRESH_TOKEN_S;
  const { claimed, isPlatformAdmin } = grantor.user;
  return claimed !== null || isPlatformAdmin ? CLAIMED_REFRESH_TOKEN_S : REFRESH_TOKEN_S;
}
