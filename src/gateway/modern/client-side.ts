/** Tool calls of modern clients: what goes out to servers of either era, and how their answers come back. */
import { cut } from "../../calls/call.ts";
import type { Received } from "../../connector/exchange.ts";
import type { Era } from "../../connector/revisions.ts";
import { applyEdits, editMembers, elementsOf, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import type { ClientMessage } from "../client-message.ts";
import { type ClientSide, linkText, type ShapedResponse } from "../client-side.ts";
import { carriedExtensions, LINK_ANSWER, toLegacyServer, toModernServer } from "../forwarding.ts";
import { rankOf } from "../log-level.ts";
import { misfitParam } from "../param-headers.ts";
import {
  errorText,
  idEdit,
  outcomeOf,
  outcomeOfRound,
  progressFor,
  resultEdit,
  resultText,
  unknownTool,
} from "../rpc-text.ts";
import { CAPABILITIES, LOG_LEVEL, mismatchOf } from "./ladder.ts";
import { ASKING_METHODS } from "./relay-input.ts";

const SERVER_INFO = "io.modelcontextprotocol/serverInfo";

export const modernClient: ClientSide = {
  leavingCancels: true,

  inputRequired: "relayed",

  // P-46: such a client would leave the tool out by itself.
  offers: ({ param_headers }) => param_headers !== null,

  headerMismatch({ param_headers }, { params, id }, headers) {
    const wrong = misfitParam(param_headers ?? [], params["arguments"], headers);
    return wrong === null ? null : { text: errorText(mismatchOf(cut(wrong)), id), status: 400 };
  },

  declares: (message, hasTasks) => Object.keys(carriedExtensions(message, hasTasks)).length === 0,

  request: (forwarding, era) => (era === "modern" ? toModernServer(forwarding, true) : toLegacyServer(forwarding)),

  response(received, { era, status, serverInfo }, message) {
    const id = message.id ?? "null";
    if ("error" in received.value) {
      const links = era === "legacy" ? linksIn(received) : [];
      if (links.length > 0) return linksNeeded(links, received, message);
      return translateError(received, status, era === "modern", message);
    }
    const put = membersFor(received, era, message);
    if (era === "legacy" && serverInfo !== null) put["_meta"] = metaWith(received.text, serverInfo);
    const edits = idEdit(received, id);
    if (Object.keys(put).length > 0) edits.push(...resultEdit(received.text, put, []));
    const outcome = era === "modern" ? outcomeOfRound(received) : outcomeOf(received);
    return { text: applyEdits(received.text, edits), status: 200, ...outcome };
  },

  edits({ era, serverInfo }, { method }) {
    const isLegacy = era === "legacy";
    const isDuration = (value: string) => Number.isInteger(JSON.parse(value)) && JSON.parse(value) >= 0;
    const put: Record<string, (value: string | null) => string | null> = {
      resultType: (value) => (isLegacy ? null : value) ?? '"complete"',
    };
    if (CACHEABLE.includes(method)) {
      put["cacheScope"] = () => '"private"';
      put["ttlMs"] = (value) => (value !== null && !isLegacy && isDuration(value) ? value : "0");
    }
    const meta = isLegacy && serverInfo !== null ? { name: SERVER_INFO, value: serverInfo } : null;
    return { put, meta, isDropped: () => false };
  },

  notification(received, _, message) {
    const { method, params } = received.value;
    if (method !== "notifications/message") return progressFor(received, message);
    const asked = rankOf(message.meta[LOG_LEVEL]);
    const level = rankOf((params as { level?: unknown } | undefined)?.level);
    return asked !== -1 && level >= asked ? received.text : null;
  },

  // What a model can act on is a result (CN-13); a request without a tool has no place for it.
  failure({ text }, { id, method }) {
    if (method !== "tools/call") {
      return { text: errorText({ code: -32603, message: text }, id ?? "null"), status: 200 };
    }
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
    if (!takesLinks(meta) || isDeclined || !ASKING_METHODS.includes(message.method)) {
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

/** Methods whose answers clients may keep for a while (protocol.md 2.7). */
const CACHEABLE = ["prompts/list", "resources/list", "resources/templates/list", "resources/read"];

/**
 * What a result lacks for a modern client: what it is, where it does not say so, and for how long it holds. Nobody else
 * may be served from it, whatever its server says: that has seen our credential, and not who asks (P-10).
 */
function membersFor({ value }: Received, era: Era, { method }: ClientMessage): Record<string, string> {
  const { resultType, ttlMs } = isObject(value["result"]) ? value["result"] : {};
  const put: Record<string, string> = resultType === undefined || era === "legacy" ? { resultType: '"complete"' } : {};
  if (!CACHEABLE.includes(method) || (era === "modern" && resultType !== undefined && resultType !== "complete"))
    return put;
  put["cacheScope"] = '"private"';
  if (era === "legacy" || !(Number.isInteger(ttlMs) && Number(ttlMs) >= 0)) put["ttlMs"] = "0";
  return put;
}

/** The result's `_meta` with the server's name in it, unless it says one by itself. */
function metaWith(text: string, serverInfo: string): string {
  const result = memberOf(text, 0, "result");
  const meta = result === undefined ? undefined : memberOf(text, result.valueStart, "_meta");
  if (meta === undefined || text[meta.valueStart] !== "{") return `{${JSON.stringify(SERVER_INFO)}:${serverInfo}}`;
  const own = text.slice(meta.valueStart, meta.end);
  const isSaid = memberOf(own, 0, SERVER_INFO) !== undefined;
  return isSaid ? own : applyEdits(own, editMembers(own, 0, { [SERVER_INFO]: serverInfo }));
}

/** A link that a server wants opened, as a modern question has it; JSON text of its params. */
interface AskedLink {
  readonly url: string;
  readonly params: string;
}

/** The links that a server of 2025-11-25 wants opened before it answers (protocol.md 4.3). */
function linksIn({ text, value }: Received): AskedLink[] {
  const error = isObject(value["error"]) ? value["error"] : {};
  const data = error["code"] === -32042 && isObject(error["data"]) ? error["data"]["elicitations"] : undefined;
  if (!Array.isArray(data)) return [];
  const at = ["error", "data", "elicitations"].reduce((start, key) => memberOf(text, start, key)?.valueStart ?? 0, 0);
  return elementsOf(text, at).flatMap(({ start, end }, index) => {
    const link: unknown = data[index];
    if (!isObject(link) || typeof link["url"] !== "string") return [];
    const own = text.slice(start, end);
    return [{ url: link["url"], params: applyEdits(own, editMembers(own, 0, { mode: '"url"' }, ["elicitationId"])) }];
  });
}

/** The same as a modern client is told: what it can answer, or what a model can read. */
function linksNeeded(links: readonly AskedLink[], received: Received, message: ClientMessage): ShapedResponse {
  const outcome = { ...outcomeOf(received), outcome: "link_needed", error: "a link has to be opened first" } as const;
  if (!takesLinks(message.meta) || !ASKING_METHODS.includes(message.method)) {
    const text = `Open ${links.map(({ url }) => url).join(" and ")} in a browser, then try again.`;
    return {
      ...modernClient.failure({ code: "upstream_failed", reason: text, text, timeoutMs: null }, message),
      ...outcome,
    };
  }
  const requests = links.map(
    ({ params }, at) => `"dev.postern/link-${at + 1}":{"method":"elicitation/create","params":${params}}`,
  );
  const meta = JSON.stringify({ [SERVER_INFO]: POSTERN });
  const result = `{"resultType":"input_required","inputRequests":{${requests.join(",")}},"_meta":${meta}}`;
  return { text: resultText(result, message.id ?? "null"), status: 200, ...outcome };
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
