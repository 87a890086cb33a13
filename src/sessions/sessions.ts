/** The use cases of sessions: what an isolate may believe of them, and the objects that know. */
import type { UpstreamSession } from "../connector/ask.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { TrustedMap } from "../platform/trusted.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import type { SessionStub } from "./session.stub.ts";
import type { OpenUpstream, SessionFacts, UpstreamPlace } from "./session.ts";
import { targetKeyOf, type UpstreamAsk, type UpstreamOpened } from "./upstream-sessions.ts";

export interface SessionsDeps {
  readonly stub: SessionStub;
  /** Facts by session id; null for a session that is not there. */
  readonly memory: TrustedMap<SessionFacts | null>;
  /** Upstream sessions by session and server. A wrong one costs a repeated handshake and nothing else. */
  readonly upstreamMemory: ExpiringMap<string, OpenUpstream>;
  readonly ttlMs: number;
  readonly clock: Clock;
}

const KEEP_UPSTREAM_MS = 300_000;

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions({ stub, memory, upstreamMemory, ttlMs, clock }: SessionsDeps) {
  return {
    async open(id: string, facts: SessionFacts): Promise<void> {
      await stub.open(id, facts);
      memory.delete(id);
    },

    /** What a session settled, at most `SNAPSHOT_TTL_MS` behind the object; null when there is none. */
    facts(id: string, waitUntil: (work: Promise<unknown>) => void): Promise<SessionFacts | null> {
      return memory.get(id, ttlMs, () => stub.facts(id), waitUntil);
    },

    async end(id: string): Promise<void> {
      await stub.end(id);
      memory.delete(id);
    },

    /** Speaks with a server over HTTP+SSE, on the stream that a session holds. */
    sendOver(name: string, serverId: string): Send {
      return (message) => stub.relay(name, serverId, message);
    },

    /** Speaks with a legacy server for a client that answers it with further requests; see `parking.ts`. */
    sendParked(place: UpstreamPlace, { server_id, connection_type }: ServerRecord): Send {
      const capabilities = place.client?.capabilities ?? {};
      return (message, origin) =>
        stub.park(
          place.name,
          { serverId: server_id, isLink: connection_type === "sse", origin, capabilities },
          message,
        );
    },

    /** Goes on with a call that waits; what is posted is the result that its server is to have. */
    resume(name: string, park: string): Send {
      return (message) => stub.resume(name, park, message);
    },

    /** What a server says that belongs to no request; null where no server is listened to. */
    notices: stub.notices,
    unlisten: stub.unlisten,
    answers: stub.answers,
    answer: stub.answer,
    cancelled: stub.watch,
    cancel: stub.cancel,
    unwatch: stub.unwatch,

    async setLevel(id: string, level: string): Promise<void> {
      await stub.setLevel(id, level);
      memory.delete(id);
    },

    follow: stub.follow,

    /** Forgets a session with a legacy server; the next call opens another. */
    async dropUpstream(name: string, serverId: string, { session_id }: UpstreamSession): Promise<void> {
      const key = `${name} ${serverId}`;
      if (upstreamMemory.get(key)?.session_id === session_id) upstreamMemory.delete(key);
      await stub.dropUpstream(name, serverId, session_id);
    },

    /** The session with a legacy server that belongs to a client; see `ToolCallDeps.upstreamSession`. */
    async upstream(
      name: string,
      server: ServerRecord,
      as: Pick<UpstreamAsk, "owner" | "tokenId" | "subjectToken" | "client">,
      lost: UpstreamSession | null,
    ): Promise<UpstreamOpened> {
      const key = `${name} ${server.server_id}`;
      const held = upstreamMemory.get(key);
      const isOwn = held?.target_key === targetKeyOf(server, as.tokenId);
      if (held !== undefined && held.session_id !== lost?.session_id && isOwn) return { ok: true, session: held };
      const opened = await stub.upstream(name, {
        serverId: server.server_id,
        ...as,
        lost: lost?.session_id ?? null,
      });
      if (opened.ok) upstreamMemory.set(key, opened.session, clock() + KEEP_UPSTREAM_MS);
      return opened;
    },
  };
}
