/** A server that speaks 2026-07-28 and nothing else, and remembers what it was sent. */
import { setTimeout as sleep } from "node:timers/promises";
import { createMcpHandler, McpServer, type Server } from "@modelcontextprotocol/server";
import * as z from "zod";
import type { Running } from "./running.ts";
import { startWebServer } from "./web-server.ts";

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
  const web = await startWebServer(
    async (request) => {
      const body = await request.clone().text();
      const saw: Seen = { headers: request.headers, body, isLeft: false };
      seen.push(saw);
      lines.push(`${request.method} ${body}`);
      request.signal.addEventListener("abort", () => {
        saw.isLeft = true;
      });
      return handler.fetch(request);
    },
    (error) => void lines.push(`${error}`),
  );
  return {
    url: `${web.origin}/mcp`,
    requests: (method) => seen.filter(({ body }) => body !== "" && JSON.parse(body).method === method),
    logs: () => [...lines],
    async stop() {
      await handler.close();
      await web.stop();
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
