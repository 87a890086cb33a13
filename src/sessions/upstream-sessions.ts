/** Sessions with legacy servers: opened and closed here, kept by the `Session` object they belong to. */

import type { Target } from "../connector/exchange.ts";
import { type ConnectFailure, closeSession, openSession } from "../connector/handshake.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { sha256Hex } from "../platform/hash.ts";
import { DEFAULT_TIMEOUT_MS, type ServerRecord } from "../registry/server-record.ts";
import type { OpenUpstream } from "./session.ts";

export type UpstreamOpened =
  | { readonly ok: true; readonly session: OpenUpstream }
  | { readonly ok: false; readonly failure: ConnectFailure };

export interface UpstreamSessionDeps {
  readonly serverOf: (serverId: string) => Promise<ServerRecord | null>;
  readonly targetOf: (record: ServerRecord) => Promise<Target>;
  readonly send: Send;
}

/** Names the endpoint and credential of a server; tells nothing about either. */
export function targetKeyOf({ server_url, auth_type, config_sealed }: ServerRecord): string {
  return sha256Hex(JSON.stringify([server_url, auth_type, config_sealed]));
}

export function createUpstreamSessions({ serverOf, targetOf, send }: UpstreamSessionDeps) {
  const gone: UpstreamOpened = {
    ok: false,
    failure: { stage: "connect", message: "The server is no longer registered.", isTimeout: false },
  };
  return {
    /** The present key of a server; empty when it is gone. */
    async targetKey(serverId: string): Promise<string> {
      const record = await serverOf(serverId);
      return record === null ? "" : targetKeyOf(record);
    },

    async open(serverId: string): Promise<UpstreamOpened> {
      const record = await serverOf(serverId);
      if (record === null || !record.enabled) return gone;
      const target = await targetOf(record);
      const probed = await openSession({ send, target, timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS });
      if (!probed.ok) return probed;
      const { session } = probed.verdict;
      if (session === null) return gone;
      return { ok: true, session: { ...session, target_key: targetKeyOf(record) } };
    },

    /** Best effort; a session that was opened for another endpoint or credential is left to end by itself. */
    async close(serverId: string, session: OpenUpstream): Promise<void> {
      const record = await serverOf(serverId);
      if (record === null || !record.enabled || targetKeyOf(record) !== session.target_key) return;
      await closeSession(send, await targetOf(record), session);
    },
  };
}
