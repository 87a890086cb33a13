import * as z from "zod";

/** BF-18: `["*"]`, or names without blanks and duplicates (ignoring case). */
export const ToolList = z
  .array(z.string().max(256))
  .max(10_000)
  .refine((names) => names.every((name) => name.trim() !== ""), "must not have blank names")
  .refine((names) => !names.includes("*") || names.length === 1, '"*" must stand alone')
  .refine((names) => new Set(names.map((name) => name.toLowerCase())).size === names.length, "must not repeat a name");
