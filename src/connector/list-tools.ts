/** Reading the whole tool list of a server, bounded (CN-14, P-48). */
import { type DiscoveredTool, readDefinition, type SkippedTool } from "../catalog/definition.ts";
import { elementsOf, memberOf } from "../platform/json-text.ts";
import { type Asked, askLegacy, askModern, type Line } from "./ask.ts";
import { type ConnectFailure, failureOf, type Verdict } from "./handshake.ts";

const MAX_PAGES = 200;
const MAX_TOOLS = 10_000;
const MAX_LENGTH = 16 * 1024 * 1024;

export type Listed =
  | { readonly ok: true; readonly tools: readonly DiscoveredTool[]; readonly skipped: readonly SkippedTool[] }
  | { readonly ok: false; readonly failure: ConnectFailure };

/** All pages of `tools/list`; a failure on any page fails the whole, so that no tool is taken for vanished. */
export async function listTools(line: Line, verdict: Verdict): Promise<Listed> {
  const tools = new Map<string, DiscoveredTool>();
  const skipped: SkippedTool[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  let length = 0;
  for (let page = 0; ; page++) {
    const params = cursor === undefined ? {} : { cursor };
    const asked: Asked =
      verdict.era === "modern"
        ? await askModern(line, "tools/list", params)
        : await askLegacy(line, verdict.session, "tools/list", params);
    if (asked.kind !== "answer") return { ok: false, failure: failureOf(asked, "discover") };
    const entries = entriesOf(asked.message.text);
    // A server without tools may say that it does not know the method.
    if (entries === null)
      return isUnknownMethod(asked) ? { ok: true, tools: [], skipped: [] } : fail("no list of tools");
    length += asked.message.text.length;
    for (const text of entries) {
      const read = readDefinition(text);
      if ("reason" in read) skipped.push(read);
      else if (tools.has(read.name)) skipped.push({ name: read.name.slice(0, 64), reason: "The name occurs twice." });
      else tools.set(read.name, read);
    }
    if (tools.size + skipped.length > MAX_TOOLS) return fail(`more than ${MAX_TOOLS} tools`);
    if (length > MAX_LENGTH) return fail("a list of more than 16 MiB");
    const next = (asked.message.value["result"] as Record<string, unknown>)["nextCursor"];
    // Only a missing cursor ends the list: an empty one is a cursor like any other.
    if (typeof next !== "string") return { ok: true, tools: [...tools.values()], skipped };
    if (seen.has(next)) return fail("the same page of its list twice");
    if (page + 1 === MAX_PAGES) return fail(`a list of more than ${MAX_PAGES} pages`);
    seen.add(next);
    cursor = next;
  }
}

/** The texts of the entries of `result.tools`; null when the message has no such list. */
function entriesOf(text: string): string[] | null {
  const result = memberOf(text, 0, "result");
  if (result === undefined || text[result.valueStart] !== "{") return null;
  const tools = memberOf(text, result.valueStart, "tools");
  if (tools === undefined || text[tools.valueStart] !== "[") return null;
  return elementsOf(text, tools.valueStart).map(({ start, end }) => text.slice(start, end));
}

function isUnknownMethod({ message }: Extract<Asked, { kind: "answer" }>): boolean {
  return (message.value["error"] as { code?: unknown } | undefined)?.code === -32601;
}

function fail(what: string): Listed {
  return { ok: false, failure: { stage: "discover", message: `The server sent ${what}.`, isTimeout: false } };
}
