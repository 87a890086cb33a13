/** Tool definitions for any number of servers: of the size that real ones have, and no two alike. */
import { TOOLS, type Tool } from "./tools.ts";

/** Of every server. */
export const TOOLS_PER_SERVER = 20;

/** Behind `bench` in the alphabet, so that the one server that answers calls is on the first page of every list. */
const DEPARTMENTS = ["billing", "claims", "fleet", "grants", "hiring", "legal", "payroll", "retail", "travel", "stock"];
const VERBS = ["find", "create", "update", "archive", "export"] as const;
const RECORDS = ["account", "booking", "document", "request"] as const;

export interface Definitions {
  /** The server's slug. */
  readonly server: string;
  readonly tools: readonly Tool[];
}

/**
 * What one server offers. The first is `bench` and has the tool `echo`, which the upstream server really has.
 *
 * @param index Zero-based.
 */
export function definitionsOf(index: number): Definitions {
  if (index === 0) return { server: "bench", tools: [...TOOLS.slice(0, 1), ...toolsOf("bench").slice(1)] };
  const server = `${DEPARTMENTS[index % DEPARTMENTS.length]}-${String(index).padStart(4, "0")}`;
  return { server, tools: toolsOf(server) };
}

function toolsOf(server: string): Tool[] {
  return VERBS.flatMap((verb) => RECORDS.map((record) => toolOf(server, verb, record)));
}

function toolOf(server: string, verb: (typeof VERBS)[number], record: (typeof RECORDS)[number]): Tool {
  return {
    name: `${verb}_${record}`,
    description:
      `Use this to ${verb} one ${record} of ${server}, or several that match the words of the query in one region. ` +
      `It answers with the state, the owner and the notes of each ${record}, and changes nothing else in ${server}.`,
    inputSchema: {
      type: "object",
      properties: {
        reference: { type: "string", minLength: 1, maxLength: 64, description: `The number of the ${record}.` },
        query: { type: "string", description: `Words from the title or the notes of a ${record} in ${server}.` },
        region: { type: "string", enum: ["eu-north", "eu-south", "us-east", "us-west"], description: "Where it is." },
        limit: { type: "integer", minimum: 1, maximum: 100, default: 20, description: "At most so many." },
      },
      required: ["reference"],
      additionalProperties: false,
    },
    annotations: { title: `${verb} ${record}`, readOnlyHint: verb === "find" || verb === "export" },
  };
}
