/**
 * How often one may ask. The counters are the platform's rate limiter: it counts in each place of Cloudflare's network
 * for itself and a little late, so that a limit is never a cost on the way of a call, and is exceeded by whoever asks in
 * many places at once. Without a binding there is no limit.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import type { Principal } from "../identity/principal.ts";

/** The platform's rate limiter. */
export interface Limiter {
  limit(options: { readonly key: string }): Promise<{ readonly success: boolean }>;
}

export interface RateLimitsDeps {
  /** Requests of one virtual key, or of one user. */
  readonly perPrincipal: Limiter | undefined;
  /** Requests of one org. */
  readonly perOrg: Limiter | undefined;
  /** Failed authentications of one address, and what it has stored without one. */
  readonly perAddress: Limiter | undefined;
}

export type RateLimits = ReturnType<typeof createRateLimits>;

export function createRateLimits({ perPrincipal, perOrg, perAddress }: RateLimitsDeps) {
  /** @throws GatewayError `rate_limited` */
  async function count(limiter: Limiter | undefined, key: string, whose: string): Promise<void> {
    if (limiter === undefined) return;
    const { success } = await limiter.limit({ key });
    if (!success) throw new GatewayError("rate_limited", `${whose} sends too many requests. Try again in a minute.`);
  }

  return {
    /** Counts a request at an agent's door. @throws GatewayError `rate_limited` */
    async request({ id, org, key }: Principal): Promise<void> {
      await count(perPrincipal, `${org} ${key?.virtual_key_id ?? id}`, key === null ? "This user" : "This key");
      await count(perOrg, org, "This org");
    },

    /**
     * Counts a request that stores something before anybody is known: a registration, a sign-in that begins.
     *
     * @param address As for `guard`. @throws GatewayError `rate_limited`
     */
    async stranger(address: string | null): Promise<void> {
      await count(perAddress, address ?? "unknown", "This address");
    },

    /**
     * Authenticates, and counts those who fail at it.
     *
     * @param address Of the client; null where the platform does not tell it, as in development.
     * @throws what `authenticate` throws; GatewayError `rate_limited` in the place of too many refusals
     */
    async guard<T>(address: string | null, authenticate: () => Promise<T>): Promise<T> {
      try {
        return await authenticate();
      } catch (thrown) {
        if (GatewayError.from(thrown).code === "unauthorized") {
          await count(perAddress, address ?? "unknown", "This address");
        }
        throw thrown;
      }
    },
  };
}
