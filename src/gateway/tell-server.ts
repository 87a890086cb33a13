/** What a client of a session says to a legacy server without waiting for an answer. */
import type { Server } from "../catalog/snapshot.ts";
import { postLegacy } from "../connector/ask.ts";
import { carrying } from "../platform/hop-marker.ts";
import { askerOf } from "./perform.ts";
import type { DoorRequest, Place } from "./request.ts";
import { askAs } from "./server-notices.ts";

const TELL_MS = 10_000;

/** @param body A notification or a response, JSON text. A server that cannot be reached is not told. */
export async function tellServer(request: DoorRequest, place: Place, server: Server, body: string): Promise<void> {
  const { services, principal, snapshot, headers } = request;
  const { toolCalls } = services;
  const { record } = server;
  const asker = askerOf({ principal, credentials: snapshot.generation.credentials, headers });
  const targeted = await toolCalls.targetOf(record, asker);
  const ask = record.era === "legacy" ? await askAs(request, place, server) : null;
  if (!targeted.ok || ask === null) return;
  const opened = await toolCalls.upstreamSession(place.upstream.name, server, ask, null);
  if (!opened.ok) return;
  const line = {
    send: carrying(toolCalls.sendTo(record, place.upstream), headers),
    target: targeted.target,
    timeoutMs: TELL_MS,
  };
  await postLegacy(line, opened.session, body);
}
