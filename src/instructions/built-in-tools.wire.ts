/** Arguments and results of the built-in tools (OT-7 to OT-10, OT-15). What they say is for models to read. */
import * as z from "zod";

const NAME = { pattern: "^[a-z0-9][a-z0-9_-]{0,63}$" };
const KIND = "What sort of document it is, for example knowledge, rule or skill.";
const SLUG = "Its short name within the kind.";
const OUTCOMES = ["done", "abandoned", "failed", "blocked"];
const Version = z.int().min(1);
const RunId = z.string().describe("32 hexadecimal characters.");

const Entry = z.object({
  kind: z.string(),
  slug: z.string(),
  title: z.string(),
  description: z.string().describe("What it is about, and when to load it."),
  version: Version,
  group: z.string().nullable().describe("The group that it belongs to; null: the whole organization."),
});

export const ReadmeInput = z.strictObject({});
export const ReadmeOutput = z.object({
  scope: z.string().describe("The organization that all of this is about."),
  readme: z.string().describe("How to work here, in the organization's own words; may be empty."),
  instructions: z.array(Entry).describe("The instructions there are, without their texts."),
});

export const ListInput = z.strictObject({ kind: z.string().describe("Only those of this kind.").optional() });
export const ListOutput = z.object({ result: z.array(Entry) });

export const GetInput = z.strictObject({
  kind: z.string().describe(KIND),
  slug: z.string().describe(SLUG),
  group: z.string().describe("Needed only where several groups have a document of this name.").optional(),
});
export const GetOutput = z.object({
  kind: z.string(),
  slug: z.string(),
  title: z.string(),
  version: Version,
  body: z.string().describe("Markdown."),
});

export const SetInput = z.strictObject({
  kind: z.string().meta(NAME).describe(KIND),
  slug: z.string().meta(NAME).describe(SLUG),
  body: z.string().describe("The whole text, in Markdown. It replaces the former one, which is kept as a revision."),
  title: z.string().meta({ maxLength: 200 }).describe("Left out: none.").optional(),
  description: z
    .string()
    .meta({ maxLength: 1_000 })
    .describe("What it is about, and when to load it; this is what others see in the list. Left out: none.")
    .optional(),
  group: z.string().describe("The group it is for. Left out: the whole organization.").optional(),
});
export const SetOutput = z.object({ kind: z.string(), slug: z.string(), version: Version });

export const StartInput = z.strictObject({
  label: z.string().meta({ minLength: 1, maxLength: 200 }).describe("What you are about to do, in a few words."),
  doctrine: z.string().meta({ maxLength: 200 }).describe("The instruction that you go by, if any.").optional(),
  budget_usd: z
    .number()
    .meta({ minimum: 0, maximum: 1_000_000 })
    .describe("What the calls of this run, and of runs inside it, may cost together in USD. Left out: no limit.")
    .optional(),
});
export const StartOutput = z.object({
  run_id: RunId,
  label: z.string(),
  doctrine: z.string().nullable(),
});

export const FinishInput = z.strictObject({
  run_id: RunId.describe("As run_start gave it."),
  outcome: z.string().meta({ enum: OUTCOMES }).describe(
    "done: finished as planned. failed: tried, and it did not work. blocked: somebody else must do something \
first. abandoned: given up.",
  ),
  note: z.string().meta({ maxLength: 2_000 }).describe("What came of it, for whoever reads the log.").optional(),
});
export const FinishOutput = z.object({
  ok: z.literal(true),
  run_id: RunId,
  outcome: z.enum(OUTCOMES),
  was_open: z.boolean().describe("False: there was no such open run, and nothing has changed."),
});

/** What reads arguments. */
export type Readable<T> = Pick<z.ZodType<T>, "safeParse">;

/** What a client is told to send, or may expect: JSON Schema 2020-12, which all revisions take to be the dialect. */
export function jsonSchemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return rest;
}
