/** One row of the call log: what it says, and what is left out of it. Pure. */
import type { Outcome } from "./calls.wire.ts";

export type { Outcome };

/** A tool call as it is logged (OT-22). Plain data: it crosses an RPC and waits in an object. */
export interface CallRow {
  readonly id: string;
  /** When the call came in; milliseconds since the Unix epoch. */
  readonly created_at: number;
  readonly org_id: string;
  readonly server: string | null;
  readonly server_id: string | null;
  readonly tool: string;
  /** The name as sent. */
  readonly exposed_name: string | null;
  /** The path: `/mcp`, `/mcp/:server` or `/v1/mcp/tool/execute`. */
  readonly door: string;
  readonly sub: string | null;
  readonly email: string | null;
  readonly virtual_key_id: string | null;
  readonly session_id: string | null;
  readonly run_id: string | null;
  /**
   * When it came in, among the calls of its session: where `run_id` is null, whoever keeps the runs finds its run by
   * this. Left out where there is nothing to find. Not kept.
   */
  readonly entered?: number;
  /** The run around that one. */
  readonly parent_run_id: string | null;
  /** JSON text of the shortened arguments; null when there are none. */
  readonly args: string | null;
  readonly ok: boolean;
  readonly outcome: Outcome;
  readonly error: string | null;
  readonly reason: string | null;
  readonly duration_ms: number;
  readonly upstream_ms: number | null;
  /** Requests sent upstream for this call. */
  readonly attempts: number;
  /** What the call costs, in nano-dollars: the price of the tool at its time, if it succeeded (BF-62, PS-42). */
  readonly cost_nano: number;
  readonly definition_hash: string | null;
}

const MAX_TEXT = 300;
/** Characters of all arguments together: rows travel a hundred at a time through places that take two megabytes. */
const MAX_ARGUMENTS = 4_000;
const SECRET_KEY = /password|secret|token|authorization|api_?key/;
const REDACTED = "[redacted]";

/**
 * The arguments as they are logged (OT-23, PS-35): numbers, booleans and null as they are, everything else as text of
 * at most 300 characters, values of secret-sounding names not at all. Behind 4,000 characters the rest is left out.
 *
 * @param redacted Parts of further names whose values are secret; they are matched as those of PS-35 are.
 */
export function loggedArguments(args: unknown, redacted: readonly string[] = []): string | null {
  if (typeof args !== "object" || args === null || Object.keys(args).length === 0) return null;
  const parts = redacted.map(plainName);
  const isSecret: IsSecret = (key) =>
    SECRET_KEY.test(plainName(key)) || parts.some((part) => plainName(key).includes(part));
  const shown: [string, unknown][] = [];
  let length = 0;
  for (const [key, value] of Object.entries(args)) {
    const entry: [string, unknown] = [cut(key), isSecret(key) ? REDACTED : shorten(value, isSecret)];
    length += JSON.stringify(entry).length;
    if (length > MAX_ARGUMENTS) {
      shown.push(["…", "more arguments"]);
      break;
    }
    shown.push(entry);
  }
  return JSON.stringify(Object.fromEntries(shown));
}

type IsSecret = (key: string) => boolean;

/** PS-35: case says nothing, and a hyphen is as good as an underscore. */
function plainName(key: string): string {
  return key.toLowerCase().replaceAll("-", "_");
}

function shorten(value: unknown, isSecret: IsSecret): unknown {
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  return cut(typeof value === "string" ? value : JSON.stringify(redact(value, isSecret)));
}

/** PS-35 holds at any depth. The value comes from JSON of bounded depth, so this ends. */
function redact(value: unknown, isSecret: IsSecret): unknown {
  if (Array.isArray(value)) return value.map((member) => redact(member, isSecret));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, isSecret(key) ? REDACTED : redact(member, isSecret)]),
  );
}

/** At most 300 characters, never half a surrogate pair, and a mark where something is missing. */
export function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT).replace(/[\ud800-\udbff]$/, "")}…`;
}
