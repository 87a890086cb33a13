/**
 * An instruction as a Markdown file, one document a file. Pure.
 *
 * ```
 * ---
 * kind: "rule"
 * slug: "thresholds"
 * group: "eng"                  left out for the org's own
 * title: "Thresholds"           may be left out
 * description: "When to ask."   may be left out
 * frontmatter.owner: "platform" any number of them
 * ---
 * The body, exactly as it is stored, to the end of the file.
 * ```
 *
 * The front matter is flat: one `name: value` on a line. A value is a JSON string, or plain text that begins with a
 * letter or digit and is read to the end of its line; so it is YAML as well. Files are written with JSON strings. Who a
 * document is, is said by its front matter and not by its path.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import type { InstructionContent, InstructionKey } from "./instruction.ts";

const FIELDS = ["kind", "slug", "group", "title", "description"] as const;
const PREFIX = "frontmatter.";

/** A path that no two documents share, and that stays below the folder it is written to. */
export function filePathOf({ group_id, kind, slug }: InstructionKey): string {
  // A group that is called `..` is no way out.
  const group = encodeURIComponent(group_id.toWellFormed()).replaceAll(".", "%2E");
  return `${group_id === "" ? "" : `groups/${group}/`}${kind}/${slug}.md`;
}

export function writeFile(document: InstructionKey & InstructionContent): string {
  const { kind, slug, group_id: group, title, description, body, frontmatter } = document;
  const fields = Object.entries({ kind, slug, group, title, description }).filter(([, value]) => value !== "");
  const more = Object.entries(frontmatter).map(([name, value]) => [`${PREFIX}${name}`, value]);
  const lines = [...fields, ...more].map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
  return `---\n${lines.join("")}---\n${body}`;
}

/**
 * Reads what `writeFile` has written, and what a person writes like it. The limits of the texts are not checked here.
 *
 * @throws GatewayError `invalid_request` with the field to blame, where it is one
 */
export function readFile(content: string): InstructionKey & InstructionContent {
  const [, front, body] = /^---\r?\n([\s\S]*?)(?<=\n)---[^\S\n]*(?:\n|$)([\s\S]*)$/.exec(content) ?? [];
  if (front === undefined || body === undefined)
    throw refusal("The file must begin with front matter between two lines of ---.");
  const values = new Map<string, string>();
  for (const line of front.split("\n")) {
    if (line.trim() === "") continue;
    const [, name = "", text = ""] = /^([^:\s]+):(.*)$/s.exec(line) ?? [];
    if (name === "") throw refusal("A line of the front matter is not `name: value`.");
    if (!isField(name) && !name.startsWith(PREFIX))
      throw refusal("The front matter has a field that is not known.", name);
    if (values.has(name)) throw refusal("The front matter has a field twice.", name);
    values.set(name, valueIn(name, text.trim()));
  }
  const required = (name: "kind" | "slug") => {
    const value = values.get(name);
    if (value === undefined) throw refusal(`The front matter has no ${name}.`, name);
    return value;
  };
  return {
    kind: required("kind"),
    slug: required("slug"),
    group_id: values.get("group") ?? "",
    title: values.get("title") ?? "",
    description: values.get("description") ?? "",
    body,
    frontmatter: Object.fromEntries(
      [...values].flatMap(([name, value]) => (name.startsWith(PREFIX) ? [[name.slice(PREFIX.length), value]] : [])),
    ),
  };
}

function isField(name: string): boolean {
  return FIELDS.some((field) => field === name);
}

function valueIn(name: string, text: string): string {
  if (/^[\p{L}\p{N}]/u.test(text)) return text;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "string") return value;
  } catch {
    // What it is instead does not matter.
  }
  throw refusal("The value must be a JSON string, or begin with a letter or digit.", name);
}

function refusal(message: string, field?: string): GatewayError {
  return new GatewayError("invalid_request", message, field === undefined ? {} : { field });
}
