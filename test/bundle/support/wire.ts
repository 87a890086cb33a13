/** A stretch of the network on this machine: it passes bytes on, until a test wants an answer lost or late. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Running } from "./running.ts";

export interface Wire extends Running {
  /** Where it begins. */
  readonly origin: string;
  /** Breaks the connection where the next answer would come. */
  loseNextAnswer(): void;
  /** Keeps the next answer back. */
  holdNextAnswer(): HeldAnswer;
}

export interface HeldAnswer {
  /** Settles when the answer is here, so that the server has done what it was asked for. */
  readonly arrived: Promise<void>;
  /** Lets it go on; does nothing where the one who asked is gone. */
  release(): void;
}

/** @param to The origin of a server on this machine. */
export async function startWire(to: string): Promise<Wire> {
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  /** What becomes of the next bytes of an answer. */
  let fate: ((chunk: Buffer, client: Socket, far: Socket) => void) | null = null;
  const server = createServer((client) => {
    const far = connect(Number(port), hostname);
    for (const [socket, other] of [[client, far] as const, [far, client] as const]) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (chunk) => far.write(chunk));
    far.on("data", (chunk) => {
      const own = fate;
      fate = null;
      if (own === null) client.write(chunk);
      else own(chunk, client, far);
    });
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    loseNextAnswer() {
      fate = (_, client) => client.resetAndDestroy();
    },
    holdNextAnswer() {
      const { promise: arrived, resolve } = Promise.withResolvers<void>();
      let release = () => {};
      fate = (chunk, client, far) => {
        far.pause();
        release = () => {
          client.write(chunk);
          far.resume();
        };
        resolve();
      };
      return { arrived, release: () => release() };
    },
    logs: () => [],
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
