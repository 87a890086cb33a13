/** Passing what servers ask for on to a modern client, as a result that it answers with its next request (2.5). */
import type { Received } from "../../connector/exchange.ts";
import { isDeclared } from "../../connector/server-request.ts";
import { applyEdits, editMembers } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { POSTERN } from "../../platform/version.ts";
import type { Answer, Attempt } from "../attempt.ts";
import type { ShapedResponse } from "../client-side.ts";
import { type InputAsked, inputText, paramsIn } from "../input-asked.ts";
import type { ClientRequest, Subject } from "../perform.ts";
import { ASKED_FIRST, resultEdit, resultText } from "../rpc-text.ts";
import { CAPABILITIES } from "./ladder.ts";
import { ASKED, type RequestStates } from "./request-state.ts";

/** The methods that may be answered with a question (P-17). */
export const ASKING_METHODS: readonly string[] = ["tools/call", "prompts/get", "resources/read"];

/** What a modern server asks: as it came, with its state sealed (protocol.md 5.3). */
export async function relayInput(
  states: RequestStates,
  request: ClientRequest,
  subject: Subject,
  { received, from }: Answer,
  input: InputAsked,
): Promise<ShapedResponse> {
  const { side, message } = request;
  const declared = message.meta[CAPABILITIES];
  const capabilities = isObject(declared) ? declared : {};
  const isAsked = ASKING_METHODS.includes(message.method);
  if (!isAsked || !input.requests.every(({ method, params }) => isDeclared(capabilities, method, params))) {
    const text = inputText(input);
    const shaped = side.failure({ code: "upstream_failed", reason: text, text, timeoutMs: null }, message);
    return { ...shaped, ok: false, outcome: "unsupported", error: "the server asked for what was not declared" };
  }
  if (input.state === null) return side.response(received, from, message);
  const sealed = await states.seal(request, subject, { kind: "server", state: input.state });
  const text = applyEdits(received.text, resultEdit(received.text, { requestState: JSON.stringify(sealed) }, []));
  return side.response({ text, value: received.value }, from, message);
}

/** What a legacy server asks within a call that waits for the answer. */
export async function relayParked(
  states: RequestStates,
  request: ClientRequest,
  subject: Subject,
  { park, id, asked }: Extract<Attempt, { kind: "parked" }>,
): Promise<ShapedResponse> {
  const sealed = await states.seal(request, subject, { kind: "parked", name: request.upstream.name, park, id });
  const members = [
    '"resultType":"input_required"',
    `"inputRequests":{${JSON.stringify(ASKED)}:${questionText(asked)}}`,
    `"requestState":${JSON.stringify(sealed)}`,
    `"_meta":${JSON.stringify({ "io.modelcontextprotocol/serverInfo": POSTERN })}`,
  ];
  const text = resultText(`{${members.join(",")}}`, request.message.id ?? "null");
  return { text, status: 200, ...ASKED_FIRST };
}

/** A server's request as a question, without the name that only the legacy era gives to links. */
function questionText({ text, value }: Received): string {
  const put: Record<string, string> = {};
  if (isObject(value["params"]) && "elicitationId" in value["params"]) {
    const own = paramsIn(text);
    put["params"] = applyEdits(own, editMembers(own, 0, {}, ["elicitationId"]));
  }
  return applyEdits(text, editMembers(text, 0, put, ["jsonrpc", "id"]));
}
