/**
 * OAuth as programs speak it: the descriptions of the doors (RFC 9728) and of the authorization server (RFC 8414), and
 * its token, revocation (RFC 7009) and registration (RFC 7591) endpoints.
 */
import { type Context, Hono } from "hono";
import { FAILURES, failureHeaders, GatewayError } from "../failure/gateway-error.ts";
import { oauthErrorOf } from "../failure/oauth-error.ts";
import type { AppEnv } from "../http/app-env.ts";
import { readText } from "../http/body.ts";
import { addressOf, checkHeaderSizes } from "../http/security.ts";
import { requireFetchable } from "./ask.ts";
import { isServable, REGISTER, TOKEN } from "./oauth-library.ts";
import { isSlug, resourceMetadata } from "./resource.ts";

/** Registrations are a few hundred bytes, and token requests with a signed assertion a few thousand. */
const MAX_BODY_LENGTH = 64 * 1024;
const METADATA_METHODS = "GET, HEAD, OPTIONS";
/** Pages of any origin may read these: nothing in them depends on who asks. */
const FOR_ALL_ORIGINS = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": METADATA_METHODS };

export function createOAuthDoors(onFailure: (error: GatewayError, c: Context<AppEnv>) => void): Hono<AppEnv> {
  const doors = new Hono<AppEnv>();

  const describe = (c: Context<AppEnv>, slug: string | null) => {
    if (slug !== null && !isSlug(slug)) return c.body(null, 404);
    for (const [name, value] of Object.entries(FOR_ALL_ORIGINS)) c.header(name, value);
    if (c.req.method === "OPTIONS") {
      c.header("Access-Control-Allow-Headers", "MCP-Protocol-Version");
      return c.body(null, 204);
    }
    if (c.req.method !== "GET" && c.req.method !== "HEAD") {
      c.header("Allow", METADATA_METHODS);
      throw new GatewayError("method_not_allowed", `This path takes ${METADATA_METHODS}.`);
    }
    return c.json(resourceMetadata(new URL(c.req.url).origin, slug, c.var.services.issuers));
  };
  doors.all("/.well-known/oauth-protected-resource", (c) => describe(c, null));
  doors.all("/.well-known/oauth-protected-resource/mcp", (c) => describe(c, null));
  doors.all("/.well-known/oauth-protected-resource/mcp/:server", (c) => describe(c, c.req.param("server")));

  for (const path of ["/.well-known/oauth-authorization-server", TOKEN, REGISTER]) {
    doors.all(path, async (c) => {
      const request = c.req.raw;
      checkHeaderSizes(request.headers);
      if (!isServable(new URL(request.url).origin)) throw new GatewayError("invalid_request", "This needs https.");
      if (path === REGISTER) await c.var.services.rateLimits.stranger(addressOf(request.headers));
      const body = await readText(request);
      if (body.length > MAX_BODY_LENGTH) throw new GatewayError("body_too_large", "The body is too large.");
      if (path === TOKEN) requireFetchable(clientOf(request.headers, new URLSearchParams(body)));
      // The runtime's own context; Hono's type for it knows only a part.
      return c.var.services.grants.serve(request, body, c.executionCtx as ExecutionContext);
    });
  }

  doors.onError((thrown, c) => {
    const error = GatewayError.from(thrown);
    onFailure(error, c);
    for (const [name, value] of Object.entries(failureHeaders(error))) c.header(name, value);
    return c.json(oauthErrorOf(error), FAILURES[error.code].status);
  });
  return doors;
}

/**
 * The client that a token request claims to come from.
 *
 * @throws GatewayError `invalid_request` for a signed assertion that comes without the client's id: the library would
 *   read it from the assertion, and fetch it, before anything is checked
 */
function clientOf(headers: Headers, form: URLSearchParams): string | null {
  const claimed = form.get("client_id");
  if (claimed !== null) return claimed;
  if (form.has("client_assertion")) throw new GatewayError("invalid_request", "client_id is required.");
  const encoded = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(headers.get("Authorization") ?? "")?.[1];
  if (encoded === undefined) return null;
  try {
    return decodeURIComponent((atob(encoded).split(":")[0] ?? "").replaceAll("+", " "));
  } catch {
    return null;
  }
}
