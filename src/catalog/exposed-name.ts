/** Names of tools on `/mcp` (PS-25). A map leads back from a name to its tool; names are never parsed. */
import { sha256Hex } from "../platform/hash.ts";

const LEGAL = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_LENGTH = 64;

/** Hexadecimal digits of the hash in a name: the first, and those that tools take whose shorter names clash. */
const DIGITS = [8, 16, 32, 48] as const;

/**
 * The name under which a tool is offered: `<server>__<tool>` where that is legal, else every other character becomes
 * `_`, and the head of a hash of the full name keeps it apart from others.
 *
 * @param digits Of the hash; more than the first count only for tools whose shorter names clash.
 */
export function exposedName(server: string, tool: string, digits: (typeof DIGITS)[number] = 8): string {
  const full = `${server}__${tool}`;
  if (LEGAL.test(full) && digits === DIGITS[0]) return full;
  const head = full.replaceAll(/[^A-Za-z0-9_-]/gu, "_").slice(0, MAX_LENGTH - 1 - digits);
  return `${head}_${sha256Hex(full).slice(0, digits)}`;
}

/** The exposed names of all tools, by position. Tools that would share one all take longer hashes, until none does. */
export function exposedNames(tools: readonly { server: string; tool: string }[]): string[] {
  const levels = tools.map(() => 0);
  let names = tools.map(({ server, tool }) => exposedName(server, tool));
  for (let round = 1; round < DIGITS.length; round++) {
    const uses = new Map<string, number>();
    for (const name of names) uses.set(name, (uses.get(name) ?? 0) + 1);
    if (uses.size === names.length) break;
    names = tools.map(({ server, tool }, at) => {
      const name = names[at] ?? "";
      const level = (levels[at] ?? 0) + ((uses.get(name) ?? 0) > 1 ? 1 : 0);
      levels[at] = level;
      return exposedName(server, tool, DIGITS[level]);
    });
  }
  return names;
}
