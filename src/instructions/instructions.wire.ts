import * as z from "zod";

const Count = z.int().min(0);
const Digits = z.string().regex(/^\d{1,9}$/, "must be a whole number");

/** As they are stored. */
export const Frontmatter = z.record(z.string(), z.string());
export const Terms = z.array(z.string());

export const InstructionInput = z.strictObject({
  body: z.string(),
  title: z.string().optional(),
  description: z.string().optional(),
  frontmatter: Frontmatter.optional(),
  expected_version: Count.optional().describe("The version it was made from; 0: there is none yet."),
});
export type InstructionInput = z.infer<typeof InstructionInput>;

export const EntryView = z.strictObject({
  kind: z.string(),
  slug: z.string(),
  group: z.string().nullable().describe("Null: the org's own."),
  title: z.string(),
  description: z.string(),
  version: z.int(),
  set_by: z.string(),
  updated_at: z.iso.datetime(),
});
EntryView.register(z.globalRegistry, { id: "InstructionEntry" });

export const InstructionView = EntryView.extend({ body: z.string(), frontmatter: Frontmatter });
InstructionView.register(z.globalRegistry, { id: "Instruction" });

const Group = z.string().optional().describe("Empty: the org's own.");
export const GroupQuery = z.strictObject({ group: Group });
export const ListQuery = z.strictObject({
  kind: z.string().optional(),
  group: Group,
  page: z.string().optional(),
  page_size: z.string().optional(),
});
export type ListQuery = z.infer<typeof ListQuery>;
export const RevisionsQuery = z.strictObject({
  group: Group,
  page: z.string().optional(),
  page_size: z.string().optional(),
});
export type RevisionsQuery = z.infer<typeof RevisionsQuery>;

export const RestoreInput = z.strictObject({ version: z.int().min(1), expected_version: Count.optional() });
export type RestoreInput = z.infer<typeof RestoreInput>;

export const DiffQuery = z.strictObject({
  group: Group,
  from: Digits.optional().describe("Without it: the version before `to`."),
  to: Digits.optional().describe("Without it: the latest version."),
});
export type DiffQuery = z.infer<typeof DiffQuery>;

export const DiffView = z.strictObject({
  kind: z.string(),
  slug: z.string(),
  group: z.string().nullable(),
  from: z.int(),
  to: z.int(),
  changes: z
    .array(z.strictObject({ field: z.string(), before: z.string().nullable(), after: z.string().nullable() }))
    .describe("All fields that differ but the body."),
  hunks: z.array(
    z.strictObject({
      from_line: z.int(),
      removed: z.array(z.string()),
      to_line: z.int(),
      added: z.array(z.string()),
    }),
  ),
});
DiffView.register(z.globalRegistry, { id: "InstructionDiff" });

export const BlocklistView = z.strictObject({
  terms: z.array(z.string().trim().min(1).max(200)).max(1_000),
  forbid_attribution: z.boolean().describe("Refuses quotations that say who they are from."),
});
BlocklistView.register(z.globalRegistry, { id: "Blocklist" });

const File = z.strictObject({ path: z.string().min(1).max(1_000), content: z.string() });
export const ImportInput = z.strictObject({ files: z.array(File).min(1).max(100) });
export const ImportView = z.strictObject({
  files: z.array(
    z.strictObject({
      path: z.string(),
      kind: z.string(),
      slug: z.string(),
      group: z.string().nullable(),
      version: z.int(),
    }),
  ),
});
export const ExportQuery = z.strictObject({ kind: z.string().optional(), group: Group, from: Digits.optional() });
export type ExportQuery = z.infer<typeof ExportQuery>;
export const ExportView = z.strictObject({
  files: z.array(File),
  next: z.int().nullable().describe("Where the rest begins, as `from`; null when there is none."),
});
