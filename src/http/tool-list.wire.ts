import * as z from "zod";

/** D1 takes two megabytes in one parameter. */
const MAX_LENGTH = 1_000_000;

/** BF-18: `["*"]`, or names without blanks and duplicates (ignoring case). */
export const ToolList = z
  .array(z.string().max(256))
  .max(10_000)
  .refine((names) => names.every((name) => name.trim() !== ""), "must not have blank names")
  .refine((names) => !names.includes("*") || names.length === 1, '"*" must stand alone')
  .refine((names) => new Set(names.map((name) => name.toLowerCase())).size === names.length, "must not repeat a name")
  .refine((names) => JSON.stringify(names).length <= MAX_LENGTH, "must have at most a million characters");
