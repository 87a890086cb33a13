/**
 * A client's `tools/call` as a server takes it. Only the tool's name, the id on a shared session and what the eras
 * disagree about in `_meta` are changed; every other byte goes as it came (P-41).
 */
import { sessionHeaders } from "../connector/ask.ts";
import { OWN_ENVELOPE } from "../connector/envelope.ts";
import type { OutgoingMessage } from "../connector/exchange.ts";
import { MODERN_REVISION } from "../connector/revisions.ts";
import { applyEdits, type Edit, editMembers, memberOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";
import { RUN_META } from "../runs/run.ts";
import { type ClientMessage, readShape } from "./client-message.ts";
import type { Forwarding } from "./client-side.ts";
import { capabilitiesFor } from "./modern/capabilities.ts";
import { encodeHeaderValue } from "./modern/header-value.ts";
import { CAPABILITIES } from "./modern/ladder.ts";
import { ownParamHeaders, paramHeadersFrom } from "./param-headers.ts";

/** The key under which a client answers our own question for a link; no server is told of it. */
export const LINK_ANSWER = "dev.postern/link";

const RESERVED = "io.modelcontextprotocol/";
/** Members of `_meta` that are for the gateway. */
const OWN: readonly string[] = [RUN_META];

/** To a modern server. A legacy client's request gets the envelope that it lacks, and declares nothing. */
export function toModernServer(
  { message: sent, toolName, headers, paramHeaders }: Forwarding,
  hasEnvelope: boolean,
): OutgoingMessage {
  const message = withoutLinkAnswer(sent);
  const isAsSent = hasEnvelope && paramHeaders.isShown;
  const envelope = Object.fromEntries(Object.entries(OWN_ENVELOPE).map(([key, value]) => [key, JSON.stringify(value)]));
  const capabilities = hasEnvelope ? capabilitiesFor(message) : null;
  const declared = capabilities === null ? {} : { [CAPABILITIES]: capabilities };
  const put = hasEnvelope ? declared : envelope;
  const edits = [...nameEdit(message, toolName), ...metaEdit(message, put, ownIn(message))];
  return {
    headers: {
      ...(hasEnvelope ? ownParamHeaders(headers) : {}),
      ...(isAsSent ? {} : paramHeadersFrom(paramHeaders.live, message.params["arguments"])),
      "MCP-Protocol-Version": MODERN_REVISION,
      "Mcp-Method": message.method,
      "Mcp-Name": encodeHeaderValue(toolName),
    },
    body: applyEdits(message.text, edits),
  };
}

/** To a legacy server, within a session. */
export function toLegacyServer({ message: sent, toolName, session, ownId }: Forwarding): OutgoingMessage {
  const message = withoutLinkAnswer(sent);
  const edits = nameEdit(message, toolName);
  const { id, meta } = message.at;
  if (ownId !== null && id !== undefined) edits.push({ start: id.valueStart, end: id.end, text: ownId });
  if (meta !== undefined) {
    const reserved = Object.keys(message.meta).filter((key) => key.startsWith(RESERVED));
    const token = ownId !== null && "progressToken" in message.meta ? { progressToken: ownId } : {};
    edits.push(...metaEdit(message, token, [...reserved, ...ownIn(message)]));
  }
  return { headers: session === null ? {} : sessionHeaders(session), body: applyEdits(message.text, edits) };
}

function nameEdit({ text, at }: ClientMessage, toolName: string): Edit[] {
  const { name } = at;
  const quoted = JSON.stringify(toolName);
  return name === undefined || text.slice(name.valueStart, name.end) === quoted
    ? []
    : [{ start: name.valueStart, end: name.end, text: quoted }];
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

function metaEdit({ text, at }: ClientMessage, put: Readonly<Record<string, string>>, drop: readonly string[]): Edit[] {
  const { meta, params } = at;
  if (drop.length === 0 && Object.keys(put).length === 0) return [];
  if (meta !== undefined) return editMembers(text, meta.valueStart, put, drop);
  if (params === undefined) return [];
  const members = Object.entries(put).map(([key, value]) => `${JSON.stringify(key)}:${value}`);
  // A call has a name, so something follows.
  return [{ start: params.valueStart + 1, end: params.valueStart + 1, text: `"_meta":{${members.join(",")}},` }];
}
