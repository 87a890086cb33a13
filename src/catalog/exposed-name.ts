/** Names of tools on `/mcp` (PS-25). A map leads back from a name to its tool; names are never parsed. */
import { sha256Hex } from "../platform/hash.ts";

const LEGAL = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_LENGTH = 64;

/**
 * The name under which a tool is offered: `<server>__<tool>` where that is legal, else every other character becomes
 * `_`, and the head of a hash of the full name keeps it apart from others.
 *
 * @param digits Hexadecimal digits of the hash: 8, or 16 for tools whose shorter names clash.
 */
export function exposedName(server: string, tool: string, digits: 8 | 16 = 8): string {
  const full = `${server}__${tool}`;
  if (LEGAL.test(full) && digits === 8) return full;
  const head = full.replaceAll(/[^A-Za-z0-9_-]/gu, "_").slice(0, MAX_LENGTH - 1 - digits);
  return `${head}_${sha256Hex(full).slice(0, digits)}`;
}

/**
 * The exposed names of all tools, by position. Where two would share one, both take the longer hash.
 */
export function exposedNames(tools: readonly { server: string; tool: string }[]): string[] {
  const names = tools.map(({ server, tool }) => exposedName(server, tool));
  const uses = new Map<string, number>();
  for (const name of names) uses.set(name, (uses.get(name) ?? 0) + 1);
  return names.map((name, at) => {
    const own = tools[at];
    return own !== undefined && (uses.get(name) ?? 0) > 1 ? exposedName(own.server, own.tool, 16) : name;
  });
}
