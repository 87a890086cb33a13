/** What the clients of the benchmark send, in either era. */

export type Era = "modern" | "legacy";
export type Method = "tools/call" | "tools/list";

/** Stands for the number of a request, wherever that appears in a body or in an expected answer. */
export const NUMBER = "%";

/** A request without the headers that name its client. */
export interface Spoken {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** One kind of request. */
export interface Exchange extends Spoken {
  /** Text that every right answer contains. */
  readonly expects: string;
}

const REVISION: Record<Era, string> = { modern: "2026-07-28", legacy: "2025-11-25" };
const CLIENT_INFO = { name: "bench", version: "1.0.0" };
const RUN = crypto.randomUUID().slice(0, 8);

/** @param prefix What the tools' names begin with at this target. */
export function exchange(era: Era, method: Method, prefix: string): Exchange {
  const name = `${prefix}echo`;
  // No two calls of a run, and no two runs, have the same argument.
  const message = `message ${NUMBER} of ${RUN}`;
  return method === "tools/call"
    ? { ...request(era, method, { name, arguments: { message } }, name), expects: `"${message}"` }
    : { ...listRequest(era, undefined), expects: `"${name}"` };
}

/** A call whose result is a text of so many mebibytes. */
export function largeCall(era: Era, prefix: string, mebibytes: number, form: "json" | "events"): Spoken {
  const name = `${prefix}echo`;
  return request(era, "tools/call", { name, arguments: { mebibytes, form } }, name);
}

/** A page of the tool list. @param cursor As the page before gave it; undefined for the first. */
export function listRequest(era: Era, cursor: string | undefined): Spoken {
  return request(era, "tools/list", { cursor });
}

/** The handshake of a legacy client. @returns The header that names its session. */
export async function openSession(url: string, headers: Record<string, string>): Promise<Record<string, string>> {
  const params = { protocolVersion: REVISION.legacy, capabilities: {}, clientInfo: CLIENT_INFO };
  const hello = await post(url, request("legacy", "initialize", params), headers);
  const session = hello.headers.get("mcp-session-id");
  if (session === null) throw new Error(`${url} gave no session: ${await hello.text()}`);
  await hello.text();
  const named = { "Mcp-Session-Id": session };
  const initialized = request("legacy", "notifications/initialized", undefined);
  const { status } = await post(url, initialized, { ...headers, ...named });
  if (status !== 202) throw new Error(`${url} answered ${status} to notifications/initialized`);
  return named;
}

/** @throws Error when the target does not list what the upstream server lists. */
export async function expectTools(
  url: string,
  list: Exchange,
  headers: Record<string, string>,
  names: readonly string[],
): Promise<void> {
  const text = await (await post(url, list, headers)).text();
  const found = new Set([...text.matchAll(/"name":"([^"]+)"/g)].map(([, name]) => name));
  const missing = names.filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`${url} does not list ${missing.join(", ")}: ${text.slice(0, 500)}`);
}

function post(url: string, { headers, body }: Spoken, more: Record<string, string>) {
  return fetch(url, { method: "POST", headers: { ...headers, ...more }, body: body.replaceAll(NUMBER, "0") });
}

function request(era: Era, method: string, params: object | undefined, name?: string): Spoken {
  const headers: Record<string, string> = {
    Accept: "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": REVISION[era],
  };
  const id = method.startsWith("notifications/") ? undefined : `c-${NUMBER}`;
  if (era === "legacy") return { headers, body: JSON.stringify({ jsonrpc: "2.0", id, method, params }) };
  headers["Mcp-Method"] = method;
  if (name !== undefined) headers["Mcp-Name"] = name;
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": REVISION.modern,
    "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  return { headers, body: JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta } }) };
}
