/** An MCP server that a test scripts down to the byte, reachable through the network of `startGateway`. */
import type { FakeNetwork } from "./gateway.ts";

/** A request as the server got it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly text: string;
  readonly message: Record<string, unknown>;
  /** Fires when nobody waits for its answer any more. */
  readonly signal: AbortSignal;
}

export interface Script {
  readonly era: "legacy" | "modern";
  /** JSON texts of the tools it lists. */
  readonly tools: readonly string[];
  /** What it says it can do besides tools. */
  readonly capabilities?: Readonly<Record<string, unknown>> | undefined;
  /** What it tells its clients about itself. */
  readonly instructions?: string | undefined;
  /** Answers a `tools/call`; without it the call is answered with an empty result. */
  readonly call?: (seen: Seen) => Response | Promise<Response>;
  /** Answers anything, before the script does; undefined leaves it to the script. */
  readonly first?: ((seen: Seen) => Response | undefined | Promise<Response | undefined>) | undefined;
}

export interface ScriptedServer {
  readonly network: FakeNetwork;
  /** Every request it has got, in order. */
  readonly seen: Seen[];
  /** The `tools/call` requests among them. */
  readonly calls: () => Seen[];
  /** Changes the script from now on. */
  readonly change: (script: Partial<Script>) => void;
}

export function scriptedServer(initial: Script): ScriptedServer {
  let script = initial;
  const seen: Seen[] = [];
  let sessions = 0;
  return {
    seen,
    calls: () => seen.filter(({ message }) => message["method"] === "tools/call"),
    change(changes) {
      script = { ...script, ...changes };
    },
    async network(request) {
      const text = await request.text();
      const message = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
      const one: Seen = {
        method: request.method,
        url: request.url,
        headers: request.headers,
        text,
        message,
        signal: request.signal,
      };
      seen.push(one);
      return (await script.first?.(one)) ?? answer(one);
    },
  };

  function answer(one: Seen): Response | Promise<Response> {
    const { message } = one;
    if (one.method === "DELETE") return new Response(null, { status: 200 });
    if (message["id"] === undefined || !("method" in message)) return new Response(null, { status: 202 });
    switch (message["method"]) {
      case "initialize": {
        if (script.era === "modern") return rpcError(message, -32601, 404);
        const serverInfo = { name: "scripted", version: "1" };
        const { instructions } = script;
        const capabilities = { ...script.capabilities, tools: {} };
        const result = { protocolVersion: "2025-11-25", capabilities, serverInfo, instructions };
        return json({ jsonrpc: "2.0", id: message["id"], result }, { "Mcp-Session-Id": `up-${++sessions}` });
      }
      case "server/discover": {
        if (script.era === "legacy") return rpcError(message, -32000, 400);
        const _meta = { "io.modelcontextprotocol/serverInfo": { name: "scripted", version: "1" } };
        const result = {
          resultType: "complete",
          supportedVersions: ["2026-07-28"],
          capabilities: { ...script.capabilities, tools: {} },
          instructions: script.instructions,
          _meta,
        };
        return json({ jsonrpc: "2.0", id: message["id"], result });
      }
      case "tools/list":
        return raw(
          `{"jsonrpc":"2.0","id":${JSON.stringify(message["id"])},"result":{"tools":[${script.tools.join(",")}]}}`,
        );
      case "tools/call":
        return script.call?.(one) ?? resultOf(one, '{"content":[]}');
      default:
        return rpcError(message, -32601, 200);
    }
  }
}

/** The id of a request, as JSON text. */
export function idOf({ message }: Seen): string {
  return JSON.stringify(message["id"]);
}

/** A response with a result given as JSON text. */
export function resultOf(seen: Seen, result: string): Response {
  return raw(`{"jsonrpc":"2.0","id":${idOf(seen)},"result":${result}}`);
}

export function raw(text: string, init: ResponseInit = {}): Response {
  return new Response(text, { headers: { "Content-Type": "application/json" }, ...init });
}

/** A stream of these events (JSON texts), which ends behind the last one. */
export function events(...texts: string[]): Response {
  const body = texts.map((text) => `event: message\ndata: ${text}\n\n`).join("");
  return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
}

export function rpcError(message: Record<string, unknown>, code: number, status: number): Response {
  return raw(JSON.stringify({ jsonrpc: "2.0", id: message["id"], error: { code, message: "no" } }), { status });
}

function json(value: unknown, headers: Record<string, string> = {}): Response {
  return Response.json(value, { headers });
}
