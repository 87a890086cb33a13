/** Tool calls of modern clients: what goes out to servers of either era, and how their answers come back. */
import { cut } from "../../calls/call.ts";
import type { Received } from "../../connector/exchange.ts";
import { applyEdits, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import type { ClientMessage } from "../client-message.ts";
import { type ClientSide, linkText, type ShapedResponse } from "../client-side.ts";
import { LINK_ANSWER, toLegacyServer, toModernServer } from "../forwarding.ts";
import { misfitParam } from "../param-headers.ts";
import { errorText, idEdit, outcomeOf, progressFor, resultEdit, resultText, unknownTool } from "../rpc-text.ts";
import { isCut } from "./capabilities.ts";
import { CAPABILITIES, LOG_LEVEL, mismatchOf } from "./ladder.ts";

const SERVER_INFO = "io.modelcontextprotocol/serverInfo";

export const modernClient: ClientSide = {
  leavingCancels: true,

  // P-46: such a client would leave the tool out by itself.
  offers: ({ param_headers }) => param_headers !== null,

  headerMismatch({ param_headers }, { params, id }, headers) {
    const wrong = misfitParam(param_headers ?? [], params["arguments"], headers);
    return wrong === null ? null : { text: errorText(mismatchOf(cut(wrong)), id), status: 400 };
  },

  declares: (message) => !isCut(message),

  request: (forwarding, era) => (era === "modern" ? toModernServer(forwarding, true) : toLegacyServer(forwarding)),

  response(received, { era, status, serverInfo }, message) {
    const id = message.id ?? "null";
    if ("error" in received.value) return translateError(received, status, era === "modern", message);
    const outcome = outcomeOf(received);
    if (era === "modern") return { text: withResultType(received), status: 200, ...outcome };
    const put = {
      resultType: '"complete"',
      ...(serverInfo === null ? {} : { _meta: metaWith(received.text, serverInfo) }),
    };
    const edits = [...idEdit(received, id), ...resultEdit(received.text, put, [])];
    return { text: applyEdits(received.text, edits), status: 200, ...outcome };
  },

  notification(received, message) {
    const { method, params } = received.value;
    if (method !== "notifications/message") return progressFor(received, message);
    const asked = rank(message.meta[LOG_LEVEL]);
    const level = rank((params as { level?: unknown } | undefined)?.level);
    return asked !== -1 && level >= asked ? received.text : null;
  },

  // What a model can act on is a result (CN-13).
  failure({ text }, { id }) {
    const meta = { [SERVER_INFO]: POSTERN };
    const result = { resultType: "complete", content: [{ type: "text", text }], isError: true, _meta: meta };
    return { text: resultText(JSON.stringify(result), id ?? "null"), status: 200 };
  },

  linkNeeded(link, message) {
    const { params, meta, id } = message;
    const answers = isObject(params["inputResponses"]) ? params["inputResponses"] : {};
    const answer = answers[LINK_ANSWER];
    // Who has said no is not asked again by the same call.
    const isDeclined = isObject(answer) && answer["action"] !== "accept";
    if (!takesLinks(meta) || isDeclined) {
      const text = isDeclined ? `The account was not linked. ${linkText(link)}` : linkText(link);
      return this.failure({ code: "upstream_failed", reason: text, text, timeoutMs: null }, message);
    }
    const elicitation = { mode: "url", url: link.url, message: `Link your account on ${link.server.display_name}` };
    const result = {
      resultType: "input_required",
      inputRequests: { [LINK_ANSWER]: { method: "elicitation/create", params: elicitation } },
      _meta: { [SERVER_INFO]: POSTERN },
    };
    return { text: resultText(JSON.stringify(result), id ?? "null"), status: 200 };
  },

  refusal: (_, name, { id }) => ({ text: errorText(unknownTool(name), id), status: 200 }),

  misfit: (message, { id }) => ({ text: errorText({ code: -32602, message }, id), status: 200 }),

  error: (error, status, id) => ({ text: errorText(error, id), status }),
};

/** Whether this request says that links can be shown to a person (P-17). */
function takesLinks(meta: Readonly<Record<string, unknown>>): boolean {
  const capabilities = meta[CAPABILITIES];
  const elicitation = isObject(capabilities) ? capabilities["elicitation"] : undefined;
  return isObject(elicitation) && isObject(elicitation["url"]);
}

const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

function rank(level: unknown): number {
  return typeof level === "string" ? LEVELS.indexOf(level) : -1;
}

export function isLogLevel(level: unknown): boolean {
  return rank(level) !== -1;
}

/** A result that does not say what it is counts as complete; a modern client is told so in any case. */
function withResultType({ text, value }: Received): string {
  const result = value["result"];
  return isObject(result) && "resultType" in result
    ? text
    : applyEdits(text, resultEdit(text, { resultType: '"complete"' }, []));
}

/** The result's `_meta` with the server's name in it. */
function metaWith(text: string, serverInfo: string): string {
  const result = memberOf(text, 0, "result");
  const meta = result === undefined ? undefined : memberOf(text, result.valueStart, "_meta");
  const entry = `${JSON.stringify(SERVER_INFO)}:${serverInfo}`;
  if (meta === undefined || text[meta.valueStart] !== "{") return `{${entry}}`;
  const rest = text.slice(meta.valueStart + 1, meta.end).trimStart();
  return rest.startsWith("}") ? `{${entry}}` : `{${entry},${rest}`;
}

/** Errors of a server, as far as a modern client may meet them (P-22, protocol.md 2.4). */
function translateError(received: Received, status: number, isModern: boolean, message: ClientMessage): ShapedResponse {
  const error = received.value["error"] as { code?: unknown } | undefined;
  const code = typeof error?.code === "number" ? error.code : -32603;
  const spoken = translatedCode(code, isModern);
  const codeAt = memberOf(received.text, memberOf(received.text, 0, "error")?.valueStart ?? 0, "code");
  const edits = idEdit(received, message.id ?? "null");
  if (spoken !== code && codeAt !== undefined) {
    edits.push({ start: codeAt.valueStart, end: codeAt.end, text: String(spoken) });
  }
  const relayed = isModern && (status === 400 || status === 404) ? status : 200;
  return { text: applyEdits(received.text, edits), status: relayed, ...outcomeOf(received) };
}

function translatedCode(code: number, isModern: boolean): number {
  if (code === -32002) return -32602;
  if (code === -32042) return -32603;
  const isSpecified = isModern && code === -32021;
  return code <= -32020 && code >= -32099 && !isSpecified ? -32603 : code;
}
