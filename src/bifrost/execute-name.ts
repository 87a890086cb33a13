/** Which tool a name means at the execute door (PS-26). A pure lookup: no name is ever taken apart to be believed. */
import { type Admission, admit, admitServer, type Refusal } from "../access/admission.ts";
import type { RequestFilters } from "../access/request-filters.ts";
import type { Server, Snapshot, Tool } from "../catalog/snapshot.ts";
import type { Principal } from "../identity/principal.ts";

/** What a name led to; without a tool the call is refused, and the row says what for. */
export interface Named {
  readonly server: Server | undefined;
  readonly tool: Tool | undefined;
}

/** No name of a client is longer: 128 characters, each of two units at most (RB-5). */
const MAX_CLIENT_LENGTH = 256;

/**
 * Looks a name up among what the principal is admitted to: the exposed name, then `<client>-<tool>`, then the server's
 * own name of a tool. The first of these steps with a hit decides. Without any, a stdio server that the name begins with
 * is what was meant (PS-62), and then whatever is refused.
 */
export function toolNamed(
  snapshot: Snapshot,
  principal: Principal,
  filters: RequestFilters,
  name: string,
): Named | "ambiguous" {
  const clients = splitsOf(name);
  const steps = [exposed(snapshot, name), behindClient(snapshot, clients), bare(snapshot, name)];
  const refused: { tool: Tool; reason: Refusal }[] = [];
  for (const step of steps) {
    const decided = step.map((tool): [Tool, Admission] => [tool, admit(principal, filters, tool.server, tool)]);
    const [first, second] = decided.filter(([, { allowed }]) => allowed);
    if (second !== undefined) return "ambiguous";
    if (first !== undefined) return namedBy(first[0]);
    refused.push(...decided.flatMap(([tool, one]) => (one.allowed ? [] : [{ tool, reason: one.reason }])));
  }
  const waiting = stdioServers(snapshot, name, clients).find((server) => !admitServer(principal, filters, server));
  if (waiting !== undefined) return { server: waiting, tool: undefined };
  // Of several the one that came nearest to being allowed, so that the answer does not depend on their order.
  const [nearest] = refused.toSorted((a, b) => REASONS.indexOf(b.reason) - REASONS.indexOf(a.reason) || byName(a, b));
  return nearest === undefined ? { server: undefined, tool: undefined } : namedBy(nearest.tool);
}

/** In the order of B.4. */
const REASONS: readonly Refusal[] = [
  "not_visible",
  "server_disabled",
  "server_not_active",
  "tool_unknown",
  "tool_blocked",
  "filtered",
  // Behind the filter, although it is found before: it alone has words of its own (BF-59).
  "key_denied",
];

function byName({ tool: a }: { tool: Tool }, { tool: b }: { tool: Tool }): number {
  return a.exposed_name < b.exposed_name ? -1 : 1;
}

function namedBy(tool: Tool): Named {
  return { server: tool.server, tool };
}

function exposed({ tools }: Snapshot, name: string): Tool[] {
  const tool = tools.get(name);
  return tool === undefined ? [] : [tool];
}

/** A client is known by slug and by display name, ignoring case as in filters (BF-52); its tool byte for byte. */
function behindClient({ servers }: Snapshot, clients: ReadonlyMap<string, string>): Tool[] {
  return [...servers.values()].flatMap((server) => {
    const hits = namesOf(server).flatMap((client) => {
      const rest = clients.get(client);
      const tool = rest === undefined ? undefined : server.tools.get(rest);
      return tool === undefined ? [] : [tool];
    });
    return [...new Set(hits)];
  });
}

function bare({ servers }: Snapshot, name: string): Tool[] {
  return [...servers.values()].flatMap((server) => {
    const tool = server.tools.get(name);
    return tool === undefined ? [] : [tool];
  });
}

/** Nobody has seen the tools of a stdio server, so what follows its name is not looked at. The longest name first. */
function stdioServers({ servers }: Snapshot, name: string, clients: ReadonlyMap<string, string>): Server[] {
  const at = name.indexOf("__");
  const slug = at === -1 ? "" : name.slice(0, at).toLowerCase();
  return [...servers.values()]
    .filter(({ record }) => record.connection_type === "stdio")
    .filter((server) => server.record.name.toLowerCase() === slug || namesOf(server).some((own) => clients.has(own)))
    .toSorted((a, b) => b.record.name.length - a.record.name.length);
}

/** What may be a client, in lower case, and what stands behind it: one entry for each hyphen. */
function splitsOf(name: string): Map<string, string> {
  const splits = new Map<string, string>();
  for (let at = name.indexOf("-"); at !== -1 && at <= MAX_CLIENT_LENGTH; at = name.indexOf("-", at + 1)) {
    splits.set(name.slice(0, at).toLowerCase(), name.slice(at + 1));
  }
  return splits;
}

function namesOf({ record }: Server): string[] {
  return [record.name.toLowerCase(), record.display_name.toLowerCase()];
}
