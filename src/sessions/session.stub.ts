import { credentialAmong } from "../connector/sse-link.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { Outgoing } from "../platform/guarded-fetch.ts";
import { repeat } from "../platform/repeat.ts";
import type { RunDraft, RunEnd, RunPlace } from "../runs/run.ts";
import type { Admitted, CallAsk, Started } from "./run-ledger.ts";
import type { Session } from "./session.object.ts";
import {
  CREDENTIAL_HEADER,
  type NoticesAsk,
  type ParkedAt,
  type SessionFacts,
  type SessionPath,
  sessionUrl,
} from "./session.ts";
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
  /** The same through `Parking.send`. @param at The server, and what its client can be asked. */
  park(name: string, at: ParkedAt, message: Outgoing): Promise<Response>;
  /** See `Parking.resume`. */
  resume(name: string, park: string, message: Outgoing): Promise<Response>;
  /** A stream of what a server says that belongs to no request; see `Ears.listen`. */
  notices(name: string, ask: NoticesAsk): Promise<Response>;
  /** Ends what has been listened to under that id. */
  unlisten(name: string, id: string): Promise<void>;
  /** See `Mailbox`. */
  answers(name: string, ids: readonly string[], ms: number): Promise<(string | null)[]>;
  answer(name: string, id: string, text: string): Promise<void>;
  watch(name: string, requestId: string): Promise<boolean>;
  cancel(name: string, requestId: string): Promise<void>;
  unwatch(name: string, requestId: string): Promise<void>;
  /** The least log level that the client wants to hear of. */
  setLevel(name: string, level: string): Promise<void>;
  /** Whether changes of a resource are to be told to the client. */
  follow(name: string, ask: Omit<UpstreamAsk, "lost">, uri: string, isFollowed: boolean): Promise<void>;
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
  const ask = (name: string, path: SessionPath, of: string, init: RequestInit) =>
    namespace.getByName(name).fetch(sessionUrl(path, of), init);
  const relay: SessionStub["relay"] = (name, serverId, { method, headers, body = "", signal }) => {
    const relayed = {
      "Mcp-Session-Id": headers["Mcp-Session-Id"] ?? "",
      [CREDENTIAL_HEADER]: JSON.stringify(credentialAmong(headers)),
    };
    return ask(name, "relay", serverId, { method, headers: relayed, body, signal });
  };
  const streams: Pick<SessionStub, "relay" | "park" | "resume" | "notices"> = {
    relay,
    park: (name, at, { signal, ...message }) =>
      ask(name, "park", at.serverId, { method: "POST", body: JSON.stringify({ at, message }), signal }),
    resume: (name, park, { signal, headers, body }) =>
      ask(name, "resume", park, { method: "POST", body: JSON.stringify({ headers, body }), signal }),
    notices: (name, notices) =>
      ask(name, "notices", notices.serverId ?? "", { method: "POST", body: JSON.stringify(notices) }),
  };
  const guarded = withOutages<Omit<SessionStub, keyof typeof streams>>({
    open: (name, facts) => repeat(() => namespace.getByName(name).open(facts)),
    facts: (name) => repeat(() => namespace.getByName(name).facts()),
    end: (name) => repeat(() => namespace.getByName(name).end()),
    upstream: async (name, ask) => namespace.getByName(name).upstream(ask),
    dropUpstream: (name, serverId, sessionId) =>
      repeat(() => namespace.getByName(name).dropUpstream(serverId, sessionId)),
    answers: async (name, ids, ms) => namespace.getByName(name).answers([...ids], ms),
    answer: async (name, id, text) => namespace.getByName(name).answer(id, text),
    watch: async (name, requestId) => namespace.getByName(name).watch(requestId),
    cancel: async (name, requestId) => namespace.getByName(name).cancel(requestId),
    unwatch: async (name, requestId) => namespace.getByName(name).unwatch(requestId),
    unlisten: async (name, id) => namespace.getByName(name).unlisten(id),
    setLevel: (name, level) => repeat(() => namespace.getByName(name).setLevel(level)),
    follow: (name, of, uri, isFollowed) => repeat(() => namespace.getByName(name).follow(of, uri, isFollowed)),
    journal: (name, rows) => repeat(() => namespace.getByName(name).journal(rows)),
    startRun: (name, place, draft, holder) =>
      repeat(async () => namespace.getByName(name).startRun(place, draft, holder)),
    finishRun: (name, ...end) => repeat(() => namespace.getByName(name).finishRun(...end)),
    admitCall: (name, call, holder) => repeat(async () => namespace.getByName(name).admitCall(call, holder)),
    releaseCall: (name, callId) => repeat(() => namespace.getByName(name).releaseCall(callId)),
  });
  // What breaks here is an exchange with the server, and is judged as one.
  return { ...guarded, ...streams };
}
