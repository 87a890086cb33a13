/**
 * Putting what a modern server asks for to a legacy client: as requests on the stream of its own request, whose answers
 * come with other requests, at any isolate (protocol.md 3.5.4).
 */
import { isDeclared } from "../../connector/server-request.ts";
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { askedId } from "../../sessions/asked-id.ts";
import { type ClientMessage, readShape } from "../client-message.ts";
import type { ShapedResponse } from "../client-side.ts";
import { type InputAsked, type InputRequest, inputText, paramsIn } from "../input-asked.ts";
import type { ClientRequest, RequestEvent, UpstreamDeps } from "../perform.ts";

/** How long a person may take. */
const ANSWER_MS = 600_000;

/**
 * Asks, and waits for all answers.
 *
 * @returns The request with the answers in it, for the server; or what ends it.
 */
export async function* askClient(
  deps: UpstreamDeps,
  request: ClientRequest,
  input: InputAsked,
): AsyncGenerator<RequestEvent, ClientMessage | { readonly response: ShapedResponse }> {
  const { side, message, upstream, sessionName } = request;
  const refuse = (): { readonly response: ShapedResponse } => {
    const text = inputText(input);
    const shaped = side.failure({ code: "upstream_failed", reason: text, text, timeoutMs: null }, message);
    const error = "the server asked for something that the client cannot be asked for";
    return { response: { ...shaped, ok: false, outcome: "unsupported", error } };
  };
  const { requests } = input;
  const capabilities = upstream.client?.capabilities ?? {};
  if (
    upstream.asks !== "relayed" ||
    !requests.every(({ method, params }) => isDeclared(capabilities, method, params))
  ) {
    return refuse();
  }
  const links = requests.filter(({ params }) => params["mode"] === "url");
  if (requests.length > 0 && links.length === requests.length && side.links !== undefined) {
    const error = "the server asks to open a link first";
    return { response: { ...side.links(links, message), ok: false, outcome: "link_needed", error } };
  }
  const ids = requests.map(() => askedId());
  // First, so that no answer can be there before anybody waits for it.
  const answered = ids.length === 0 ? Promise.resolve([]) : deps.answers(sessionName, ids, ANSWER_MS);
  yield { kind: "streaming" };
  for (const [at, asked] of requests.entries())
    yield { kind: "notification", text: questionText(ids[at] ?? "", asked) };
  const answers = await answered;
  const responses: string[] = [];
  for (const [at, asked] of requests.entries()) {
    const result = resultOf(answers[at] ?? null, asked);
    if (result === null) return refuse();
    responses.push(`${JSON.stringify(asked.key)}:${result}`);
  }
  return withInput(message, { inputResponses: `{${responses.join(",")}}`, requestState: input.state }) ?? refuse();
}

function questionText(id: string, { text, params }: InputRequest): string {
  const put: Record<string, string> = { jsonrpc: '"2.0"', id: JSON.stringify(id) };
  // The legacy era names each link, to say later that it has been followed.
  if (params["mode"] === "url" && params["elicitationId"] === undefined) {
    const own = paramsIn(text);
    put["params"] = applyEdits(own, editMembers(own, 0, { elicitationId: JSON.stringify(crypto.randomUUID()) }));
  }
  return applyEdits(text, editMembers(text, 0, put));
}

/** The result in a client's response, JSON text; null when there is none that could be told to the server. */
function resultOf(response: string | null, { method }: InputRequest): string | null {
  const result = response === null ? undefined : memberOf(response, 0, "result");
  if (response !== null && result !== undefined) return response.slice(result.valueStart, result.end);
  return method === "elicitation/create" ? '{"action":"cancel"}' : null;
}

/** The request with what the server has asked for, or null where it has nothing to put that in. */
function withInput(
  { text, at }: ClientMessage,
  { inputResponses, requestState }: { readonly inputResponses: string; readonly requestState: string | null },
): ClientMessage | null {
  if (at.params === undefined || !isObject(JSON.parse(text.slice(at.params.valueStart, at.params.end)))) return null;
  const put = { inputResponses, ...(requestState === null ? {} : { requestState }) };
  const shape = readShape(applyEdits(text, editMembers(text, at.params.valueStart, put)));
  return shape.kind === "message" ? shape.message : null;
}
