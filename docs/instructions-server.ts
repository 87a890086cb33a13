/**
 * The built-in server composed by itself, of parts in memory: no gateway, no database, no network (OT-25 to OT-27).
 *
 *     npx node docs/instructions-server.ts
 *
 * Every part is an interface with another form in the gateway: documents and blocklists are in D1, roles in D1 or in the
 * claims of a token, identities proven by JWTs and virtual keys, runs in `Session` objects, and rows go to the call log.
 */
import { inMemoryCallLog } from "../src/calls/in-memory-call-log.ts";
import { askersOf, buildServer, type ServerParts, type ToolResult } from "../src/instructions/build-server.ts";
import { inMemoryBlocklists, inMemoryInstructions, inMemoryRoles } from "../src/instructions/in-memory-instructions.ts";
import { createNewId } from "../src/platform/ids.ts";
import { inMemoryRuns } from "../src/runs/in-memory-runs.ts";

/** What each has to show. */
const TOKENS = { alice: "token-of-alice", bob: "token-of-bob" };
const PEOPLE = new Map([
  [TOKENS.alice, { sub: "alice", email: "alice@acme.example" }],
  [TOKENS.bob, { sub: "bob", email: "bob@acme.example" }],
]);

/** The org `acme`: alice administers it, bob is a member, and four names are not to be written down. */
export function partsInMemory() {
  const clock = () => Date.now();
  const log = inMemoryCallLog();
  const runs = inMemoryRuns(clock);
  const roles = inMemoryRoles({ acme: { alice: { role: "org_admin" }, bob: { role: "member" } } });
  const terms = ["Antonini", "Bolelli", "Delgado", "Thomas"];
  const parts: ServerParts<string> = {
    name: "acme-instructions",
    askerOf: askersOf({ identity: (token) => PEOPLE.get(token) ?? null, scope: "acme", roles }),
    store: inMemoryInstructions(),
    blocklists: inMemoryBlocklists({ acme: { terms, forbid_attribution: true } }),
    runs,
    readmeOf: async () => "Thresholds are in rule/seuils.",
    businessOf: async () => "You work for Acme.",
    sink: (row) => log.append(JSON.stringify([row])),
    hasGroup: async () => false,
    onWritten: () => undefined,
    clock,
    newId: createNewId(clock),
  };
  return { parts, log, runs };
}

/**
 * Bob works within a run and may not write; alice writes, but no names.
 *
 * @param parts Of any form; the org is acme, with the people and the blocklist of `partsInMemory`.
 * @param tokens What alice and bob show.
 * @param told Takes each call with its result.
 * @returns Bob's run.
 */
export async function demo(
  parts: ServerParts<string>,
  tokens: { readonly alice: string; readonly bob: string },
  told: (who: string, tool: string, result: ToolResult) => void = () => undefined,
): Promise<string> {
  const server = buildServer(parts);
  const as = (who: keyof typeof tokens) => async (tool: string, args: unknown) => {
    const result = await server.call(tokens[who], { tool, args, session_id: `session-of-${who}` });
    told(who, tool, result);
    return result;
  };
  const [alice, bob] = [as("alice"), as("bob")];

  const started = await bob("run_start", { label: "check the thresholds", doctrine: "rule/seuils" });
  const run_id = String(started.structuredContent?.["run_id"]);
  await bob("readme_agent", {});
  await bob("list_instructions", {});
  await bob("set_instruction", { kind: "rule", slug: "seuils", body: "Ten." });
  await bob("run_finish", { run_id, outcome: "blocked", note: "Only an admin may write." });

  await alice("set_instruction", { kind: "rule", slug: "seuils", title: "Thresholds", body: "Ten, and never more." });
  await alice("set_instruction", { kind: "rule", slug: "seuils", body: "« On crève sinon » — Antonini" });
  await bob("get_instruction", { kind: "rule", slug: "seuils" });
  return run_id;
}

if (import.meta.main) {
  const { parts, log } = partsInMemory();
  console.log(await buildServer(parts).instructions("acme"), "\n");
  await demo(parts, TOKENS, (who, tool, { content: [block], isError }) =>
    console.log(`${who} ${tool}${isError ? " REFUSED" : ""}: ${block?.text}`),
  );
  console.log("\nThe call log:");
  console.table(log.rows.map(({ sub, tool, ok, error, run_id }) => ({ sub, tool, ok, error, run_id })));
}
