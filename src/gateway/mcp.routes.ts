/** The MCP doors: `/mcp` over all servers, `/mcp/:server` for one. Each request is classified once, here. */
import { type Context, Hono } from "hono";
import { filtersOf } from "../access/request-filters.ts";
import { FAILURES, failureHeaders, GatewayError } from "../failure/gateway-error.ts";
import type { AppEnv } from "../http/app-env.ts";
import { readText } from "../http/body.ts";
import { addressOf } from "../http/security.ts";
import { challenge, isSlug, resourceOf } from "../identity/resource.ts";
import { refuseLoop } from "../platform/hop-marker.ts";
import { acceptsOf, messageResponse } from "./answer.ts";
import { readShape } from "./client-message.ts";
import { checkMedia, checkOrigin, checkRequest, doorErrorOf, METHODS } from "./door.ts";
import { serveBatch, serveDelete, serveLegacy, serveResponse } from "./legacy/serve.ts";
import { serveGet } from "./legacy/stream.ts";
import { classify, isModernVersion } from "./modern/ladder.ts";
import { serveModern } from "./modern/serve.ts";
import { authenticate, type DoorRequest } from "./request.ts";
import { errorText } from "./rpc-text.ts";

export function createMcpDoors(onFailure: (error: GatewayError, c: Context<AppEnv>) => void): Hono<AppEnv> {
  const doors = new Hono<AppEnv>();
  doors.all("/mcp", (c) => serveDoor(c, null));
  doors.all("/mcp/:server", (c) => serveDoor(c, c.req.param("server")));
  doors.onError((thrown, c) => {
    const error = GatewayError.from(thrown);
    onFailure(error, c);
    const { status } = FAILURES[error.code];
    for (const [name, value] of Object.entries(failureHeaders(error))) c.header(name, value);
    if (status === 405) c.header("Allow", METHODS.join(", "));
    const problem = problemOf(error, c.req.raw.headers);
    if (problem !== undefined) {
      c.header("WWW-Authenticate", challenge(new URL(c.req.url).origin, c.req.param("server") ?? null, problem));
    }
    // A body that is too large or no text at all failed before its id could be read.
    return c.body(errorText(doorErrorOf(error, c.var.requestId), null), status, { "Content-Type": "application/json" });
  });
  return doors;
}

/** What a client is told that could do better by signing in (BF-63, RFC 6750 section 3.1); undefined for all else. */
function problemOf(
  { code }: GatewayError,
  headers: Headers,
): "invalid_token" | "insufficient_scope" | null | undefined {
  if (code === "insufficient_scope") return code;
  if (code !== "unauthorized") return undefined;
  return CREDENTIALS.some((name) => headers.has(name)) ? "invalid_token" : null;
}

const CREDENTIALS = ["Authorization", "x-bf-vk", "x-api-key"];

async function serveDoor(c: Context<AppEnv>, slug: string | null): Promise<Response> {
  if (slug !== null && !isSlug(slug)) return c.body(null, 404);
  const { services } = c.var;
  const checked = checkOrigin(c.req.raw, services.config);
  // Once for the refusals that `onError` writes, and once for the answer that is made here.
  for (const [name, value] of Object.entries(checked.headers)) c.header(name, value);
  const response = checked.ended ?? (await serveChecked(c, slug));
  for (const [name, value] of Object.entries(checked.headers)) response.headers.set(name, value);
  return response;
}

async function serveChecked(c: Context<AppEnv>, slug: string | null): Promise<Response> {
  const { services } = c.var;
  checkRequest(c.req.raw);
  const { headers } = c.req.raw;
  refuseLoop(headers, services.config.hop);
  const resource = resourceOf(new URL(c.req.url).origin, slug);
  const waitUntil = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
  const { principal, snapshot } = await services.rateLimits.guard(addressOf(headers), () =>
    authenticate(services, headers, resource, waitUntil),
  );
  c.set("principal", principal);
  await services.rateLimits.request(principal);
  const response = await serveAs(c, slug, { principal, snapshot }, waitUntil);
  // Behind the answer, so that no call waits for it (PS-8).
  if (principal.key !== null) waitUntil(services.virtualKeys.noteUse(principal.org, principal.key.virtual_key_id));
  return response;
}

async function serveAs(
  c: Context<AppEnv>,
  slug: string | null,
  { principal, snapshot }: Pick<DoorRequest, "principal" | "snapshot">,
  waitUntil: DoorRequest["waitUntil"],
): Promise<Response> {
  const { services } = c.var;
  const { headers } = c.req.raw;
  const door = slug === null ? "/mcp" : `/mcp/${slug.toLowerCase()}`;
  const about = { door, slug, self: new URL(c.req.url).origin, headers, filters: filtersOf(headers) };
  const base = { services, principal, snapshot, ...about, signal: c.req.raw.signal, waitUntil };
  if (c.req.method === "GET") return serveGet({ ...base, accepts: acceptsOf(headers.get("Accept")) });
  if (c.req.method === "DELETE") return serveDelete({ ...base, accepts: { json: true, sse: true } });

  const request: DoorRequest = { ...base, accepts: checkMedia(headers) };
  const shape = readShape(await readText(c.req.raw));
  switch (shape.kind) {
    case "refused":
      return messageResponse(errorText(shape.refusal.error, shape.refusal.id), shape.refusal.status, request.accepts);
    case "batch":
      return serveBatch(request, shape.elements);
    case "response":
      if (!isModernVersion(headers.get("MCP-Protocol-Version")?.trim())) return serveResponse(request, shape.response);
      return messageResponse(errorText(RESPONSE_REFUSED, null), 400, request.accepts);
    case "message":
      break;
  }
  const classified = classify(shape.message, headers);
  switch (classified.kind) {
    case "refused": {
      const { error, id, status } = classified.refusal;
      return messageResponse(errorText(error, id), status, request.accepts);
    }
    case "dropped":
      return c.body(null, 202);
    case "modern":
      return serveModern(request, shape.message);
    case "legacy":
      return serveLegacy(request, shape.message);
  }
}

const RESPONSE_REFUSED = { code: -32600, message: "A modern client sends requests and notifications only." };
