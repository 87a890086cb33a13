/** The `instructions` of a handshake, compiled once per generation and view like the lists of tools. */
import { admitServer } from "../access/admission.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { GATEWAY } from "../registry/inprocess.ts";
import { introduction } from "./introduction.ts";
import { type DoorRequest, serverOfDoor } from "./request.ts";

export interface IntroductionDeps {
  /** What the org tells all of its agents. */
  readonly textOf: (orgId: string) => Promise<string>;
  /** The same, with how to use the built-in tools. */
  readonly builtInTextOf: (orgId: string) => Promise<string>;
  /** What it tells them of servers, by id. */
  readonly contextsOf: (orgId: string) => Promise<ReadonlyMap<string, string>>;
  /** Compiled texts by everything they depend on, `""` for none. */
  readonly memory: ExpiringMap<string, string>;
  readonly clock: Clock;
}

const KEEP_MS = 600_000;

/** What this client is told at this door; at a server's door of that server only. Null: nothing. */
export async function introduce(request: DoorRequest): Promise<string | null> {
  const { services, snapshot, principal, filters, slug } = request;
  const { textOf, builtInTextOf, contextsOf, memory, clock } = services.introductions;
  const { org_id, generation, servers } = snapshot;
  const at = [org_id, generation.registry, generation.org, principal.view, filters.view, slug?.toLowerCase() ?? "*"];
  const key = JSON.stringify(["introduction", ...at]);
  const held = memory.get(key);
  if (held !== undefined) return held === "" ? null : held;
  const own = serverOfDoor(request);
  const shown = (slug === null ? [...servers.values()] : own === undefined ? [] : [own]).filter(
    (server) => admitServer(principal, filters, server) === null,
  );
  // Whoever may see nothing of the org is told nothing of it.
  if (shown.length === 0 && principal.role === null && !principal.isPlatformAdmin) return null;
  const hasBuiltIn = shown.some(({ record }) => record.server_id === GATEWAY);
  const [text, contexts] = await Promise.all([(hasBuiltIn ? builtInTextOf : textOf)(org_id), contextsOf(org_id)]);
  const told = introduction(
    text,
    shown.map(({ record: { server_id, name, instructions, approved_instructions } }) => ({
      name,
      context: contexts.get(server_id) ?? null,
      instructions: instructions === null ? null : approved_instructions,
    })),
  );
  memory.set(key, told ?? "", clock() + KEEP_MS);
  return told;
}
