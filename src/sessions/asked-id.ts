/** Ids of the gateway's own questions to a client; no server's request has one. */
const PREFIX = "pst-q.";

export function askedId(): string {
  return `${PREFIX}${crypto.randomUUID()}`;
}

export function isAskedId(id: unknown): id is string {
  return typeof id === "string" && id.startsWith(PREFIX);
}
