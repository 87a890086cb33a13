/** A tool's definition as its server gave it: kept as text, told apart by a hash. Pure. */
import { canonicalJson } from "../platform/canonical-json.ts";
import { sha256Hex } from "../platform/hash.ts";
import { applyEdits, depthOf, editMembers, memberOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";

/** A tool of a server's list. */
export interface DiscoveredTool {
  readonly name: string;
  /** JSON text exactly as received. */
  readonly definition: string;
  readonly definition_hash: string;
}

/** A tool that was left out, and why, in our words (BF-65). */
export interface SkippedTool {
  /** Shortened and without control characters: it is the server's text. */
  readonly name: string;
  readonly reason: string;
}

const MAX_NAME_LENGTH = 256;
/** Control characters, half surrogates, line separators, and what turns the direction of a text around. */
const HIDDEN = /[\p{Cc}\p{Cs}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;
export const MAX_DEFINITION_LENGTH = 256 * 1024;
const MAX_DEPTH = 64;

/** Reads one element of a `tools/list` result. Never throws: a bad entry is skipped and the others are kept. */
export function readDefinition(text: string): DiscoveredTool | SkippedTool {
  const value: unknown = JSON.parse(text);
  const name = typeof value === "object" && value !== null && "name" in value ? value.name : undefined;
  const skip = (reason: string): SkippedTool => ({ name: printable(name), reason });
  if (typeof name !== "string" || name === "") return skip("The tool has no name.");
  // What JavaScript makes of an object with a member of this name differs from place to place.
  if (name === "__proto__") return skip("The name is one that cannot be used.");
  if (name.length > MAX_NAME_LENGTH) return skip(`The name has more than ${MAX_NAME_LENGTH} characters.`);
  if (HIDDEN.test(name)) return skip("The name has control characters.");
  if (text.length > MAX_DEFINITION_LENGTH) {
    return skip(`The definition has more than ${MAX_DEFINITION_LENGTH / 1024} KiB.`);
  }
  if (depthOf(text) > MAX_DEPTH) return skip(`The definition nests more than ${MAX_DEPTH} levels deep.`);
  return { name, definition: text, definition_hash: hashOf(value) };
}

/** PS-20: SHA-256 over the canonical JSON of a definition without its `_meta`. */
export function hashOf(definition: unknown): string {
  if (!isObject(definition)) return sha256Hex(canonicalJson(definition));
  const { _meta: _, ...hashed } = definition;
  return sha256Hex(canonicalJson(hashed));
}

function printable(name: unknown): string {
  return typeof name === "string" ? name.replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, "\u{fffd}").slice(0, 64) : "";
}

/** What an approved definition says about its tool, as far as the gateway acts on it. */
export interface DefinitionFacts {
  readonly title: string | null;
  readonly description: string;
  readonly input_schema: Record<string, unknown>;
  readonly output_schema: unknown;
  readonly annotations: unknown;
}

const EMPTY_SCHEMA = { type: "object", properties: {} };

/** RB-26: the fields of a definition, with the defaults for what is absent or unusable. */
export function factsOf(definition: string): DefinitionFacts {
  const { title, description, inputSchema, outputSchema, annotations } = JSON.parse(definition) as Record<
    string,
    unknown
  >;
  return {
    title: typeof title === "string" ? title : null,
    description: typeof description === "string" ? description : "",
    input_schema: isObject(inputSchema) ? inputSchema : EMPTY_SCHEMA,
    output_schema: outputSchema ?? null,
    annotations: annotations ?? null,
  };
}

/** A tool of a server as others describe it: the approved definition, without what only MCP knows (BF-5). */
export interface ApprovedTool {
  readonly name: string;
  readonly description: string;
  readonly input_schema: Record<string, unknown>;
  /** Only where the definition has it. */
  readonly strict?: boolean;
}

/** @param definition The approved one. */
export function approvedTool(name: string, definition: string): ApprovedTool {
  const { description, input_schema } = factsOf(definition);
  const { strict } = JSON.parse(definition) as Record<string, unknown>;
  return { name, description, input_schema, ...(typeof strict === "boolean" ? { strict } : {}) };
}

/** How a definition is shown. */
export interface Showing {
  /** The exposed name. */
  readonly name: string;
  /** Stands in `_meta["dev.postern/auto_execute"]`, beside whatever the server gave (BF-61). */
  readonly auto_execute: boolean;
  /** The reader's era allows objects as structured content only (protocol.md 3.5.4). */
  readonly objectsOnly: boolean;
}

const AUTO_EXECUTE = "dev.postern/auto_execute";

/**
 * A definition as agents are shown it: its members byte for byte as received, but under its exposed name, with a usable
 * `inputSchema` (RG-27), and without an `outputSchema` that the reader's era does not know.
 */
export function shownDefinition(definition: string, { name, auto_execute, objectsOnly }: Showing): string {
  const { name: own, inputSchema, outputSchema, _meta } = JSON.parse(definition) as Record<string, unknown>;
  const metaAt = isObject(_meta) ? memberOf(definition, 0, "_meta") : undefined;
  const meta = metaAt === undefined ? "{}" : definition.slice(metaAt.valueStart, metaAt.end);
  const put = {
    ...(own === name ? {} : { name: JSON.stringify(name) }),
    ...(isObject(inputSchema) ? {} : { inputSchema: JSON.stringify(EMPTY_SCHEMA) }),
    _meta: applyEdits(meta, editMembers(meta, 0, { [AUTO_EXECUTE]: String(auto_execute) })),
  };
  const isForeign =
    objectsOnly && outputSchema !== undefined && !(isObject(outputSchema) && outputSchema["type"] === "object");
  return applyEdits(definition, editMembers(definition, 0, put, isForeign ? ["outputSchema"] : []));
}
