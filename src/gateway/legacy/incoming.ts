/** What legacy clients say without asking anything: notifications, and answers to what they were asked. */
import { admitServer } from "../../access/admission.ts";
import { applyEdits } from "../../platform/json-text.ts";
import { isAskedId } from "../../sessions/asked-id.ts";
import type { ClientMessage, ClientResponse } from "../client-message.ts";
import { visibleServer } from "../offered.ts";
import { readRelayedId } from "../relayed-id.ts";
import type { DoorRequest } from "../request.ts";
import { tellServer } from "../tell-server.ts";
import { type ClientSession, placeOf } from "./session.ts";

/** What a server's door keeps to itself. */
const LOCAL = ["notifications/initialized", "notifications/cancelled"];

/** Late and unknown ones are dropped (rung 3.4.8). */
export async function takeNotification(
  request: DoorRequest,
  session: ClientSession | null,
  { method, params, text }: ClientMessage,
): Promise<void> {
  if (session === null) return;
  const { requestId } = params;
  if (method === "notifications/cancelled" && requestId !== undefined) {
    await request.services.sessions.cancel(session.id, JSON.stringify(requestId));
  }
  const server = request.slug === null || LOCAL.includes(method) ? null : visibleServer(request);
  if (server?.record.era === "legacy") await tellServer(request, placeOf(request, session), server, text);
}

/** The answer finds who has asked, and nobody else (P-32). */
export async function takeResponse(
  request: DoorRequest,
  session: ClientSession | null,
  { id, text, at }: ClientResponse,
): Promise<void> {
  if (session === null || at === undefined) return;
  const { services, snapshot, principal, filters, slug } = request;
  if (isAskedId(id)) {
    await services.sessions.answer(session.id, id, text);
    return;
  }
  const relayed = readRelayedId(id);
  const server = relayed === null ? undefined : snapshot.serversById.get(relayed.serverId);
  if (relayed === null || server === undefined || admitServer(principal, filters, server) !== null) return;
  if (slug !== null && server.record.name.toLowerCase() !== slug.toLowerCase()) return;
  const own = applyEdits(text, [{ start: at.valueStart, end: at.end, text: relayed.idText }]);
  await tellServer(request, placeOf(request, session), server, own);
}
