/** A JSON Schema in words that fit on a line, for the page. It reads what `z.toJSONSchema` writes and no more. */
import type { JsonSchema } from "./openapi.ts";

/** Words, and among them names of components. */
export type TypeName = readonly { readonly text: string; readonly isLink: boolean }[];

/** The fields of an object, one level deep at a time. */
export type Fields = readonly {
  readonly name: string;
  readonly type: TypeName;
  readonly required: boolean;
  /** Limits and descriptions, one phrase each. */
  readonly notes: readonly string[];
  readonly fields: Fields;
}[];

const REF = "#/components/schemas/";

/** What a value is: `string or null`, `array of Server`, `object of boolean`. */
export function schemaName(schema: JsonSchema): TypeName {
  const { $ref, items, prefixItems, additionalProperties: values } = schema;
  const alternatives = schema.anyOf ?? schema.oneOf;
  if ($ref !== undefined) return [{ text: $ref.replace(REF, ""), isLink: $ref.startsWith(REF) }];
  if (alternatives !== undefined) return joined(alternatives, " or ");
  if (schema.const !== undefined) return words(JSON.stringify(schema.const));
  if (schema.enum !== undefined) return words(schema.enum.map((value) => JSON.stringify(value)).join(" or "));
  if (schema.type === "array") {
    if (Array.isArray(prefixItems)) {
      return [...words("["), ...joined(prefixItems, ", "), ...words("]")];
    }
    return [
      ...words("array of "),
      ...(items === undefined || Array.isArray(items) ? words("any value") : nameOf(items)),
    ];
  }
  if (schema.type === "object" && typeof values === "object" && Object.keys(values).length > 0) {
    return [...words("object of "), ...schemaName(values)];
  }
  const format = schema.format === undefined ? "" : ` (${schema.format})`;
  // Bare alternatives are one keyword: `"type": ["string", "null"]`.
  const types = [schema.type ?? "any value"].flat();
  return words(`${types.join(" or ")}${format}`);
}

/** The fields of a schema, or of what its array holds, or of the object among its alternatives. */
export function schemaFields(schema: JsonSchema): Fields {
  const required = schema.required ?? [];
  if (schema.properties !== undefined) {
    return Object.entries(schema.properties).map(([name, property]) => {
      const known = typeof property === "boolean" ? {} : property;
      return {
        name,
        type: schemaName(known),
        required: required.includes(name),
        notes: notesOf(known),
        fields: schemaFields(known),
      };
    });
  }
  const parts = [...(schema.anyOf ?? schema.oneOf ?? []), ...(Array.isArray(schema.items) ? [] : [schema.items])];
  return parts.flatMap((part) => (typeof part === "object" && part !== null ? schemaFields(part) : []));
}

function nameOf(schema: JsonSchema | boolean | undefined): TypeName {
  return typeof schema === "object" ? schemaName(schema) : words("any value");
}

function joined(schemas: readonly (JsonSchema | boolean)[], separator: string): TypeName {
  return schemas.flatMap((schema, index) => [...words(index > 0 ? separator : ""), ...nameOf(schema)]);
}

function words(text: string): TypeName {
  return text === "" ? [] : [{ text, isLink: false }];
}

const LIMITS = {
  minLength: "length at least N",
  maxLength: "length at most N",
  minItems: "length at least N",
  maxItems: "length at most N",
  minimum: "at least N",
  maximum: "at most N",
  pattern: "matches `N`",
  default: "`N` unless given",
} as const;

function notesOf(schema: JsonSchema): string[] {
  const limits = Object.entries(LIMITS).flatMap(([keyword, words]) => {
    const value = schema[keyword as keyof typeof LIMITS];
    // The length of a tuple is in its name already.
    if (value === undefined || schema.prefixItems !== undefined) return [];
    return [words.replace("N", () => (typeof value === "string" ? value : JSON.stringify(value)))];
  });
  return [...limits, ...(schema.description === undefined ? [] : [schema.description])];
}
