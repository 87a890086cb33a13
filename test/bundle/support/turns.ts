import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Running } from "./running.ts";

export interface Turns extends Running {
  /** Answers to whoever asks when it is their turn. The turn is over when they close the connection. */
  readonly url: string;
}

/** Lets programs that have been started all at once work a few at a time, in the order in which they have asked. */
export async function startTurns(atATime: number): Promise<Turns> {
  const waiting: ServerResponse[] = [];
  let free = atATime;
  const give = () => {
    const next = free > 0 ? waiting.shift() : undefined;
    if (next === undefined) return;
    free--;
    next.once("close", () => {
      free++;
      give();
    });
    next.flushHeaders();
  };
  const server = createServer((_, response) => {
    const leave = () => {
      const at = waiting.indexOf(response);
      if (at !== -1) waiting.splice(at, 1);
    };
    response.once("close", leave);
    waiting.push(response);
    give();
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    logs: () => [`${waiting.length} wait, ${free} are free`],
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
