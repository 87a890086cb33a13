/**
 * Passing on a result that is too large to be held (PS-32): changed for its client while its bytes go by, and no faster
 * than that client reads. What has gone out cannot be taken back, so what shows too late that it is no answer breaks
 * the stream.
 */
import type { Deadline } from "../connector/deadline.ts";
import { type Breakage, ExchangeBroken } from "../connector/exchange.ts";
import { TooLarge } from "../platform/bounded-text.ts";
import { createJsonEditor, type MemberRule, type ObjectRules } from "../platform/json-stream.ts";
import type { ClientMessage } from "./client-message.ts";
import type { ResponseSource, ShapedResponse } from "./client-side.ts";
import type { RequestEvent } from "./perform.ts";
import { outcomeOf } from "./rpc-text.ts";
import { RELATED } from "./task-handles.ts";

/** What a client of some era needs changed in a result. */
export interface ResultEdits {
  /** By name, what a small member becomes; both are JSON texts, null where there is none. */
  readonly put: Readonly<Record<string, (value: string | null) => string | null>>;
  /** A member that is put into `_meta` where it has none of that name, its value as JSON text; null: none. */
  readonly meta: { readonly name: string; readonly value: string } | null;
  /** Whether another member is left out. @param first The character that its value begins with. */
  readonly isDropped: (name: string, first: string) => boolean;
}

/** Shows too late that it is not what it began as. */
class Unfit extends Error {
  override readonly name = "Unfit";
}

/** What is known of a large answer. */
export interface LargeAnswer {
  /** The request's at the server, JSON text. */
  readonly id: string | null;
  readonly edits: ResultEdits;
  readonly from: ResponseSource;
  /** See `TaskHandles.closeRelated`. */
  readonly closeTask: (related: string) => string;
}

/**
 * The message in parts, and at its end what the log is to say of it, or why it has come to no end. Never throws.
 */
export async function* passLarge(
  message: ClientMessage,
  bytes: AsyncGenerator<Uint8Array>,
  { id, edits, from, closeTask }: LargeAnswer,
  { signal }: Pick<Deadline, "signal">,
): AsyncGenerator<RequestEvent, ShapedResponse | Breakage> {
  const result = resultRules(edits, from, closeTask);
  const editor = createJsonEditor(messageRules(message.id ?? "null", id, result.rules));
  try {
    for await (const piece of bytes) {
      const part = editor.push(piece);
      if (part.length > 0) yield { kind: "part", bytes: part, signal };
    }
    if (!editor.isDone()) throw new ExchangeBroken("cut");
    const value = { result: { isError: result.isError() } };
    return { text: "", status: 200, sent: "whole", ...outcomeOf({ text: "", value }) };
  } catch (thrown) {
    if (thrown instanceof ExchangeBroken) return thrown.breakage;
    return thrown instanceof TooLarge ? "too_large" : "not_mcp";
  }
}

/** @param own JSON text of the id that the server was given. */
function messageRules(id: string, own: string | null, result: ObjectRules): ObjectRules {
  const missing = new Set(["jsonrpc", "id"]);
  let hasResult = false;
  return {
    member(name, first) {
      if (name === "jsonrpc" || name === "id") {
        const expected = name === "id" ? own : '"2.0"';
        const put = name === "id" ? id : undefined;
        return {
          take(value) {
            if (expected === null || JSON.parse(value) !== JSON.parse(expected)) throw new Unfit(name);
            missing.delete(name);
            return put ?? value;
          },
        };
      }
      if (name === "result" && first === "{" && !hasResult) {
        hasResult = true;
        return { enter: result };
      }
      if (name === "result" || name === "error" || name === "method") throw new Unfit(name);
      return "pass";
    },
    after() {
      if (missing.size > 0) throw new Unfit([...missing].join());
      return "";
    },
  };
}

function resultRules(
  { put, meta, isDropped }: ResultEdits,
  { era }: ResponseSource,
  closeTask: LargeAnswer["closeTask"],
) {
  const seen = new Set<string>();
  let isError = false;

  function changed(name: string, value: string): string | null {
    if (name === "isError") isError = value === "true";
    if (name === "resultType" && era === "modern" && JSON.parse(value) !== "complete") throw new Unfit(name);
    return Object.hasOwn(put, name) ? (put[name]?.(value) ?? null) : value;
  }

  let hasMeta = false;
  const metaRules: ObjectRules = {
    member(name, first) {
      hasMeta ||= name === meta?.name;
      return name === RELATED && first === "{" ? { take: closeTask } : "pass";
    },
    // What a server says of itself is its own to say.
    after: () => (meta === null || hasMeta ? "" : memberText(meta)),
  };
  const rules: ObjectRules = {
    member(name, first): MemberRule {
      seen.add(name);
      if (Object.hasOwn(put, name) || name === "isError" || name === "resultType") {
        return { take: (value) => changed(name, value) };
      }
      if (name === "_meta" && first === "{") return { enter: metaRules };
      if (name === "_meta" && meta !== null) return { take: () => `{${memberText(meta)}}` };
      return isDropped(name, first) ? "drop" : "pass";
    },
    after() {
      const added = Object.entries(put).flatMap(([name, of]) => {
        const value = seen.has(name) ? null : of(null);
        return value === null ? [] : [`${JSON.stringify(name)}:${value}`];
      });
      if (meta !== null && !seen.has("_meta")) added.push(`"_meta":{${memberText(meta)}}`);
      return added.join(",");
    },
  };
  return { rules, isError: () => isError };
}

function memberText({ name, value }: { readonly name: string; readonly value: string }): string {
  return `${JSON.stringify(name)}:${value}`;
}
