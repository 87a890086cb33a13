/** How a `Session` object listens to servers of either era, and over either transport. */
import { askLegacy } from "../connector/ask.ts";
import { type NoticesOpened, openListener, openSessionNotices } from "../connector/notices.ts";
import type { SseLink } from "../connector/sse-link.ts";
import type { EarDeps } from "./ears.ts";
import type { createUpstreamSessions, UpstreamAsk, UpstreamOpened } from "./upstream-sessions.ts";

type Ask = Omit<UpstreamAsk, "lost"> | null;

const GONE: NoticesOpened = { ok: false, status: 404 };

export function listeningTo(
  sessions: Pick<ReturnType<typeof createUpstreamSessions>, "lineTo">,
  own: {
    readonly upstream: (ask: UpstreamAsk) => Promise<UpstreamOpened>;
    readonly linkOf: (serverId: string) => SseLink | undefined;
  },
): EarDeps<Ask> {
  return {
    async open(ask, uris, signal) {
      const to = ask === null ? null : await sessions.lineTo(ask.serverId, ask);
      if (ask === null || to === null) return GONE;
      const { line, record } = to;
      if (record.era === "modern") {
        const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
        const asked = { ...lists, ...(uris.length === 0 ? {} : { resourceSubscriptions: uris }) };
        return openListener(line, JSON.stringify(asked), signal);
      }
      let lost: string | null = null;
      for (let tries = 0; tries < 2; tries++) {
        const opened = await own.upstream({ ...ask, lost });
        if (!opened.ok) return { ok: false, status: null };
        const { session } = opened;
        const link = record.connection_type === "sse" ? own.linkOf(ask.serverId) : null;
        if (link === undefined) return GONE;
        const notices: NoticesOpened =
          link === null
            ? await openSessionNotices(line, session, signal)
            : { ok: true, messages: link.notices(signal) };
        // With each stream: it may be that of another session than the last one was.
        if (notices.ok) {
          const way = link === null ? line : { ...line, send: link.send };
          for (const uri of uris) await askLegacy(way, session, "resources/subscribe", { uri });
        }
        if (notices.ok || notices.status !== 404 || session.session_id === null) return notices;
        lost = session.session_id;
      }
      return GONE;
    },

    async follow(ask, uri, isFollowed) {
      const to = ask === null ? null : await sessions.lineTo(ask.serverId, ask);
      if (ask === null || to === null || to.record.era === "modern") return;
      const opened = await own.upstream({ ...ask, lost: null });
      if (!opened.ok) return;
      const link = own.linkOf(ask.serverId);
      const line = link === undefined ? to.line : { ...to.line, send: link.send };
      await askLegacy(line, opened.session, isFollowed ? "resources/subscribe" : "resources/unsubscribe", { uri });
    },

    async reopens(ask) {
      return ask !== null && (await sessions.lineTo(ask.serverId, ask))?.record.era === "modern";
    },
  };
}
