/** Tools as an agent calls them, whatever it speaks: in both eras, at both doors, and without MCP. */
import { DOOR } from "./execute.ts";

/** What a call has come to, told alike for all. */
export interface Called {
  readonly isError: boolean;
  readonly text: string;
  /** Undefined where the wire has none. */
  readonly structured?: unknown;
  /** A refusal that is no result: the code and text of the wire. */
  readonly error?: { readonly code: unknown; readonly message: string };
}

export type Send = (path: string, body: string, headers: Record<string, string>) => Promise<Response>;

export interface CallOptions {
  /** Members of `_meta`. */
  readonly meta?: Record<string, unknown>;
  readonly headers?: Record<string, string>;
}

export type CallTool = (name: string, args?: unknown, options?: CallOptions) => Promise<Called>;

const MODERN = "2026-07-28";

export function modernCaller(send: Send, path = "/mcp"): CallTool {
  return async (name, args = {}, { meta = {}, headers = {} } = {}) => {
    const _meta = {
      "io.modelcontextprotocol/protocolVersion": MODERN,
      "io.modelcontextprotocol/clientCapabilities": {},
      ...meta,
    };
    const own = { "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name };
    return readRpc(await send(path, rpc({ name, arguments: args, _meta }), { ...own, ...headers }));
  };
}

/** @param session Headers of a session; none for a client without one. */
export function legacyCaller(send: Send, path = "/mcp", session: Record<string, string> = {}): CallTool {
  return async (name, args = {}, { meta, headers = {} } = {}) => {
    const params = { name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) };
    return readRpc(await send(path, rpc(params), { ...session, ...headers }));
  };
}

export function executeCaller(send: Send): CallTool {
  return async (name, args = {}, { headers = {} } = {}) => {
    const body = { name, arguments: JSON.stringify(args) };
    const response = await send(`${DOOR}?format=responses`, JSON.stringify(body), headers);
    if (response.status === 200) {
      const { output, status } = await response.json<{ output: string; status: string }>();
      return { isError: status === "failed", text: output };
    }
    const { error, extra_fields } = await response.json<{
      error: { message: string };
      extra_fields: { code: string };
    }>();
    const code = `${response.status} ${extra_fields.code}`;
    return { isError: true, text: error.message, error: { code, message: error.message } };
  };
}

/** Every way to a built-in tool. */
export const WAYS: readonly (readonly [label: string, via: (send: Send) => CallTool])[] = [
  ["modern at /mcp", (send) => modernCaller(send)],
  ["legacy at /mcp", (send) => legacyCaller(send)],
  ["modern at /mcp/gateway", (send) => modernCaller(send, "/mcp/gateway")],
  ["legacy at /mcp/gateway", (send) => legacyCaller(send, "/mcp/gateway")],
  ["execute", executeCaller],
];

function rpc(params: unknown): string {
  return JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
}

async function readRpc(response: Response): Promise<Called> {
  const { result, error } = await response.json<{
    result?: { content: { text: string }[]; structuredContent?: unknown; isError?: boolean };
    error?: { code: number; message: string };
  }>();
  if (result === undefined) return { isError: true, text: error?.message ?? "", ...(error && { error }) };
  const text = result.content.map((block) => block.text).join("");
  const { structuredContent: structured } = result;
  return { isError: result.isError ?? false, text, ...(structured === undefined ? {} : { structured }) };
}
