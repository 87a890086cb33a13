/** Linking accounts at a protected server, as people do it. */
import { post, type RegisteredServer } from "./api.ts";
import { createVisitor } from "./browser.ts";
import type { ToolResult } from "./clients.ts";
import type { Gateway } from "./gateway.ts";
import type { ProtectedServer } from "./protected-server.ts";

export interface LinkedPage {
  readonly status: number;
  readonly page: string;
}

/** Follows a link in a fresh browser. @param user Who signs in at the authorization server. */
export function followLink(
  { issuer, authorize }: Pick<ProtectedServer, "issuer" | "authorize">,
  url: string,
  user: string,
  key?: string,
): Promise<LinkedPage> {
  return createVisitor({ origin: issuer, signIn: (at) => authorize(at, user) }).link(url, key);
}

/** Links the account that a platform admin gives: one for all, or one that the server is only tried with. */
export async function linkAsAdmin(
  gateway: Gateway,
  upstream: ProtectedServer,
  { server_id }: RegisteredServer,
  user: string,
): Promise<LinkedPage> {
  const started = await gateway.admin("POST", `/v1/servers/${server_id}/oauth/start`);
  const { authorization_url }: { authorization_url: string } = await started.json();
  return followLink(upstream, authorization_url, user);
}

/** Registers a protected server, and tries it, so that its tools are known. */
export async function registerProtected(
  gateway: Gateway,
  name: string,
  upstream: ProtectedServer,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<RegisteredServer> {
  const body = { name, server_url: upstream.server_url, auth_type: "per_user_oauth", ...fields };
  const server = await post<RegisteredServer>(gateway, "/v1/servers", body);
  const { status, page } = await linkAsAdmin(gateway, upstream, server, "an-admin");
  if (status !== 200 || !page.includes("offers one tool")) throw new Error(`${name} does not work: ${status} ${page}`);
  return server;
}

/** The link in an error of a legacy client, or in the text of a result; undefined where there is none. */
export function linkIn(answer: unknown): string | undefined {
  return /http:\/\/127\.0\.0\.1:\d+\/connect\/[A-Za-z0-9_-]{43}/.exec(textIn(answer))?.[0];
}

function textIn(answer: unknown): string {
  return answer instanceof Error ? JSON.stringify({ ...answer }) : JSON.stringify(answer);
}

/** The text of a result, which must be a good one. */
export function saidIn({ content, isError }: ToolResult): unknown {
  const [first] = content as { readonly text?: unknown }[];
  if (isError === true) throw new Error(`The call failed: ${first?.text}`);
  return first?.text;
}
