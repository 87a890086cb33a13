/**
 * A server over HTTP+SSE, the transport of 2024-11-05, on plain `node:http`: the test sees each of its streams, and
 * decides when and how a call is answered.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Running } from "./running.ts";

/** A JSON-RPC message that was posted for a stream. */
export interface Posted {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
}

export interface SseStream {
  /** What was posted for it so far. */
  readonly posted: readonly Posted[];
  /** Whether its connection stands. */
  readonly isOpen: boolean;
  /** Sends a message. */
  push(message: object): void;
  /** Ends it: `close` as the end of an answer, `reset` by breaking the connection. */
  end(how: "close" | "reset"): void;
}

/** A call of the tool `wait` that the test is to answer. */
export interface WaitingCall {
  readonly id: unknown;
  readonly args: Readonly<Record<string, unknown>>;
  readonly stream: SseStream;
  /** Reports progress, with the token that came with the call. */
  progress(progress: number): void;
  answer(text: string): void;
}

export interface SseServer extends Running {
  readonly port: number;
  readonly url: string;
  /** In the order in which they were opened. */
  readonly streams: readonly SseStream[];
  /** The calls of `wait` so far, answered or not. */
  readonly calls: readonly WaitingCall[];
}

const PATH = "/rpc";

/**
 * Its tools are `echo`, which says its argument `text`, and `wait`. The URL does not tell the transport, and nothing
 * can be posted to it.
 *
 * @param port Given to start it again where it was; else a free one.
 */
export async function startSseServer(port = 0): Promise<SseServer> {
  const lines: string[] = [];
  const streams: ScriptedStream[] = [];
  const calls: WaitingCall[] = [];

  function open(outgoing: ServerResponse): void {
    const stream = new ScriptedStream(outgoing);
    const at = streams.push(stream) - 1;
    outgoing.once("close", () => lines.push(`stream ${at} closed`));
    outgoing.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
    outgoing.write(`event: endpoint\ndata: ${PATH}/messages?stream=${at}\n\n`);
  }

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(incoming.url ?? "", "http://127.0.0.1");
    const body = await text(incoming);
    lines.push(`${incoming.method} ${incoming.url} ${body.slice(0, 200)}`);
    const stream = streams[Number(searchParams.get("stream") ?? -1)];
    if (incoming.method === "GET" && pathname === PATH) open(outgoing);
    else if (incoming.method !== "POST" || stream === undefined || !stream.isOpen) outgoing.writeHead(404).end();
    else {
      outgoing.writeHead(202).end("Accepted");
      const message = JSON.parse(body) as Posted;
      stream.posted.push(message);
      const result = resultOf(message);
      if (result !== undefined) stream.push({ id: message.id, result });
      else if (message.method === "tools/call") calls.push(waitingCall(message, stream));
    }
  }

  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) => lines.push(`${error}`));
  });
  server.listen({ port, host: "127.0.0.1" });
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}${PATH}`,
    streams,
    calls,
    logs: () => [...lines],
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

class ScriptedStream implements SseStream {
  readonly posted: Posted[] = [];
  readonly #outgoing: ServerResponse;

  constructor(outgoing: ServerResponse) {
    this.#outgoing = outgoing;
  }

  get isOpen(): boolean {
    return !this.#outgoing.closed;
  }

  push(message: object): void {
    this.#outgoing.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`);
  }

  end(how: "close" | "reset"): void {
    if (how === "close") this.#outgoing.end();
    else this.#outgoing.socket?.resetAndDestroy();
  }
}

/** What the server answers of itself; undefined for notifications, and for calls that wait. */
function resultOf({ method, params }: Posted): object | undefined {
  if (method === "initialize") {
    const serverInfo = { name: "old", version: "1.0.0" };
    return { protocolVersion: "2024-11-05", capabilities: { tools: {} }, serverInfo };
  }
  if (method === "ping") return {};
  if (method === "tools/list") {
    return { tools: ["echo", "wait"].map((name) => ({ name, inputSchema: { type: "object" } })) };
  }
  if (method !== "tools/call" || params?.["name"] !== "echo") return undefined;
  return textResult((params["arguments"] as { text: string }).text);
}

function waitingCall({ id, params = {} }: Posted, stream: ScriptedStream): WaitingCall {
  const { arguments: args = {}, _meta } = params as {
    arguments?: Record<string, unknown>;
    _meta?: { progressToken?: unknown };
  };
  return {
    id,
    args,
    stream,
    progress: (progress) =>
      stream.push({ method: "notifications/progress", params: { progressToken: _meta?.progressToken, progress } }),
    answer: (text) => stream.push({ id, result: textResult(text) }),
  };
}

function textResult(text: string) {
  return { content: [{ type: "text", text }] };
}
