import { GatewayError } from "../failure/gateway-error.ts";

/** Work whose "there is none" is told in the words of this surface (BF-30, B.2). */
export async function known<T>(message: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (GatewayError.from(cause).code !== "not_found") throw cause;
    throw new GatewayError("not_found", message, { cause });
  }
}
