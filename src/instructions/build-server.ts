/**
 * The built-in server, composed of whatever it is given (OT-25, OT-26): in the gateway of D1, the `Session` objects and
 * what the doors have proven; by itself of the forms in memory, or of any others.
 */
import { type CallRow, cut, loggedArguments } from "../calls/call.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { causesOf, log } from "../platform/log.ts";
import { type RunPlace, type RunStacks, STAMPS_PER_MS } from "../runs/run.ts";
import { builtInDefinitions, createBuiltInTools, isToolName, type Performed } from "./built-in-tools.ts";
import { type Caller, createCallers, type RoleStore, type ScopeResolver } from "./caller.ts";
import { createInstructions, type InstructionsDeps } from "./instructions.ts";

/** Somebody who asks, as their org sees them. */
export type Asker = Caller & { readonly email: string | null };

/** @typeParam Ask What a call comes with: a token, a request, or what a door has proven. */
export interface ServerParts<Ask> extends InstructionsDeps {
  readonly name: string;
  /** Who asks, in which org, with which roles; `askersOf`, or somebody else's proof. */
  readonly askerOf: (ask: Ask) => Asker | Promise<Asker>;
  readonly runs: RunStacks;
  /** What `readme_agent` gives, by org; `""` for nothing. */
  readonly readmeOf: (orgId: string) => Promise<string>;
  /** What an org tells all of its agents; `""` for nothing. */
  readonly businessOf: (orgId: string) => Promise<string>;
  /** Takes the row of every call. What it throws is logged, and changes nothing (OT-24). */
  readonly sink: (row: CallRow, ask: Ask) => void | Promise<void>;
  readonly newId: (prefix: string) => string;
}

export interface ToolRequest {
  readonly tool: string;
  /** As the client sent them; undefined for none. */
  readonly args: unknown;
  /** The client's session; the calls of one share a stack of runs, those without one share their principal's. */
  readonly session_id: string | null;
  /** The name of that stack, where it has one already. */
  readonly stack?: string;
  /** As of `RunPlace`; by default behind all calls that came here before. */
  readonly entered?: number;
  /** The run that the client has named for the call. */
  readonly named?: string | null;
}

/** A result of `tools/call`, as every era has it. */
export interface ToolResult {
  readonly content: readonly { readonly type: "text"; readonly text: string }[];
  readonly structuredContent?: Readonly<Record<string, unknown>>;
  readonly isError?: true;
}

/** What every agent is told of the tools, behind what its org says. */
export const BASE_TEXT = `How to work here:
1. Call readme_agent first. It says how this organization works and which instructions it has.
2. Find what concerns your task with list_instructions, and load it with get_instruction before you begin.
3. Bracket your work: run_start when you begin a piece of it, run_finish with its outcome when it has ended.
4. set_instruction is for admins. It refuses texts that name persons or clients.`;

export type BuiltInServer<Ask> = ReturnType<typeof buildServer<Ask>>;

export function buildServer<Ask>(parts: ServerParts<Ask>) {
  const { name, askerOf, runs, businessOf, sink, clock, newId } = parts;
  let latest = 0;
  const next = () => {
    latest = Math.max(latest + 1, clock() * STAMPS_PER_MS);
    return latest;
  };
  const { perform } = createBuiltInTools({ ...parts, instructions: createInstructions(parts) });

  return {
    name,
    tools: builtInDefinitions,

    /** What a client is told when it connects: the org's own text, a blank line, the base text. */
    async instructions(orgId: string): Promise<string> {
      const business = (await businessOf(orgId)).trim();
      return business === "" ? BASE_TEXT : `${business}\n\n${BASE_TEXT}`;
    },

    /** Performs one call. Never throws: what goes wrong is a result that says so, and a row. */
    async call(ask: Ask, request: ToolRequest): Promise<ToolResult> {
      const created_at = clock();
      const { tool, args, session_id, stack, entered = next(), named = null } = request;
      let asker: Asker | null = null;
      let run: string | null | undefined = null;
      let performed: Performed | null = null;
      let failure: GatewayError | null = null;
      try {
        asker = await askerOf(ask);
        const ids = { org_id: asker.org, principal_id: asker.id, session_id, entered, named };
        const place: RunPlace = { ...ids, stack: stack ?? JSON.stringify([asker.org, asker.id, session_id]) };
        run = await runs.active(place);
        if (!isToolName(tool)) throw new GatewayError("not_found", `Unknown tool: ${cut(tool)}`);
        performed = await perform(asker, tool, args, place);
        if (performed.run_id !== undefined) run = performed.run_id;
      } catch (thrown) {
        failure = GatewayError.from(thrown);
        if (failure.code === "internal") log("error", "tool_failed", { tool: cut(tool), causes: causesOf(failure) });
      }
      const row: CallRow = {
        ...{ id: newId("call"), created_at, org_id: asker?.org ?? "", server: name, server_id: name, tool: cut(tool) },
        exposed_name: cut(tool),
        parent_run_id: null,
        outcome: failure === null ? "ok" : failure.code === "internal" ? "gateway_failed" : "tool_error",
        ...{ door: name, sub: asker?.id ?? null, email: asker?.email ?? null, virtual_key_id: null, session_id },
        ...(run === undefined ? { run_id: null, entered } : { run_id: run }),
        ...{ args: loggedArguments(args), ok: failure === null, error: failure === null ? null : cut(failure.message) },
        ...{ reason: null, duration_ms: clock() - created_at, upstream_ms: null, attempts: 0, cost_nano: 0 },
        definition_hash: null,
      };
      try {
        await sink(row, ask);
      } catch (thrown) {
        log("error", "call_not_logged", { call: row.id, causes: causesOf(thrown) });
      }
      return resultOf(performed, failure);
    },
  };
}

/**
 * Asks the three that say who somebody is (OT-4, OT-5, OT-21).
 *
 * @param identity Null for whoever proves nothing.
 * @returns Throws GatewayError `unauthorized`; `org_required` where there is no org for them.
 */
export function askersOf<Ask>({
  identity,
  scope,
  roles,
}: {
  readonly identity: (ask: Ask) => Person | null | Promise<Person | null>;
  readonly scope: ScopeResolver;
  readonly roles: RoleStore;
}): (ask: Ask) => Promise<Asker> {
  const callerOf = createCallers({ scope, roles });
  return async (ask) => {
    const person = await identity(ask);
    if (person === null) throw new GatewayError("unauthorized", "it is not known who asks");
    return { ...(await callerOf(person.sub)), email: person.email };
  };
}

export interface Person {
  readonly sub: string;
  readonly email: string | null;
}

function resultOf(performed: Performed | null, failure: GatewayError | null): ToolResult {
  if (performed === null) {
    return { content: [{ type: "text", text: failure?.message ?? "Something went wrong." }], isError: true };
  }
  const { result, text = JSON.stringify(result) } = performed;
  return { content: [{ type: "text", text }], structuredContent: result };
}
