/** Listening to the server of a server's door for one client. */
import type { Server } from "../catalog/snapshot.ts";
import { openListener } from "../connector/notices.ts";
import { SERVER_ITSELF } from "../credentials/owner.ts";
import { carrying } from "../platform/hop-marker.ts";
import { DEFAULT_TIMEOUT_MS } from "../registry/server-record.ts";
import type { NoticesAsk } from "../sessions/session.ts";
import type { UpstreamAsk } from "../sessions/upstream-sessions.ts";
import { messagesIn, type NoticeSource } from "./notice-stream.ts";
import { askerOf } from "./perform.ts";
import type { DoorRequest, Place } from "./request.ts";

/** With whose account, and as whom, a server is spoken to from a session; null without a credential that it takes. */
export async function askAs(
  { services, principal, snapshot, headers }: DoorRequest,
  { upstream }: Place,
  { record }: Server,
): Promise<Omit<UpstreamAsk, "lost"> | null> {
  const asker = askerOf({ principal, credentials: snapshot.generation.credentials, headers });
  const targeted = await services.toolCalls.targetOf(record, asker);
  if (!targeted.ok) return null;
  const { owner, subjectToken } = asker;
  const tokenId = targeted.target.token?.token_id ?? null;
  return { serverId: record.server_id, owner: owner ?? SERVER_ITSELF, tokenId, subjectToken, client: upstream.client };
}

/** What a server says to a session, as its `Session` object hears it; null when nothing can be heard. */
export async function sessionNotices(
  { services, waitUntil }: DoorRequest,
  { upstream }: Place,
  asked: Omit<NoticesAsk, "id">,
): Promise<NoticeSource | null> {
  const id = crypto.randomUUID();
  const { body } = await services.sessions.notices(upstream.name, { ...asked, id });
  // The object learns of a stream that nobody reads only when it writes.
  const stop = () => waitUntil(services.sessions.unlisten(upstream.name, id).catch(() => undefined));
  return body === null ? null : { messages: messagesIn(body), stop };
}

/** What a modern server tells a listener; null when it tells nothing. @param asked JSON text of the filter. */
export async function listenerNotices(
  { services, principal, snapshot, headers }: DoorRequest,
  { upstream }: Place,
  { record }: Server,
  asked: string,
): Promise<NoticeSource | null> {
  const { toolCalls } = services;
  const asker = askerOf({ principal, credentials: snapshot.generation.credentials, headers });
  const targeted = await toolCalls.targetOf(record, asker);
  if (!targeted.ok) return null;
  const controller = new AbortController();
  const timeoutMs = record.timeout_ms ?? DEFAULT_TIMEOUT_MS;
  const line = { send: carrying(toolCalls.sendTo(record, upstream), headers), target: targeted.target, timeoutMs };
  const opened = await openListener(line, asked, controller.signal);
  return opened.ok ? { messages: opened.messages, stop: () => controller.abort() } : null;
}
