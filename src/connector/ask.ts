/** The gateway's own requests to a server: probe, handshake, lists. Their answers are small and read whole. */
import type { Send } from "../platform/guarded-fetch.ts";
import { startDeadline } from "./deadline.ts";
import { OWN_ENVELOPE } from "./envelope.ts";
import { type Breakage, ExchangeBroken, exchange, type Received, type Target } from "./exchange.ts";
import { MODERN_REVISION } from "./revisions.ts";
import { ASKABLE } from "./server-request.ts";

/** A session that a legacy server opened for us. */
export interface UpstreamSession {
  /** Null: the server keeps none. */
  readonly session_id: string | null;
  /** The negotiated revision. */
  readonly revision: string;
}

/** How to reach one server, and for how long to wait for each answer. */
export interface Line {
  readonly send: Send;
  readonly target: Target;
  readonly timeoutMs: number;
}

/** What came of a request. */
export type Asked =
  | { readonly kind: "answer"; readonly status: number; readonly message: Received; readonly sessionId: string | null }
  | { readonly kind: "status"; readonly status: number }
  | { readonly kind: "broken"; readonly breakage: Breakage };

/** Sends a request and reads until its response. Notifications of the server are passed over. */
async function ask(
  line: Line,
  id: string,
  headers: Record<string, string>,
  body: object,
  session: UpstreamSession | null = null,
): Promise<Asked> {
  const deadline = startDeadline(line.timeoutMs);
  try {
    const result = await exchange(line.send, line.target, { headers, body: JSON.stringify(body) }, deadline);
    if (result.kind === "message") {
      const { status, message, sessionId } = result;
      return { kind: "answer", status, message, sessionId };
    }
    if (result.kind !== "stream") return result;
    for await (const message of result.messages) {
      if (message.value["id"] === id && !("method" in message.value)) {
        return { kind: "answer", status: 200, message, sessionId: result.sessionId };
      }
      // Nobody is there to be asked while a server is looked at.
      const { id: asked, method } = message.value;
      if (session !== null && method !== undefined && asked !== undefined) {
        const error = { code: -32601, message: "Nobody can be asked now." };
        await tellLegacy(line, session, { id: asked, ...(method === "ping" ? { result: {} } : { error }) });
      }
    }
    return { kind: "broken", breakage: "cut" };
  } catch (thrown) {
    return { kind: "broken", breakage: thrown instanceof ExchangeBroken ? thrown.breakage : "cut" };
  } finally {
    deadline.abort();
    deadline.clear();
  }
}

/** A request in the modern era (protocol.md 2.1), which looks at a server on behalf of every client. */
export function askModern(line: Line, method: string, params: Readonly<Record<string, unknown>>): Promise<Asked> {
  const id = crypto.randomUUID();
  const headers = { "MCP-Protocol-Version": MODERN_REVISION, "Mcp-Method": method };
  return ask(line, id, headers, { jsonrpc: "2.0", id, method, params: { ...params, _meta: LOOKING } });
}

/** A request in the legacy era, within a session; `initialize` has none yet. */
export function askLegacy(
  line: Line,
  session: UpstreamSession | null,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Promise<Asked> {
  const id = crypto.randomUUID();
  return ask(
    line,
    id,
    session === null ? {} : sessionHeaders(session),
    { jsonrpc: "2.0", id, method, params },
    session,
  );
}

const LOOKING = { ...OWN_ENVELOPE, "io.modelcontextprotocol/clientCapabilities": ASKABLE };

/** What every request of a legacy session carries (protocol.md 4.1). */
export function sessionHeaders({ session_id, revision }: UpstreamSession): Record<string, string> {
  return { "MCP-Protocol-Version": revision, ...(session_id === null ? {} : { "Mcp-Session-Id": session_id }) };
}

/** A notification or response to a legacy server. What becomes of it is nobody's concern. */
export function tellLegacy(line: Line, session: UpstreamSession, message: object): Promise<void> {
  return postLegacy(line, session, JSON.stringify({ jsonrpc: "2.0", ...message }));
}

/** The same with a message as text. */
export async function postLegacy(line: Line, session: UpstreamSession, body: string): Promise<void> {
  const deadline = startDeadline(line.timeoutMs);
  await exchange(line.send, line.target, { headers: sessionHeaders(session), body }, deadline);
  deadline.abort();
  deadline.clear();
}
