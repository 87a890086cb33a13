/** What every MCP door does before a message is looked at: rungs 3.1 of protocol.md, in their order. */
import type { Config } from "../config.ts";
import { type FailureCode, GatewayError } from "../failure/gateway-error.ts";
import { type RpcError, rpcErrorOf } from "../failure/json-rpc.ts";
import { isJson } from "../http/body.ts";
import { checkHeaderSizes } from "../http/security.ts";
import { type Accepts, acceptsOf } from "./answer.ts";
import { errorText } from "./rpc-text.ts";

export const METHODS = ["POST", "GET", "DELETE"];
const LOOPBACK_HOSTS = new Set(["localhost", "127.0.0.1", "[::1]"]);
const EXPOSED_HEADERS = "Mcp-Session-Id, WWW-Authenticate, X-Request-Id";
const REQUEST_HEADERS = [
  "authorization, content-type, accept, x-api-key, x-bf-vk, last-event-id",
  "mcp-session-id, mcp-protocol-version, mcp-method, mcp-name, traceparent, tracestate",
  "x-bf-mcp-include-clients, x-bf-mcp-include-tools",
].join(", ");

/** What a door says to browsers: the headers of an allowed origin, and the answer, where the request ends here. */
export interface OriginCheck {
  readonly headers: Readonly<Record<string, string>>;
  readonly ended: Response | null;
}

/** Which pages may talk to this door, and under which host name (3.1.2, 3.1.3). */
export function checkOrigin(request: Request, config: Pick<Config, "allowedOrigins" | "isDevelopment">): OriginCheck {
  const url = new URL(request.url);
  const origin = request.headers.get("Origin");
  const isAllowed = origin === null || origin === url.origin || config.allowedOrigins.includes(origin);
  // A name that somebody else's DNS points at this machine is not a name of ours (DNS rebinding).
  const isForeignHost = config.isDevelopment && !LOOPBACK_HOSTS.has(url.hostname);
  if (!isAllowed || isForeignHost) return { headers: {}, ended: foreign(isAllowed ? "host name" : "origin") };
  const headers: Record<string, string> =
    origin === null
      ? {}
      : { "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED_HEADERS, Vary: "Origin" };
  if (request.method !== "OPTIONS") return { headers, ended: null };
  const preflight = {
    "Access-Control-Allow-Methods": METHODS.join(", "),
    "Access-Control-Allow-Headers": allowedHeaders(request.headers.get("Access-Control-Request-Headers") ?? ""),
    "Access-Control-Max-Age": "600",
  };
  return { headers: { ...headers, ...preflight }, ended: new Response(null, { status: 204 }) };
}

function foreign(what: string): Response {
  const error = { code: INVALID_REQUEST, message: `Requests of this ${what} are not served.` };
  return new Response(errorText(error, null), { status: 403, headers: { "Content-Type": "application/json" } });
}

const INVALID_REQUEST = -32600;

/** What rungs 3.1 and 3.3.11 give a status for and no number. */
const STATUS_ONLY: readonly FailureCode[] = [
  ...(["method_not_allowed", "headers_too_large", "unauthorized", "unsupported_media_type"] as const),
  ...(["not_acceptable", "body_too_large", "insufficient_scope"] as const),
];

/** A failure at a door as JSON-RPC (protocol.md section 3). */
export function doorErrorOf(error: GatewayError, requestId: string): RpcError {
  const rpc = rpcErrorOf(error, requestId);
  return STATUS_ONLY.includes(error.code) ? { ...rpc, code: INVALID_REQUEST } : rpc;
}

/** The headers a page may send: ours, and whatever `Mcp-Param-*` it asks for. */
function allowedHeaders(asked: string): string {
  const params = asked.split(",").filter((name) => /^\s*mcp-param-[A-Za-z0-9-]+\s*$/i.test(name));
  return [REQUEST_HEADERS, ...params.map((name) => name.trim())].join(", ");
}

/** 3.1.4 and 3.1.5. @throws GatewayError `method_not_allowed`, `headers_too_large` */
export function checkRequest({ method, headers }: Request): void {
  if (!METHODS.includes(method)) throw new GatewayError("method_not_allowed", `This path takes ${METHODS.join(", ")}.`);
  checkHeaderSizes(headers);
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
