/** Tool calls of legacy clients: what goes out to servers of either era, and how their answers come back. */
import { applyEdits } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { type ClientSide, linkText } from "../client-side.ts";
import { toLegacyServer, toModernServer } from "../forwarding.ts";
import { errorText, idEdit, outcomeOf, progressFor, resultEdit, resultText, unknownTool } from "../rpc-text.ts";

/** Members of a modern result that a legacy client does not know (protocol.md 3.5.4). */
const MODERN_MEMBERS = ["resultType", "ttlMs", "cacheScope"];

export const legacyClient: ClientSide = {
  leavingCancels: false,

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
    const isForeign = structuredContent !== undefined && !isObject(structuredContent);
    const drop = isForeign ? [...MODERN_MEMBERS, "structuredContent"] : MODERN_MEMBERS;
    edits.push(...resultEdit(received.text, {}, drop));
    return { text: applyEdits(received.text, edits), status: 200, ...outcome };
  },

  // Log messages need a level that was asked for, and no door offers that to a legacy client.
  notification: progressFor,

  // What a model can act on is a result (CN-13).
  failure({ text }, { id }) {
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

/** A client of 2025-11-25 that has said that it shows links to a person (protocol.md 4.3, P-31). */
export const linkingLegacyClient: ClientSide = {
  ...legacyClient,

  linkNeeded(link, { id }) {
    const message = `Link your account on ${link.server.display_name}`;
    const elicitation = { mode: "url", elicitationId: link.flow_id, url: link.url, message };
    const error = { code: -32042, message: "An account has to be linked.", data: { elicitations: [elicitation] } };
    return { text: errorText(error, id ?? "null"), status: 200 };
  },
};
