/**
 * What a client is told when it connects, for the model to read: the org's own text, how to use the built-in tools
 * where it has them, and a block for each server that the caller may use, with the org's context for it and the
 * server's own approved instructions (RB-23, OT-25). Pure.
 */

/** One server as agents are told of it. */
export interface ServerTexts {
  readonly name: string;
  /** What the org says of it; null for nothing. */
  readonly context: string | null;
  /** What it says of itself, as approved; null for nothing. */
  readonly instructions: string | null;
}

/** Characters of all of it: it stands in front of every conversation of an agent. */
const MAX_LENGTH = 64_000;

/**
 * @param text The org's own, with what is to stand before the servers.
 * @returns The text; null when there is nothing to say.
 */
export function introduction(text: string, servers: readonly ServerTexts[]): string | null {
  const parts = text.trim() === "" ? [] : [text.trim()];
  const blocks = servers
    .filter(({ context, instructions }) => context !== null || instructions !== null)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(blockOf);
  let length = parts.join("").length;
  let left = blocks.length;
  for (const block of blocks) {
    length += block.length;
    if (length > MAX_LENGTH) break;
    parts.push(block);
    left--;
  }
  if (left > 0) parts.push(`(Left out: what there is to know of ${left} more servers.)`);
  return parts.length === 0 ? null : parts.join("\n\n");
}

function blockOf({ name, context, instructions }: ServerTexts): string {
  const lines = [
    ...(context === null ? [] : [`From the organization:\n${inside(context)}`]),
    ...(instructions === null ? [] : [`From the server:\n${inside(instructions)}`]),
  ];
  return `<server name="${name}">\n${lines.join("\n\n")}\n</server>`;
}

/** A text cannot end its block, nor begin another one (T-17). */
function inside(text: string): string {
  return text.trim().replaceAll(/<(?=\s*\/?\s*server)/gi, "&lt;");
}
