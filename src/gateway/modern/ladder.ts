/** Which era a message is of, and the rungs 3.3 that a modern one must pass before it is served. Pure. */
import type { RpcError } from "../../failure/json-rpc.ts";
import { isObject } from "../../platform/json-value.ts";
import { CLAIM, type ClientMessage, type RpcRefusal } from "../client-message.ts";
import { decodeHeaderValue } from "./header-value.ts";

/** The one modern revision that is served. */
export const REVISION = "2026-07-28";

const CLIENT_INFO = "io.modelcontextprotocol/clientInfo";
export const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";
export const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

/** Where the value of `Mcp-Name` comes from, by method. */
export const NAME_SOURCES: Readonly<Record<string, "name" | "uri" | "taskId">> = {
  "tools/call": "name",
  "prompts/get": "name",
  "resources/read": "uri",
  "tasks/get": "taskId",
  "tasks/update": "taskId",
  "tasks/cancel": "taskId",
};

export type Classified =
  | { readonly kind: "legacy" }
  | { readonly kind: "modern" }
  /** A modern notification: taken and dropped. */
  | { readonly kind: "dropped" }
  | { readonly kind: "refused"; readonly refusal: RpcRefusal };

/** Decides the era of a message, by its own body, and walks rungs 3.3.1 to 3.3.8. */
export function classify(message: ClientMessage, headers: Headers): Classified {
  const { method, meta } = message;
  const claim = meta[CLAIM];
  const hasClaim = CLAIM in meta;
  const versionHeader = headers.get("MCP-Protocol-Version")?.trim();
  const methodHeader = headers.get("Mcp-Method")?.trim();
  const refuse = (
    status: number,
    code: number,
    text: string,
    data?: Readonly<Record<string, unknown>>,
  ): Classified => ({
    kind: "refused",
    refusal: { status, error: { code, message: text, ...(data === undefined ? {} : { data }) }, id: message.id },
  });

  if (message.id === null) {
    if (!hasClaim && !isModernVersion(versionHeader)) return { kind: "legacy" };
    if (hasClaim && typeof claim !== "string") return refuse(400, -32602, "The protocol version must be a string.");
    const isOther = hasClaim && versionHeader !== undefined && versionHeader !== claim;
    if (isOther || (methodHeader !== undefined && methodHeader !== method)) return mismatch();
    return { kind: "dropped" };
  }
  if (method === "initialize" && !isModernVersion(claim)) {
    return isModernVersion(versionHeader) ? mismatch() : { kind: "legacy" };
  }
  if (!hasClaim) {
    if (!isModernVersion(versionHeader)) return { kind: "legacy" };
    const missing = [CLAIM, CAPABILITIES].filter((key) => !(key in meta));
    return refuse(400, -32602, "The request lacks what every modern request has in _meta.", { missing });
  }
  const wrong = wrongEnvelope(meta);
  if (wrong !== null) return refuse(400, -32602, `${wrong} is missing or malformed in _meta.`, { missing: [wrong] });
  if (versionHeader !== undefined && versionHeader !== claim) return mismatch();
  if (methodHeader !== undefined && methodHeader !== method) return mismatch();
  if (claim !== REVISION) {
    return refuse(400, -32022, "This revision is not served.", { supported: [REVISION], requested: claim });
  }
  if (versionHeader === undefined || methodHeader === undefined) {
    return refuse(400, -32020, "MCP-Protocol-Version and Mcp-Method are required.");
  }
  const source = NAME_SOURCES[method];
  const name = source === undefined ? undefined : message.params[source];
  if (typeof name === "string") {
    const header = headers.get("Mcp-Name");
    if (header === null || decodeHeaderValue(header) !== name) return mismatch("Mcp-Name");
  }
  return { kind: "modern" };

  function mismatch(what = "A header"): Classified {
    const { code, message: text } = mismatchOf(what);
    return refuse(400, code, text);
  }
}

/** A header that is missing, cannot be decoded or differs from the body; its status is 400. */
export function mismatchOf(what: string): RpcError {
  return { code: -32020, message: `${what} is missing or differs from the body.` };
}

/** The first key of the envelope that is missing or malformed (rung 3.3.4). */
function wrongEnvelope(meta: Readonly<Record<string, unknown>>): string | null {
  if (typeof meta[CLAIM] !== "string") return CLAIM;
  if (!isObject(meta[CAPABILITIES])) return CAPABILITIES;
  const info = meta[CLIENT_INFO];
  if (info === undefined) return null;
  const isWell = isObject(info) && typeof info["name"] === "string" && typeof info["version"] === "string";
  return isWell ? null : CLIENT_INFO;
}

/** A revision of the modern era, served or not. */
export function isModernVersion(version: unknown): boolean {
  return typeof version === "string" && /^\d{4}-\d{2}-\d{2}$/.test(version) && version >= REVISION;
}
