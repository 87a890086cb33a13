/** The reference server of the conformance suite, served to each era at a URL of its own. */
import {
  createMcpHandler,
  type EventStore,
  hostHeaderValidationResponse,
  type JSONRPCMessage,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  type McpServer,
  originValidationResponse,
  WebStandardStreamableHTTPServerTransport,
} from "@modelcontextprotocol/server";
import { createReferenceServer, type Listeners } from "../../conformance/reference-server.ts";
import { createTasks } from "../../conformance/reference-tasks.ts";
import type { Running } from "./running.ts";
import { startWebServer } from "./web-server.ts";

export interface Reference extends Running {
  /** Speaks 2026-07-28 and nothing else. */
  readonly modern: string;
  /** Speaks 2025-11-25 and earlier, in sessions whose streams can be resumed. */
  readonly legacy: string;
}

export async function startReference(): Promise<Reference> {
  const lines: string[] = [];
  const onError = (error: unknown) => void lines.push(`${error}`);
  const modern = modernReference(onError);
  const legacy = legacyReference(onError);
  const web = await startWebServer(async (request) => {
    const refusal =
      hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
      originValidationResponse(request, localhostAllowedOrigins());
    if (refusal !== undefined) return refusal;
    const { pathname } = new URL(request.url);
    lines.push(`${request.method} ${pathname}`);
    if (pathname === "/modern") return modern.fetch(request);
    return pathname === "/legacy" ? legacy.fetch(request) : new Response(null, { status: 404 });
  }, onError);
  return {
    modern: `${web.origin}/modern`,
    legacy: `${web.origin}/legacy`,
    logs: () => [...lines],
    async stop() {
      await Promise.all([modern.close(), legacy.close()]);
      await web.stop();
    },
  };
}

function modernReference(onerror: (error: Error) => void) {
  const tasks = createTasks();
  const handler = createMcpHandler(() => createReferenceServer(handler.notify, tasks), { legacy: "reject", onerror });
  return {
    fetch: handler.fetch,
    async close() {
      tasks.close();
      await handler.close();
    },
  };
}

interface Session {
  readonly server: McpServer;
  readonly transport: WebStandardStreamableHTTPServerTransport;
  /** The resources that the client wants to hear of. */
  readonly subscriptions: Set<string>;
}

/** How soon a client is to resume a stream that has ended before the answer. */
const RETRY_MS = 100;

function legacyReference(onError: (error: unknown) => void) {
  const sessions = new Map<string, Session>();
  const tell = (notice: (session: Session) => Promise<void> | undefined) => {
    for (const session of sessions.values()) notice(session)?.catch(onError);
  };
  const listeners: Listeners = {
    toolsChanged: () => tell(({ server }) => server.server.sendToolListChanged()),
    promptsChanged: () => tell(({ server }) => server.server.sendPromptListChanged()),
    resourceUpdated: (uri) =>
      tell(({ server, subscriptions }) =>
        subscriptions.has(uri) ? server.server.sendResourceUpdated({ uri }) : undefined,
      ),
  };
  const open = async (): Promise<Session> => {
    const server = createReferenceServer(listeners);
    const subscriptions = new Set<string>();
    server.server.setRequestHandler("resources/subscribe", ({ params }) => {
      subscriptions.add(params.uri);
      return {};
    });
    server.server.setRequestHandler("resources/unsubscribe", ({ params }) => {
      subscriptions.delete(params.uri);
      return {};
    });
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, session),
      onsessionclosed: (id) => void sessions.delete(id),
      eventStore: eventsInMemory(),
      retryInterval: RETRY_MS,
    });
    const session = { server, transport, subscriptions };
    server.server.onerror = onError;
    await server.connect(transport);
    return session;
  };
  return {
    async fetch(request: Request): Promise<Response> {
      const id = request.headers.get("Mcp-Session-Id");
      // What is not an `initialize` is refused by a session that has not begun.
      const session = id === null ? await open() : sessions.get(id);
      if (session !== undefined) return session.transport.handleRequest(request);
      const error = { code: -32001, message: "There is no such session." };
      return Response.json({ jsonrpc: "2.0", id: null, error }, { status: 404 });
    },
    async close() {
      await Promise.all(Array.from(sessions.values(), ({ server }) => server.close()));
    },
  };
}

function eventsInMemory(): EventStore {
  const events: { readonly streamId: string; readonly message: JSONRPCMessage }[] = [];
  return {
    storeEvent: async (streamId, message) => `${events.push({ streamId, message }) - 1}`,
    getStreamIdForEventId: async (id) => events[Number(id)]?.streamId,
    async replayEventsAfter(id, { send }) {
      const streamId = events[Number(id)]?.streamId ?? "";
      for (const [at, event] of events.entries()) {
        // An event without a message has only marked the beginning of its stream.
        if (at <= Number(id) || event.streamId !== streamId || !("jsonrpc" in event.message)) continue;
        await send(`${at}`, event.message);
      }
      return streamId;
    },
  };
}
