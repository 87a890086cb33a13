/** A gateway in front of an MCP server that checks its tokens, and of the authorization server that gives them. */
import { expect } from "vitest";
import { type Agent, agentOf } from "./agent.ts";
import { accepted } from "./api.ts";
import { type AuthorizationServer, authorizationServer } from "./authorization-server.ts";
import { startGateway, type TestGateway } from "./gateway.ts";
import { type Browser, createBrowser } from "./oauth.ts";
import { type Script, type ScriptedServer, scriptedServer } from "./upstream.ts";

export const SEARCH = JSON.stringify({ name: "search", inputSchema: { type: "object" } });

export interface ProtectedWorld {
  readonly gateway: TestGateway;
  readonly as: AuthorizationServer;
  readonly upstream: ScriptedServer;
  /** The access tokens that the server was shown, by request. */
  readonly shown: (string | null)[];
}

/** The time is that of the system: objects have no other. A test moves it by `vi.setSystemTime`. */
export function protectedWorld(
  script: Partial<Script> = {},
  vars: Record<string, unknown> = {},
  options: Parameters<typeof authorizationServer>[0] = { clock: () => Date.now() },
): ProtectedWorld {
  const as = authorizationServer(options);
  const shown: (string | null)[] = [];
  const { first, ...rest } = script;
  const upstream = scriptedServer({
    era: "modern",
    tools: [SEARCH],
    ...rest,
    first: (seen) => {
      shown.push(seen.headers.get("Authorization"));
      return as.challenge(seen.headers) ?? first?.(seen);
    },
  });
  const gateway = startGateway(async (request) => (await as.handle(request)) ?? upstream.network(request), vars);
  return { gateway, as, upstream, shown };
}

/** Registers the protected server and gives an agent a key to it. */
export function protectedAgent(
  { gateway }: ProtectedWorld,
  fields: Record<string, unknown> = {},
): Promise<Agent & { server_id: string }> {
  return agentOf(gateway, { name: "docs", auth_type: "per_user_oauth", ...fields });
}

/** The same, once a platform admin has tried it: its tools are known. */
export async function triedAgent(
  world: ProtectedWorld,
  fields: Record<string, unknown> = {},
): Promise<Agent & { server_id: string }> {
  const agent = await protectedAgent(world, fields);
  expect((await linkServer(world, agent.server_id)).status).toBe(200);
  return agent;
}

/** The link in an answer to a call. */
export function linkIn(text: string): string {
  return /https:\/\/gateway\.example(\/connect\/[A-Za-z0-9_-]{43})/.exec(text)?.[1] ?? "";
}

/** Follows a link in a browser that is signed in with a key, as far as the authorization server. */
export async function departWith(browser: Browser, path: string, key: string): Promise<string> {
  const signedIn = await browser.submit(path, "key", { virtual_key: key });
  expect(signedIn.status).toBe(303);
  return departFrom(browser, path);
}

export async function departFrom(browser: Browser, path: string): Promise<string> {
  const sent = await browser.submit(path, "link");
  expect(sent.status).toBe(303);
  return sent.headers.get("Location") ?? "";
}

/** The path that a browser comes back to, from the authorization server. */
export function callbackOf(url: string): string {
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
}

/** The whole way of somebody who holds a key: the call, the link, consent, and back. */
export async function linkWithKey(world: ProtectedWorld, agent: Agent, tool = "docs__search"): Promise<Response> {
  const { gateway, as } = world;
  const asked = await agent.modern("/mcp", "tools/call", { name: tool, arguments: {} });
  const path = linkIn(await asked.text());
  expect(path).not.toBe("");
  const browser = createBrowser(gateway);
  const departed = await departWith(browser, path, agent.key.value);
  return browser.get(callbackOf(as.visit(departed)));
}

/** Goes the way of the link that `ADMIN_KEY` gets: for the account that everybody shares, or to try a server. */
export async function linkServer({ gateway, as }: ProtectedWorld, serverId: string): Promise<Response> {
  const started = await gateway.admin("POST", `/v1/servers/${serverId}/oauth/start`);
  const { authorization_url } = await accepted<{ authorization_url: string }>(started);
  const browser = createBrowser(gateway);
  return browser.get(callbackOf(as.visit(await departFrom(browser, callbackOf(authorization_url)))));
}

/** The result of a call. */
export async function resultOf(response: Response): Promise<Record<string, unknown>> {
  const { result } = await accepted<{ result: Record<string, unknown> }>(response);
  return result;
}
