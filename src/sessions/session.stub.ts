import { credentialAmong } from "../connector/sse-link.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { Outgoing } from "../platform/guarded-fetch.ts";
import { repeat } from "../platform/repeat.ts";
import type { RunDraft, RunEnd, RunPlace } from "../runs/run.ts";
import type { Admitted, CallAsk, Started } from "./run-ledger.ts";
import type { Session } from "./session.object.ts";
import { CREDENTIAL_HEADER, relayUrl, type SessionFacts } from "./session.ts";
import type { UpstreamAsk, UpstreamOpened } from "./upstream-sessions.ts";

/** The way to `Session` objects, by name. Each failure to reach one is `unavailable`. */
export interface SessionStub {
  open(name: string, facts: SessionFacts): Promise<void>;
  facts(name: string): Promise<SessionFacts | null>;
  end(name: string): Promise<void>;
  upstream(name: string, ask: UpstreamAsk): Promise<UpstreamOpened>;
  dropUpstream(name: string, serverId: string, sessionId: string | null): Promise<void>;
  /**
   * Takes a message to a server whose session is a stream that the object holds. Answers as the server would if it had
   * a Streamable HTTP endpoint; 404 when the stream is no more. Throws what the network throws.
   */
  relay(name: string, serverId: string, message: Outgoing): Promise<Response>;
  /** @param rows JSON text of a list of `CallRow`. */
  journal(name: string, rows: string): Promise<void>;
  /** Begins a run; one with a budget takes until nobody but `holder` believes that there is none. */
  startRun(name: string, place: RunPlace, draft: RunDraft, holder: string): Promise<Started>;
  /** @param by Names the request. @returns As of `RunLedger`: null when the run was not open. */
  finishRun(name: string, runId: string, end: RunEnd, by: string, entered: number): Promise<number | null>;
  /** Decides on a call before it goes upstream; see `RunLedger`. */
  admitCall(name: string, call: CallAsk, holder: string): Promise<Admitted>;
  releaseCall(name: string, callId: string): Promise<void>;
}

export function sessionStub(namespace: DurableObjectNamespace<Session>): SessionStub {
  const relay: SessionStub["relay"] = (name, serverId, { method, headers, body = "", signal }) => {
    const relayed = {
      "Mcp-Session-Id": headers["Mcp-Session-Id"] ?? "",
      [CREDENTIAL_HEADER]: JSON.stringify(credentialAmong(headers)),
    };
    return namespace.getByName(name).fetch(relayUrl(serverId), { method, headers: relayed, body, signal });
  };
  const guarded = withOutages<Omit<SessionStub, "relay">>({
    open: (name, facts) => repeat(() => namespace.getByName(name).open(facts)),
    facts: (name) => repeat(() => namespace.getByName(name).facts()),
    end: (name) => repeat(() => namespace.getByName(name).end()),
    upstream: async (name, ask) => namespace.getByName(name).upstream(ask),
    dropUpstream: (name, serverId, sessionId) =>
      repeat(() => namespace.getByName(name).dropUpstream(serverId, sessionId)),
    journal: (name, rows) => repeat(() => namespace.getByName(name).journal(rows)),
    startRun: (name, place, draft, holder) =>
      repeat(async () => namespace.getByName(name).startRun(place, draft, holder)),
    finishRun: (name, ...end) => repeat(() => namespace.getByName(name).finishRun(...end)),
    admitCall: (name, call, holder) => repeat(async () => namespace.getByName(name).admitCall(call, holder)),
    releaseCall: (name, callId) => repeat(() => namespace.getByName(name).releaseCall(callId)),
  });
  // What breaks here is an exchange with the server, and is judged as one.
  return { ...guarded, relay };
}
