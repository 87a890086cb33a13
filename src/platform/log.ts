/** One structured log line. Values, not sentences; never a secret, a body or a text of a client. */
export function log(level: "info" | "warn" | "error", event: string, values: Readonly<Record<string, unknown>>): void {
  console[level](JSON.stringify({ event, ...values }));
}

/**
 * What a log may say of something thrown: name and message along the chain of causes, shortened. An error that carries
 * the parameters of a query quotes them in its message, and these hold what clients have sent: of it only the name.
 */
export function causesOf(thrown: unknown): string[] {
  const causes: string[] = [];
  for (let cause = thrown; cause instanceof Error && causes.length < 5; cause = cause.cause) {
    causes.push("params" in cause ? cause.name : `${cause.name}: ${cause.message.slice(0, 200)}`);
  }
  return causes;
}
