/** Authentication: a credential in, a principal out. Each request is authenticated once, before its body is read. */
import { keyHash, looksLikeKey, type VerifiedKey } from "../access/virtual-key.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { equalInConstantTime, sha256Hex } from "../platform/hash.ts";
import type { Secret } from "../platform/secret.ts";
import { bearerOf, credentialOf } from "./credential.ts";
import { ADMIN_ID, type AdminPrincipal, type KeyPrincipal } from "./principal.ts";

export interface IdentityDeps {
  /** Empty: no admin key is configured, and none is accepted. */
  readonly adminKey: Secret;
  readonly defaultOrg: string;
  readonly keys: {
    hasOrg(orgId: string): Promise<boolean>;
    findByHash(valueHash: string): Promise<VerifiedKey | null>;
  };
  /** Verified keys by hash. Believed while the generation of their org stands, and never longer than the entry. */
  readonly memory: ExpiringMap<string, KeyPrincipal>;
  readonly clock: Clock;
}

/** How long an isolate keeps a verified key that nobody asks for. The generation bounds how long it is believed. */
const KEEP_MS = 300_000;

export type Identity = ReturnType<typeof createIdentity>;

export function createIdentity({ adminKey, defaultOrg, keys, memory, clock }: IdentityDeps) {
  /** @throws GatewayError `unauthorized` for an unknown or inactive key: both look alike. */
  async function verifyKey(hash: string): Promise<KeyPrincipal> {
    const found = await keys.findByHash(hash);
    if (found === null || !found.key.is_active) {
      memory.delete(hash);
      throw unauthorized();
    }
    const { key, rules, generation } = found;
    const principal: KeyPrincipal = {
      kind: "virtual_key",
      id: `key:${key.virtual_key_id}`,
      org: key.org_id,
      key: { virtual_key_id: key.virtual_key_id, name: key.name, rules },
      view: sha256Hex(JSON.stringify([...rules].toSorted(([a], [b]) => (a < b ? -1 : 1)))),
      generation,
    };
    memory.set(hash, principal, clock() + KEEP_MS);
    return principal;
  }

  function requireKeyHash(headers: Headers): string {
    const credential = credentialOf(headers);
    if (credential === null || !looksLikeKey(credential)) throw unauthorized();
    return keyHash(credential);
  }

  return {
    /**
     * The principal of an agent's request, from memory where it can be.
     *
     * @throws GatewayError `unauthorized`, also for `ADMIN_KEY`; `ambiguous_credentials`
     */
    async agent(headers: Headers): Promise<KeyPrincipal> {
      const hash = requireKeyHash(headers);
      return memory.get(hash) ?? verifyKey(hash);
    },

    /** The same, read anew: the generation of the org has moved since memory's copy was made. */
    async agentAnew(headers: Headers): Promise<KeyPrincipal> {
      return verifyKey(requireKeyHash(headers));
    },

    /**
     * The principal of a request to the JSON API.
     *
     * @throws GatewayError `unauthorized`; `forbidden` for a valid virtual key; `not_found` for an unknown `X-Org-Id`
     */
    async admin(headers: Headers): Promise<AdminPrincipal> {
      const credential = credentialOf(headers);
      if (credential === null) throw unauthorized();
      if (looksLikeKey(credential)) {
        await verifyKey(keyHash(credential));
        throw new GatewayError("forbidden", "A virtual key opens the agent doors only.");
      }
      const expected = adminKey.reveal();
      const bearer = bearerOf(headers) ?? "";
      if (expected === "" || !equalInConstantTime(bearer, expected)) throw unauthorized();
      const named = headers.get("X-Org-Id");
      if (named !== null && !(await keys.hasOrg(named))) {
        throw new GatewayError("not_found", "There is no such org.", { field: "X-Org-Id" });
      }
      return { kind: "admin", id: ADMIN_ID, org: named ?? defaultOrg };
    },
  };
}

function unauthorized(): GatewayError {
  return new GatewayError("unauthorized", "A valid credential is required.");
}
