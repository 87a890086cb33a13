/** A port of this machine that answers as a function of web-standard requests does. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";

export interface WebServer {
  readonly origin: string;
  stop(): Promise<void>;
}

/**
 * @param answer Gets the request whole; its signal aborts when the client leaves before the end of the answer.
 * @param onError Hears of an answer that could not be sent.
 */
export async function startWebServer(
  answer: (request: Request) => Promise<Response>,
  onError: (error: unknown) => void,
): Promise<WebServer> {
  const server = createServer((incoming, outgoing) => {
    serve(answer, incoming, outgoing).catch((error: unknown) => {
      onError(error);
      outgoing.destroy();
    });
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function serve(
  answer: (request: Request) => Promise<Response>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const headers = new Headers();
  for (const [name, values] of Object.entries(incoming.headersDistinct)) headers.set(name, values?.join(", ") ?? "");
  const body = await buffer(incoming);
  const left = new AbortController();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) left.abort();
  });
  const response = await answer(
    new Request(`http://${incoming.headers.host}${incoming.url}`, {
      method: incoming.method ?? "GET",
      headers,
      ...(body.length > 0 && { body }),
      signal: left.signal,
    }),
  );
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.flushHeaders();
  await pipeline(response.body === null ? [] : Readable.fromWeb(response.body as never), outgoing).catch((error) => {
    if (!left.signal.aborted) throw error;
  });
}
