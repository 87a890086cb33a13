/**
 * An MCP server of an SDK on loopback that wants a token, and its authorization server beside it. It asks that one about
 * each token, as servers do that share nothing else with it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { McpServer as McpServerV1 } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import {
  type AuthorizationOptions,
  type AuthorizationServer,
  listen,
  SCOPES,
  startAuthorizationServer,
} from "./authorization-server.ts";

export interface ProtectedServer extends AuthorizationServer {
  readonly server_url: string;
  /** What the server answers to a token: 200 where it is good. */
  statusFor(accessToken: string): Promise<number>;
  /** The access tokens that it was shown, each once, in that order. */
  readonly shown: readonly string[];
}

export interface ProtectedOptions extends AuthorizationOptions {
  /** `legacy`: the v1 SDK, with sessions, each of which is the user's who has begun it. */
  readonly era?: "modern" | "legacy";
}

/** An MCP server behind the check. */
interface Checked {
  serve(incoming: IncomingMessage, outgoing: ServerResponse, auth: Auth): Promise<void>;
  close(): Promise<void>;
}

interface Auth {
  readonly token: string;
  readonly clientId: string;
  readonly scopes: string[];
  /** Who has authorized the token. */
  readonly extra: { readonly user: string };
}

/** Its one tool, `whoami`, says who has authorized the token that the call came with. */
export async function startProtectedServer({
  era = "modern",
  ...options
}: ProtectedOptions = {}): Promise<ProtectedServer> {
  const shown = new Set<string>();
  const { server, origin } = await listen((incoming, outgoing) => serve(incoming, outgoing));
  const server_url = `${origin}/mcp`;
  const prm = "/.well-known/oauth-protected-resource/mcp";
  const account = "/account";
  const authorization = await startAuthorizationServer(server_url, options);
  const checked = era === "modern" ? modern() : legacy();

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (incoming.url === prm) {
      const document = {
        resource: server_url,
        authorization_servers: [authorization.issuer],
        scopes_supported: SCOPES.split(" "),
      };
      outgoing.setHeader("Content-Type", "application/json").end(JSON.stringify(document));
      return;
    }
    const token = /^Bearer (.+)$/.exec(incoming.headers.authorization ?? "")?.[1] ?? "";
    if (token !== "") shown.add(token);
    const { active, aud, client_id: clientId = "", sub: user = "" } = await authorization.introspect(token);
    if (!active || aud !== server_url) {
      outgoing.setHeader("WWW-Authenticate", `Bearer resource_metadata="${origin}${prm}"`);
      outgoing.writeHead(401).end();
    } else if (incoming.url === account) outgoing.end(user);
    else await checked.serve(incoming, outgoing, { token, clientId, scopes: SCOPES.split(" "), extra: { user } });
  }

  return {
    ...authorization,
    server_url,
    get shown() {
      return [...shown];
    },
    async statusFor(accessToken) {
      const response = await fetch(`${origin}${account}`, { headers: { Authorization: `Bearer ${accessToken}` } });
      await response.body?.cancel();
      return response.status;
    },
    async stop() {
      await checked.close();
      server.closeAllConnections();
      server.close();
      await authorization.stop();
    },
  };
}

const ME = { name: "accounts", version: "1.0.0" };
const WHOAMI = { description: "Says whose account a call is made with" };
const textOf = (user: unknown) => ({ content: [{ type: "text" as const, text: `You are ${user}` }] });

function modern(): Checked {
  const handler = createMcpHandler(
    ({ authInfo }) => {
      const server = new McpServer(ME);
      server.registerTool("whoami", WHOAMI, () => textOf(authInfo?.extra?.["user"]));
      return server;
    },
    { legacy: "reject" },
  );
  return {
    async serve(incoming, outgoing, authInfo) {
      const headers = new Headers();
      for (const [name, value] of Object.entries(incoming.headersDistinct)) headers.set(name, value?.join(", ") ?? "");
      const method = incoming.method ?? "";
      const body = await buffer(incoming);
      const request = new Request(`http://127.0.0.1${incoming.url}`, {
        method,
        headers,
        ...(method === "POST" && { body }),
      });
      const response = await handler.fetch(request, { authInfo });
      outgoing.writeHead(response.status, Object.fromEntries(response.headers));
      await pipeline(response.body === null ? [] : Readable.fromWeb(response.body as never), outgoing);
    },
    close: () => handler.close(),
  };
}

function legacy(): Checked {
  const sessions = new Map<string, { readonly transport: StreamableHTTPServerTransport; readonly user: string }>();

  async function open(user: string): Promise<StreamableHTTPServerTransport> {
    const server = new McpServerV1(ME);
    server.registerTool("whoami", WHOAMI, ({ authInfo }) => textOf(authInfo?.extra?.["user"]));
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, { transport, user }),
    });
    await server.connect(transport as never);
    return transport;
  }

  return {
    async serve(incoming, outgoing, auth) {
      const id = incoming.headers["mcp-session-id"];
      const session = sessions.get(`${id}`);
      if (id !== undefined && session?.user !== auth.extra.user) {
        outgoing.writeHead(404).end();
        return;
      }
      const transport = session?.transport ?? (await open(auth.extra.user));
      await transport.handleRequest(Object.assign(incoming, { auth }), outgoing);
    },
    async close() {
      for (const { transport } of sessions.values()) await transport.close();
    },
  };
}
