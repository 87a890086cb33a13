import type * as z from "zod";

/** A field that may be left out, or be null to say the same. */
export function omissible<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}
