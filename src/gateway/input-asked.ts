/** What a modern server asks for instead of giving its answer (protocol.md 2.5). Pure. */
import type { Received } from "../connector/exchange.ts";
import { memberOf, membersOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";

/** One question of a server to its client. */
export interface InputRequest {
  readonly key: string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** JSON text of all of it. */
  readonly text: string;
}

export interface InputAsked {
  readonly requests: readonly InputRequest[];
  /** JSON text of the string that the server wants back; null: none. */
  readonly state: string | null;
}

/** What a response asks for; null when it is an answer. */
export function inputOf({ text, value }: Received): InputAsked | null {
  const { result } = value;
  if (!isObject(result) || result["resultType"] !== "input_required") return null;
  const at = memberOf(text, 0, "result")?.valueStart ?? 0;
  const state = memberOf(text, at, "requestState");
  const asked = isObject(result["inputRequests"]) ? memberOf(text, at, "inputRequests") : undefined;
  return {
    requests:
      asked === undefined
        ? []
        : membersOf(text, asked.valueStart).map(({ key, valueStart, end }) => read(key, text.slice(valueStart, end))),
    state:
      state === undefined || typeof result["requestState"] !== "string"
        ? null
        : text.slice(state.valueStart, state.end),
  };

  function read(key: string, own: string): InputRequest {
    const asked = (result as { inputRequests: Record<string, unknown> }).inputRequests[key];
    const { method, params } = isObject(asked) ? asked : {};
    return {
      key,
      method: typeof method === "string" ? method : "",
      params: isObject(params) ? params : {},
      text: isObject(asked) ? own : "{}",
    };
  }
}

/** The params of a question, JSON text. */
export function paramsIn(question: string): string {
  const params = memberOf(question, 0, "params");
  return params === undefined || question[params.valueStart] !== "{"
    ? "{}"
    : question.slice(params.valueStart, params.end);
}

/** What a person or a model can still do, where nobody can be asked through the protocol. */
export function inputText({ requests }: InputAsked): string {
  const parts = requests.flatMap(({ params: { message, url } }) => [
    ...(typeof message === "string" ? [message] : []),
    ...(typeof url === "string" ? [`Open ${url} in a browser, then try again.`] : []),
  ]);
  return ["The server asks for something that this client cannot be asked for.", ...parts].join(" ");
}
