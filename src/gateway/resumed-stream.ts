/** A stream that a legacy client comes back for, at a server that offers that (protocol.md 4.2). */

import type { Server } from "../catalog/snapshot.ts";
import { sessionHeaders } from "../connector/ask.ts";
import { isEventStream } from "../http/body.ts";
import type { UpstreamAsk } from "../sessions/upstream-sessions.ts";
import { messagesIn, type NoticeSource } from "./notice-stream.ts";
import { askerOf } from "./perform.ts";
import type { DoorRequest, Place } from "./request.ts";

/** A server keeps a stream for one reader: the one who reads it for a client that has left lets go in this time. */
const TRIES = 35;
const RETRY_MS = 1_000;

/** @returns Null where the server has no such stream, or does not offer it. */
export async function resumedStream(
  { services, principal, snapshot, headers }: DoorRequest,
  { upstream }: Place,
  of: { readonly server: Server; readonly ask: Omit<UpstreamAsk, "lost">; readonly lastEventId: string },
): Promise<NoticeSource | null> {
  const { toolCalls } = services;
  const { record } = of.server;
  if (record.era !== "legacy" || record.connection_type === "sse") return null;
  const targeted = await toolCalls.targetOf(
    record,
    askerOf({ principal, credentials: snapshot.generation.credentials, headers }),
  );
  const opened = await toolCalls.upstreamSession(upstream.name, of.server, of.ask, null);
  if (!targeted.ok || !opened.ok) return null;
  const { target } = targeted;
  const controller = new AbortController();
  const request = {
    url: record.server_url ?? "",
    method: "GET",
    headers: {
      ...target.headers,
      ...sessionHeaders(opened.session),
      Accept: "text/event-stream",
      "Last-Event-ID": of.lastEventId,
    },
    signal: controller.signal,
  } as const;
  const { origin } = new URL(request.url);
  for (let tries = 0; tries < TRIES; tries++) {
    const response = await toolCalls
      .sendTo(record, upstream)(request, origin)
      .catch(() => null);
    const isStream = isEventStream(response?.headers.get("Content-Type"));
    if (response?.ok && isStream && response.body !== null) {
      return { messages: messagesIn(response.body), stop: () => controller.abort() };
    }
    await response?.body?.cancel();
    if (response?.status !== 409) return null;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return null;
}
