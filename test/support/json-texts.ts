/**
 * JSON as servers and clients may write it: texts and not values, since what a gateway must keep is what `JSON.parse`
 * loses. An object whose members a test looks at stays a list of them, so that a test says what becomes of one by name
 * and never has to find it in a text.
 */
import fc from "fast-check";

/** One member of an object, with the white space around it. */
export interface Field {
  readonly key: string;
  readonly value: string | ObjectText;
  readonly before: string;
  readonly colon: string;
  readonly after: string;
}

export interface ObjectText {
  readonly fields: readonly Field[];
  /** White space in it, where it has no members; and what stands before one that is set. */
  readonly space: string;
  readonly lead?: string;
}

export function render(value: string | ObjectText): string {
  if (typeof value === "string") return value;
  const { fields, space, lead = "" } = value;
  if (fields.length === 0) return `{${lead}${space}}`;
  const texts = fields.map(
    ({ key, value, before, colon, after }) => `${before}${JSON.stringify(key)}${colon}${render(value)}${after}`,
  );
  return `{${texts.join(",")}}`;
}

export function fieldOf({ fields }: ObjectText, key: string): Field | undefined {
  return fields.find((field) => field.key === key);
}

/** The object without a member: what stands behind it moves to its place, or its comma goes with it. */
export function without(object: ObjectText, ...keys: readonly string[]): ObjectText {
  const fields = object.fields.filter(({ key }) => !keys.includes(key));
  const [first, last] = [object.fields[0], object.fields.at(-1)];
  if (first === undefined || last === undefined || fields.length === object.fields.length) return object;
  if (fields.length === 0) return { fields, lead: first.before, space: last.after };
  return {
    space: object.space,
    fields: fields.map((field, at) => {
      const index = object.fields.indexOf(field);
      const gone = object.fields.slice(at === 0 ? 0 : object.fields.indexOf(fields[at - 1] as Field) + 1, index);
      return {
        ...field,
        before: gone[0]?.before ?? field.before,
        after: at === fields.length - 1 ? last.after : field.after,
      };
    }),
  };
}

/** The object with members set: in the place of those that it has, else behind all others. */
export function having(object: ObjectText, members: Readonly<Record<string, string | ObjectText>>): ObjectText {
  let { fields } = object;
  for (const [key, value] of Object.entries(members)) {
    if (fields.some((field) => field.key === key)) {
      fields = fields.map((field) => (field.key === key ? { ...field, value } : field));
      continue;
    }
    const last = fields.at(-1);
    const before = last === undefined ? (object.lead ?? "") : "";
    const rest = last === undefined ? [] : [...fields.slice(0, -1), { ...last, after: "" }];
    fields = [...rest, { key, value, before, colon: ":", after: last?.after ?? object.space }];
  }
  return { ...object, fields };
}

const space = fc.oneof(
  { weight: 4, arbitrary: fc.constant("") },
  { weight: 2, arbitrary: fc.constantFrom(" ", "  ", "\t", "\n") },
  { weight: 1, arbitrary: fc.constantFrom("\r\n", "\r", " \n\t ") },
);

const NUMBERS = ["0", "-0", "7", "1.0", "1.50", "1e400", "-1E+2", "12345678901234567890", "9007199254740993", "0.1e-7"];
const PIECES = [
  ...["a", "Z", "é", "€", "😀", "\u2028", "\u2029", "\u0085", "\u00a0", "\ufeff", "\u007f", " "],
  ...["{", "}", "[", "]", ",", ":", "'", "<", "data: x", "event: y", "id: 1", "__proto__", "null"],
  ...["\\u00e9", "\\u0000", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\\/", "\\n", "\\r\\n", '\\"', "\\\\", "\\b"],
];

/** JSON texts of strings. */
export const stringText = fc.array(fc.constantFrom(...PIECES), { maxLength: 4 }).map((parts) => `"${parts.join("")}"`);

// No name of one character that has to be escaped: V8 13.6 takes one for another (test/platform/json-text.test.ts).
const NAMES = ["a", "type", "id", "name", "_meta", "resultType", "result", "method", "jsonrpc", "", "__proto__", "é"];
const name = fc.constantFrom(...NAMES, "constructor", "x\\u002dy", "io.modelcontextprotocol/serverInfo", "10");

const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom("null", "true", "false", ...NUMBERS),
    stringText,
    fc
      .tuple(space, fc.array(fc.tuple(space, tie("value"), space), { maxLength: 3 }))
      .map(([inner, items]) => `[${items.length === 0 ? inner : items.map((parts) => parts.join("")).join(",")}]`),
    // Names may repeat.
    fc
      .tuple(space, fc.array(fc.tuple(space, name, space, tie("value"), space), { maxLength: 4 }))
      .map(([inner, members]) => {
        const texts = members.map(([before, key, colon, own, after]) => `${before}"${key}"${colon}:${own}${after}`);
        return `{${members.length === 0 ? inner : texts.join(",")}}`;
      }),
  ),
}));

/** JSON texts of any value, not deep. */
export const valueText: fc.Arbitrary<string> = value;

/** Members by name; null leaves one out. Those without a name of their own have one that nothing gives a meaning. */
export function objectText(
  members: Readonly<Record<string, fc.Arbitrary<string | ObjectText | null>>>,
): fc.Arbitrary<ObjectText> {
  type Drawn = Omit<Field, "value"> & { readonly value: string | ObjectText | null };
  const known = Object.entries(members).map(
    ([key, own]): fc.Arbitrary<Drawn> =>
      fc.record({ key: fc.constant(key), value: own, before: space, colon: colonText, after: space }),
  );
  const foreign: fc.Arbitrary<Drawn> = fc.record({
    key: fc.constantFrom("x-new", "vendor.example/new", "futureField", "Type", "META"),
    value: valueText,
    before: space,
    colon: colonText,
    after: space,
  });
  return fc
    .tuple(space, fc.tuple(...known), fc.uniqueArray(foreign, { maxLength: 2, selector: ({ key }) => key }))
    .map(([inner, own, more]) => ({
      space: inner,
      all: [...own, ...more].filter((field): field is Field => field.value !== null),
    }))
    .chain(({ space, all }) =>
      fc.shuffledSubarray(all, { minLength: all.length }).map((fields) => ({ space, fields })),
    );
}

const colonText = fc.tuple(space, space).map(([before, after]) => `${before}:${after}`);

/** Sometimes. */
export const maybe = <T>(own: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(own, { nil: null });

/** A JSON text that is always the same. */
export const just = (text: string): fc.Arbitrary<string> => fc.constant(text);

const annotations = objectText({ audience: just('["user"]'), priority: just("1.0"), lastModified: stringText });
const icons = fc
  .array(objectText({ src: stringText, mimeType: just('"image/png"'), sizes: just('["48x48"]') }), { maxLength: 2 })
  .map((list) => `[${list.map(render).join(" , ")}]`);
const everyBlock = { annotations: maybe(annotations), _meta: maybe(objectText({})) };

/** Content blocks of every type, and of one that nobody knows yet. */
export const contentBlock = fc
  .oneof(
    objectText({ type: just('"text"'), text: stringText, ...everyBlock }),
    objectText({ type: just('"image"'), data: just('"aGk="'), mimeType: just('"image/png"'), ...everyBlock }),
    objectText({ type: just('"audio"'), data: just('"aGk="'), mimeType: just('"audio/wav"'), ...everyBlock }),
    objectText({
      ...{ type: just('"resource_link"'), uri: just('"a://b"'), name: stringText },
      ...{ size: fc.constantFrom(...NUMBERS), icons, ...everyBlock },
    }),
    objectText({ type: just('"resource"'), resource: objectText({ uri: just('"a://b"'), text: stringText }) }),
    objectText({ type: just('"resource"'), resource: objectText({ uri: just('"a://b"'), blob: just('"aGk="') }) }),
    objectText({ type: just('"tool_use"'), input: valueText, ...everyBlock }),
    objectText({ type: just('"future"'), ...everyBlock }),
  )
  .map(render);

export const contentList = fc
  .tuple(space, fc.array(fc.tuple(space, contentBlock, space), { maxLength: 3 }))
  .map(([inner, list]) => `[${list.length === 0 ? inner : list.map((parts) => parts.join("")).join(",")}]`);

/** Something with a name, as lists have it. */
export const listed = (key: string, own: string) =>
  fc
    .array(
      objectText({
        [key]: just(own),
        title: maybe(stringText),
        icons: maybe(icons),
        ...everyBlock,
        x: maybe(valueText),
      }),
      { maxLength: 3 },
    )
    .map((list) => `[${list.map(render).join(",")}]`);
