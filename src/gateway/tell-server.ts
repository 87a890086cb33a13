/** What a client of a session says to a legacy server without waiting for an answer. */
import type { Server } from "../catalog/snapshot.ts";
import { postLegacy } from "../connector/ask.ts";
import { carrying } from "../platform/hop-marker.ts";
import type { DoorRequest, Place } from "./request.ts";
import { speakAs } from "./server-notices.ts";

const TELL_MS = 10_000;

/** @param body A notification or a response, JSON text. A server that cannot be reached is not told. */
export async function tellServer(request: DoorRequest, place: Place, server: Server, body: string): Promise<void> {
  const { headers, services } = request;
  const { toolCalls } = services;
  const { record } = server;
  const speaking = record.era === "legacy" ? await speakAs(request, place, server) : null;
  if (speaking === null) return;
  const { target, ask } = speaking;
  const opened = await toolCalls.upstreamSession(place.upstream.name, server, ask, null);
  if (!opened.ok) return;
  const line = {
    send: carrying(toolCalls.sendTo(record, place.upstream), headers),
    target,
    timeoutMs: TELL_MS,
  };
  await postLegacy(line, opened.session, body);
}
