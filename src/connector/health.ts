/** Whether a server is well: by ping, or by its tool list where there is no ping (BF-14, CN-30). */
import { type Asked, askLegacy, askModern, type Line } from "./ask.ts";
import { type ConnectFailure, closeSession, failureOf, openSession } from "./handshake.ts";
import type { Era } from "./revisions.ts";

const METHOD_NOT_FOUND = -32601;

/** @returns Why it is not well; null when it is. */
export async function checkHealth(line: Line, era: Era, mayPing: boolean): Promise<ConnectFailure | null> {
  // The modern era has no ping; discovery is its cheapest question (protocol.md 3.5.1).
  if (era === "modern") return verdictOn(await askModern(line, "server/discover", {}));
  const opened = await openSession(line);
  if (!opened.ok) return opened.failure;
  const { session } = opened.verdict;
  try {
    if (mayPing) {
      const pong = await askLegacy(line, session, "ping", {});
      if (!isUnknownMethod(pong)) return verdictOn(pong);
    }
    return verdictOn(await askLegacy(line, session, "tools/list", {}));
  } finally {
    if (session !== null) await closeSession(line.send, line.target, session);
  }
}

function isUnknownMethod(asked: Asked): boolean {
  if (asked.kind !== "answer") return false;
  return (asked.message.value["error"] as { code?: unknown } | undefined)?.code === METHOD_NOT_FOUND;
}

function verdictOn(asked: Asked): ConnectFailure | null {
  if (asked.kind !== "answer") return failureOf(asked, "connect");
  if ("result" in asked.message.value) return null;
  if (asked.status >= 400) return failureOf({ kind: "status", status: asked.status }, "connect");
  return { stage: "connect", message: "The server answered the check with an error.", isTimeout: false };
}
