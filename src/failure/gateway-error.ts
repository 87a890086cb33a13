/**
 * The one error of the gateway: whatever a client or an admin may be told. Anything else that is thrown is a bug or an
 * outage and becomes `internal` at the edge. How a failure looks on a wire is decided in the translation of that wire.
 */

interface Failure {
  /** The HTTP status on every wire that has one. */
  readonly status: 400 | 401 | 402 | 403 | 404 | 405 | 406 | 409 | 413 | 415 | 429 | 431 | 500 | 502 | 503 | 504 | 508;
  /** The JSON-RPC number: JSON-RPC's own where it has the meaning, else outside its reserved range (style.md 6). */
  readonly rpc: number;
  readonly title: string;
  /** Seconds after which trying again may help; goes into `Retry-After`. */
  readonly retryAfter?: number;
}

/** Every code a client can meet (requirements.md B.3). A new one does not compile until each wire has decided. */
export const FAILURES = {
  invalid_state: { status: 400, rpc: -32602, title: "Invalid or expired state" },
  link_failed: { status: 400, rpc: 4002, title: "The account was not linked" },
  invalid_request: { status: 400, rpc: -32602, title: "Invalid request" },
  invalid_json: { status: 400, rpc: -32700, title: "Invalid JSON" },
  unknown_field: { status: 400, rpc: -32602, title: "Unknown field" },
  read_only: { status: 400, rpc: -32602, title: "Read-only" },
  org_required: { status: 400, rpc: -32602, title: "Org required" },
  ambiguous_credentials: { status: 400, rpc: 4001, title: "Ambiguous credentials" },
  unauthorized: { status: 401, rpc: 4010, title: "Authentication required" },
  auth_required: { status: 401, rpc: 4011, title: "An account has to be linked" },
  budget_exceeded: { status: 402, rpc: 4020, title: "Run budget exceeded" },
  forbidden: { status: 403, rpc: 4030, title: "Forbidden" },
  insufficient_scope: { status: 403, rpc: 4031, title: "Insufficient scope" },
  not_found: { status: 404, rpc: 4040, title: "Not found" },
  method_not_allowed: { status: 405, rpc: 4050, title: "Method not allowed" },
  not_acceptable: { status: 406, rpc: 4060, title: "Not acceptable" },
  conflict: { status: 409, rpc: 4090, title: "Conflict" },
  body_too_large: { status: 413, rpc: 4130, title: "Body too large" },
  unsupported_media_type: { status: 415, rpc: 4150, title: "Unsupported media type" },
  headers_too_large: { status: 431, rpc: 4310, title: "Headers too large" },
  rate_limited: { status: 429, rpc: 4290, title: "Too many requests", retryAfter: 60 },
  internal: { status: 500, rpc: -32603, title: "Internal error" },
  encryption_key_missing: { status: 500, rpc: 5001, title: "Encryption key missing" },
  sealed_payload_invalid: { status: 500, rpc: 5002, title: "Sealed value does not open" },
  connect_failed: { status: 500, rpc: 5003, title: "The server cannot be connected to" },
  upstream_failed: { status: 502, rpc: 5020, title: "The server failed" },
  unavailable: { status: 503, rpc: 5030, title: "Temporarily unavailable" },
  bridge_missing: { status: 503, rpc: 5031, title: "Waiting for a bridge" },
  upstream_timeout: { status: 504, rpc: 5040, title: "The server took too long" },
  loop_detected: { status: 508, rpc: 5080, title: "Loop detected" },
} as const satisfies Record<string, Failure>;

export type FailureCode = keyof typeof FAILURES;

/** One of several things that a request is refused for. */
export interface FailureDetail {
  /** What it is about, as the client called it. */
  readonly path: string;
  readonly code: FailureCode;
  readonly field?: string;
  readonly message: string;
}

export interface FailureOptions {
  /** The one field to blame, as the client spelled it (`config.headers`). */
  readonly field?: string;
  /** The single refusals, where one request is refused for several things at once. */
  readonly details?: readonly FailureDetail[];
  /** What really happened; for the log, never for a client. */
  readonly cause?: unknown;
}

/** The headers that go with a failure on every wire. */
export function failureHeaders({ code }: GatewayError): Record<string, string> {
  const { retryAfter }: Failure = FAILURES[code];
  return retryAfter === undefined ? {} : { "Retry-After": String(retryAfter) };
}

/** A refusal or failure with a stable code and a sentence of our own: no text of a server, database or library. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: FailureCode;
  readonly field?: string;
  readonly details?: readonly FailureDetail[];

  constructor(code: FailureCode, message: string, { field, details, cause }: FailureOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    if (field !== undefined) this.field = field;
    if (details !== undefined) this.details = details;
  }

  /**
   * What an edge calls on whatever was thrown. An error that crossed Workers RPC has lost its class and kept its
   * properties, so ours is known by its shape; everything else becomes `internal` with a fixed text.
   */
  static from(thrown: unknown): GatewayError {
    if (thrown instanceof GatewayError) return thrown;
    if (thrown instanceof Error && "code" in thrown && isFailureCode(thrown.code)) {
      const field = "field" in thrown && typeof thrown.field === "string" ? { field: thrown.field } : {};
      return new GatewayError(thrown.code, thrown.message, { ...field, cause: thrown });
    }
    return new GatewayError("internal", "Something went wrong in the gateway.", { cause: thrown });
  }
}

function isFailureCode(code: unknown): code is FailureCode {
  return typeof code === "string" && Object.hasOwn(FAILURES, code);
}
