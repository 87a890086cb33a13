import { FAILURES, failureHeaders, type GatewayError } from "./gateway-error.ts";

/** The `error` member of a JSON-RPC response. */
export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * A failure of ours as JSON-RPC: the number for machines of the protocol, the stable name in `data.code`. The request
 * id is there only for what somebody will look for in the log: refusals look the same byte for byte (P-4).
 */
export function rpcErrorOf(error: GatewayError, requestId: string): RpcError {
  return {
    code: FAILURES[error.code].rpc,
    message: error.message,
    data: {
      code: error.code,
      ...(error.field === undefined ? {} : { field: error.field }),
      ...(FAILURES[error.code].status === 429 ? { retry_after: Number(failureHeaders(error)["Retry-After"]) } : {}),
      ...(FAILURES[error.code].status >= 500 ? { request_id: requestId } : {}),
    },
  };
}
