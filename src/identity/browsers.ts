/**
 * Who sits at a browser. Each browser keeps a random secret that no page can read. Everything that ties a request to it
 * is made from that secret: the token of a form, and state, nonce and verifier of a sign-in at the identity provider.
 */
import { keyHash } from "../access/virtual-key.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import { equalInConstantTime, hmacBase64Url, sha256Hex } from "../platform/hash.ts";
import { randomToken } from "../platform/ids.ts";
import type { BrowserStore } from "./browsers.store.ts";
import { unauthorized } from "./credential.ts";
import { principalIdOf } from "./grants.ts";
import type { Person } from "./person.wire.ts";
import type { Principal, Standing } from "./principal.ts";
import type { ProvenUser } from "./proven-user.ts";
import type { IdentityProvider } from "./provider.ts";
import type { SignIn } from "./sign-in.ts";

export interface BrowsersDeps {
  readonly store: BrowserStore;
  /** Null: nobody signs in there, and a virtual key is asked for instead. */
  readonly provider: Pick<IdentityProvider, "signInUrl" | "finishSignIn"> | null;
  /** The principal of a virtual key, by the hash of its value. @throws GatewayError `unauthorized` */
  readonly ofKey: (valueHash: string) => Promise<Principal>;
  readonly members: {
    orgsOf(userId: string): Promise<string[]>;
    standing(orgId: string, userId: string): Promise<Pick<Standing, "exists">>;
  };
  readonly defaultOrg: string;
  readonly clock: Clock;
}

/** Somebody signed in, as a page shows them. */
export interface SignedIn {
  readonly person: Person;
  /** Of the principal. */
  readonly id: string;
  readonly name: string;
  /** Those that a client can be let into, sorted. */
  readonly orgs: readonly string[];
}

/** Time to sign in at the provider, a second factor included. */
const SIGN_IN_MS = 600_000;
/** What a person can choose from, and what one page asks the database about. */
const MAX_ORGS = 50;
/** A working day: letting in a second client asks for no second sign-in. */
export const SESSION_S = 8 * 3_600;

/** Where the identity provider sends browsers back to, whatever they came for. */
export const SIGN_IN_CALLBACK = "/oauth/callback";

export type Browsers = ReturnType<typeof createBrowsers>;

export function createBrowsers({ store, provider, ofKey, members, defaultOrg, clock }: BrowsersDeps) {
  const secretsOf = (browser: string, state: string, redirectUri: string): SignIn => ({
    redirectUri,
    state,
    nonce: hmacBase64Url(browser, `nonce ${state}`),
    verifier: hmacBase64Url(browser, `verifier ${state}`),
  });

  async function remember(person: Person): Promise<string> {
    const session = randomToken(32);
    const now = clock();
    await store.putSession(sha256Hex(session), person, now, now + SESSION_S * 1_000);
    return session;
  }

  async function orgsOf({ sub, orgs, claimed, isPlatformAdmin }: Omit<ProvenUser, "expiresAt">): Promise<string[]> {
    const own = claimed === null ? [...(await members.orgsOf(sub)), ...orgs] : orgs;
    // As for a request that names none (PS-2).
    const usual = own.length === 0 || isPlatformAdmin ? [defaultOrg] : [];
    const all = [...new Set([...own, ...usual])].toSorted().slice(0, MAX_ORGS);
    // Claims may name orgs that are none of the gateway's.
    const standings = await Promise.all(all.map((org) => members.standing(org, sub)));
    return all.filter((_, at) => standings[at]?.exists === true);
  }

  return {
    signsInElsewhere: provider !== null,

    /** A secret for a browser that has none. */
    newSecret: () => randomToken(32),

    formToken,

    isFormToken(token: string, ...shown: Parameters<typeof formToken>): boolean {
      return equalInConstantTime(token, formToken(...shown));
    },

    /** @param returnTo Path and query on our own origin. @returns Where to send the browser. */
    async start(browser: string, redirectUri: string, returnTo: string): Promise<string> {
      if (provider === null) throw new GatewayError("not_found", "Sign-in is not configured.");
      const state = randomToken(32);
      const now = clock();
      const hashes = { state_hash: sha256Hex(state), browser_hash: sha256Hex(browser) };
      await store.startSignIn({ ...hashes, return_to: returnTo, expires_at: now + SIGN_IN_MS }, now);
      return provider.signInUrl(secretsOf(browser, state, redirectUri));
    },

    /**
     * Takes a sign-in whose browser has come back: once, within ten minutes, and that browser only (PS-54).
     *
     * @returns Where it goes on; null for anything else.
     */
    take(browser: string, state: string): Promise<string | null> {
      return store.takeSignIn(sha256Hex(state), sha256Hex(browser), clock());
    },

    /** @returns The session. @throws GatewayError as the provider */
    async finish(browser: string, state: string, redirectUri: string, callbackUrl: string): Promise<string> {
      if (provider === null) throw new GatewayError("not_found", "Sign-in is not configured.");
      const signIn = secretsOf(browser, state, redirectUri);
      const { expiresAt: _, ...user } = await provider.finishSignIn({ ...signIn, callbackUrl });
      return remember({ kind: "user", user });
    },

    /** @returns The session. @throws GatewayError `unauthorized` */
    async signInWithKey(value: string): Promise<string> {
      const value_hash = keyHash(value);
      const { key, org } = await ofKey(value_hash);
      if (key === null) throw unauthorized();
      return remember({ kind: "key", virtual_key_id: key.virtual_key_id, org, value_hash });
    },

    /** Who is signed in; a key counts while it could sign in again. */
    async signedIn(session: string | null): Promise<SignedIn | null> {
      const person = session === null ? null : await store.session(sha256Hex(session), clock());
      if (person === null) return null;
      if (person.kind === "user") {
        const { sub, email } = person.user;
        return { person, id: sub, name: email ?? sub, orgs: await orgsOf(person.user) };
      }
      const principal = await orNull(ofKey(person.value_hash));
      const name = principal?.key?.name;
      return name === undefined ? null : { person, id: principalIdOf(person), name, orgs: [person.org] };
    },

    async signOut(session: string | null): Promise<void> {
      if (session !== null) await store.endSession(sha256Hex(session));
    },
  };
}

/** What a form must bring back: it was shown in this browser, for this request, to this person. */
function formToken(browser: string, query: string, signedIn: SignedIn | null): string {
  return hmacBase64Url(browser, JSON.stringify(["form", query, signedIn?.id ?? null]));
}

/** Null for what is refused; outages fly on. */
export async function orNull<T>(authenticated: Promise<T>): Promise<T | null> {
  try {
    return await authenticated;
  } catch (thrown) {
    if (GatewayError.from(thrown).code === "unauthorized") return null;
    throw thrown;
  }
}
