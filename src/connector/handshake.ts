/** Finding out what a server speaks, and opening and closing sessions with a legacy one (protocol.md 3.5.1, 4.1). */
import type { Send } from "../platform/guarded-fetch.ts";
import { isObject } from "../platform/json-value.ts";
import { POSTERN } from "../platform/version.ts";
import {
  type Asked,
  askLegacy,
  askModern,
  type Line,
  sessionHeaders,
  tellLegacy,
  type UpstreamSession,
} from "./ask.ts";
import { startDeadline } from "./deadline.ts";
import type { Breakage, Target } from "./exchange.ts";
import { isLegacyRevision, LEGACY_REVISION, MODERN_REVISION } from "./revisions.ts";
import { ASKABLE, type UpstreamClient } from "./server-request.ts";

/** Why a server could not be spoken to: which step, and a sentence of ours for admins and agents. */
export interface ConnectFailure {
  readonly stage: "connect" | "auth" | "discover";
  readonly message: string;
  readonly isTimeout: boolean;
  /** The HTTP status that it came with. */
  readonly status?: number;
}

/** What a server turned out to be. */
export type Verdict = Introduction &
  ({ readonly era: "modern"; readonly session: null } | { readonly era: "legacy"; readonly session: UpstreamSession });

/** What a server says of itself. */
interface Introduction {
  /** JSON text. */
  readonly server_info: string | null;
  /** JSON text of what it says it can do. */
  readonly capabilities: string | null;
  /** Not longer than agents are ever shown. */
  readonly instructions: string | null;
}

export type Probed =
  | { readonly ok: true; readonly verdict: Verdict }
  | { readonly ok: false; readonly failure: ConnectFailure };

/** Probes the era of a server; a legacy one has a session with us afterwards. Failures give no verdict. */
export async function probe(line: Line): Promise<Probed> {
  const discover = () => askModern(line, "server/discover", {});
  const first = await discover();
  // A server that names our own revision instead of what it was asked in is asked once more (protocol.md 3.5.1).
  const asked = revisionsInstead(first).includes(MODERN_REVISION) ? await discover() : first;
  if (asked.kind === "broken" && asked.breakage !== "not_mcp")
    return { ok: false, failure: failureOf(asked, "connect") };
  if (asked.kind === "status" && (isCredentialProblem(asked.status) || asked.status >= 500)) {
    return { ok: false, failure: failureOf(asked, "connect") };
  }
  if (asked.kind === "answer") {
    const { status, message } = asked;
    if (isCredentialProblem(status) || status >= 500) {
      return { ok: false, failure: failureOf({ kind: "status", status }, "connect") };
    }
    const result = objectOf(message.value["result"]);
    if (listOf(result?.["supportedVersions"]).includes(MODERN_REVISION)) {
      return {
        ok: true,
        verdict: {
          era: "modern",
          server_info: serverInfoOf(objectOf(result?.["_meta"])),
          capabilities: capabilitiesOf(result),
          instructions: instructionsOf(result),
          session: null,
        },
      };
    }
    // A server that speaks modern revisions, but none of ours, is not to be taken for an old one.
    if (revisionsInstead(asked).some((revision) => revision > MODERN_REVISION)) {
      const message = "The server speaks only revisions of MCP that this gateway does not know.";
      return { ok: false, failure: { stage: "connect", message, isTimeout: false } };
    }
  }
  return openSession(line, { capabilities: ASKABLE });
}

const UNSUPPORTED_REVISION = -32022;

/** The revisions that a server names instead of the one it refuses; none where it refuses none. */
function revisionsInstead(asked: Asked): string[] {
  const error = asked.kind === "answer" ? objectOf(asked.message.value["error"]) : undefined;
  if (error?.["code"] !== UNSUPPORTED_REVISION) return [];
  return listOf(objectOf(error["data"])?.["supported"]);
}

/**
 * `initialize`, then `notifications/initialized`.
 *
 * @param client Whom the session is for; null: the gateway itself, which can be asked nothing.
 */
export async function openSession(line: Line, client: UpstreamClient | null = null): Promise<Probed> {
  const asked = await askLegacy(line, null, "initialize", {
    protocolVersion: client?.revision ?? LEGACY_REVISION,
    capabilities: client?.capabilities ?? {},
    clientInfo: client?.clientInfo ?? POSTERN,
  });
  if (asked.kind !== "answer") return { ok: false, failure: failureOf(asked, "connect") };
  const result = objectOf(asked.message.value["result"]);
  const revision = result?.["protocolVersion"];
  if (result === undefined || !isLegacyRevision(revision)) {
    if (asked.status >= 400)
      return { ok: false, failure: failureOf({ kind: "status", status: asked.status }, "connect") };
    const message = "The server's handshake is not one of MCP.";
    return { ok: false, failure: { stage: "connect", message, isTimeout: false } };
  }
  const session = { session_id: asked.sessionId, revision };
  await tellLegacy(line, session, { method: "notifications/initialized" });
  if (client?.logLevel !== undefined && objectOf(result["capabilities"])?.["logging"] !== undefined) {
    await askLegacy(line, session, "logging/setLevel", { level: client.logLevel });
  }
  return {
    ok: true,
    verdict: {
      era: "legacy",
      server_info: serverInfoOf(result),
      capabilities: capabilitiesOf(result),
      instructions: instructionsOf(result),
      session,
    },
  };
}

/** Ends a session at the server. A server may refuse; nothing depends on it. */
export async function closeSession(send: Send, target: Target, session: UpstreamSession): Promise<void> {
  if (session.session_id === null) return;
  const deadline = startDeadline(CLOSE_MS);
  const headers = { ...target.headers, ...sessionHeaders(session) };
  try {
    const request = { url: target.server_url, method: "DELETE", headers, signal: deadline.signal } as const;
    const response = await send(request, new URL(target.server_url).origin);
    await response.body?.cancel();
  } catch {
    // The session ends by itself at the server some time.
  } finally {
    deadline.clear();
  }
}

const CLOSE_MS = 5_000;

/** Says in words of ours why a request to a server got no answer. */
export function failureOf(asked: Exclude<Asked, { kind: "answer" }>, stage: "connect" | "discover"): ConnectFailure {
  if (asked.kind === "broken") {
    return { stage, message: BREAKAGES[asked.breakage], isTimeout: asked.breakage === "timeout" };
  }
  const { status } = asked;
  if (isCredentialProblem(status)) {
    return { stage: "auth", message: `The server refused the credential (HTTP ${status}).`, isTimeout: false, status };
  }
  return { stage, message: `The server answered with HTTP ${status}.`, isTimeout: false, status };
}

/** What each breakage is called, to admins and agents alike. */
export const BREAKAGES: Readonly<Record<Breakage, string>> = {
  lost: "The server cannot be reached, or it closed the connection without an answer.",
  timeout: "The server did not answer in time.",
  left: "The request was given up.",
  cut: "The connection to the server broke before its answer was complete.",
  not_mcp: "The server answered with something that is not MCP.",
  too_large: "The server's answer is too large.",
  refused_here: "The server's address, or a redirect of it, may not be contacted.",
};

export function isCredentialProblem(status: number): boolean {
  return status === 401 || status === 403;
}

function serverInfoOf(holder: Readonly<Record<string, unknown>> | undefined): string | null {
  const info = objectOf(holder?.["serverInfo"] ?? holder?.["io.modelcontextprotocol/serverInfo"]);
  return info === undefined ? null : JSON.stringify(info);
}

/** Characters of a server's capabilities: they are part of every snapshot. */
const MAX_CAPABILITIES = 16_000;

function capabilitiesOf(result: Readonly<Record<string, unknown>> | undefined): string {
  const text = JSON.stringify(objectOf(result?.["capabilities"]) ?? {});
  return text.length > MAX_CAPABILITIES ? "{}" : text;
}

/** Characters of a server's instructions that are kept (RB-23). */
const MAX_INSTRUCTIONS = 4_000;

function instructionsOf(result: Readonly<Record<string, unknown>> | undefined): string | null {
  const text = result?.["instructions"];
  if (typeof text !== "string" || text.trim() === "") return null;
  return [...text.slice(0, 2 * MAX_INSTRUCTIONS)].slice(0, MAX_INSTRUCTIONS).join("").toWellFormed();
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return isObject(value) ? value : undefined;
}

function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
