import { GatewayError } from "./failure/gateway-error.ts";

/** Whether the gateway can serve: D1 holds everything that a request is decided from. */
export function createHealth(env: Pick<Env, "DB">) {
  return {
    /** @throws GatewayError `unavailable` when D1 refuses, or has not been migrated. */
    async check(): Promise<void> {
      try {
        await env.DB.prepare("SELECT org_id FROM orgs LIMIT 1").first();
      } catch (cause) {
        throw new GatewayError("unavailable", "The database does not answer, or has no schema yet.", { cause });
      }
    },
  };
}
