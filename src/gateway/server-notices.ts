/** Listening to the server of a server's door for one client. */
import type { Server } from "../catalog/snapshot.ts";
import type { Target } from "../connector/exchange.ts";
import { openListener } from "../connector/notices.ts";
import { SERVER_ITSELF } from "../credentials/owner.ts";
import { carrying } from "../platform/hop-marker.ts";
import { DEFAULT_TIMEOUT_MS } from "../registry/server-record.ts";
import type { NoticesAsk } from "../sessions/session.ts";
import type { UpstreamAsk } from "../sessions/upstream-sessions.ts";
import { messagesIn, type NoticeSource } from "./notice-stream.ts";
import { askerOf } from "./perform.ts";
import type { DoorRequest, Place } from "./request.ts";

/** Where a server is and what it is shown, and as whom it is spoken to from a session. */
export interface Speaking {
  readonly target: Target;
  readonly ask: Omit<UpstreamAsk, "lost">;
}

/** @returns Null without a credential that the server takes. */
export async function speakAs(
  { services, principal, snapshot, headers }: DoorRequest,
  { upstream }: Place,
  { record }: Server,
): Promise<Speaking | null> {
  const asker = askerOf({ principal, credentials: snapshot.generation.credentials, headers });
  const targeted = await services.toolCalls.targetOf(record, asker);
  if (!targeted.ok) return null;
  const { target } = targeted;
  const { owner, subjectToken } = asker;
  const as = { owner: owner ?? SERVER_ITSELF, tokenId: target.token?.token_id ?? null, subjectToken };
  return { target, ask: { serverId: record.server_id, ...as, client: upstream.client } };
}

/** With whose account, and as whom, a server is listened to; null without a credential that it takes. */
export async function askAs(request: DoorRequest, place: Place, server: Server): Promise<Speaking["ask"] | null> {
  return (await speakAs(request, place, server))?.ask ?? null;
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
