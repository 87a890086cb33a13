/** A server over HTTP+SSE, the transport of 2024-11-05, that a test scripts; reachable through `startGateway`. */
import type { FakeNetwork } from "./gateway.ts";
import type { Seen } from "./upstream.ts";

/** One stream that the gateway holds open. */
export interface OpenStream {
  /** The headers of the GET. */
  readonly headers: Headers;
  /** Sends a message, as JSON text. */
  readonly push: (text: string) => void;
  readonly end: () => void;
  /** Whether the gateway has closed it. */
  isClosed: boolean;
}

export interface SseScript {
  /** JSON texts of the tools it lists. */
  readonly tools: readonly string[];
  readonly instructions?: string;
  /** Takes a `tools/call`; without it the call is answered with an empty result. */
  readonly call?: (seen: Seen, stream: OpenStream) => void;
  /** What the `endpoint` event names; by default an address of this server. */
  readonly endpoint?: string;
  /** Answers anything, before the script does; undefined leaves it to the script. */
  readonly first?: (seen: Pick<Seen, "method" | "url" | "message">) => Response | Promise<Response> | undefined;
}

export interface SseServer {
  readonly network: FakeNetwork;
  /** Every request it has got, in order: the method, and of a message what it says. */
  readonly seen: Seen[];
  /** The streams, in the order they were opened. */
  readonly streams: OpenStream[];
  readonly change: (script: Partial<SseScript>) => void;
}

export function sseServer(initial: SseScript): SseServer {
  let script = initial;
  const seen: Seen[] = [];
  const streams: OpenStream[] = [];

  function open({ headers, signal }: Request): Response {
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const write = (type: string, data: string) =>
          controller.enqueue(encoder.encode(`event: ${type}\ndata: ${data}\n\n`));
        const stream: OpenStream = {
          headers,
          isClosed: false,
          push: (text) => write("message", text),
          end: () => controller.close(),
        };
        const at = streams.push(stream) - 1;
        signal.addEventListener("abort", () => {
          stream.isClosed = true;
          controller.error(signal.reason);
        });
        write("endpoint", script.endpoint ?? `/messages?stream=${at}`);
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  function answer(one: Seen, stream: OpenStream): void {
    const { id, method } = one.message;
    const reply = (result: unknown) => stream.push(JSON.stringify({ jsonrpc: "2.0", id, result }));
    const { instructions } = script;
    switch (method) {
      case "initialize": {
        const serverInfo = { name: "old", version: "1" };
        const told = instructions === undefined ? {} : { instructions };
        reply({ protocolVersion: "2024-11-05", capabilities: { tools: {} }, serverInfo, ...told });
        break;
      }
      case "tools/list":
        stream.push(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"tools":[${script.tools.join(",")}]}}`);
        break;
      case "tools/call":
        if (script.call === undefined) reply({ content: [] });
        else script.call(one, stream);
        break;
      case "ping":
        reply({});
        break;
    }
  }

  return {
    seen,
    streams,
    change(changes) {
      script = { ...script, ...changes };
    },
    async network(request) {
      const { method, url, headers } = request;
      const text = method === "POST" ? await request.text() : "";
      const message = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
      const one: Seen = { method, url, headers, text, message, signal: request.signal };
      seen.push(one);
      const early = script.first?.(one);
      if (early !== undefined) return early;
      if (method === "GET") return open(request);
      const stream = streams[Number(new URL(url).searchParams.get("stream") ?? -1)];
      if (stream === undefined) return new Response("no such path", { status: 404 });
      answer(one, stream);
      return new Response("Accepted", { status: 202 });
    },
  };
}
