/** The GET stream of a session: what its server says that belongs to no request (protocol.md 4.2). */
import type { Received } from "../../connector/exchange.ts";
import { withoutSubscription } from "../modern/listen.ts";
import { streamNotices } from "../notice-stream.ts";
import { visibleServer } from "../offered.ts";
import { relayedRequest } from "../relayed-id.ts";
import type { DoorRequest } from "../request.ts";
import { resumedStream } from "../resumed-stream.ts";
import { askAs, sessionNotices } from "../server-notices.ts";
import { tellServer } from "../tell-server.ts";
import { findSession, placeOf, refuseSession, refuseVersion, SESSION_HEADER } from "./session.ts";

/** 3.4.9. A new stream of a session ends the one before it (P-30). */
export async function serveGet(request: DoorRequest): Promise<Response> {
  if (!request.headers.has(SESSION_HEADER)) return new Response(null, { status: 405, headers: { Allow: "POST" } });
  if (!request.accepts.sse) return new Response(null, { status: 406 });
  const versionRefusal = refuseVersion(request, null);
  if (versionRefusal !== null) return versionRefusal;
  const session = await findSession(request);
  if (session === "unknown" || session === null) return refuseSession(request, null);
  const { services, principal, slug, waitUntil } = request;
  const place = placeOf(request, session);
  const server = slug === null ? null : visibleServer(request);
  const isSeen = server !== null && server.record.era !== null;
  const ask = isSeen ? await askAs(request, place, server) : null;
  const serverId = ask?.serverId ?? null;
  const lastEventId = request.headers.get("Last-Event-ID");
  const resumed =
    lastEventId === null || server === null || ask === null
      ? null
      : await resumedStream(request, place, { server, ask, lastEventId });
  const source = resumed ?? (await sessionNotices(request, place, { serverId, ask, uris: [], isOnly: true }));
  const owner = { org_id: principal.org, user_id: principal.id };

  function shape(received: Received): string | null {
    const { method, id } = received.value;
    if (server === null) return null;
    // What has been left open is answered on the stream that goes on with it, and nowhere else.
    if (method === undefined) return resumed === null ? null : received.text;
    const tell = (answer: string) => waitUntil(tellServer(request, place, server, answer).catch(() => undefined));
    if (id !== undefined && method === "ping") {
      tell(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{}}`);
      return null;
    }
    if (id !== undefined) return relayedRequest(received, server.record.server_id);
    if (method === "notifications/tools/list_changed") {
      waitUntil(services.toolCalls.rediscover(server.record, owner).catch(() => undefined));
    }
    return server.record.era === "modern" ? withoutSubscription(received) : received.text;
  }

  const namesPlaces = resumed !== null;
  return streamNotices(request, { source, opening: [], shape, namesPlaces, changed: TOOLS_CHANGED, closing: null });
}

const TOOLS_CHANGED = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';
