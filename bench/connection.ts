/**
 * A keep-alive connection for one request at a time. It understands just the HTTP that workerd and Node answer with:
 * parsing costs a fifth of what node:http spends, and the load generator shares the machine with what it measures.
 */
import { connect, type Socket } from "node:net";

interface Waiting {
  resolve(body: string): void;
  reject(error: Error): void;
}

export class Connection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: Waiting | null = null;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (chunk) => this.#take(chunk));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("the server closed the connection")));
  }

  /** Whether it can be used no longer: workerd ends what is idle for five seconds. */
  get isClosed(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded;
  }

  /** @returns The body. @throws Error for any status but 200, with the beginning of the body. */
  send(request: string): Promise<string> {
    return new Promise((resolve, reject) => {
      // Nothing would tell that this request is lost.
      if (this.isClosed) throw new Error("the connection is closed");
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = this.#received.toString("latin1", 0, headEnd);
    const body = bodyOf(head, this.#received.subarray(headEnd + 4));
    if (body === null) return;
    this.#received = Buffer.alloc(0);
    if (head.startsWith("HTTP/1.1 200 ")) this.#release()?.resolve(body);
    else this.#fail(new Error(`${head.slice(9, 12)}: ${body.slice(0, 300)}`));
  }

  #fail(error: Error): void {
    this.#release()?.reject(error);
  }

  #release(): Waiting | null {
    const waiting = this.#waiting;
    this.#waiting = null;
    return waiting;
  }
}

/** The head of a request, as far as it does not depend on the body; for `requestText`. */
export function requestHead(verb: "GET" | "POST", path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${verb} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join("")}`;
}

/** The whole request, for `Connection`. */
export function requestText(head: string, body: string): string {
  return body === "" ? `${head}\r\n` : `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** @returns null while the body is not complete. */
function bodyOf(head: string, bytes: Buffer): string | null {
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length !== undefined) return bytes.length < Number(length) ? null : bytes.toString();
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    const end = lineEnd + 2 + size;
    if (bytes.length < end + 2) return null;
    if (size === 0) return Buffer.concat(chunks).toString();
    chunks.push(bytes.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}
