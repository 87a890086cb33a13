/**
 * Changing the members of a JSON object while its bytes pass by. Only the objects that rules lead into are looked at
 * member by member; everything else is passed over by its brackets and quotes, and keeps its bytes. Nothing is held but
 * the name of a member, and the values that a rule asks to see. What passes is not proven to be valid JSON: whoever
 * parses it will find out.
 */
import { TooLarge } from "./bounded-text.ts";
import { joined } from "./chunks.ts";
import { BACKSLASH, CLOSE_BRACE, CLOSE_BRACKET, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from "./json-text.ts";

/** What becomes of a member. */
export type MemberRule =
  | "pass"
  | "drop"
  /** Its value is an object with rules of its own. */
  | { readonly enter: ObjectRules }
  /** Its value, at most `MAX_TAKEN` bytes of JSON text, is replaced by another; null drops the member. */
  | { readonly take: (value: string) => string | null };

export interface ObjectRules {
  /** @param first The character that the member's value begins with. */
  readonly member: (name: string, first: string) => MemberRule;
  /** Members that come behind all others, as JSON text without braces; empty: none. */
  readonly after?: () => string;
}

/** The text is no JSON object, as far as that is looked at. */
export class Misshapen extends Error {
  override readonly name = "Misshapen";
}

/** Bytes of a value that a rule takes. */
export const MAX_TAKEN = 64 * 1024;
/** Bytes of a member's name with the white space around it. */
const MAX_HELD = 64 * 1024;

const COLON = 0x3a;

export interface JsonEditor {
  /**
   * Takes the next bytes of the text, cut anywhere.
   *
   * @returns What is known of the changed text by then; may be part of what was given.
   * @throws Misshapen; TooLarge beyond the limits above; and whatever a rule throws.
   */
  push(bytes: Uint8Array): Uint8Array;
  /** Whether the object has been closed. */
  isDone(): boolean;
}

interface Frame {
  readonly rules: ObjectRules;
  /** Something has been written into the object: what comes next needs a comma. */
  isBegun: boolean;
}

/** @param rules For the object that the text consists of. */
export function createJsonEditor(rules: ObjectRules): JsonEditor {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const frames: Frame[] = [];
  const values = createValueScanner();
  let state: "start" | "before name" | "name" | "colon" | "before value" | "value" | "after value" | "done" = "start";
  /** Bytes since the last value: white space, a comma, a name, a colon. */
  let held: number[] = [];
  let commaAt = -1;
  let nameAt = -1;
  let isEscaped = false;
  let name = "";
  let rule: MemberRule = "pass";
  let taken: number[] = [];
  let output: Uint8Array[] = [];

  function write(bytes: Uint8Array | string): void {
    if (bytes.length > 0) output.push(typeof bytes === "string" ? encoder.encode(bytes) : bytes);
  }

  function hold(byte: number): void {
    if (held.push(byte) > MAX_HELD) throw new TooLarge(`more than ${MAX_HELD} bytes between two values`);
  }

  function letGo(): void {
    held = [];
    commaAt = -1;
  }

  /** Writes the name of a member that stays, with the comma that it needs where it stands by then. */
  function writeHeld(): void {
    const frame = frames.at(-1);
    if (frame?.isBegun === false && commaAt !== -1) held.splice(commaAt, 1);
    if (frame !== undefined) frame.isBegun = true;
    write(Uint8Array.from(held));
    letGo();
  }

  function open(next: ObjectRules): void {
    write("{");
    frames.push({ rules: next, isBegun: false });
    letGo();
    state = "before name";
  }

  function close(): void {
    const frame = frames.pop();
    const after = frame?.rules.after?.() ?? "";
    if (after !== "") write(`${frame?.isBegun === true ? "," : ""}${after}`);
    write(Uint8Array.from(held));
    write("}");
    letGo();
    state = frames.length === 0 ? "done" : "after value";
  }

  function beginValue(byte: number): void {
    rule = frames.at(-1)?.rules.member(name, String.fromCharCode(byte)) ?? "pass";
    if (typeof rule === "object" && "enter" in rule) {
      if (byte !== OPEN_BRACE) throw new Misshapen(`"${name}" is no object`);
      writeHeld();
      open(rule.enter);
    } else {
      if (rule === "pass") writeHeld();
      taken = [];
      values.begin(byte);
      state = "value";
    }
  }

  function endValue(): void {
    if (typeof rule === "object" && "take" in rule) {
      const text = rule.take(decoder.decode(Uint8Array.from(taken)));
      if (text !== null) {
        writeHeld();
        write(text);
      }
    }
    letGo();
    state = "after value";
  }

  /** @returns Where it has come to. */
  function passValue(bytes: Uint8Array, from: number): number {
    const to = values.scan(bytes, from);
    if (rule === "pass") write(bytes.subarray(from, to));
    else if (rule !== "drop") {
      if (taken.length + to - from > MAX_TAKEN) throw new TooLarge(`more than ${MAX_TAKEN} bytes of "${name}"`);
      for (let at = from; at < to; at++) taken.push(bytes[at] ?? 0);
    }
    if (values.isOver()) endValue();
    return to;
  }

  /** Takes a byte that stands between values. @returns How many it has taken: the first of a value belongs to that. */
  function step(byte: number): 0 | 1 {
    if (state === "name") {
      hold(byte);
      if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else if (byte === QUOTE) {
        name = nameIn(decoder.decode(Uint8Array.from(held.slice(nameAt))));
        state = "colon";
      }
    } else if (isSpace(byte)) {
      if (state === "start" || state === "done") write(Uint8Array.of(byte));
      else hold(byte);
    } else if (state === "start" && byte === OPEN_BRACE) open(rules);
    else if (state === "before name" && byte === QUOTE) {
      nameAt = held.length;
      hold(byte);
      state = "name";
    } else if (state === "colon" && byte === COLON) {
      hold(byte);
      state = "before value";
    } else if (state === "before value") {
      beginValue(byte);
      return typeof rule === "object" && "enter" in rule ? 1 : 0;
    } else if (state === "after value" && byte === COMMA) {
      commaAt = held.length;
      hold(byte);
      state = "before name";
    } else if (byte === CLOSE_BRACE && (state === "after value" || (state === "before name" && commaAt === -1)))
      close();
    else throw new Misshapen(`${String.fromCharCode(byte)} where there is "${state}"`);
    return 1;
  }

  return {
    push(bytes) {
      output = [];
      for (let at = 0; at < bytes.length; ) {
        at = state === "value" ? passValue(bytes, at) : at + step(bytes[at] ?? 0);
      }
      return joined(output);
    },
    isDone: () => state === "done",
  };
}

/** Finds where a value ends, whatever is in it. */
function createValueScanner() {
  let depth = 0;
  let inString = false;
  let isScalar = false;
  let isOver = false;
  /** An odd number of backslashes stands before what comes next. */
  let isEscaped = false;

  /** Just behind the end of the string, or of the bytes. */
  function skipString(bytes: Uint8Array, from: number): number {
    for (let at = from; ; ) {
      const found = bytes.indexOf(QUOTE, at);
      const end = found === -1 ? bytes.length : found;
      let backslashes = 0;
      while (end - backslashes > at && bytes[end - backslashes - 1] === BACKSLASH) backslashes++;
      if (isEscaped && backslashes === end - at) backslashes++;
      isEscaped = backslashes % 2 === 1;
      if (found === -1) return end;
      at = found + 1;
      if (!isEscaped) {
        inString = false;
        return at;
      }
      isEscaped = false;
    }
  }

  return {
    /** @param first The value's first byte, which is scanned with the rest. */
    begin(first: number): void {
      depth = 0;
      inString = false;
      isOver = false;
      isEscaped = false;
      isScalar = first !== QUOTE && first !== OPEN_BRACE && first !== OPEN_BRACKET;
      if (first === COMMA || first === COLON || first === CLOSE_BRACE || first === CLOSE_BRACKET) {
        throw new Misshapen("a member without a value");
      }
    },

    isOver: () => isOver,

    /** @returns Just behind the value, or behind the bytes where it goes on. */
    scan(bytes: Uint8Array, from: number): number {
      for (let at = from; at < bytes.length; ) {
        if (inString) {
          at = skipString(bytes, at);
          isOver = !inString && depth === 0;
        } else {
          const byte = bytes[at];
          if (isScalar) {
            isOver = byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte ?? 0);
            if (isOver) return at;
          } else if (byte === QUOTE) {
            inString = true;
          } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
          else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) isOver = --depth === 0;
          at++;
        }
        if (isOver) return at;
      }
      return bytes.length;
    },
  };
}

function nameIn(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw new Misshapen("a name that is no string");
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
