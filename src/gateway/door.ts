/** What every MCP door does before a message is looked at: rungs 3.1 of protocol.md, in their order. */
import type { Context } from "hono";
import { GatewayError } from "../failure/gateway-error.ts";
import type { AppEnv } from "../http/app-env.ts";
import { isJson } from "../http/body.ts";
import { checkHeaderSizes } from "../http/security.ts";
import { type Accepts, acceptsOf } from "./answer.ts";

const METHODS = ["POST", "GET", "DELETE"];
const LOOPBACK_HOSTS = new Set(["localhost", "127.0.0.1", "[::1]"]);
const EXPOSED_HEADERS = "Mcp-Session-Id, WWW-Authenticate, X-Request-Id";
const REQUEST_HEADERS = [
  "authorization, content-type, accept, x-api-key, x-bf-vk, last-event-id",
  "mcp-session-id, mcp-protocol-version, mcp-method, mcp-name",
].join(", ");

/** Whether a path segment can name a server. */
export function isSlug(segment: string): boolean {
  return /^[A-Za-z0-9-]{1,63}$/.test(segment);
}

/**
 * Browsers: which pages may talk to this door, and under which host name (3.1.2, 3.1.3). Sets the CORS headers of an
 * allowed origin.
 *
 * @returns The answer, where the request ends here.
 */
export function checkOrigin(c: Context<AppEnv>): Response | null {
  const { allowedOrigins, isDevelopment } = c.var.services.config;
  const url = new URL(c.req.url);
  const origin = c.req.header("Origin");
  const isAllowed = origin === undefined || origin === url.origin || allowedOrigins.includes(origin);
  // A name that somebody else's DNS points at this machine is not a name of ours (DNS rebinding).
  const isForeignHost = isDevelopment && !LOOPBACK_HOSTS.has(url.hostname);
  if (!isAllowed || isForeignHost) return c.body(null, 403);
  if (origin !== undefined) {
    c.header("Access-Control-Allow-Origin", origin);
    c.header("Access-Control-Expose-Headers", EXPOSED_HEADERS);
    c.header("Vary", "Origin");
  }
  if (c.req.method !== "OPTIONS") return null;
  c.header("Access-Control-Allow-Methods", METHODS.join(", "));
  c.header("Access-Control-Allow-Headers", allowedHeaders(c.req.header("Access-Control-Request-Headers")));
  c.header("Access-Control-Max-Age", "600");
  return c.body(null, 204);
}

/** The headers a page may send: ours, and whatever `Mcp-Param-*` it asks for. */
function allowedHeaders(asked = ""): string {
  const params = asked.split(",").filter((name) => /^\s*mcp-param-[A-Za-z0-9-]+\s*$/i.test(name));
  return [REQUEST_HEADERS, ...params.map((name) => name.trim())].join(", ");
}

/** 3.1.4 and 3.1.5. @throws GatewayError `method_not_allowed`, `headers_too_large` */
export function checkRequest(c: Context<AppEnv>): void {
  if (!METHODS.includes(c.req.method)) {
    c.header("Allow", METHODS.join(", "));
    throw new GatewayError("method_not_allowed", `This path takes ${METHODS.join(", ")}.`);
  }
  checkHeaderSizes(c.req.raw.headers);
}

/** 3.1.8 and 3.1.9. @throws GatewayError `unsupported_media_type`, `not_acceptable` */
export function checkMedia(headers: Headers): Accepts {
  if (!isJson(headers.get("Content-Type"))) {
    throw new GatewayError("unsupported_media_type", "The body must be application/json.");
  }
  const accepts = acceptsOf(headers.get("Accept"));
  if (accepts.json || accepts.sse) return accepts;
  throw new GatewayError("not_acceptable", "The client must accept application/json or text/event-stream.");
}
