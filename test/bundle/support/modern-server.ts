/** A server that speaks 2026-07-28 and nothing else, and remembers what it was sent. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createMcpHandler, McpServer, type Server } from "@modelcontextprotocol/server";
import * as z from "zod";
import type { Running } from "./running.ts";

/** A request as it came in. */
export interface Seen {
  readonly headers: Headers;
  readonly body: string;
  /** Whether it was given up before it was answered. */
  isLeft: boolean;
}

export interface ModernServer extends Running {
  /** Its MCP endpoint. */
  readonly url: string;
  /** The requests of a method so far. */
  requests(method: string): readonly Seen[];
}

/** @param factory Makes a fresh server for each request. */
export async function startModernServer(factory: () => McpServer | Server = ledger): Promise<ModernServer> {
  const seen: Seen[] = [];
  const lines: string[] = [];
  const handler = createMcpHandler(factory, {
    legacy: "reject",
    onerror: (error) => lines.push(`${error}`),
  });
  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) => lines.push(`${error}`));
  });
  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const headers = new Headers();
    for (const [name, value] of Object.entries(incoming.headersDistinct)) headers.set(name, value?.join(", ") ?? "");
    const body = (await buffer(incoming)).toString();
    const request = { headers, body, isLeft: false };
    seen.push(request);
    lines.push(`${incoming.method} ${body}`);
    const left = new AbortController();
    outgoing.once("close", () => {
      request.isLeft = !outgoing.writableFinished;
      left.abort();
    });
    const method = incoming.method ?? "";
    const response = await handler.fetch(
      new Request(`http://127.0.0.1${incoming.url}`, {
        method,
        headers,
        ...(method === "POST" && { body }),
        signal: left.signal,
      }),
    );
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.flushHeaders();
    await pipeline(response.body === null ? [] : Readable.fromWeb(response.body as never), outgoing);
  }
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    requests: (method) => seen.filter(({ body }) => body !== "" && JSON.parse(body).method === method),
    logs: () => [...lines],
    async stop() {
      await handler.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Tools that answer, fail, report progress, show content of every kind, or take their time. */
function ledger(): McpServer {
  const server = new McpServer({ name: "ledger", version: "5.2.0" });
  const numbers = z.object({ a: z.number(), b: z.number() });
  server.registerTool("add", { inputSchema: numbers, outputSchema: z.object({ sum: z.number() }) }, ({ a, b }) => ({
    content: [{ type: "text", text: `The sum is ${a + b}` }],
    structuredContent: { sum: a + b },
  }));
  server.registerTool("overdraw", { inputSchema: z.object({ amount: z.number() }) }, ({ amount }) => {
    throw new Error(`No ${amount} in the account`);
  });
  server.registerTool("count", { inputSchema: z.object({ to: z.number() }) }, async ({ to }, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (let progress = 1; progress <= to; progress++) {
      if (progressToken !== undefined) {
        await mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: to } });
      }
    }
    return { content: [{ type: "text", text: `Counted to ${to}` }] };
  });
  const pace = z.object({ forMs: z.number(), beatMs: z.number() });
  server.registerTool("work", { inputSchema: pace }, async ({ forMs, beatMs }, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (let doneMs = 0; doneMs < forMs; doneMs += beatMs) {
      if (progressToken !== undefined) {
        await mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress: doneMs } });
      }
      await sleep(beatMs, undefined, { signal: mcpReq.signal });
    }
    return { content: [{ type: "text", text: "Done" }] };
  });
  server.registerTool("show", { description: "One content block of each kind" }, () => ({
    content: [
      { type: "text", text: "Ledger", annotations: { audience: ["user"], priority: 0.5 } },
      { type: "image", data: "aW1hZ2U=", mimeType: "image/png" },
      { type: "audio", data: "YXVkaW8=", mimeType: "audio/wav" },
      { type: "resource_link", uri: "ledger://2026", name: "2026", mimeType: "text/csv" },
      { type: "resource", resource: { uri: "ledger://2026/1", mimeType: "text/csv", text: "a;b" } },
      { type: "resource", resource: { uri: "ledger://2026/2", mimeType: "application/zip", blob: "emlw" } },
    ],
  }));
  return server;
}
