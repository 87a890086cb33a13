/** A server of either era whose results are larger than anybody should hold, made while they are sent. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Running } from "./running.ts";

export type Era = "legacy" | "modern";

export const MIB = 1024 * 1024;

/** What a call asks for. */
export interface Wanted {
  /** Of the text in the result, or of all notifications before it. */
  readonly mebibytes: number;
  readonly form: "json" | "events" | "notifications";
  /** Goes on behind so many only when it is told to. */
  readonly holdAt?: number;
  /** Breaks the connection behind so many. */
  readonly breakAt?: number;
}

/** A call that is being answered. */
export interface Work {
  /** Bytes of the answer that the connection has taken. */
  accepted(): number;
  /** The connection has taken nothing for a while, and there is more. */
  isStalled(): boolean;
  /** Whoever has called is gone. */
  isLeft(): boolean;
  isFinished(): boolean;
  /** Goes on behind `holdAt`. */
  release(): void;
}

export interface LargeServer extends Running {
  readonly url: string;
  /** The calls, in order. */
  readonly works: readonly Work[];
}

/** Text with what needs care where bytes are cut: characters of several bytes, and escapes. */
export const PIECE = `${"0123456789abcdef".repeat(4_093)}é\u2028😀\\"\\\\\\n${"x".repeat(35)}`;
const STALLED_MS = 500;
/** Mebibytes of notices on the stream of a session. */
const NOTICES = 200;

export async function startLargeServer(era: Era): Promise<LargeServer> {
  const works: Work[] = [];
  const server = createServer(async (request, response) => {
    if (request.method === "GET") {
      // Says more, and goes on saying it, than anybody should hold for a client that does not read.
      const notices = answer(response, "0", { mebibytes: NOTICES, form: "notifications" }, "p");
      works.push(notices.work);
      return notices.run();
    }
    const body = await text(request);
    const { id, method, params } = body === "" ? { id: undefined, method: "", params: {} } : JSON.parse(body);
    if (id === undefined) response.writeHead(202).end();
    else if (method === "tools/call") {
      const { work, run } = answer(response, JSON.stringify(id), params.arguments, params._meta?.progressToken);
      works.push(work);
      await run();
    } else {
      const result = ANSWERS[era][method];
      const session = method === "initialize" ? { "Mcp-Session-Id": crypto.randomUUID() } : {};
      response.writeHead(result === undefined ? 404 : 200, { "Content-Type": "application/json", ...session });
      const rest = result === undefined ? '"error":{"code":-32601,"message":"Not here"}' : `"result":{${result}}`;
      response.end(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},${rest}}`);
    }
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    works,
    logs: () => works.map((work) => `${work.accepted()} bytes, left: ${work.isLeft()}`),
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };

  function answer(response: ServerResponse, id: string, wanted: Wanted, token: unknown) {
    const { mebibytes, form, holdAt = Number.POSITIVE_INFINITY, breakAt = Number.POSITIVE_INFINITY } = wanted;
    const held = Promise.withResolvers<void>();
    let accepted = 0;
    let acceptedAt = Date.now();
    let isLeft = false;
    let isFinished = false;
    response.once("close", () => {
      isLeft = !response.writableFinished;
      held.resolve();
    });

    async function write(piece: string): Promise<void> {
      if (response.destroyed) return;
      if (!response.write(piece)) await Promise.race([once(response, "drain"), once(response, "close")]);
      accepted += Buffer.byteLength(piece);
      acceptedAt = Date.now();
    }

    /** As long as a piece: of a text, or a notification. */
    function pieceOf(): string {
      if (form !== "notifications") return PIECE;
      const own = { method: "notifications/progress", params: { progressToken: token, progress: 1, message: "" } };
      return `data: ${JSON.stringify({ jsonrpc: "2.0", ...own }).replace('""', `"${PIECE}"`)}\n\n`;
    }

    async function run(): Promise<void> {
      response.writeHead(200, { "Content-Type": form === "json" ? "application/json" : "text/event-stream" });
      const beginning = '{"result":{"content":[{"type":"text","text":"';
      if (form === "events") await write(`event: message\ndata: ${beginning}`);
      if (form === "json") await write(beginning);
      const pieces = mebibytes * (MIB / Buffer.byteLength(PIECE));
      for (let sent = 0; sent < pieces && !response.destroyed; sent++) {
        const at = (sent / pieces) * mebibytes;
        if (at >= holdAt) await held.promise;
        if (at >= breakAt) return void response.destroy();
        await write(pieceOf());
      }
      const type = era === "modern" ? ',"resultType":"complete"' : "";
      const end = `"}]${type}},"jsonrpc":"2.0","id":${id}}`;
      if (form === "notifications") await write(`data: ${beginning}${end}\n\n`);
      else await write(form === "events" ? `${end}\n\n` : end);
      isFinished = true;
      response.end();
    }

    const work: Work = {
      accepted: () => accepted,
      isStalled: () => !isFinished && Date.now() - acceptedAt > STALLED_MS,
      isLeft: () => isLeft,
      isFinished: () => isFinished,
      release: held.resolve,
    };
    return { work, run };
  }
}

const TOOLS = '"tools":[{"name":"large","inputSchema":{"type":"object"}}]';
const INFO = '"serverInfo":{"name":"large","version":"1.0.0"}';
const ANSWERS: Record<Era, Record<string, string>> = {
  legacy: {
    initialize: `"protocolVersion":"2025-11-25","capabilities":{"tools":{}},${INFO}`,
    "tools/list": TOOLS,
  },
  modern: {
    "server/discover":
      '"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0',
    "tools/list": `"resultType":"complete",${TOOLS}`,
  },
};
