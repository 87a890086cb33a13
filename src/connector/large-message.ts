/**
 * Responses that are too large to be held. Their beginning is read and shows what they are; the rest is left to whoever
 * passes it on. Only a result that looks complete is given away like that: everything else is read whole, and is too
 * large where that goes beyond its limit.
 */
import { readBounded, TooLarge } from "../platform/bounded-text.ts";
import { chunksOf } from "../platform/chunks.ts";
import { createJsonEditor, type ObjectRules } from "../platform/json-stream.ts";
import { isObject } from "../platform/json-value.ts";
import type { StreamEvent } from "./event-stream.ts";

/** Bytes, or characters of an event, from which on a response is not held whole. */
export const LARGE = 1024 * 1024;

export interface Limits {
  /** Bytes of a message that is read whole (PS-32). */
  readonly whole: number;
  /** Bytes of one that is passed on as it comes. */
  readonly streamed: number;
}

/**
 * A message as text, or what is known of a large one from its beginning, and all of its bytes, once. Each piece of them
 * holds only until the next is asked for.
 */
export type Read =
  | string
  | { readonly value: Readonly<Record<string, unknown>>; readonly bytes: AsyncGenerator<Uint8Array> };

/**
 * The JSON body of an answer.
 *
 * @throws as `readBounded`; so do the bytes of a large one.
 */
export async function readBody(response: Response, { whole, streamed }: Limits): Promise<Read> {
  const declared = response.headers.has("Content-Encoding") ? null : response.headers.get("Content-Length");
  if (response.body === null || (declared !== null && Number(declared) <= LARGE)) return readBounded(response, whole);
  const chunks = chunksOf(response.body, () => isPassing);
  const read: Uint8Array[] = [];
  let size = 0;
  let limit = LARGE;
  let isPassing = false;
  for (;;) {
    const { done, value } = await chunks.next();
    if (done === true) return textOf(read);
    read.push(value);
    size += value.length;
    if (size <= limit) continue;
    const beginning = limit === LARGE ? beginningOf(read) : null;
    if (beginning !== null) return { value: beginning, bytes: pass() };
    limit = whole;
    if (size > limit) {
      await chunks.return();
      throw new TooLarge(`more than ${limit} bytes`);
    }
  }

  async function* pass(): AsyncGenerator<Uint8Array> {
    for (const bytes of read.splice(0)) yield bytes;
    isPassing = true;
    for (;;) {
      const { done, value } = await chunks.next();
      if (done === true) return;
      size += value.length;
      if (size > streamed) throw new TooLarge(`more than ${streamed} bytes`);
      yield value;
    }
  }
}

/**
 * The message in an event that comes in pieces.
 *
 * @throws TooLarge; and whatever reading the event throws. So do the bytes of a large one.
 */
export async function readLargeEvent(
  { data, rest }: Required<Pick<StreamEvent, "data" | "rest">>,
  { whole }: Pick<Limits, "whole">,
): Promise<Read> {
  const encoder = new TextEncoder();
  const first = encoder.encode(data);
  const value = beginningOf([first]);
  if (value !== null) return { value, bytes: pass() };
  let text = data;
  for await (const piece of rest) {
    text += piece;
    if (text.length > whole) throw new TooLarge(`more than ${whole} characters`);
  }
  return text;

  async function* pass(): AsyncGenerator<Uint8Array> {
    yield first;
    let buffer = new Uint8Array();
    for await (const piece of rest) {
      const most = 3 * piece.length;
      if (buffer.length < most) buffer = new Uint8Array(most);
      yield buffer.subarray(0, encoder.encodeInto(piece, buffer).written);
    }
  }
}

/** What the beginning of a message says; null where that is not the one of a complete result. */
export function beginningOf(bytes: readonly Uint8Array[]): Readonly<Record<string, unknown>> | null {
  const value: Record<string, unknown> = {};
  let isComplete = true;
  const result: ObjectRules = {
    member(name, first) {
      // A question is small, and has to be understood; so has what is no answer yet.
      if (name === "inputRequests" || name === "requestState" || name === "task") isComplete = false;
      if (name !== "resultType" || isComplete === false) return "drop";
      if (first !== '"') isComplete = false;
      return {
        take(text) {
          if (JSON.parse(text) !== "complete") isComplete = false;
          return null;
        },
      };
    },
  };
  const message = createJsonEditor({
    member(name, first) {
      if (name === "error" || name === "method") isComplete = false;
      if (name === "result" && first === "{") {
        value["result"] = {};
        return { enter: result };
      }
      if (name !== "id" && name !== "jsonrpc") return "drop";
      return {
        take(text) {
          value[name] = JSON.parse(text);
          return null;
        },
      };
    },
  });
  try {
    for (const part of bytes) message.push(part);
  } catch {
    return null;
  }
  return isComplete && isObject(value["result"]) ? value : null;
}

function textOf(parts: readonly Uint8Array[]): string {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
}
