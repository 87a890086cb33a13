/**
 * A client's request as a server takes it. Only the tool's name, the id on a shared session and what the eras
 * disagree about in `_meta` are changed; every other byte goes as it came (P-41).
 */
import { sessionHeaders } from "../connector/ask.ts";
import { OWN_ENVELOPE } from "../connector/envelope.ts";
import type { OutgoingMessage } from "../connector/exchange.ts";
import { MODERN_REVISION } from "../connector/revisions.ts";
import type { UpstreamClient } from "../connector/server-request.ts";
import { applyEdits, type Edit, editMembers, memberOf, membersOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";
import { RUN_META } from "../runs/run.ts";
import { CLAIM, type ClientMessage, readShape } from "./client-message.ts";
import type { Forwarding } from "./client-side.ts";
import { encodeHeaderValue } from "./modern/header-value.ts";
import { CAPABILITIES, LOG_LEVEL, NAME_SOURCES } from "./modern/ladder.ts";
import { ownParamHeaders, paramHeadersFrom } from "./param-headers.ts";
import { TASKS } from "./task-handles.ts";

/** The key under which a client answers our own question for a link; no server is told of it. */
export const LINK_ANSWER = "dev.postern/link";

const RESERVED = "io.modelcontextprotocol/";
/** Members of `_meta` that are for the gateway. */
const OWN: readonly string[] = [RUN_META];

/** Capabilities of a client that no server of the other era is told of. */
const OF_LEGACY: readonly string[] = ["tasks"];

/** To a modern server. A legacy client's request gets the envelope that it lacks. */
export function toModernServer(
  { message: sent, name, ownId, headers, client, hasTasks, paramHeaders }: Forwarding,
  hasEnvelope: boolean,
): OutgoingMessage {
  const message = withoutLinkAnswer(sent);
  const isAsSent = hasEnvelope && paramHeaders.isShown;
  const put = hasEnvelope ? carriedExtensions(message, hasTasks) : envelopeOf(client);
  const edits = [...nameEdit(message, name), ...idEdits(message, ownId), ...metaEdit(message, put, ownIn(message))];
  const source = NAME_SOURCES[message.method];
  const called = name ?? (source === undefined ? undefined : message.params[source]);
  return {
    headers: {
      ...(hasEnvelope ? ownParamHeaders(headers) : {}),
      ...(isAsSent ? {} : paramHeadersFrom(paramHeaders.live, message.params["arguments"])),
      "MCP-Protocol-Version": MODERN_REVISION,
      "Mcp-Method": message.method,
      ...(typeof called === "string" ? { "Mcp-Name": encodeHeaderValue(called) } : {}),
    },
    body: applyEdits(message.text, edits),
  };
}

/** To a legacy server, within a session. */
export function toLegacyServer({ message: sent, name, session, ownId }: Forwarding): OutgoingMessage {
  const message = withoutInput(sent);
  const edits = [...nameEdit(message, name), ...idEdits(message, ownId)];
  if (message.at.meta !== undefined) {
    const reserved = Object.keys(message.meta).filter((key) => key.startsWith(RESERVED) && !(key in LEGACY_META));
    const token = ownId !== null && "progressToken" in message.meta ? { progressToken: ownId } : {};
    edits.push(...metaEdit(message, token, [...reserved, ...ownIn(message)]));
  }
  return { headers: session === null ? {} : sessionHeaders(session), body: applyEdits(message.text, edits) };
}

/** Reserved members of `_meta` that the legacy era has as well. */
const LEGACY_META = { [`${RESERVED}related-task`]: true };

/** The envelope of a request that has come without one: what its session began with, or nothing. */
function envelopeOf(client: UpstreamClient | null): Record<string, string> {
  if (client === null) return OWN_META;
  const capabilities = Object.fromEntries(
    Object.entries(client.capabilities).filter(([key]) => !OF_LEGACY.includes(key)),
  );
  return {
    ...OWN_META,
    [`${RESERVED}clientCapabilities`]: JSON.stringify(capabilities),
    ...(client.clientInfo === undefined ? {} : { [`${RESERVED}clientInfo`]: JSON.stringify(client.clientInfo) }),
    ...(client.logLevel === undefined ? {} : { [LOG_LEVEL]: JSON.stringify(client.logLevel) }),
  };
}

const OWN_META: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(OWN_ENVELOPE).map(([key, value]) => [key, JSON.stringify(value)]),
);

/**
 * Extensions are offered to a server only as far as they are carried in full: tasks are, at its own door (2.9).
 *
 * @returns What differs in the capabilities that a server hears of; nothing where they go as they came.
 */
export function carriedExtensions(
  { text, at: { meta: metaAt }, meta }: ClientMessage,
  hasTasks: boolean,
): Record<string, string> {
  const capabilities = meta[CAPABILITIES];
  if (metaAt === undefined || !isObject(capabilities) || !("extensions" in capabilities)) return {};
  const own = memberOf(text, metaAt.valueStart, CAPABILITIES);
  if (own === undefined) return {};
  const told = text.slice(own.valueStart, own.end);
  const { extensions } = capabilities;
  const tasks = hasTasks && isObject(extensions) ? extensions[TASKS] : undefined;
  if (tasks !== undefined && Object.keys(extensions as object).length === 1) return {};
  if (tasks === undefined) return { [CAPABILITIES]: applyEdits(told, editMembers(told, 0, {}, ["extensions"])) };
  const at = memberOf(told, 0, "extensions")?.valueStart ?? 0;
  const others = Object.keys(extensions as object).filter((key) => key !== TASKS);
  return { [CAPABILITIES]: applyEdits(told, editMembers(told, at, {}, others)) };
}

function idEdits({ at: { id } }: ClientMessage, ownId: string | null): Edit[] {
  return ownId === null || id === undefined ? [] : [{ start: id.valueStart, end: id.end, text: ownId }];
}

function nameEdit({ at: { name }, params }: ClientMessage, own: string | null): Edit[] {
  if (own === null || name === undefined || params["name"] === own) return [];
  return [{ start: name.valueStart, end: name.end, text: JSON.stringify(own) }];
}

function ownIn({ meta }: ClientMessage): string[] {
  return OWN.filter((key) => key in meta);
}

/** The request without the answer to our own question, which no server has asked. */
function withoutLinkAnswer(message: ClientMessage): ClientMessage {
  const { text, at, params } = message;
  const answers = params["inputResponses"];
  if (at.params === undefined || !isObject(answers) || !(LINK_ANSWER in answers)) return message;
  const isOnly = Object.keys(answers).length === 1;
  const inner = memberOf(text, at.params.valueStart, "inputResponses");
  const edits =
    isOnly || inner === undefined
      ? editMembers(text, at.params.valueStart, {}, ["inputResponses"])
      : editMembers(text, inner.valueStart, {}, [LINK_ANSWER]);
  const shape = readShape(applyEdits(text, edits));
  return shape.kind === "message" ? shape.message : message;
}

/** A modern request without what belongs to rounds that a legacy server does not know. */
function withoutInput(message: ClientMessage): ClientMessage {
  const { text, at, params, meta } = message;
  const drop = ["inputResponses", "requestState"].filter((key) => key in params);
  if (at.params === undefined || drop.length === 0 || !(CLAIM in meta)) return message;
  const shape = readShape(applyEdits(text, editMembers(text, at.params.valueStart, {}, drop)));
  return shape.kind === "message" ? shape.message : message;
}

function metaEdit({ text, at }: ClientMessage, put: Readonly<Record<string, string>>, drop: readonly string[]): Edit[] {
  const { meta, params } = at;
  if (drop.length === 0 && Object.keys(put).length === 0) return [];
  if (meta !== undefined && text[meta.valueStart] === "{") return editMembers(text, meta.valueStart, put, drop);
  const members = Object.entries(put).map(([key, value]) => `${JSON.stringify(key)}:${value}`);
  // No object is no envelope either, and a modern server takes no request without one.
  if (meta !== undefined) return [{ start: meta.valueStart, end: meta.end, text: `{${members.join(",")}}` }];
  if (params === undefined) return editMembers(text, 0, { params: `{"_meta":{${members.join(",")}}}` });
  const isEmpty = membersOf(text, params.valueStart).length === 0;
  const added = `"_meta":{${members.join(",")}}${isEmpty ? "" : ","}`;
  return [{ start: params.valueStart + 1, end: params.valueStart + 1, text: added }];
}
