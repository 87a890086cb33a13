/** The OAuth side of a test's gateway: a client that registers itself, and a browser that keeps cookies. */
import { createHash } from "node:crypto";
import { expect } from "vitest";
import { accepted } from "./api.ts";
import type { TestGateway } from "./gateway.ts";

export const ORIGIN = "https://gateway.example";
export const CALLBACK = "https://app.example/callback";
/** 43 characters, as PKCE wants at least. */
export const VERIFIER = "v".repeat(43);
export const CHALLENGE = createHash("sha256").update(VERIFIER).digest("base64url");

export interface OAuthClient {
  readonly client_id: string;
  readonly client_secret?: string;
  readonly redirect_uris: readonly string[];
}

/** Registers a public client. */
export async function registerClient(gateway: TestGateway, fields: Record<string, unknown> = {}): Promise<OAuthClient> {
  const body = { client_name: "Test app", redirect_uris: [CALLBACK], token_endpoint_auth_method: "none", ...fields };
  const headers = { "Content-Type": "application/json" };
  const response = await gateway.fetch("/oauth/register", { method: "POST", headers, body: JSON.stringify(body) });
  return accepted(response, 201);
}

/** The query of an authorization request; null leaves a parameter out. */
export function askQuery({ client_id }: OAuthClient, fields: Record<string, string | null> = {}): string {
  const all = {
    response_type: "code",
    client_id,
    redirect_uri: CALLBACK,
    state: "the-state",
    code_challenge: CHALLENGE,
    code_challenge_method: "S256",
    resource: `${ORIGIN}/mcp`,
    ...fields,
  };
  const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null);
  return `/oauth/authorize?${new URLSearchParams(given)}`;
}

export interface Browser {
  readonly cookies: Map<string, string>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  post(path: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<Response>;
  /** Opens a page and sends its form, with one decision and further fields. */
  submit(path: string, decision: string, fields?: Record<string, string>): Promise<Response>;
  /** Signs in with a key at the page of an authorization request, and ends where it asks for consent. */
  signIn(path: string, key: string): Promise<Response>;
}

export function createBrowser(gateway: TestGateway): Browser {
  const cookies = new Map<string, string>();
  const keep = (response: Response) => {
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/; Max-Age=0(;|$)/.test(line)) cookies.delete(name);
      else cookies.set(name, value);
    }
    return response;
  };
  const sent = () => ({ Cookie: Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ") });
  const browser: Browser = {
    cookies,
    get: async (path, headers = {}) => keep(await gateway.fetch(path, { headers: { ...sent(), ...headers } })),
    post: async (path, fields, headers = {}) =>
      keep(
        await gateway.fetch(path, {
          method: "POST",
          headers: { ...sent(), "Content-Type": "application/x-www-form-urlencoded", ...headers },
          body: new URLSearchParams(fields).toString(),
        }),
      ),
    async submit(path, decision, fields = {}) {
      const csrf = formTokenIn(await (await browser.get(path)).text());
      return browser.post(path, { csrf, decision, ...fields });
    },
    async signIn(path, key) {
      const response = await browser.submit(path, "key", { virtual_key: key });
      expect(response.status).toBe(303);
      expect(response.headers.get("Location")).toBe(path);
      return browser.get(path);
    },
  };
  return browser;
}

export function formTokenIn(page: string): string {
  return /name="csrf" value="([^"]*)"/.exec(page)?.[1] ?? "";
}

/** The parameters that a redirect takes back to the client. */
export function broughtBack(response: Response, redirectUri = CALLBACK): Record<string, string> {
  const location = new URL(response.headers.get("Location") ?? "about:blank");
  expect({ status: response.status, to: `${location.origin}${location.pathname}` }).toEqual({
    status: 302,
    to: redirectUri,
  });
  return Object.fromEntries(location.searchParams);
}

/** The whole way of a person with a virtual key: sign in, allow. @returns The code */
export async function codeFor(
  gateway: TestGateway,
  client: OAuthClient,
  key: string,
  fields: Record<string, string | null> = {},
): Promise<string> {
  const browser = createBrowser(gateway);
  const path = askQuery(client, fields);
  const arrived = await browser.signIn(path, key);
  // Consent that is remembered asks nothing.
  const isAsked = arrived.status === 200;
  const { code = "" } = broughtBack(isAsked ? await browser.submit(path, "allow", { org: "default" }) : arrived);
  return code;
}

export interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly [name: string]: unknown;
}

/** A request at the token endpoint. */
export function askToken(gateway: TestGateway, fields: Record<string, string>): Promise<Response> {
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  return gateway.fetch("/oauth/token", { method: "POST", headers, body: new URLSearchParams(fields).toString() });
}

export function exchange(
  gateway: TestGateway,
  { client_id }: OAuthClient,
  code: string,
  fields: Record<string, string> = {},
): Promise<Response> {
  const grant = { grant_type: "authorization_code", code_verifier: VERIFIER, redirect_uri: CALLBACK };
  return askToken(gateway, { ...grant, client_id, code, ...fields });
}

/** Tokens for a key, with everything as it should be. */
export async function tokensFor(
  gateway: TestGateway,
  client: OAuthClient,
  key: string,
  fields: Record<string, string | null> = {},
): Promise<Tokens> {
  const resource = fields["resource"] ?? `${ORIGIN}/mcp`;
  return accepted(await exchange(gateway, client, await codeFor(gateway, client, key, fields), { resource }));
}

/** Lists tools with a token. */
export function listTools(gateway: TestGateway, path: string, token: string): Promise<Response> {
  return gateway.fetch(path, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      "MCP-Protocol-Version": "2026-07-28",
      "Mcp-Method": "tools/list",
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/list",
      params: {
        _meta: {
          "io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientCapabilities": {},
        },
      },
    }),
  });
}
