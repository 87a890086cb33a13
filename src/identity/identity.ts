/** Authentication: credentials in, one principal out. Each request is authenticated once, before its body is read. */
import { keyHash, openUntil, type VerifiedKey } from "../access/virtual-key.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { equalInConstantTime, sha256Hex } from "../platform/hash.ts";
import type { Secret } from "../platform/secret.ts";
import { type Credentials, credentialsOf, unauthorized } from "./credential.ts";
import { ADMIN_ID, isMember, type KeyGrant, type Principal, type Standing } from "./principal.ts";
import type { ProvenUser } from "./proven-user.ts";

export interface IdentityDeps {
  /** Empty: no admin key is configured, and none is accepted. */
  readonly adminKey: Secret;
  readonly defaultOrg: string;
  readonly keys: { findByHash(valueHash: string): Promise<VerifiedKey | null> };
  readonly members: {
    standing(orgId: string, userId: string): Promise<Standing>;
    /** The orgs that the members table has somebody in, sorted. */
    orgsOf(userId: string): Promise<string[]>;
  };
  /** The operator's identity provider. Null: none is configured, and no token of one is accepted. */
  readonly provider: { verify(token: string): Promise<ProvenUser> } | null;
  /** Verified principals by their credentials. Believed while the generation of their org stands, never longer than the entry. */
  readonly memory: ExpiringMap<string, Principal>;
  readonly clock: Clock;
}

/** How long an isolate keeps a verified principal. The generation bounds how long it is believed. */
const KEEP_MS = 300_000;

export type Identity = ReturnType<typeof createIdentity>;

export function createIdentity({ adminKey, defaultOrg, keys, members, provider, memory, clock }: IdentityDeps) {
  /** @throws GatewayError `unauthorized` for an unknown or unusable key: all look alike. */
  async function verifyKey(key: string): Promise<Verified> {
    const hash = keyHash(key);
    const found = await keys.findByHash(hash);
    const expiresAt = found === null ? null : openUntil(found.key, hash, clock());
    if (found === null || expiresAt === null) throw unauthorized();
    const { rules, generation } = found;
    const grant: KeyGrant = { virtual_key_id: found.key.virtual_key_id, name: found.key.name, rules };
    const principal: Principal = {
      kind: "virtual_key",
      id: `key:${grant.virtual_key_id}`,
      email: null,
      org: found.key.org_id,
      role: "member",
      groups: new Map(),
      isPlatformAdmin: false,
      key: grant,
      view: viewOf(grant),
      generation,
    };
    return { principal, expiresAt };
  }

  async function verifyUser(token: string, named: Named): Promise<Verified> {
    if (provider === null) throw unauthorized();
    const user = await provider.verify(token);
    const org = await orgOf(user, named);
    const standing = await members.standing(org, user.sub);
    if (!standing.exists) throw noOrg(user.isPlatformAdmin, named);
    // Where roles are claims, they decide and the table is not asked (PS-3).
    const isClaimed = user.claimed !== null && (user.orgs.length === 0 || user.orgs.includes(org));
    const claimed = user.claimed ?? standing;
    const groups = user.claimed === null ? standing.groups : groupsOf(user.claimed.groups);
    const hasRole = user.claimed === null || isClaimed;
    const principal: Principal = {
      kind: "user",
      id: user.sub,
      email: user.email,
      org,
      role: hasRole ? claimed.role : null,
      groups: hasRole ? groups : new Map(),
      isPlatformAdmin: user.isPlatformAdmin,
      key: null,
      view: ALL,
      generation: standing.generation,
    };
    const view = isMember(principal) ? ALL : NOTHING;
    return { principal: { ...principal, view }, expiresAt: user.expiresAt };
  }

  /** PS-2. @throws GatewayError `forbidden`, `org_required` */
  async function orgOf(user: ProvenUser, named: Named): Promise<string> {
    if (named.org !== null && user.isPlatformAdmin) return named.org;
    const own = user.claimed === null ? await members.orgsOf(user.sub) : user.orgs;
    if (named.org !== null) {
      if (own.includes(named.org)) return named.org;
      throw noOrg(false, named);
    }
    const [claimed, ...further] = user.orgs;
    if (claimed !== undefined && further.length === 0) return claimed;
    const [only, ...others] = own;
    if (only !== undefined && others.length === 0) return only;
    if (own.length === 0 || user.isPlatformAdmin || own.includes(defaultOrg)) return defaultOrg;
    throw new GatewayError("org_required", "You belong to several orgs. Name one in X-Org-Id.", { field: "X-Org-Id" });
  }

  /** PS-2: a platform admin is told that there is no such org, everybody else only that it is none of theirs. */
  function noOrg(isPlatformAdmin: boolean, { field }: Named): GatewayError {
    const options = field === null ? {} : { field };
    return isPlatformAdmin
      ? new GatewayError("not_found", "There is no such org.", options)
      : new GatewayError("forbidden", "This is not an org of yours.", options);
  }

  async function verifyAgent({ token, key }: Credentials, named: string | null): Promise<Principal> {
    const keyed = key === null ? null : await verifyKey(key);
    if (token === null) {
      if (keyed === null) throw unauthorized();
      return keep({ token, key }, named, keyed);
    }
    const user = await verifyUser(token, { org: named, field: "X-Org-Id" });
    if (keyed === null) return keep({ token, key }, named, user);
    // A key only narrows, and only where it belongs (PS-1).
    if (keyed.principal.org !== user.principal.org) {
      throw new GatewayError("forbidden", "The key belongs to another org.");
    }
    const { key: grant } = keyed.principal;
    const view = isMember(user.principal) ? keyed.principal.view : NOTHING;
    const generation = Math.min(keyed.principal.generation, user.principal.generation);
    return keep({ token, key }, named, {
      principal: { ...user.principal, key: grant, view, generation },
      expiresAt: Math.min(keyed.expiresAt, user.expiresAt),
    });
  }

  function keep(credentials: Credentials, named: string | null, { principal, expiresAt }: Verified): Principal {
    memory.set(memoryKey(credentials, named), principal, Math.min(expiresAt, clock() + KEEP_MS));
    return principal;
  }

  return {
    /**
     * The principal of an agent's request, from memory where it can be.
     *
     * @throws GatewayError `unauthorized`, also for `ADMIN_KEY`; `ambiguous_credentials`, `forbidden`, `org_required`
     */
    async agent(headers: Headers): Promise<Principal> {
      const credentials = credentialsOf(headers);
      const named = headers.get("X-Org-Id");
      return memory.get(memoryKey(credentials, named)) ?? verifyAgent(credentials, named);
    },

    /** The same, read anew: the generation of the org has moved since memory's copy was made. */
    async agentAnew(headers: Headers): Promise<Principal> {
      const credentials = credentialsOf(headers);
      const named = headers.get("X-Org-Id");
      memory.delete(memoryKey(credentials, named));
      return verifyAgent(credentials, named);
    },

    /**
     * The principal of a request to an API, read anew. It may be a virtual key: what that may do there is not for
     * authentication to say.
     *
     * @param ofPath The org that the path is about, which decides as `X-Org-Id` does elsewhere.
     * @throws GatewayError `unauthorized`; `forbidden` for an org of others; `not_found`, `org_required`
     */
    async api(headers: Headers, ofPath?: string): Promise<Principal> {
      const { token, key } = credentialsOf(headers);
      const keyed = key === null ? null : await verifyKey(key);
      if (token === null) {
        if (keyed === null) throw unauthorized();
        return keyed.principal;
      }
      const named: Named =
        ofPath === undefined ? { org: headers.get("X-Org-Id"), field: "X-Org-Id" } : { org: ofPath, field: null };
      const expected = adminKey.reveal();
      if (expected === "" || !equalInConstantTime(token, expected)) return (await verifyUser(token, named)).principal;
      if (key !== null) throw new GatewayError("ambiguous_credentials", "The request carries two different keys.");
      const org = named.org ?? defaultOrg;
      const { exists, generation } = await members.standing(org, ADMIN_ID);
      if (!exists) throw noOrg(true, named);
      return {
        kind: "admin_key",
        id: ADMIN_ID,
        email: null,
        org,
        role: null,
        groups: new Map(),
        isPlatformAdmin: true,
        key: null,
        view: ALL,
        generation,
      };
    },
  };
}

/** A principal, and the instant at which what it showed ends. */
interface Verified {
  readonly principal: Principal;
  /** Milliseconds since the Unix epoch: nothing may be remembered beyond it. */
  readonly expiresAt: number;
}

/** The org that a request names, and where; null where it is named by the path. */
interface Named {
  readonly org: string | null;
  readonly field: string | null;
}

/** Credentials are kept as a hash: memory holds no secret longer than its request. */
function memoryKey({ token, key }: Credentials, named: string | null): string {
  return sha256Hex(JSON.stringify([token, key, token === null ? null : named]));
}

/** What principals without a key see, and those who have no role in the org: their lists must not be each other's. */
const ALL = "*";
const NOTHING = "-";

function viewOf(key: KeyGrant): string {
  return sha256Hex(JSON.stringify([...key.rules].toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

function groupsOf(groups: NonNullable<ProvenUser["claimed"]>["groups"]): Map<string, boolean> {
  return new Map(groups.map(({ group_id, is_admin }) => [group_id, is_admin]));
}
