/** A client that is a bare TCP connection: for what no HTTP client does, such as leaving in a certain way. */
import { connect } from "node:net";

export interface RawExchange {
  /** All that has come back so far. */
  received(): string;
  /**
   * Leaves. `close` ends the connection in order, `reset` at once. As long as nothing is written to it, workerd notices
   * only the latter: the end of the client's side alone might mean that it still reads.
   */
  leave(how: "close" | "reset"): void;
}

/** Posts a JSON text and goes on reading until told to leave. */
export function postRaw(url: string, headers: Readonly<Record<string, string>>, body: string): RawExchange {
  const { hostname, port, host, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", (error) => {
    text += `\n${error}`;
  });
  const all = {
    Host: host,
    "Content-Type": "application/json",
    Accept: "application/json, text/event-stream",
    "Content-Length": `${Buffer.byteLength(body)}`,
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST ${pathname} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
  return {
    received: () => text,
    leave: (how) => (how === "close" ? socket.destroy() : socket.resetAndDestroy()),
  };
}
