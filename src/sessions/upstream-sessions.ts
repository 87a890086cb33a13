/** Sessions with legacy servers: opened and closed here, kept by the `Session` object they belong to. */

import type { Line } from "../connector/ask.ts";
import { type ConnectFailure, closeSession, openSession } from "../connector/handshake.ts";
import type { UpstreamClient } from "../connector/server-request.ts";
import type { SseLink } from "../connector/sse-link.ts";
import { openLine } from "../connector/transport.ts";
import { NO_LEASE } from "../credentials/leases.ts";
import type { Owner } from "../credentials/owner.ts";
import type { TargetOf } from "../credentials/target.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { sha256Hex } from "../platform/hash.ts";
import { DEFAULT_TIMEOUT_MS, type ServerRecord } from "../registry/server-record.ts";
import type { OpenUpstream } from "./session.ts";

export type UpstreamOpened =
  | { readonly ok: true; readonly session: OpenUpstream }
  | { readonly ok: false; readonly failure: ConnectFailure };

/** The same, where the session was opened: over HTTP+SSE it is a link, which the one who opened it holds. */
export type UpstreamHeld =
  | (Extract<UpstreamOpened, { ok: true }> & { readonly link: SseLink | null })
  | Extract<UpstreamOpened, { ok: false }>;

/** Which session is wanted. */
export interface UpstreamAsk {
  readonly serverId: string;
  /** Whose credential the server is shown. */
  readonly owner: Owner;
  /** The upstream token that the credential is of; null for static ones. */
  readonly tokenId: string | null;
  readonly subjectToken: string | null;
  /** Whom the session is for, as the server is told; null: the gateway itself. */
  readonly client: UpstreamClient | null;
  /** A session that the server has forgotten: it is not given back. */
  readonly lost: string | null;
}

export interface UpstreamSessionDeps {
  readonly serverOf: (serverId: string) => Promise<ServerRecord | null>;
  readonly targetOf: TargetOf;
  /** The way to a server. */
  readonly sendTo: (record: ServerRecord) => Send;
  readonly clock: Clock;
  /** How long a record is believed. */
  readonly ttlMs: number;
}

/** Names the endpoint and credential of a server; tells nothing about either. */
export function targetKeyOf(
  { connection_type, server_url, auth_type, config_sealed }: ServerRecord,
  tokenId: string | null,
): string {
  return sha256Hex(JSON.stringify([connection_type, server_url, auth_type, config_sealed, tokenId]));
}

export function createUpstreamSessions({ serverOf, targetOf, sendTo, clock, ttlMs }: UpstreamSessionDeps) {
  const gone: UpstreamHeld = {
    ok: false,
    failure: { stage: "connect", message: "The server is no longer registered.", isTimeout: false },
  };
  /**
   * The way to a server for as long as it is enabled. A stream outlives many calls, and what a
   * server asks on it is answered without one: nobody else looks whether it may still be contacted (PS-60).
   */
  function sendWhileEnabled(record: ServerRecord): Send {
    const send = sendTo(record);
    let readAt = clock();
    return async (message, origin) => {
      if (clock() - readAt >= ttlMs) {
        const now = await serverOf(record.server_id);
        if (now === null || !now.enabled) throw new GatewayError("upstream_failed", "The server is disabled.");
        readAt = clock();
      }
      return send(message, origin);
    };
  }

  return {
    /** The present key of a server; empty when it is gone. */
    async targetKey(serverId: string, tokenId: string | null): Promise<string> {
      const record = await serverOf(serverId);
      return record === null ? "" : targetKeyOf(record, tokenId);
    },

    async open(
      serverId: string,
      { owner, subjectToken, client }: Pick<UpstreamAsk, "owner" | "subjectToken" | "client">,
    ): Promise<UpstreamHeld> {
      const record = await serverOf(serverId);
      if (record === null || !record.enabled) return gone;
      const targeted = await targetOf(record, { owner, subjectToken, credentials: null });
      if (!targeted.ok) {
        return { ok: false, failure: { stage: "auth", message: NO_LEASE[targeted.why], isTimeout: false } };
      }
      const { target } = targeted;
      const target_key = targetKeyOf(record, target.token?.token_id ?? null);
      const line = { send: sendWhileEnabled(record), target, timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS };
      const opened = await openLine(line, record.connection_type === "sse" ? "sse" : "http");
      if (!opened.ok) return opened;
      const { link } = opened;
      const probed = await openSession(opened.line, client);
      if (!probed.ok || probed.verdict.session === null) {
        link?.close();
        return probed.ok ? gone : probed;
      }
      return { ok: true, session: { ...probed.verdict.session, target_key }, link };
    },

    /** A line to a server, and what it is; null when it may not be contacted now. */
    async lineTo(
      serverId: string,
      { owner, subjectToken }: Pick<UpstreamAsk, "owner" | "subjectToken">,
    ): Promise<{ readonly line: Line; readonly record: ServerRecord } | null> {
      const record = await serverOf(serverId);
      if (record === null || !record.enabled) return null;
      const targeted = await targetOf(record, { owner, subjectToken, credentials: null });
      if (!targeted.ok) return null;
      const timeoutMs = record.timeout_ms ?? DEFAULT_TIMEOUT_MS;
      return { line: { send: sendWhileEnabled(record), target: targeted.target, timeoutMs }, record };
    },

    /** Best effort; a session that was opened for another endpoint or credential is left to end by itself. */
    async close(serverId: string, session: OpenUpstream, owner: Owner): Promise<void> {
      const record = await serverOf(serverId);
      // A link is the session, and whoever holds it closes it.
      if (record === null || !record.enabled || record.connection_type === "sse") return;
      const targeted = await targetOf(record, { owner, subjectToken: null, credentials: null });
      if (!targeted.ok) return;
      const { target } = targeted;
      if (targetKeyOf(record, target.token?.token_id ?? null) !== session.target_key) return;
      await closeSession(sendTo(record), target, session);
    },
  };
}
