/** What verified claims of the operator's identity provider say of a person, as the operator maps them (PS-3). */
import type { OidcSettings } from "../config.ts";
import { isObject } from "../platform/json-value.ts";
import { unauthorized } from "./credential.ts";
import type { Claims } from "./token.ts";

/** A person as the operator's identity provider vouches for them. */
export interface ProvenUser {
  readonly sub: string;
  /** Null also where the provider says that it has not verified it. */
  readonly email: string | null;
  /** Orgs that the token names (a claim that is a text or a list); empty when no org claim is mapped or present. */
  readonly orgs: readonly string[];
  /** What the claims say of rights; null where no roles claim is mapped: the members table decides then (PS-3). */
  readonly claimed: ClaimedRights | null;
  readonly isPlatformAdmin: boolean;
  /** Milliseconds since the Unix epoch: nothing may be remembered beyond it. */
  readonly expiresAt: number;
}

/** Rights in each of the orgs that the token names; without one, in the org that the request falls to (PS-2). */
export interface ClaimedRights {
  /** The highest that a value of the roles claim stands for; null when none does. */
  readonly role: "org_admin" | "member" | null;
  readonly groups: readonly { readonly group_id: string; readonly is_admin: boolean }[];
}

/**
 * @param claims Of a token whose signature, issuer, audience and times have been checked.
 * @throws GatewayError `unauthorized` when a mapped claim holds something that cannot be read: who is in an org, or in
 *   which, must not be a guess. An email that cannot be read counts as none.
 */
export function provenUser(claims: Claims, settings: Pick<OidcSettings, "claims" | "roles">): ProvenUser {
  const names = settings.claims;
  const sub = claimOf(claims, names.sub);
  const email = claimOf(claims, names.email);
  const { exp } = claims;
  // JSON has numbers, such as 1e999, that are no instant.
  const expiresAt = typeof exp === "number" ? Math.floor(exp * 1000) : Number.NaN;
  if (!isPlainText(sub) || !Number.isSafeInteger(expiresAt)) throw unreadable();
  return {
    sub,
    email: isPlainText(email) && !(names.email === "email" && isUnverified(claims)) ? email : null,
    orgs: textsOf(claims, names.org),
    claimed: names.roles === null ? null : { role: roleOf(claims, settings), groups: groupsOf(claims, settings) },
    isPlatformAdmin: isPlatformAdmin(claims, names.platform_admin),
    expiresAt,
  };
}

/** OpenID Connect Core 1.0 section 5.1; some providers write the flag as a text. */
function isUnverified(claims: Claims): boolean {
  return claims["email_verified"] === false || claims["email_verified"] === "false";
}

/**
 * The claim of a name: exactly that name first, since names may be URLs (`https://acme.example/roles`), else a path
 * (`realm_access.roles`). Null counts as absent.
 */
function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name] ?? undefined;
  let found: unknown = claims;
  for (const step of name.split(".")) {
    if (!isObject(found) || !Object.hasOwn(found, step)) return undefined;
    found = found[step];
  }
  return found ?? undefined;
}

/** A claim that is a text or a list of texts, as a list without repetitions. */
function textsOf(claims: Claims, name: string | null): readonly string[] {
  const found = name === null ? undefined : claimOf(claims, name);
  if (found === undefined) return [];
  const texts: readonly unknown[] = Array.isArray(found) ? found : [found];
  if (!texts.every(isPlainText)) throw unreadable();
  return [...new Set(texts)];
}

/**
 * Whether a value is a text that may name something: 1 to 255 characters (the bound of OpenID Connect Core 1.0 section 2
 * for `sub`), none of them a control character or half of a pair: two texts that differ in those may be stored as one.
 */
function isPlainText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 255 && /^[^\p{Cc}\p{Cs}]+$/u.test(value);
}

function roleOf(claims: Claims, { claims: names, roles }: Pick<OidcSettings, "claims" | "roles">) {
  const held = new Set(textsOf(claims, names.roles).map((value) => roles.get(value)));
  if (held.has("org_admin")) return "org_admin";
  return held.has("member") ? "member" : null;
}

function groupsOf(claims: Claims, { claims: names }: Pick<OidcSettings, "claims">): ClaimedRights["groups"] {
  const administered = new Set(textsOf(claims, names.group_admins));
  const all = new Set([...textsOf(claims, names.groups), ...administered]);
  return [...all].map((group_id) => ({ group_id, is_admin: administered.has(group_id) }));
}

/** Compared without conversion: the text `"true"` is not the flag `true`. */
function isPlatformAdmin(claims: Claims, rule: OidcSettings["claims"]["platform_admin"]): boolean {
  if (rule === null) return false;
  const found = claimOf(claims, rule.claim);
  return Array.isArray(found) ? found.includes(rule.value) : found === rule.value;
}

function unreadable() {
  return unauthorized("a mapped claim is missing or cannot be read");
}
