import { type FailureCode, GatewayError } from "../failure/gateway-error.ts";

/** Work whose "there is none" is told in the words of this surface (BF-30, B.2). */
export async function known<T>(message: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (GatewayError.from(cause).code !== "not_found") throw cause;
    throw new GatewayError("not_found", message, { cause });
  }
}

/** Work whose failures to connect are told in the words of this surface, with our reason behind them (BF-22, BF-43). */
export async function told<T>(what: string, failures: readonly FailureCode[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { code, message } = GatewayError.from(cause);
    if (!failures.includes(code)) throw cause;
    throw new GatewayError("connect_failed", `${what}: ${message}`, { cause });
  }
}
