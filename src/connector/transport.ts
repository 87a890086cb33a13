/** Which transport a server speaks, and a line to speak on (CN-4, protocol.md 3.5.1, 4.5). */
import type { Line } from "./ask.ts";
import { type ConnectFailure, closeSession, failureOf, openSession, probe, type Verdict } from "./handshake.ts";
import { ASKABLE } from "./server-request.ts";
import { openSseLink, type SseLink } from "./sse-link.ts";

export type Transport = "http" | "sse";

/** A line to a server that has told its era; over HTTP+SSE it stands until it is closed. */
export interface Connection {
  readonly transport: Transport;
  readonly line: Line;
  readonly verdict: Verdict;
  /** Ends what was opened at the server. */
  readonly close: () => Promise<void>;
}

export type Connected =
  | { readonly ok: true; readonly connection: Connection }
  | { readonly ok: false; readonly failure: ConnectFailure; readonly mayBeOther: boolean };

/** Statuses of a server that has something else at this address, and not of one that is ill or refuses us. */
const ELSEWHERE: readonly (number | undefined)[] = [400, 404, 405];

/**
 * Connects to a server.
 *
 * @param known The transport an admin has chosen, or what was found or guessed before.
 * @param isChosen A chosen one is not overruled; else the other is tried where the server does not seem to speak it.
 */
export async function connect(line: Line, known: Transport, isChosen: boolean): Promise<Connected> {
  const connected = await connectOver(line, known);
  if (connected.ok || isChosen || !connected.mayBeOther) return connected;
  const other = await connectOver(line, known === "http" ? "sse" : "http");
  // Where neither is spoken, the admin hears of the one that was to be expected.
  return other.ok || !other.mayBeOther ? other : connected;
}

async function connectOver(line: Line, transport: Transport): Promise<Connected> {
  if (transport === "http") {
    const probed = await probe(line);
    if (!probed.ok) {
      const { failure } = probed;
      return { ok: false, failure, mayBeOther: ELSEWHERE.includes(failure.status) };
    }
    const { verdict } = probed;
    const close = async () => {
      if (verdict.session !== null) await closeSession(line.send, line.target, verdict.session);
    };
    return { ok: true, connection: { transport, line, verdict, close } };
  }
  const opened = await openLine(line, transport);
  if (!opened.ok) return opened;
  const greeted = await openSession(opened.line, { capabilities: ASKABLE });
  if (greeted.ok) {
    const close = async () => opened.link?.close();
    return { ok: true, connection: { transport, line: opened.line, verdict: greeted.verdict, close } };
  }
  opened.link?.close();
  return { ok: false, failure: greeted.failure, mayBeOther: false };
}

export type LineOpened =
  | {
      readonly ok: true;
      readonly line: Line /** Null where every request stands alone. */;
      readonly link: SseLink | null;
    }
  | { readonly ok: false; readonly failure: ConnectFailure; readonly mayBeOther: boolean };

/** A line over a transport that is known: for HTTP+SSE, one through a link. */
export async function openLine(line: Line, transport: Transport): Promise<LineOpened> {
  if (transport === "http") return { ok: true, line, link: null };
  const opened = await openSseLink(line);
  if (opened.ok) return { ok: true, line: { ...line, send: opened.link.send }, link: opened.link };
  const { why } = opened;
  const mayBeOther = why.kind === "status" ? ELSEWHERE.includes(why.status) : why.breakage === "not_mcp";
  return { ok: false, failure: failureOf(why, "connect"), mayBeOther };
}
