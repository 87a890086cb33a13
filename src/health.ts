import { GatewayError } from "./failure/gateway-error.ts";
import { causesOf, log } from "./platform/log.ts";

/** Whether the gateway can serve: D1 holds everything that a request is decided from. */
export function createHealth(
  env: Pick<Env, "DB" | "TOKENS" | "OAUTH_KV">,
  sealer: { readonly seal: (text: string, owner: string) => Promise<unknown> },
) {
  /** Whether a part does what it is asked for. */
  const stateOf = async (ask: () => Promise<unknown>) => {
    try {
      await ask();
      return "ok" as const;
    } catch (thrown) {
      log("warn", "part_failed", { causes: causesOf(thrown) });
      return "failed" as const;
    }
  };

  return {
    /** @throws GatewayError `unavailable` when D1 refuses, or has not been migrated. */
    async check(): Promise<void> {
      try {
        await env.DB.prepare("SELECT org_id FROM orgs LIMIT 1").first();
      } catch (cause) {
        throw new GatewayError("unavailable", "The database does not answer, or has no schema yet.", { cause });
      }
    },

    /** What else there is to ask, for those who run the gateway. */
    async parts() {
      const [tokens, grants, encryption] = await Promise.all([
        stateOf(() => env.TOKENS.get("health")),
        stateOf(() => env.OAUTH_KV.get("health")),
        stateOf(() => sealer.seal("", "health")),
      ]);
      return { database: "ok" as const, tokens, grants, encryption };
    },
  };
}
