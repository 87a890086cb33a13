/** An OpenTelemetry collector on loopback that takes what it is sent, or keeps whoever sends it waiting. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { type Collected, readCollected } from "../../support/otlp.ts";
import type { Running } from "./running.ts";

const ARRIVAL_MS = 10_000;

export interface Collector extends Running, ReturnType<typeof readCollected> {
  readonly url: string;
  readonly received: readonly Collected[];
  /** From now on nothing is answered. */
  hang(): void;
  /** Requests whose sender has not waited for an answer. */
  givenUp(): number;
  /** Waits until there is what is asked for. */
  until(isThere: () => boolean): Promise<void>;
}

export async function startCollector(): Promise<Collector> {
  const received: Collected[] = [];
  let isHanging = false;
  let givenUp = 0;
  const server = createServer(async (incoming, outgoing) => {
    const text = (await buffer(incoming)).toString();
    const headers = new Headers();
    for (const [name, value] of Object.entries(incoming.headersDistinct)) headers.set(name, value?.join(", ") ?? "");
    received.push({ url: incoming.url ?? "", headers, text });
    outgoing.once("close", () => {
      if (!outgoing.writableFinished) givenUp++;
    });
    if (!isHanging) outgoing.writeHead(200, { "Content-Type": "application/json" }).end("{}");
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    ...readCollected(received),
    hang() {
      isHanging = true;
    },
    givenUp: () => givenUp,
    async until(isThere) {
      for (const end = Date.now() + ARRIVAL_MS; !isThere(); await sleep(20)) {
        if (Date.now() > end)
          throw new Error(`The collector has only got:\n${received.map(({ text }) => text).join("\n")}`);
      }
    },
    logs: () => received.map(({ url, text }) => `${url} ${text}`),
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
