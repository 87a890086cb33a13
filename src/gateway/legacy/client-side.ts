/** Requests of legacy clients: what goes out to servers of either era, and how their answers come back. */
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { type ClientSide, linkText } from "../client-side.ts";
import { toLegacyServer, toModernServer } from "../forwarding.ts";
import { paramsIn } from "../input-asked.ts";
import { relayedId } from "../relayed-id.ts";
import { errorText, idEdit, outcomeOf, progressFor, resultEdit, resultText, unknownTool } from "../rpc-text.ts";
import { contentWithValue } from "./structured-text.ts";

/** Members of a modern result that a legacy client does not know (protocol.md 3.5.4). */
const MODERN_MEMBERS = ["resultType", "ttlMs", "cacheScope"];

/** A client without a session: nothing reaches it but the answer and its progress (rung 3.4.4). */
export const legacyClient: ClientSide = {
  leavingCancels: false,

  inputRequired: "asked",

  request: (forwarding, era) => (era === "modern" ? toModernServer(forwarding, false) : toLegacyServer(forwarding)),

  response(received, { era }, message) {
    const id = message.id ?? "null";
    const outcome = outcomeOf(received);
    const edits = idEdit(received, id);
    if (era === "legacy" || "error" in received.value) {
      return { text: applyEdits(received.text, edits), status: 200, ...outcome };
    }
    const result = isObject(received.value["result"]) ? received.value["result"] : {};
    const { resultType = "complete", structuredContent } = result;
    if (resultType !== "complete") {
      const error = {
        code: -32603,
        message: "The server answered in a way that this client's revision does not know.",
      };
      return { text: errorText(error, id), status: 200, ok: false, outcome: "unsupported", error: error.message };
    }
    const isOfTool = message.method === "tools/call" && structuredContent !== undefined;
    if (isOfTool && !isObject(structuredContent)) {
      const drop = [...MODERN_MEMBERS, "structuredContent"];
      edits.push(...resultEdit(received.text, contentWithValue(received.text, result), drop));
    } else edits.push(...resultEdit(received.text, {}, MODERN_MEMBERS));
    return { text: applyEdits(received.text, edits), status: 200, ...outcome };
  },

  edits({ era }, { method }) {
    if (era === "legacy") return { put: {}, meta: null, isDropped: () => false };
    const put = Object.fromEntries(MODERN_MEMBERS.map((name) => [name, () => null]));
    // A value too large to be held is not put into the content as well.
    const isOfTool = method === "tools/call";
    return { put, meta: null, isDropped: (name, first) => isOfTool && name === "structuredContent" && first !== "{" };
  },

  // Log messages need a level that was asked for, which only a session remembers.
  notification: (received, _, message) => progressFor(received, message),

  // What a model can act on is a result (CN-13); a request without a tool has no place for it.
  failure({ text }, { id, method }) {
    if (method !== "tools/call") {
      return { text: errorText({ code: -32603, message: text }, id ?? "null"), status: 200 };
    }
    const result = { content: [{ type: "text", text }], isError: true };
    return { text: resultText(JSON.stringify(result), id ?? "null"), status: 200 };
  },

  linkNeeded(link, message) {
    const text = linkText(link);
    return this.failure({ code: "upstream_failed", reason: text, text, timeoutMs: null }, message);
  },

  refusal: (_, name, { id }) => ({ text: errorText(unknownTool(name), id), status: 200 }),

  misfit: (message, { id }) => ({ text: errorText({ code: -32602, message }, id), status: 200 }),

  error: (error, _status, id) => ({ text: errorText(error, id), status: 200 }),
};

/** What changes in lists is told at the door of the server whose lists they are. */
const LIST_CHANGED = /^notifications\/(tools|prompts|resources)\/list_changed$/;

/** A client with a session: everything that a server says on the stream of its request reaches it (protocol.md 3.5.5). */
const sessionClient: ClientSide = {
  ...legacyClient,

  notification(received, { serverId }, message) {
    const { method, params } = received.value;
    if (method === "notifications/progress") return progressFor(received, message);
    if (method !== "notifications/cancelled" || !isObject(params)) return received.text;
    // A server that gives up a question of its own names it as it has asked it.
    const { text } = received;
    const at = memberOf(text, 0, "params")?.valueStart ?? 0;
    const id = memberOf(text, at, "requestId");
    if (id === undefined) return null;
    return applyEdits(
      text,
      editMembers(text, at, { requestId: relayedId(serverId, text.slice(id.valueStart, id.end)) }),
    );
  },
};

/** The same at `/mcp`, where no list is one server's own. */
const aggregateClient: ClientSide = {
  ...sessionClient,

  notification(received, from, message) {
    const { method } = received.value;
    const isOfList = typeof method === "string" && LIST_CHANGED.test(method);
    return isOfList ? null : sessionClient.notification(received, from, message);
  },
};

/** What a client of 2025-11-25 can do besides that has said that it shows links to a person (protocol.md 4.3, P-31). */
const LINKING: Pick<ClientSide, "linkNeeded" | "links"> = {
  linkNeeded(link, { id }) {
    const message = `Link your account on ${link.server.display_name}`;
    const elicitation = { mode: "url", elicitationId: link.flow_id, url: link.url, message };
    return { text: linksText([JSON.stringify(elicitation)], id), status: 200 };
  },

  links: (links, { id }) => ({
    text: linksText(
      links.map(({ text }) => {
        const params = paramsIn(text);
        const own = { elicitationId: JSON.stringify(crypto.randomUUID()) };
        return applyEdits(params, editMembers(params, 0, own));
      }),
      id,
    ),
    status: 200,
  }),
};

/** @param links JSON texts. */
function linksText(links: readonly string[], id: string | null): string {
  const error = `{"code":-32042,"message":"A link has to be opened first.","data":{"elicitations":[${links.join(",")}]}}`;
  return `{"jsonrpc":"2.0","id":${id},"error":${error}}`;
}

/** The client of a session. */
export function clientOfSession(takesLinks: boolean, isAggregate: boolean): ClientSide {
  const side = isAggregate ? aggregateClient : sessionClient;
  return takesLinks ? { ...side, ...LINKING } : side;
}
