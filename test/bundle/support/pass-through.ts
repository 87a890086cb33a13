import { once } from "node:events";
import { createServer, request } from "node:http";
import { type AddressInfo, Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Running } from "./running.ts";

export interface PassThrough extends Running {
  readonly origin: string;
  /** What has passed so far. */
  readonly passed: readonly Passed[];
}

export interface Passed {
  /** The text of the body, as far as it has come. */
  body: string;
  /** Whether the client has left before the end of the answer. */
  isLeft: boolean;
}

/**
 * A port of this machine behind which another one is. Method, path, `Host`, `Origin` and all other headers pass as they
 * are, bodies stream both ways, and whoever leaves is left.
 *
 * @param to Where requests go; to several they go in turn, wherever the one before has gone.
 * @param added Headers that each request gets on the way, by their lower-case names.
 */
export async function startPassThrough(
  to: string | readonly string[],
  added: Readonly<Record<string, string>> = {},
): Promise<PassThrough> {
  const lines: string[] = [];
  const passed: Passed[] = [];
  const places = [to].flat().map((url) => new URL(url));
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const { hostname, port } = places[passed.length % places.length] ?? new URL("about:blank");
    // A connection of its own, which nobody ends between two requests.
    const onward = request({ hostname, port, method, path: url, headers: { ...headers, ...added }, agent: false });
    const passing = { body: "", isLeft: false };
    passed.push(passing);
    incoming.on("data", (chunk: Buffer) => {
      passing.body += chunk.toString();
    });
    outgoing.once("close", () => {
      passing.isLeft = !outgoing.writableFinished;
      // Abruptly: workerd does not notice a client that has closed its end only, until it writes to it.
      if (passing.isLeft && onward.socket instanceof Socket) onward.socket.resetAndDestroy();
      else onward.destroy();
    });
    const lost = (error: unknown) => {
      lines.push(`${method} ${url}: ${error}`);
      outgoing.destroy();
    };
    onward.once("error", lost);
    onward.once("response", (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      outgoing.flushHeaders();
      pipeline(answer, outgoing).catch(lost);
    });
    incoming.pipe(onward);
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed,
    logs: () => [...lines],
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
