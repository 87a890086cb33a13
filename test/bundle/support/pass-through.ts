import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Running } from "./running.ts";

export interface PassThrough extends Running {
  readonly origin: string;
}

/**
 * A port of this machine behind which another one is. Method, path, `Host`, `Origin` and all other headers pass as they
 * are, bodies stream both ways, and whoever leaves is left.
 *
 * @param added Headers that each request gets on the way, by their lower-case names.
 */
export async function startPassThrough(to: string, added: Readonly<Record<string, string>> = {}): Promise<PassThrough> {
  const lines: string[] = [];
  const { hostname, port } = new URL(to);
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = request({ hostname, port, method, path: url, headers: { ...headers, ...added } });
    outgoing.once("close", () => onward.destroy());
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
    logs: () => [...lines],
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
