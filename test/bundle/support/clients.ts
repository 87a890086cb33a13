/** The SDK clients of the matrix, behind one face. */
import { type ClientOptions, Client as ClientV2, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

/** What a call gives, without what only one era knows. */
export interface ToolResult {
  readonly content: unknown;
  readonly structuredContent?: unknown;
  readonly isError?: unknown;
}

export interface Connection {
  /** Null for clients without a session. */
  readonly sessionId: string | null;
  /** The era that the client has settled on. */
  readonly era: "legacy" | "modern";
  toolNames(): Promise<string[]>;
  /** What the server has beside tools. */
  contents(): Promise<Contents>;
  /** @throws Error with a `code` for a JSON-RPC error. */
  call(
    name: string,
    args: Record<string, unknown>,
    onProgress?: (progress: Progress) => void,
    signal?: AbortSignal,
  ): Promise<ToolResult>;
  /** Ends the session, where there is one. */
  terminate(): Promise<void>;
  close(): Promise<void>;
}

/** Names of prompts, and URIs of resources and of their templates, sorted; or the code of a refusal. */
export interface Contents {
  readonly prompts: readonly string[] | number;
  readonly resources: readonly string[] | number;
  readonly templates: readonly string[] | number;
}

export interface Progress {
  readonly progress: number;
  readonly total?: number | undefined;
}

export interface ConnectOptions {
  /** A virtual key. */
  readonly key?: string;
  /** Sees each message on its way out. */
  readonly onSent?: (message: string) => void;
  /**
   * Follows a link that a server asks for; with it, the client says that it shows links to people. A legacy one is told
   * by an error, which is its caller's to act on.
   */
  readonly onLink?: (url: string) => Promise<void>;
  /** Fills in a form that a server asks for; with it, the client says that it shows forms to people. */
  readonly onForm?: (message: string) => Record<string, string>;
  /** Says that everything can be asked, for what a server shows to nobody else. */
  readonly isAskable?: boolean;
}

export interface ClientKind {
  readonly label: string;
  /** Of its requests to a server that speaks both. */
  readonly era: "legacy" | "modern";
  connect(url: string, options?: ConnectOptions): Promise<Connection>;
}

/** Connects, asks, and closes whatever the answer is. */
export async function withClient<T>(
  client: ClientKind,
  url: string,
  options: ConnectOptions,
  ask: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await client.connect(url, options);
  return ask(connection).finally(() => connection.close());
}

const ME = { name: "bundle-test", version: "1.0.0" };
const TIMEOUT = { timeout: 20_000 };

/** @param open Gives a transport, and what ends the session that it has. */
function v1(
  label: string,
  open: (url: URL, options: ReturnType<typeof transportOptions>) => [Transport, (() => Promise<void>)?],
): ClientKind {
  return {
    label,
    era: "legacy",
    async connect(url, options = {}) {
      const [transport, terminate = async () => {}] = open(new URL(url), transportOptions(options));
      const client = new ClientV1(ME, { capabilities: capabilitiesOf(options) });
      const { onForm } = options;
      if (onForm !== undefined) {
        client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
          action: "accept",
          content: onForm(params.message),
        }));
      }
      await client.connect(transport);
      return {
        sessionId: transport.sessionId ?? null,
        era: "legacy",
        toolNames: async () => (await client.listTools()).tools.map(({ name }) => name),
        contents: () => contentsOf(client),
        call: async (name, args, onprogress, signal) =>
          resultOf(
            await client.callTool({ name, arguments: args }, undefined, {
              ...TIMEOUT,
              ...(onprogress && { onprogress }),
              ...(signal && { signal }),
            }),
          ),
        terminate,
        close: () => client.close(),
      };
    },
  };
}

export const v1Client = v1("a v1 client", (url, options) => {
  const transport = new TransportV1(url, options);
  return [transport, () => transport.terminateSession()];
});

/** For servers over HTTP+SSE, which the doors are not. */
export const v1OverSse = v1("a v1 client over HTTP+SSE", (url, options) => [new SSEClientTransport(url, options)]);

function v2Client(label: string, era: "legacy" | "modern", clientOptions: ClientOptions): ClientKind {
  return {
    label,
    era,
    async connect(url, options = {}) {
      const transport = new StreamableHTTPClientTransport(new URL(url), transportOptions(options));
      const client = new ClientV2(ME, { ...clientOptions, capabilities: capabilitiesOf(options) });
      const { onLink, onForm } = options;
      if (onLink !== undefined || onForm !== undefined) {
        client.setRequestHandler("elicitation/create", async ({ params }) => {
          if (params.mode === "url" && onLink !== undefined) {
            await onLink(params.url);
            return { action: "accept" };
          }
          if (params.mode === "url" || onForm === undefined) throw new Error("nothing of that mode");
          return { action: "accept", content: onForm(params.message) };
        });
      }
      await client.connect(transport);
      return {
        sessionId: transport.sessionId ?? null,
        era: client.getProtocolEra() ?? "legacy",
        toolNames: async () => (await client.listTools()).tools.map(({ name }) => name),
        contents: () => contentsOf(client),
        call: async (name, args, onprogress, signal) =>
          resultOf(
            await client.callTool(
              { name, arguments: args },
              { ...TIMEOUT, ...(onprogress && { onprogress }), ...(signal && { signal }) },
            ),
          ),
        terminate: () => transport.terminateSession(),
        close: () => client.close(),
      };
    },
  };
}

export const v2Legacy = v2Client("a v2 client in legacy mode", "legacy", {});
export const v2Auto = v2Client("a v2 client in auto mode", "modern", { versionNegotiation: { mode: "auto" } });
export const v2Pinned = v2Client("a v2 client pinned to modern", "modern", {
  versionNegotiation: { mode: { pin: "2026-07-28" } },
});

export const SDK_CLIENTS = [v1Client, v2Legacy, v2Auto, v2Pinned];

function capabilitiesOf({ onLink, onForm, isAskable }: ConnectOptions) {
  if (isAskable) return { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };
  if (onLink === undefined && onForm === undefined) return {};
  return { elicitation: { ...(onLink && { url: {} }), ...(onForm && { form: {} }) } };
}

/** What both SDKs have in common. */
interface Lister {
  listPrompts(): Promise<{ prompts: { name: string }[] }>;
  listResources(): Promise<{ resources: { uri: string }[] }>;
  listResourceTemplates(): Promise<{ resourceTemplates: { uriTemplate: string }[] }>;
}

async function contentsOf(client: Lister): Promise<Contents> {
  const orCode = (names: Promise<string[]>) =>
    names.then((all) => all.sort()).catch((error: { code: number }) => error.code);
  return {
    prompts: await orCode(client.listPrompts().then(({ prompts }) => prompts.map(({ name }) => name))),
    resources: await orCode(client.listResources().then(({ resources }) => resources.map(({ uri }) => uri))),
    templates: await orCode(
      client.listResourceTemplates().then(({ resourceTemplates }) => resourceTemplates.map((each) => each.uriTemplate)),
    ),
  };
}

function transportOptions({ key, onSent }: ConnectOptions) {
  const headers = key === undefined ? {} : { Authorization: `Bearer ${key}` };
  const watched = (url: string | URL, init?: RequestInit) => {
    if (typeof init?.body === "string") onSent?.(init.body);
    return fetch(url, init);
  };
  return { requestInit: { headers }, fetch: watched };
}

function resultOf({ content, structuredContent, isError }: Record<string, unknown>): ToolResult {
  return {
    content,
    ...(structuredContent === undefined ? {} : { structuredContent }),
    ...(isError === undefined ? {} : { isError }),
  };
}
