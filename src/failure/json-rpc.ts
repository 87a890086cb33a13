import { FAILURES, type GatewayError } from "./gateway-error.ts";

/** The `error` member of a JSON-RPC response. */
export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** A failure of ours as JSON-RPC: the number for machines of the protocol, the stable name in `data.code`. */
export function rpcErrorOf(error: GatewayError, requestId: string): RpcError {
  return {
    code: FAILURES[error.code].rpc,
    message: error.message,
    data: {
      code: error.code,
      ...(error.field === undefined ? {} : { field: error.field }),
      request_id: requestId,
    },
  };
}
