/** A gateway with one server that wants no credential and one that wants an account of each key, which one key has. */
import { createVisitor } from "../test/bundle/support/browser.ts";
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { startDatabase } from "./database.ts";
import { type Authorization, type Running, startAuthorization } from "./processes.ts";
import { exchange } from "./wire.ts";
import { create, createKey, type Gateway, startGateway } from "./workers.ts";

/** A gateway between two servers that are one: `open` wants no credential, `linked` an account. */
export interface Accounts extends Running {
  /** The headers of an agent that may use both. */
  readonly headers: Readonly<Record<string, string>>;
  readonly authorization: Authorization;
  /** Links the account of the key, or links it anew. */
  link(): Promise<void>;
  /** When its token is due for renewal, in milliseconds since the Unix epoch. */
  dueAt(): Promise<number>;
}

export const OPEN = "open__";
export const LINKED = "linked__";

/** The margin of the gateway: so long before its end a token is due. Seconds. */
export const MARGIN_S = 300;

export async function startAccounts(cleanup: Cleanup, bundles: Bundles, serverUrl: string): Promise<Accounts> {
  const authorization = await startAuthorization(cleanup);
  const database = await startDatabase(cleanup, bundles, "accounts-storage");
  const gateway = await startGateway(cleanup, bundles, "accounts-gateway", database);
  const at = `http://127.0.0.1:${authorization.port}`;
  const open = await create(gateway, "/v1/servers", { name: "open", server_url: serverUrl });
  const linked = await create(gateway, "/v1/servers", {
    ...{ name: "linked", server_url: serverUrl, auth_type: "per_user_oauth", registration_mode: "manual" },
    ...{ client_id: "bench", token_endpoint_auth_method: "none", oauth_issuer_url: at },
    ...{ authorization_endpoint: `${at}/authorize`, token_endpoint: `${at}/token` },
  });
  const started = await admin(gateway, "POST", `/v1/servers/${linked["server_id"]}/oauth/start`);
  // Its tools are read with an account that is given up again.
  await follow(at, String(started["authorization_url"]), "");
  const granted = [open, linked].map(({ server_id }) => ({ server_id, tools_to_execute: ["*"] }));
  const key = await createKey(gateway, granted);
  const headers = { Authorization: `Bearer ${key.value}` };
  const tokensAt = `/v1/servers/${linked["server_id"]}/tokens`;
  return {
    ...gateway,
    headers,
    authorization,
    async link() {
      await admin(gateway, "DELETE", `${tokensAt}/key:${key.virtual_key_id}`, 404);
      const { headers: own, body } = exchange("modern", "tools/call", LINKED);
      const request = { method: "POST", headers: { ...own, ...headers }, body };
      const asked = await (await fetch(`http://127.0.0.1:${gateway.port}/mcp`, request)).text();
      await follow(at, /http:\/\/127\.0\.0\.1:\d+\/connect\/[\w-]+/.exec(asked)?.[0] ?? asked, key.value);
    },
    async dueAt() {
      const tokens = await admin(gateway, "GET", tokensAt);
      const [token] = tokens["rows"] as { expires_at: string }[];
      return Date.parse(token?.expires_at ?? "") - MARGIN_S * 1_000;
    },
    async stop() {
      for (const { stop } of [gateway, database, authorization]) await stop();
    },
  };
}

/** Goes the way of a link. @throws Error unless it ends with a linked account. */
async function follow(authorizationAt: string, link: string, key: string): Promise<void> {
  const person = createVisitor({ origin: authorizationAt, signIn: redirectOf });
  const { status, page } = await person.link(link, key);
  if (status !== 200 || !page.includes("The server answers and offers")) throw new Error(`${status}: ${page}`);
}

async function redirectOf(url: string): Promise<string> {
  const { headers } = await fetch(url, { redirect: "manual" });
  return headers.get("Location") ?? "";
}

/** @param orStatus Of an answer that will do as well. */
async function admin({ port, adminKey }: Gateway, method: string, path: string, orStatus = 200) {
  const headers = { Authorization: `Bearer ${adminKey}` };
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
  const text = await answer.text();
  if (![200, orStatus].includes(answer.status)) throw new Error(`${method} ${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text) as Record<string, unknown>;
}
