/** What a server may ask of its client, and which clients may be asked (protocol.md 1.3, 2.5). Pure. */
import { isObject } from "../platform/json-value.ts";
import type { JsonObject } from "./exchange.ts";

/** What servers are told of a client in a handshake. */
export interface UpstreamClient {
  /** The revision to ask for; the latest one that is spoken when left out. */
  readonly revision?: string;
  readonly capabilities: JsonObject;
  /** The gateway's own when left out. */
  readonly clientInfo?: JsonObject;
  /** The least log level that it wants to hear of. */
  readonly logLevel?: string;
}

/** The capabilities that let a server ask something. */
export const ASKING: readonly string[] = ["elicitation", "sampling", "roots"];

/**
 * What is declared when a server is looked at: everything that any client can be asked, so that tools which a server
 * shows only to those who can be asked are in the catalog.
 */
export const ASKABLE: JsonObject = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

/** Whether a client with these capabilities may be asked this. */
export function isDeclared(capabilities: JsonObject, method: unknown, params: unknown): boolean {
  switch (method) {
    case "elicitation/create":
      return takesElicitation(capabilities["elicitation"], isObject(params) ? params["mode"] : undefined);
    case "sampling/createMessage":
      return isObject(capabilities["sampling"]);
    case "roots/list":
      return isObject(capabilities["roots"]);
    default:
      return false;
  }
}

/** No `mode` means a form, and a client that names no mode takes forms. */
function takesElicitation(elicitation: unknown, mode: unknown): boolean {
  if (!isObject(elicitation)) return false;
  if (mode === "url") return isObject(elicitation["url"]);
  return (mode === undefined || mode === "form") && (isObject(elicitation["form"]) || !isObject(elicitation["url"]));
}
