/**
 * What a message cannot keep on its way from one era to the other, or through a gateway at all: the whole list. The
 * round trips of `test/gateway/lossless.test.ts` take from here what they may expect to change, and `docs/eras.md`
 * shows it to people.
 */
export type Era = "modern" | "legacy";

/** Part of a message. */
export type Part =
  | "definition"
  | "result"
  | "result._meta"
  | "error"
  | "request"
  | "request._meta"
  | "question"
  | "answer"
  | "stream";

export interface Limit {
  readonly part: Part;
  /** The members that it is about. */
  readonly members: readonly string[];
  /** The cells, as client and server. */
  readonly client: readonly Era[];
  readonly server: readonly Era[];
  readonly becomes: "left out" | "set" | "other";
  /** What becomes of them, where that is none of the two; and why. */
  readonly why: string;
}

const BOTH = ["modern", "legacy"] as const;
const MODERN = ["modern"] as const;
const LEGACY = ["legacy"] as const;

export const LIMITS: readonly Limit[] = [
  {
    ...{ part: "definition", members: ["outputSchema"], client: LEGACY, server: MODERN },
    becomes: "left out",
    why: "one that is of no object: 2025 has objects only",
  },
  {
    ...{ part: "definition", members: ["name", "_meta", "inputSchema"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "at `/mcp` the exposed name; `dev.postern/auto_execute` beside what the server gave; an empty schema for none",
  },
  {
    ...{ part: "result", members: ["resultType", "ttlMs", "cacheScope"], client: LEGACY, server: MODERN },
    becomes: "left out",
    why: "a result of 2025 is always complete, and kept by nobody",
  },
  {
    ...{ part: "result", members: ["structuredContent"], client: LEGACY, server: MODERN },
    becomes: "other",
    why: "one that is no object becomes a text block, unless one says it already: 2025 has objects only",
  },
  {
    ...{ part: "result", members: ["resultType"], client: MODERN, server: LEGACY },
    becomes: "set",
    why: "`complete`: every modern result says what it is",
  },
  {
    ...{ part: "result", members: ["resultType"], client: MODERN, server: MODERN },
    becomes: "set",
    why: "`complete` where the server has left it out",
  },
  {
    ...{ part: "result", members: ["cacheScope", "ttlMs"], client: MODERN, server: BOTH },
    becomes: "set",
    why: "of lists and resources: `private`, since the server has not seen who asks; 0 where the server states no time",
  },
  {
    ...{ part: "result._meta", members: ["io.modelcontextprotocol/serverInfo"], client: MODERN, server: LEGACY },
    becomes: "set",
    why: "a legacy server has said it once, in its handshake",
  },
  {
    ...{ part: "result", members: ["requestState"], client: MODERN, server: BOTH },
    becomes: "other",
    why: "sealed for who asks and what for; the server gets its own back byte for byte",
  },
  {
    ...{ part: "result", members: ["taskId"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "marked with who has made the task; the server gets its own back",
  },
  {
    ...{ part: "error", members: ["code"], client: MODERN, server: BOTH },
    becomes: "other",
    why: "-32602 for -32002, -32603 for codes of the specification that it does not know: they are of 2025 or undefined",
  },
  {
    ...{ part: "request", members: ["id", "progressToken"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "own ones where several clients share a session with a legacy server, or a request is sent again; mapped back",
  },
  {
    ...{ part: "request", members: ["params.name"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "at `/mcp` the server's own name of the tool",
  },
  {
    ...{ part: "request", members: ["inputResponses", "requestState"], client: MODERN, server: LEGACY },
    becomes: "left out",
    why: "2025 asks within a call, and not between two",
  },
  {
    ...{ part: "request._meta", members: ["io.modelcontextprotocol/*"], client: MODERN, server: LEGACY },
    becomes: "left out",
    why: "the envelope of a modern request; a legacy server has it from its handshake",
  },
  {
    ...{ part: "request._meta", members: ["clientCapabilities.extensions"], client: MODERN, server: MODERN },
    becomes: "left out",
    why: "but for tasks at a server's door: extensions that are not carried would half-work",
  },
  {
    ...{ part: "request._meta", members: ["dev.postern/*"], client: BOTH, server: BOTH },
    becomes: "left out",
    why: "said to the gateway",
  },
  {
    ...{ part: "request._meta", members: ["traceparent", "tracestate"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "of the gateway's own span where it records one; a malformed one is left out, with its state",
  },
  {
    part: "request._meta",
    members: ["protocolVersion", "clientInfo", "clientCapabilities", "logLevel"],
    ...{ client: LEGACY, server: MODERN },
    becomes: "set",
    why: "from the session, without the capability `tasks` of 2025",
  },
  {
    ...{ part: "question", members: ["jsonrpc", "id"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "an id of the gateway's that names the server; none of the two where the question is part of a result",
  },
  {
    ...{ part: "question", members: ["elicitationId"], client: MODERN, server: LEGACY },
    becomes: "left out",
    why: "modern links have no name",
  },
  {
    ...{ part: "question", members: ["elicitationId"], client: LEGACY, server: MODERN },
    becomes: "set",
    why: "a legacy link has a name",
  },
  {
    ...{ part: "answer", members: ["what stands beside `result`"], client: LEGACY, server: MODERN },
    becomes: "left out",
    why: "the answer of a modern client is the result alone",
  },
  {
    ...{ part: "stream", members: ["notifications/message"], client: MODERN, server: BOTH },
    becomes: "left out",
    why: "below the level that the request has asked for, or without one",
  },
  {
    ...{ part: "stream", members: ["notifications/progress"], client: BOTH, server: BOTH },
    becomes: "left out",
    why: "for a request without a progress token",
  },
  {
    ...{ part: "stream", members: ["other notifications"], client: MODERN, server: BOTH },
    becomes: "left out",
    why: "they belong to `subscriptions/listen`",
  },
  {
    ...{ part: "stream", members: ["all but progress"], client: LEGACY, server: BOTH },
    becomes: "left out",
    why: "to a client without a session; at `/mcp` changes of one server's lists to any",
  },
  {
    ...{ part: "stream", members: ["event ids", "retry"], client: BOTH, server: BOTH },
    becomes: "left out",
    why: "but between two legacy ones, at a server's door, in a session: nobody else comes back for a stream",
  },
  {
    ...{ part: "stream", members: ["carriage returns"], client: BOTH, server: BOTH },
    becomes: "other",
    why: "a line feed, where they stand between two tokens of JSON: an event has no other line ends",
  },
];

/** The members of a part that a cell leaves out. */
export function leftOut(part: Part, client: Era, server: Era): string[] {
  return LIMITS.filter((limit) => limit.part === part && limit.becomes === "left out")
    .filter((limit) => limit.client.includes(client) && limit.server.includes(server))
    .flatMap(({ members }) => members);
}

/** The members of a part that a cell sets. */
export function isSet(part: Part, member: string, client: Era, server: Era): boolean {
  return LIMITS.some(
    (limit) =>
      limit.part === part &&
      limit.becomes === "set" &&
      limit.members.includes(member) &&
      limit.client.includes(client) &&
      limit.server.includes(server),
  );
}

/** The list as `docs/eras.md` has it: one row of a table for each. */
export function rows(): string[] {
  return LIMITS.map(({ part, members, client, server, becomes, why }) => {
    const names = members.map((member) => (/[` ]/.test(member) ? member : `\`${member}\``)).join(", ");
    const of = (eras: readonly Era[]) => (eras.length === 2 ? "any" : eras.join());
    return `| ${part.replace("._meta", " `_meta`")} | ${names} | ${of(client)} | ${of(server)} | ${becomes === "other" ? "" : `${becomes}: `}${why} |`;
  });
}
