/** The body of a POST to an MCP door as one JSON-RPC message: rungs 3.2 of protocol.md. Pure. */
import type { RpcError } from "../failure/json-rpc.ts";
import { MAX_DEPTH } from "../http/body.ts";
import { depthOf, elementsOf, type Member, membersOf, repeatedKey } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";

/** A request or notification of a client, as text and as value. */
export interface ClientMessage {
  readonly text: string;
  readonly method: string;
  /** The id as its JSON text, so that it goes back byte for byte; null for a notification. */
  readonly id: string | null;
  readonly params: Readonly<Record<string, unknown>>;
  readonly meta: Readonly<Record<string, unknown>>;
  /** Where things stand in the text. */
  readonly at: {
    readonly id: Member | undefined;
    readonly params: Member | undefined;
    readonly name: Member | undefined;
    readonly meta: Member | undefined;
  };
}

/** An answer that is an error: its HTTP status and its body. */
export interface RpcRefusal {
  readonly status: number;
  readonly error: RpcError;
  /** The id of the request as JSON text, where it could be read (P-3). */
  readonly id: string | null;
}

/** What a client answers to a request of a server, or of the gateway. */
export interface ClientResponse {
  readonly text: string;
  readonly id: unknown;
  /** The id in the text. */
  readonly at: Member | undefined;
}

export type Shape =
  | { readonly kind: "message"; readonly message: ClientMessage }
  | { readonly kind: "response"; readonly response: ClientResponse }
  /** Each element as JSON text. */
  | { readonly kind: "batch"; readonly elements: readonly string[] }
  | { readonly kind: "refused"; readonly refusal: RpcRefusal };

export const CLAIM = "io.modelcontextprotocol/protocolVersion";

/** Reads a body; every other function of the doors may rely on what this has established. */
export function readShape(text: string): Shape {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse(-32700, "The body is not JSON.", null);
  }
  if (depthOf(text) > MAX_DEPTH) return refuse(-32600, `The body nests more than ${MAX_DEPTH} levels.`, null);
  if (Array.isArray(value)) return readBatch(value, text);
  if (!isObject(value)) return refuse(-32600, "The body is no JSON-RPC message.", null);

  const members = membersOf(text);
  const find = (list: readonly Member[], key: string) => list.find((member) => member.key === key);
  const idAt = find(members, "id");
  const id = idAt !== undefined && isId(value["id"]) ? text.slice(idAt.valueStart, idAt.end) : null;
  const paramsAt = find(members, "params");
  const { params, method } = value;
  const inParams = paramsAt !== undefined && isObject(params) ? membersOf(text, paramsAt.valueStart) : [];
  const metaAt = find(inParams, "_meta");
  const meta = isObject(params) ? params["_meta"] : undefined;
  const inMeta = metaAt !== undefined && isObject(meta) ? membersOf(text, metaAt.valueStart) : [];
  for (const list of [members, inParams, inMeta]) {
    if (repeatedKey(list) !== undefined) return refuse(-32600, "The message has the same member twice.", id);
  }
  if (value["jsonrpc"] !== "2.0") return refuse(-32600, 'The message lacks "jsonrpc":"2.0".', id);
  if (method === undefined && ("result" in value || "error" in value)) {
    return { kind: "response", response: { text, id: value["id"], at: idAt } };
  }
  if (typeof method !== "string") return refuse(-32600, "method must be a string.", id);
  if (params !== undefined && !isObject(params)) return refuse(-32600, "params must be an object.", id);
  if (idAt !== undefined && id === null) return refuse(-32600, "id must be a string or an integer.", null);
  return {
    kind: "message",
    message: {
      text,
      method,
      id,
      params: params ?? {},
      meta: isObject(meta) ? meta : {},
      at: { id: idAt, params: paramsAt, name: find(inParams, "name"), meta: metaAt },
    },
  };
}

/** 3.2.3: an array with anything modern or foreign in it is refused; any other is for the legacy ladder to judge. */
function readBatch(elements: readonly unknown[], text: string): Shape {
  const isLegacy = (element: unknown) => {
    if (!isObject(element) || element["jsonrpc"] !== "2.0") return false;
    const { params, method } = element;
    const isMessage =
      typeof method === "string" || (method === undefined && ("result" in element || "error" in element));
    if (!isMessage) return false;
    return !(isObject(params) && isObject(params["_meta"]) && CLAIM in params["_meta"]);
  };
  if (elements.length > 0 && elements.every(isLegacy)) {
    return { kind: "batch", elements: elementsOf(text).map(({ start, end }) => text.slice(start, end)) };
  }
  return refuse(-32600, "A batch must consist of JSON-RPC messages without a modern version.", null);
}

function isId(id: unknown): boolean {
  return typeof id === "string" || (typeof id === "number" && Number.isInteger(id));
}

function refuse(code: number, message: string, id: string | null): Shape {
  return { kind: "refused", refusal: { status: 400, error: { code, message }, id } };
}
