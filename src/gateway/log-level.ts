/** Levels of `notifications/message`, the least first (RFC 5424). */
const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/** -1 for what is no level. */
export function rankOf(level: unknown): number {
  return typeof level === "string" ? LEVELS.indexOf(level) : -1;
}

export function isLogLevel(level: unknown): level is string {
  return rankOf(level) !== -1;
}
