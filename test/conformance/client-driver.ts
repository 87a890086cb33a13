/**
 * The client that the official conformance suite drives (`conformance client --command …`): the gateway, with an agent
 * in front of it. The suite gives the URL of one scenario's server as the last argument. That server is registered at a
 * running gateway, an account is linked with it where it wants one, and what it offers is listed and called at its door.
 * What the server sees of all that is the gateway.
 */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { type Browser, createBrowser } from "./link-browser.ts";

const GATEWAY = setting("POSTERN_URL");
const ADMIN_KEY = setting("POSTERN_ADMIN_KEY");
/** Answers when it is this program's turn, which lasts as long as the answer. */
const TURNS = setting("POSTERN_TURNS");
/** Of a user of the gateway's identity provider: for calls and the API, and to sign in at the provider. */
const USER_TOKEN = setting("POSTERN_USER_TOKEN");
const USER_COOKIE = setting("POSTERN_USER_COOKIE");
const SCENARIO = setting("MCP_CONFORMANCE_SCENARIO");
const REVISION = setting("MCP_CONFORMANCE_PROTOCOL_VERSION");
const CONTEXT = JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}") as Context;

/** What a scenario tells its client. */
interface Context {
  readonly client_id?: string;
  readonly client_secret?: string;
  readonly private_key_pem?: string;
  readonly issuer?: string;
  readonly toolCalls?: readonly ToolCall[];
}

interface ToolCall {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
}

interface Registered {
  readonly server_id: string;
  readonly name: string;
  readonly auth_type: string;
  readonly state: string;
  readonly status_reason: string | null;
  readonly last_failure: { readonly message: string } | null;
}

/** Somebody who links an account with a server. */
interface Person {
  /** For the API. */
  readonly credential: string;
  readonly browser: Browser;
}

/** Links of one call at most: whoever is refused again and again gives up. */
const MAX_LINKS = 2;
/** A server that asks for something on a stream that nobody has opened waits for ever. */
const CALL = { timeout: 20_000 };
const ADDITION: ToolCall = { name: "add_numbers", arguments: { a: 5, b: 3 } };

const turn = await fetch(TURNS);
const [serverUrl = ""] = process.argv.slice(-1);
const browser = createBrowser(GATEWAY, USER_COOKIE);
/** Scopes are asked for anew from those whose account it is; whatever everybody shares is an admin's. */
const isPersonal = SCENARIO === "auth/scope-step-up";
const person: Person = { credential: isPersonal ? USER_TOKEN : ADMIN_KEY, browser };

const server = await api<Registered>(ADMIN_KEY, "POST", "/v1/servers", {
  name: `${SCENARIO}-${REVISION}`.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 63),
  server_url: serverUrl,
  ...(await credentialFields()),
});
console.log("registered:", JSON.stringify(server));
if (server.auth_type.endsWith("oauth") && server.state !== "connected") await linkUntilConnected();
await listAndCall(isPersonal ? USER_TOKEN : await keyFor(server));
await turn.body?.cancel();

/** How the gateway comes by a credential: whatever the scenario is about, else by registering itself. */
async function credentialFields(): Promise<Record<string, unknown>> {
  if (!SCENARIO.startsWith("auth/")) return {};
  const auth_type = isPersonal ? "per_user_oauth" : "oauth";
  const { client_id, client_secret = CONTEXT.private_key_pem } = CONTEXT;
  if (client_id === undefined) {
    return { auth_type, registration_mode: SCENARIO === "auth/basic-cimd" ? "cimd" : "dcr" };
  }
  // An admin who has been given a client knows whose it is.
  const issuer = CONTEXT.issuer ?? (await issuerOfServer());
  const token_endpoint = `${issuer}/token`;
  const manual = { auth_type, registration_mode: "manual", oauth_issuer_url: issuer, token_endpoint, client_id };
  return SCENARIO.startsWith("auth/client-credentials")
    ? { ...manual, client_secret, grant_type: "client_credentials" }
    : { ...manual, client_secret, authorization_endpoint: `${issuer}/authorize` };
}

async function issuerOfServer(): Promise<string> {
  const { origin, pathname } = new URL(serverUrl);
  const response = await fetch(`${origin}/.well-known/oauth-protected-resource${pathname}`);
  const { authorization_servers } = (await response.json()) as { authorization_servers: string[] };
  return authorization_servers[0] ?? "";
}

/** What somebody does who is told that the server does not work with the account yet. */
async function linkUntilConnected(): Promise<void> {
  let seen = server;
  for (let links = 0; links < MAX_LINKS && seen.state !== "connected"; links++) {
    const path = `/v1/servers/${server.server_id}`;
    const started = await api<{ authorization_url: string }>(person.credential, "POST", `${path}/oauth/start`);
    console.log("linked:", await person.browser.link(started.authorization_url));
    seen = await api<Registered>(ADMIN_KEY, "GET", path);
  }
  if (seen.state !== "connected") throw new Error(`The server is not connected: ${JSON.stringify(seen)}`);
}

async function keyFor({ server_id, name }: Registered): Promise<string> {
  const servers = [{ server_id, tools_to_execute: ["*"] }];
  return (await api<{ value: string }>(ADMIN_KEY, "POST", "/v1/virtual-keys", { name, servers })).value;
}

async function listAndCall(credential: string): Promise<void> {
  const transport = new StreamableHTTPClientTransport(new URL(`${GATEWAY}/mcp/${server.name}`), {
    requestInit: { headers: { Authorization: `Bearer ${credential}` } },
  });
  const client = new Client(
    { name: "conformance-agent", version: "1.0.0" },
    {
      capabilities: { elicitation: { form: { applyDefaults: true } } },
      ...(REVISION < "2026-07-28" ? {} : { versionNegotiation: { mode: { pin: REVISION } } }),
    },
  );
  client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: {} }));
  await client.connect(transport);
  try {
    const { tools } = await client.listTools();
    for (const { name } of tools) {
      const given = [...(CONTEXT.toolCalls ?? []), ADDITION, ...echoesOf(tools)].find((call) => call.name === name);
      await callLinked(client, given ?? { name, arguments: {} });
    }
  } finally {
    await client.close();
  }
}

/** The schema of a tool as the agent got it, for a server that wants it back. */
function echoesOf(tools: readonly { readonly name: string; readonly inputSchema: unknown }[]): ToolCall[] {
  const focal = tools.find(({ name }) => name === "json_schema_2020_12_tool");
  return focal === undefined ? [] : [{ name: "json_schema_echo", arguments: { schema: focal.inputSchema } }];
}

/** Calls a tool, and again after a link that the answer asks for. */
async function callLinked(client: Client, call: ToolCall): Promise<void> {
  for (let links = 0; ; links++) {
    const result = await client.callTool({ ...call }, CALL);
    console.log(`${call.name}:`, JSON.stringify(result));
    const text = JSON.stringify(result.content);
    const [link] = result.isError === true ? (/https?:[^\s"\\]+\/connect\/[\w-]+/.exec(text) ?? []) : [];
    if (link === undefined || links === MAX_LINKS) return;
    console.log("linked:", await person.browser.link(link));
  }
}

async function api<T>(credential: string, method: string, path: string, body?: unknown): Promise<T> {
  const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" };
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  const response = await fetch(`${GATEWAY}${path}`, { method, headers, ...json });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set.`);
  return value;
}
