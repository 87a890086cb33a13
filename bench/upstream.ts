/**
 * The MCP server that everything is measured in front of: raw node:http, so that it is never what one waits for.
 * A process of its own: `node bench/upstream.ts modern|legacy` listens on a free port and tells its parent which.
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { TOOLS } from "./tools.ts";

const isModern = process.argv[2] === "modern";
const SERVER_INFO = { name: "bench", version: "1.0.0" };
const MODERN_META = { "io.modelcontextprotocol/serverInfo": SERVER_INFO };
const CACHEABLE = { resultType: "complete", ttlMs: 60_000, cacheScope: "private", _meta: MODERN_META };

/** Written once: a server that spells the same list for every client would measure its JSON. */
const LIST = JSON.stringify({ ...(isModern ? CACHEABLE : {}), tools: TOOLS });

interface Message {
  readonly id?: unknown;
  readonly method: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: { readonly message?: unknown; readonly mebibytes?: number; readonly form?: string };
  };
}

const sessions = new Set<string>();

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function answer(session: string | undefined, { id, method, params }: Message): Reply {
  const result = (json: string, headers: Record<string, string> = {}): Reply => {
    return { status: 200, body: `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${json}}`, headers };
  };
  const refusal = (status: number, code: number, message: string): Reply => {
    return { status, body: JSON.stringify({ jsonrpc: "2.0", id, error: { code, message } }) };
  };

  if (isModern) {
    if (method === "server/discover") {
      return result(JSON.stringify({ ...CACHEABLE, supportedVersions: ["2026-07-28"], capabilities: { tools: {} } }));
    }
  } else {
    if (method === "initialize") {
      const created = crypto.randomUUID();
      sessions.add(created);
      const hello = { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: SERVER_INFO };
      return result(JSON.stringify(hello), { "Mcp-Session-Id": created });
    }
    if (session === undefined) return refusal(400, -32_000, "Bad Request: Mcp-Session-Id header is required");
    if (!sessions.has(session)) return refusal(404, -32_001, "Session not found");
    if (method.startsWith("notifications/")) return { status: 202, body: "" };
  }
  if (method === "tools/list") return result(LIST);
  if (method === "tools/call" && params?.name === "echo") {
    const content = [{ type: "text", text: String(params.arguments?.message) }];
    return result(JSON.stringify(isModern ? { resultType: "complete", content, _meta: MODERN_META } : { content }));
  }
  return refusal(isModern ? 404 : 200, -32_601, "Method not found");
}

function send(response: ServerResponse, { status, body, headers }: Reply): void {
  const type = body === "" ? {} : { "Content-Type": "application/json" };
  response.writeHead(status, { ...type, "Content-Length": Buffer.byteLength(body), ...headers });
  response.end(body);
}

const PIECE = Buffer.alloc(64 * 1_024, "0123456789abcdef");

/** A result that is sent as fast as it is taken. */
async function sendLarge(response: ServerResponse, { id, params }: Message): Promise<void> {
  const isEvent = params?.arguments?.form === "events";
  response.writeHead(200, { "Content-Type": isEvent ? "text/event-stream" : "application/json" });
  response.write(`${isEvent ? "data: " : ""}{"result":{"content":[{"type":"text","text":"`);
  for (let sent = 0; sent < (params?.arguments?.mebibytes ?? 0) * 16; sent++) {
    if (!response.write(PIECE)) await once(response, "drain");
  }
  const type = isModern ? ',"resultType":"complete"' : "";
  response.end(`"}]${type}},"jsonrpc":"2.0","id":${JSON.stringify(id)}}${isEvent ? "\n\n" : ""}`);
}

const server = createServer((request, response) => {
  const session = request.headers["mcp-session-id"]?.toString();
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    if (request.method !== "POST") return send(response, { status: 405, body: "" });
    const message: Message = JSON.parse(Buffer.concat(chunks).toString());
    if (message.params?.arguments?.mebibytes !== undefined) void sendLarge(response, message);
    else send(response, answer(session, message));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.(server.address()));
// Whoever started this is gone.
process.on("disconnect", () => process.exit());
