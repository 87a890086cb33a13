/**
 * JSON as text: where members stand, so that a message can be changed in place and forwarded with every other byte as
 * it came. `JSON.parse` and back would turn 12345678901234567890 into another number and drop what it does not know.
 * Except for `depthOf`, every function here expects a text that `JSON.parse` has accepted.
 */

/** One member of an object, as offsets into the text that holds it. */
export interface Member {
  readonly key: string;
  /** Of the key's opening quote. */
  readonly start: number;
  readonly valueStart: number;
  /** Just behind the value. */
  readonly end: number;
}

/** Replaces `text[start, end)`. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Characters that JSON is built of, each a byte in UTF-8 as well. */
export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const OPEN_BRACKET = 0x5b;
export const CLOSE_BRACKET = 0x5d;
export const COMMA = 0x2c;

/** The members of the object that begins at `at` (or behind white space there), in order, duplicates included. */
export function membersOf(text: string, at = 0): Member[] {
  const found: Member[] = [];
  let i = skipSpace(text, at) + 1;
  for (;;) {
    i = skipSpace(text, i);
    const code = text.charCodeAt(i);
    if (code === COMMA) {
      i = skipSpace(text, i + 1);
    } else if (code === CLOSE_BRACE || i >= text.length) {
      return found;
    }
    const keyEnd = skipString(text, i);
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = skipValue(text, valueStart);
    found.push({ key: unquote(text.slice(i, keyEnd)), start: i, valueStart, end });
    i = end;
  }
}

/** The member of that name; with duplicates the last, which is the one `JSON.parse` believes. */
export function memberOf(text: string, at: number, key: string): Member | undefined {
  return membersOf(text, at).findLast((member) => member.key === key);
}

/** The elements of the array that begins at `at` (or behind white space there). */
export function elementsOf(text: string, at = 0): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  let i = skipSpace(text, skipSpace(text, at) + 1);
  while (i < text.length && text.charCodeAt(i) !== CLOSE_BRACKET) {
    const end = skipValue(text, i);
    found.push({ start: i, end });
    i = skipSpace(text, end);
    if (text.charCodeAt(i) === COMMA) i = skipSpace(text, i + 1);
  }
  return found;
}

/** Applies edits that do not overlap, in any order. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  let result = "";
  let from = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    result += text.slice(from, edit.start) + edit.text;
    from = edit.end;
  }
  return result + text.slice(from);
}

/**
 * The edits that change members of one object. Everything else keeps its bytes and its order: of a member that is
 * dropped, what stands behind it moves to its place, and the last one takes the comma before it along.
 *
 * @param put Names and JSON texts of the members to set: in the place of one that exists, else behind all others.
 */
export function editMembers(
  text: string,
  at: number,
  put: Readonly<Record<string, string>>,
  drop: readonly string[] = [],
): Edit[] {
  const members = membersOf(text, at);
  const textFor = (key: string) => (Object.hasOwn(put, key) ? put[key] : undefined);
  const isGone = ({ key }: Member) => drop.includes(key) && !Object.hasOwn(put, key);
  const kept = members.findLastIndex((member) => !isGone(member));
  const edits = members.slice(0, kept + 1).flatMap((member, index): Edit[] => {
    const value = textFor(member.key);
    if (value !== undefined) return [{ start: member.valueStart, end: member.end, text: value }];
    return isGone(member) ? [{ start: member.start, end: members[index + 1]?.start ?? member.end, text: "" }] : [];
  });
  const own = new Set(members.map(({ key }) => key));
  const added = Object.entries(put)
    .filter(([key]) => !own.has(key))
    .map(([key, value]) => `${JSON.stringify(key)}:${value}`);
  const start = members[kept]?.end ?? members[0]?.start ?? skipSpace(text, at) + 1;
  const end = members.at(-1)?.end ?? start;
  if (added.length === 0 && start === end) return edits;
  const comma = kept === -1 || added.length === 0 ? "" : ",";
  return [...edits, { start, end, text: comma + added.join(",") }];
}

/** How deep arrays and objects nest in a text, valid JSON or not. */
export function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) i = skipString(text, i) - 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) deepest = Math.max(deepest, ++depth);
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--;
  }
  return deepest;
}

/** The first member name that one object of the text, at any depth, has twice. The text must not nest deeply. */
export function duplicateKey(text: string, at = 0): string | undefined {
  const start = skipSpace(text, at);
  const code = text.charCodeAt(start);
  if (code === OPEN_BRACE) {
    const members = membersOf(text, start);
    return (
      repeatedKey(members) ??
      firstOf(
        members.map(({ valueStart }) => valueStart),
        (at) => duplicateKey(text, at),
      )
    );
  }
  if (code === OPEN_BRACKET) {
    return firstOf(
      elementsOf(text, start).map((element) => element.start),
      (at) => duplicateKey(text, at),
    );
  }
  return undefined;
}

/** Whether an object of the text, at any depth, has a member of that name. The text must not nest deeply. */
export function hasKey(text: string, key: string, at = 0): boolean {
  const start = skipSpace(text, at);
  const code = text.charCodeAt(start);
  if (code === OPEN_BRACE) {
    return membersOf(text, start).some((member) => member.key === key || hasKey(text, key, member.valueStart));
  }
  return code === OPEN_BRACKET && elementsOf(text, start).some((element) => hasKey(text, key, element.start));
}

/** The first name among these members that occurs twice. */
export function repeatedKey(members: readonly Member[]): string | undefined {
  const seen = new Set<string>();
  for (const { key } of members) {
    if (seen.has(key)) return key;
    seen.add(key);
  }
  return undefined;
}

function firstOf(starts: readonly number[], find: (at: number) => string | undefined): string | undefined {
  for (const start of starts) {
    const found = find(start);
    if (found !== undefined) return found;
  }
  return undefined;
}

function skipSpace(text: string, at: number): number {
  let i = at;
  for (; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break;
  }
  return i;
}

/** Just behind the string whose opening quote stands at `at`. */
function skipString(text: string, at: number): number {
  let i = at + 1;
  for (; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i + 1;
  }
  return text.length;
}

function skipValue(text: string, at: number): number {
  const first = text.charCodeAt(at);
  if (first === QUOTE) return skipString(text, at);
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) i = skipString(text, i) - 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (depth === 0) return i;
      if (--depth === 0) return i + 1;
    } else if (depth === 0 && (code === COMMA || code <= 0x20)) return i;
  }
  return text.length;
}

function unquote(quoted: string): string {
  return quoted.includes("\\") ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}
