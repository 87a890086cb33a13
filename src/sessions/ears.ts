/**
 * Listening to servers for a session: one stream per server, however many of its clients listen, from the first of them
 * to the last. What a server says goes to each of them as it came; what a client of its era may have of that is decided
 * where it is answered.
 */

import type { Received } from "../connector/exchange.ts";
import type { NoticesOpened } from "../connector/notices.ts";
import { eventText } from "../platform/event-text.ts";
import type { NoticesAsk } from "./session.ts";

export interface EarDeps<Ask> {
  /** Opens the stream. @param uris Resources whose changes are wanted. */
  readonly open: (ask: Ask, uris: readonly string[], signal: AbortSignal) => Promise<NoticesOpened>;
  /** Tells a server with a session of a resource that matters now, or no longer. */
  readonly follow: (ask: Ask, uri: string, isFollowed: boolean) => Promise<void>;
  /** Whether a stream has to be opened anew for other resources: a modern server is told of them once. */
  readonly reopens: (ask: Ask) => Promise<boolean>;
}

/** Bytes that wait for a client that is slower than its servers, before it is left out. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** A stream that ends is opened anew after this, doubled up to the limit. */
const RETRY_MS = 1_000;
const RETRY_LIMIT_MS = 60_000;
/** Statuses of a server that has no such stream. */
const NOT_OFFERED: readonly (number | null)[] = [400, 401, 403, 404, 405, 406, 501];

/** How long others wait for a stream to begin: some servers say nothing of it until they have something to tell. */
const BEGIN_MS = 2_000;

/** A reader that has gone without a word is found to be gone at the next of these. */
const BEAT_MS = 15_000;

interface Listener {
  readonly id: string;
  readonly uris: readonly string[];
  readonly put: (text: string) => void;
  /** Finds out whether anybody still reads. */
  readonly beat: () => void;
  readonly end: () => void;
}

interface Listening {
  readonly listeners: Set<Listener>;
  controller: AbortController;
  wanted: string;
  /** Until the server has answered whether there is a stream. */
  begun: Promise<unknown>;
}

function newListening(): Listening {
  return { listeners: new Set(), controller: new AbortController(), wanted: "[]", begun: Promise.resolve() };
}

export interface Ears<Ask> {
  /**
   * A stream of what a server says, one event a message. It ends when `isOnly` comes a second time.
   *
   * @param serverId Null: no server is listened to, and the stream says nothing.
   */
  listen(serverId: string | null, ask: Ask, options: Pick<NoticesAsk, "id" | "uris" | "isOnly">): Response;
  /** Waits until whoever listens to a server hears it, or cannot; not at all where nobody listens. */
  begun(serverId: string): Promise<void>;
  /** The resources that a session of its own follows have changed. */
  refollow(serverId: string, ask: Ask): void;
  /** Ends a stream whose reader has gone. */
  unlisten(id: string): void;
  closeAll(): void;
}

export function createEars<Ask>(deps: EarDeps<Ask>, followed: (serverId: string) => readonly string[]): Ears<Ask> {
  const listening = new Map<string, Listening>();
  const all = new Set<Listener>();
  let only: Listener | null = null;
  let beats: ReturnType<typeof setInterval> | undefined;

  function urisOf(serverId: string): string[] {
    const { listeners } = listening.get(serverId) ?? { listeners: new Set<Listener>() };
    const own = [...listeners].flatMap(({ uris }) => [...uris]);
    return [...new Set([...followed(serverId), ...own])].toSorted();
  }

  /** Reads a server's stream for as long as anybody listens. */
  async function run(serverId: string, ask: Ask, own: Listening): Promise<void> {
    let waitMs = RETRY_MS;
    while (own.listeners.size > 0) {
      own.controller = new AbortController();
      const uris = urisOf(serverId);
      own.wanted = JSON.stringify(uris);
      const opening = deps.open(ask, uris, own.controller.signal).catch(() => ({ ok: false, status: null }) as const);
      own.begun = opening;
      const opened = await opening;
      if (opened.ok) {
        waitMs = RETRY_MS;
        await spread(opened.messages, own);
        // Opened anew for other resources, and not because it has broken.
        if (own.controller.signal.aborted) continue;
      } else if (NOT_OFFERED.includes(opened.status)) break;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      waitMs = Math.min(RETRY_LIMIT_MS, waitMs * 2);
    }
    if (listening.get(serverId) === own) listening.delete(serverId);
  }

  async function spread(messages: AsyncGenerator<Received>, { listeners }: Listening): Promise<void> {
    try {
      for await (const { text } of messages) for (const listener of listeners) listener.put(text);
    } catch {
      // However it ends, whoever listens goes on listening.
    }
  }

  function join(serverId: string, ask: Ask, listener: Listener): void {
    const there = listening.get(serverId);
    const own = there ?? newListening();
    own.listeners.add(listener);
    listening.set(serverId, own);
    if (there === undefined) void run(serverId, ask, own);
    else {
      void refresh(serverId, ask, own);
      for (const uri of listener.uris) void deps.follow(ask, uri, true).catch(() => undefined);
    }
  }

  function leave(serverId: string, ask: Ask, listener: Listener): void {
    const own = listening.get(serverId);
    if (own === undefined || !own.listeners.delete(listener)) return;
    const still = urisOf(serverId);
    for (const uri of listener.uris) {
      if (!still.includes(uri)) void deps.follow(ask, uri, false).catch(() => undefined);
    }
    if (own.listeners.size === 0) {
      listening.delete(serverId);
      own.controller.abort();
    }
  }

  async function refresh(serverId: string, ask: Ask, own: Listening): Promise<void> {
    if (own.wanted !== JSON.stringify(urisOf(serverId)) && (await deps.reopens(ask))) own.controller.abort();
  }

  return {
    listen(serverId, ask, { id, uris, isOnly }) {
      let close = () => {};
      const stream = new ReadableStream<Uint8Array>(
        {
          start(controller) {
            const encoder = new TextEncoder();
            let isOpen = true;
            const listener: Listener = {
              id,
              uris,
              put(text) {
                if (!isOpen) return;
                controller.enqueue(encoder.encode(eventText(text)));
                if ((controller.desiredSize ?? 0) < -MAX_WAITING_BYTES) listener.end();
              },
              beat() {
                if (isOpen) controller.enqueue(encoder.encode(":\n\n"));
              },
              end() {
                if (isOpen) controller.close();
                close();
              },
            };
            close = () => {
              isOpen = false;
              all.delete(listener);
              if (all.size === 0) {
                clearInterval(beats);
                beats = undefined;
              }
              if (only === listener) only = null;
              if (serverId !== null) leave(serverId, ask, listener);
            };
            if (isOnly) {
              only?.end();
              only = listener;
            }
            all.add(listener);
            // Says at once that the stream has begun.
            listener.beat();
            beats ??= setInterval(() => {
              for (const one of all) one.beat();
            }, BEAT_MS);
            if (serverId !== null) join(serverId, ask, listener);
          },
          cancel: () => close(),
        },
        new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
      );
      return new Response(stream, { headers: { "Content-Type": "text/event-stream" } });
    },

    async begun(serverId) {
      const own = listening.get(serverId);
      if (own === undefined) return;
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, BEGIN_MS);
      await Promise.race([own.begun, late.promise]);
      clearTimeout(timer);
    },

    refollow(serverId, ask) {
      const own = listening.get(serverId);
      if (own !== undefined) void refresh(serverId, ask, own);
    },

    unlisten(id) {
      for (const listener of all) if (listener.id === id) listener.end();
    },

    closeAll() {
      for (const listener of all) listener.end();
    },
  };
}
