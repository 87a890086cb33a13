import { GatewayError } from "./gateway-error.ts";

/**
 * A store or stub whose outages are told as `unavailable`: a database that refuses has changed nothing, and a client
 * may try again. Failures that the store itself names pass through.
 */
export function withOutages<T extends object>(store: T): T {
  const guarded = Object.entries(store).map(([name, operation]) => [
    name,
    async (...args: unknown[]) => {
      try {
        return await operation(...args);
      } catch (cause) {
        const known = GatewayError.from(cause);
        if (known.code !== "internal") throw known;
        throw new GatewayError("unavailable", "A part of the gateway does not answer. Nothing was changed.", { cause });
      }
    },
  ]);
  return Object.fromEntries(guarded) as T;
}
