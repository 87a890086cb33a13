/** One structured log line. Values, not sentences; never a secret, a body or a text of a client. */
export function log(level: "info" | "warn" | "error", event: string, values: Readonly<Record<string, unknown>>): void {
  console[level](JSON.stringify({ event, ...values }));
}

/** What a log may say of something thrown: name and message along the chain of causes. */
export function causesOf(thrown: unknown): string[] {
  const causes: string[] = [];
  for (let cause = thrown; cause instanceof Error && causes.length < 5; cause = cause.cause) {
    causes.push(`${cause.name}: ${cause.message}`);
  }
  return causes;
}
