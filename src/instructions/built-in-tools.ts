/**
 * The built-in tools: what agents are told of them, who may use which, and what each does (OT-6 to OT-10, OT-15,
 * OT-19). Everything from outside is an argument; who asks is decided elsewhere, and so is what becomes of the log.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { type RunPlace, type RunStacks, readDraft, readEnd } from "../runs/run.ts";
import * as wire from "./built-in-tools.wire.ts";
import { type Caller, type Rank, requireRank } from "./caller.ts";
import type { InstructionEntry } from "./instruction.ts";
import type { createInstructions } from "./instructions.ts";

export type ToolName = keyof typeof SHOWN;

export interface BuiltInDeps {
  readonly instructions: Pick<ReturnType<typeof createInstructions>, "index" | "get" | "set">;
  readonly runs: RunStacks;
  /** How an org tells agents to work. */
  readonly readmeOf: (orgId: string) => Promise<string>;
}

/** What a call has brought. */
export interface Performed {
  /** Structured content; it fits the output schema. */
  readonly result: Readonly<Record<string, unknown>>;
  /** The same as text, where that is not its JSON. */
  readonly text?: string;
  /** The run that the row of the call is of; left out where that is the one it has entered in (OT-17). */
  readonly run_id?: string | null;
}

/** The role that each tool asks for in the org, and in a group where one is named (OT-10, OT-19). */
const ROLES: Readonly<Record<ToolName, { readonly org: Gate; readonly group?: Gate }>> = {
  readme_agent: { org: "member" },
  list_instructions: { org: "member" },
  get_instruction: { org: "member" },
  set_instruction: { org: "org_admin", group: "group_admin" },
  run_start: { org: "member" },
  run_finish: { org: "member" },
};
type Gate = Exclude<Rank, "none">;

/** What MCP shows of the tools, beside their schemas. */
const SHOWN = {
  readme_agent: {
    title: "Read me first",
    description:
      "Tells how to work with this organization's tools, and which instructions there are. Call it first, \
before any other tool, and follow what it says.",
    annotations: { readOnlyHint: true, openWorldHint: false },
    input: wire.ReadmeInput,
    output: wire.ReadmeOutput,
  },
  list_instructions: {
    title: "List instructions",
    description:
      "Lists the organization's instructions (knowledge, rules, skills and the like) by kind and slug, with \
what each is about. Load those that concern your task with get_instruction.",
    annotations: { readOnlyHint: true, openWorldHint: false },
    input: wire.ListInput,
    output: wire.ListOutput,
  },
  get_instruction: {
    title: "Load an instruction",
    description:
      "Gives the whole text of one instruction in its present version. Load it before you do what it is about.",
    annotations: { readOnlyHint: true, openWorldHint: false },
    input: wire.GetInput,
    output: wire.GetOutput,
  },
  set_instruction: {
    title: "Write an instruction",
    description:
      "Writes an instruction as its next version; former versions are kept. For admins of the organization, \
or of the group that is named. A text that names a person or a client is refused: say it without the name.",
    annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: false },
    input: wire.SetInput,
    output: wire.SetOutput,
  },
  run_start: {
    title: "Start a run",
    description:
      "Opens a run: a bracket around a piece of work, so that its calls are logged and priced together. Calls \
belong to the run opened last until run_finish closes it; runs may be opened inside runs. With budget_usd, a call that \
would cost more than is left is refused.",
    annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: false },
    input: wire.StartInput,
    output: wire.StartOutput,
  },
  run_finish: {
    title: "Finish a run",
    description:
      "Closes a run and says how it went. Close every run that you have opened, also when the work has failed \
or cannot go on.",
    annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: true, openWorldHint: false },
    input: wire.FinishInput,
    output: wire.FinishOutput,
  },
} as const;

export function isToolName(name: string): name is ToolName {
  return Object.hasOwn(SHOWN, name);
}

/** The tools as MCP lists them, sorted by name. */
export function builtInDefinitions(): { readonly name: ToolName; readonly [member: string]: unknown }[] {
  const names = Object.keys(SHOWN).filter(isToolName).toSorted();
  return names.map((name) => {
    const { title, description, annotations, input, output } = SHOWN[name];
    const [inputSchema, outputSchema] = [wire.jsonSchemaOf(input), wire.jsonSchemaOf(output)];
    return { name, title, description, inputSchema, outputSchema, annotations };
  });
}

export function createBuiltInTools({ instructions, runs, readmeOf }: BuiltInDeps) {
  /** By name; what comes in has passed the role, and is read here. */
  const tools: Readonly<Record<ToolName, (caller: Caller, args: unknown, place: RunPlace) => Promise<Performed>>> = {
    async readme_agent(caller, args) {
      read(wire.ReadmeInput, args);
      const [readme, index] = await Promise.all([readmeOf(caller.org), instructions.index(caller)]);
      return { result: { scope: caller.org, readme, instructions: index.map(entryOf) } };
    },

    async list_instructions(caller, args) {
      const index = await instructions.index(caller, read(wire.ListInput, args));
      const result = index.map(entryOf);
      return { result: { result }, text: JSON.stringify(result) };
    },

    async get_instruction(caller, args) {
      const { kind, slug, title, version, body } = await instructions.get(caller, read(wire.GetInput, args));
      return { result: { kind, slug, title, version, body } };
    },

    async set_instruction(caller, args) {
      const { kind, slug, group, ...given } = read(wire.SetInput, args);
      const { version } = await instructions.set(caller, { kind, slug, group }, given);
      return { result: { kind, slug, version } };
    },

    async run_start(_, args, place) {
      const draft = readDraft(crypto.randomUUID().replaceAll("-", ""), read(wire.StartInput, args));
      const { parent_run_id } = await runs.start(place, draft);
      const { run_id, label, doctrine } = draft;
      return { result: { run_id, label, doctrine }, run_id: parent_run_id };
    },

    async run_finish(_, args, place) {
      const { run_id, ...given } = read(wire.FinishInput, args);
      const end = readEnd(given);
      const was_open = await runs.finish(place, run_id, end);
      // A run that was not open here is none that the row could be of.
      return { result: { ok: true, run_id, outcome: end.outcome, was_open }, ...(was_open ? { run_id } : {}) };
    },
  };

  return {
    /**
     * Performs a call for somebody as only their org sees them (OT-20).
     *
     * @param args As the client sent them; undefined for none.
     * @throws GatewayError with the text for the agent: `forbidden` before anything is looked at, `invalid_request` naming
     *   the argument, `not_found`, `conflict`, `unavailable`
     */
    async perform(caller: Caller, name: ToolName, args: unknown, place: RunPlace): Promise<Performed> {
      const { org, group } = ROLES[name];
      const groupId = group === undefined ? "" : groupIn(args);
      requireRank(caller, groupId === "" ? org : (group ?? org), groupId);
      return tools[name](caller, args ?? {}, place);
    },
  };
}

/** The group that arguments name, before anything else about them is known. */
function groupIn(args: unknown): string {
  const group = typeof args === "object" && args !== null && "group" in args ? args.group : undefined;
  return typeof group === "string" ? group : "";
}

function entryOf({ kind, slug, title, description, version, group_id }: InstructionEntry) {
  return { kind, slug, title, description, version, group: group_id === "" ? null : group_id };
}

/** @throws GatewayError `invalid_request` naming the argument, never repeating its value */
function read<T>(schema: wire.Readable<T>, args: unknown): T {
  const parsed = schema.safeParse(args);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.code === "unrecognized_keys" ? issue.keys[0] : issue?.path.map(String).join(".");
  const argument = (field ?? "").slice(0, 100);
  const rule =
    issue?.code === "unrecognized_keys"
      ? "is not an argument of this tool"
      : issue?.code === "invalid_type"
        ? `must be a ${issue.expected}`
        : "is not valid";
  throw new GatewayError("invalid_request", `${argument} ${rule}.`, { field: argument });
}
