/** The model of instructions: versioned documents of an org, or of a group in it, and their limits (OT-11). Pure. */
import { GatewayError } from "../failure/gateway-error.ts";

/** Which document of an org. */
export interface InstructionKey {
  /** Empty: the org's own. */
  readonly group_id: string;
  readonly kind: string;
  readonly slug: string;
}

/** What a writer gives. */
export interface InstructionContent {
  readonly title: string;
  readonly description: string;
  /** Markdown. */
  readonly body: string;
  /** Texts about the document that agents are not shown, by name. */
  readonly frontmatter: Readonly<Record<string, string>>;
}

/** One version of a document. */
export interface Instruction extends InstructionKey, InstructionContent {
  readonly org_id: string;
  /** From 1, without gaps; a document that was deleted and comes back goes on where it was. */
  readonly version: number;
  /** The principal's id. */
  readonly set_by: string;
  /** Milliseconds since the Unix epoch. */
  readonly updated_at: number;
}

/** A version without what may be large. */
export type InstructionEntry = Omit<Instruction, "body" | "frontmatter">;

/** A version that is to be written. */
export interface InstructionDraft extends InstructionKey, InstructionContent {
  readonly set_by: string;
  readonly updated_at: number;
  /** The version that its writer has seen; 0: none. Null: whatever there is. */
  readonly expected_version: number | null;
}

/** Documents of one org, those of its groups included. It bounds every list of them. */
export const MAX_INSTRUCTIONS = 1_000;
const MAX_BODY_BYTES = 256 * 1024;
const MAX_TITLE = 200;
const MAX_DESCRIPTION = 1_000;
const MAX_FRONTMATTER = 32;
const MAX_FRONTMATTER_VALUE = 1_000;
const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** @throws GatewayError `invalid_request` naming the argument (OT-11) */
export function requireName(argument: "kind" | "slug", value: string): void {
  if (NAME.test(value)) return;
  const rule = "must have 1 to 64 lower-case letters, digits, hyphens or underscores, and begin with a letter or digit";
  refuse(argument, rule);
}

/** @throws GatewayError `invalid_request` naming the argument (OT-11) */
export function requireContent({ title, description, body, frontmatter }: InstructionContent): void {
  for (const [argument, text] of Object.entries({ title, description, body })) requireText(argument, text);
  if (body.trim() === "") refuse("body", "must not be blank");
  if (bytesOf(body) > MAX_BODY_BYTES) refuse("body", `must have at most ${MAX_BODY_BYTES} bytes`);
  if (lengthOf(title) > MAX_TITLE) refuse("title", `must have at most ${MAX_TITLE} characters`);
  if (lengthOf(description) > MAX_DESCRIPTION) refuse("description", `must have at most ${MAX_DESCRIPTION} characters`);
  const entries = Object.entries(frontmatter);
  if (entries.length > MAX_FRONTMATTER) refuse("frontmatter", `must have at most ${MAX_FRONTMATTER} members`);
  for (const [name, value] of entries) {
    if (!NAME.test(name)) refuse("frontmatter", "must have names as kind and slug have them");
    requireText(`frontmatter.${name}`, value);
    if (lengthOf(value) > MAX_FRONTMATTER_VALUE) {
      refuse(`frontmatter.${name}`, `must have at most ${MAX_FRONTMATTER_VALUE} characters`);
    }
  }
}

/** Another version is in force than the writer has seen. */
export function versionConflict(cause?: unknown): GatewayError {
  return new GatewayError("conflict", "Another version is in force than the one this was made from.", {
    field: "expected_version",
    cause,
  });
}

export function roomConflict(cause?: unknown): GatewayError {
  return new GatewayError("conflict", `An org has at most ${MAX_INSTRUCTIONS} instructions. Delete one first.`, {
    cause,
  });
}

/** What the database would hand back changed is refused: half a surrogate pair, and the character that ends a text. */
function requireText(argument: string, text: string): void {
  if (!text.isWellFormed() || text.includes("\0"))
    refuse(argument, "must be Unicode text without the character U+0000");
}

function refuse(argument: string, rule: string): never {
  throw new GatewayError("invalid_request", `${argument} ${rule}.`, { field: argument });
}

/** Characters, as code points. */
function lengthOf(text: string): number {
  return [...text].length;
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}
