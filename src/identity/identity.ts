/** Authentication: credentials in, one principal out. Each request is authenticated once, before its body is read. */
import { keyHash, openUntil, type VerifiedKey } from "../access/virtual-key.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { equalInConstantTime, sha256Hex } from "../platform/hash.ts";
import type { Secret } from "../platform/secret.ts";
import { type Credentials, credentialsOf, unauthorized, unknownKey } from "./credential.ts";
import type { ProvenGrant } from "./grants.ts";
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
  /** The gateway's own access tokens. */
  readonly grants: { isOurs(token: string): boolean; verify(token: string, resource: string): Promise<ProvenGrant> };
  /** Verified principals by their credentials. Believed while the generation of their org stands, never longer than the entry. */
  readonly memory: ExpiringMap<string, Principal>;
  readonly clock: Clock;
}

/** How long an isolate keeps a verified principal. The generation bounds how long it is believed. */
const KEEP_MS = 300_000;

export type Identity = ReturnType<typeof createIdentity>;

type UserFacts = Omit<ProvenUser, "expiresAt">;

export function createIdentity(deps: IdentityDeps) {
  const { adminKey, defaultOrg, keys, members, provider, grants, memory, clock } = deps;

  const verifyKey = (key: string) => verifyHash(keyHash(key), unknownKey);

  /** @throws GatewayError `unauthorized` for an unknown or unusable key: all look alike. */
  async function verifyHash(hash: string, refusal: () => GatewayError = unauthorized): Promise<Verified> {
    const found = await keys.findByHash(hash);
    const expiresAt = found === null ? null : openUntil(found.key, hash, clock());
    if (found === null || expiresAt === null) throw refusal();
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

  async function verifyToken(token: string, named: Named, resource: string): Promise<Verified> {
    if (grants.isOurs(token)) return verifyGrant(token, named, resource);
    if (provider === null) throw unauthorized();
    const { expiresAt, ...user } = await provider.verify(token);
    return { principal: await userPrincipal(user, await orgOf(user, named), named), expiresAt };
  }

  /** An access token of ours acts in the org that its owner has chosen, and in no other (PS-2). */
  async function verifyGrant(token: string, named: Named, resource: string): Promise<Verified> {
    const { grantor, expiresAt, generation } = await grants.verify(token, resource);
    if (named.org !== null && named.org !== grantor.org) throw noOrg(false, named);
    const owner: Verified =
      grantor.kind === "key"
        ? await verifyHash(grantor.value_hash)
        : { principal: await userPrincipal(grantor.user, grantor.org, named), expiresAt };
    return {
      // The older of the two: whatever has changed since either was read is noticed.
      principal: { ...owner.principal, generation: Math.min(owner.principal.generation, generation) },
      expiresAt: Math.min(owner.expiresAt, expiresAt),
    };
  }

  async function userPrincipal(user: UserFacts, org: string, named: Named): Promise<Principal> {
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
    return { ...principal, view: isMember(principal) ? ALL : NOTHING };
  }

  /** PS-2. @throws GatewayError `forbidden`, `org_required` */
  async function orgOf(user: UserFacts, named: Named): Promise<string> {
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

  async function verifyAgent(shown: Shown): Promise<Principal> {
    const { token, key, named, resource } = shown;
    const keyed = key === null ? null : await verifyKey(key);
    if (token === null) {
      if (keyed === null) throw unauthorized();
      return keep(shown, keyed);
    }
    const user = await verifyToken(token, { org: named, field: "X-Org-Id" }, resource);
    if (keyed === null) return keep(shown, user);
    const { key: own } = user.principal;
    if (own !== null && own.virtual_key_id !== keyed.principal.key?.virtual_key_id) throw twoKeys();
    // A key only narrows, and only where it belongs (PS-1).
    if (keyed.principal.org !== user.principal.org) {
      throw new GatewayError("forbidden", "The key belongs to another org.");
    }
    const { key: grant } = keyed.principal;
    const view = isMember(user.principal) ? keyed.principal.view : NOTHING;
    const generation = Math.min(keyed.principal.generation, user.principal.generation);
    return keep(shown, {
      principal: { ...user.principal, key: grant, view, generation },
      expiresAt: Math.min(keyed.expiresAt, user.expiresAt),
    });
  }

  function keep(shown: Shown, { principal, expiresAt }: Verified): Principal {
    memory.set(memoryKey(shown), principal, Math.min(expiresAt, clock() + KEEP_MS));
    return principal;
  }

  return {
    /**
     * The principal of an agent's request, from memory where it can be.
     *
     * @param resource The door that it came to, as `resourceOf` names it.
     * @throws GatewayError `unauthorized`, also for `ADMIN_KEY`; `ambiguous_credentials`, `forbidden`, `org_required`,
     *   `insufficient_scope`
     */
    async agent(headers: Headers, resource: string): Promise<Principal> {
      const shown = shownIn(headers, resource);
      return memory.get(memoryKey(shown)) ?? verifyAgent(shown);
    },

    /** The same, read anew: the generation of the org has moved since memory's copy was made. */
    async agentAnew(headers: Headers, resource: string): Promise<Principal> {
      const shown = shownIn(headers, resource);
      memory.delete(memoryKey(shown));
      return verifyAgent(shown);
    },

    /** The principal of a virtual key, by the hash of its value. @throws GatewayError `unauthorized` */
    ofKey: async (valueHash: string): Promise<Principal> => (await verifyHash(valueHash)).principal,

    /**
     * The principal of a request to an API, read anew. It may be a virtual key: what that may do there is not for
     * authentication to say.
     *
     * @param resource The door that a token of ours must be for: the one to all servers.
     * @param ofPath The org that the path is about, which decides as `X-Org-Id` does elsewhere.
     * @throws GatewayError `unauthorized`; `forbidden` for an org of others; `not_found`, `org_required`,
     *   `insufficient_scope`
     */
    async api(headers: Headers, resource: string, ofPath?: string): Promise<Principal> {
      const { token, key } = credentialsOf(headers);
      const keyed = key === null ? null : await verifyKey(key);
      if (token === null) {
        if (keyed === null) throw unauthorized();
        return keyed.principal;
      }
      const named: Named =
        ofPath === undefined ? { org: headers.get("X-Org-Id"), field: "X-Org-Id" } : { org: ofPath, field: null };
      const expected = adminKey.reveal();
      if (expected === "" || !equalInConstantTime(token, expected)) {
        return (await verifyToken(token, named, resource)).principal;
      }
      if (key !== null) throw twoKeys();
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

/** What an agent's request shows, and where. */
interface Shown extends Credentials {
  /** The org that it names; a key has its own. */
  readonly named: string | null;
  readonly resource: string;
}

function shownIn(headers: Headers, resource: string): Shown {
  return { ...credentialsOf(headers), named: headers.get("X-Org-Id"), resource };
}

/** Credentials are kept as a hash: memory holds no secret longer than its request. */
function memoryKey({ token, key, named, resource }: Shown): string {
  return sha256Hex(JSON.stringify(token === null ? [key] : [key, token, named, resource]));
}

function twoKeys(): GatewayError {
  return new GatewayError("ambiguous_credentials", "The request carries two different keys.");
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
