/**
 * `@cloudflare/workers-oauth-provider`, as this gateway is set up: the endpoints that it serves, and what one request
 * may mean by `resource`. It keeps clients, codes and tokens in KV. Who may have a grant, and whether one still counts,
 * is decided in `grants.ts`.
 */
import {
  OAuthAuthorizationServer,
  type OAuthAuthorizationServerOptions,
  type OAuthHelpers,
} from "@cloudflare/workers-oauth-provider";
import { log } from "../platform/log.ts";
import { resourceOf, SCOPE } from "./resource.ts";

/** What the library asks of `env`. */
export interface OAuthBindings {
  readonly OAUTH_KV: KVNamespace;
}

export const AUTHORIZE = "/oauth/authorize";
export const TOKEN = "/oauth/token";
export const REGISTER = "/oauth/register";

/** An hour: what a stolen access token is good for at most, at the price of one refresh in that time. */
export const ACCESS_TOKEN_S = 3_600;
/** Thirty days from the sign-in, however often it is refreshed: then a person says again that they want this. */
export const REFRESH_TOKEN_S = 30 * 86_400;
/**
 * A day, where the identity provider's claims decide what somebody may do: they are read at sign-in only, so this is
 * how long a right that was taken away there goes on here.
 */
export const CLAIMED_REFRESH_TOKEN_S = 86_400;

type Options = OAuthAuthorizationServerOptions<OAuthBindings>;

export interface LibraryOptions {
  /** Of the gateway, as the client has reached it. */
  readonly origin: string;
  /** The door that the request is about, besides the one to all servers. */
  readonly resource: string | null;
  readonly tokenExchangeCallback?: NonNullable<Options["tokenExchangeCallback"]>;
}

/**
 * The library takes a fixed list of resources and we have one for each legal server name, so it is made for each request
 * with those that the request can mean. That costs microseconds and no I/O.
 */
export function oauthLibrary({ origin, resource, tokenExchangeCallback }: LibraryOptions) {
  const all = resourceOf(origin, null);
  return new OAuthAuthorizationServer<OAuthBindings>({
    issuer: origin,
    resources: resource === null || resource === all ? [all] : [all, resource],
    // A client that names no resource wants what it was given a URL of; most are older ones at `/mcp`.
    defaultResource: all,
    authorizeEndpoint: AUTHORIZE,
    tokenEndpoint: TOKEN,
    clientRegistrationEndpoint: REGISTER,
    scopesSupported: [SCOPE],
    accessTokenTTL: ACCESS_TOKEN_S,
    refreshTokenTTL: REFRESH_TOKEN_S,
    clientIdMetadataDocumentEnabled: true,
    // The reason is for the log alone; what the client is told says less on purpose.
    onError: ({ code, status, internal }) =>
      log("warn", "oauth_refused", { code, status, reason: internal?.reason ?? null }),
    ...(tokenExchangeCallback === undefined ? {} : { tokenExchangeCallback }),
  });
}

/** The library's helpers; they reach no network unless a client is a metadata document (CIMD). */
export function oauthHelpers(origin: string, resource: string | null, kv: KVNamespace): OAuthHelpers {
  return oauthLibrary({ origin, resource }).getOAuthApi({ OAUTH_KV: kv });
}

/**
 * Whether the library can be at an origin: RFC 8414 and OAuth 2.1 want https, and http is for this machine only. A
 * Worker may be reached over plain http where the operator has not ended that.
 */
export function isServable(origin: string): boolean {
  return /^https:|^http:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(origin);
}

const GRANT_ID = "gra_[0-9a-z]{26}";
const TOKEN_SHAPE = new RegExp(`^(${GRANT_ID}):[A-Za-z0-9_-]{16}:[A-Za-z0-9_-]{32}$`);
const KEY_SHAPE = new RegExp(`^(?:grant|token):(${GRANT_ID}):`);

/**
 * The grant that an access token, a refresh token or a code belongs to; null for what is none of ours. The library
 * writes them as `<user id>:<its own grant id>:<secret>`, and what we call a grant is a user of its own there.
 */
export function grantIdOf(token: string): string | null {
  return TOKEN_SHAPE.exec(token)?.[1] ?? null;
}

/** KV, with a look at which grants the library has ended: whether wholly or a token of theirs. */
export function watchedKv(kv: KVNamespace, onEnded: (grantId: string) => void): KVNamespace {
  return new Proxy(kv, {
    get(target, name) {
      if (name !== "delete") {
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === "function" ? member.bind(target) : member;
      }
      return (key: string) => {
        const grantId = KEY_SHAPE.exec(key)?.[1];
        if (grantId !== undefined) onEnded(grantId);
        return target.delete(key);
      };
    },
  });
}
