/** What a virtual key is and which tools it opens. Pure. */
import { sha256Hex } from "../platform/hash.ts";
import { randomToken } from "../platform/ids.ts";

/** Which tools of one server a key may use: all (`["*"]`), a list, or none (`[]`, an explicit refusal; BF-6). */
export type KeyRule = readonly string[];

export interface VirtualKey {
  readonly virtual_key_id: string;
  readonly org_id: string;
  readonly name: string;
  readonly description: string;
  readonly value_hash: string;
  readonly last4: string;
  /** The value before the last rotation, and until when it opens the key too. */
  readonly previous_hash: string | null;
  readonly previous_until: number | null;
  readonly is_active: boolean;
  /** Instants are milliseconds since the Unix epoch. */
  readonly expires_at: number | null;
  /** To the minute. */
  readonly last_used_at: number | null;
  /** For people to sort keys by; nothing is decided by it. */
  readonly group_id: string | null;
  readonly created: number;
  readonly created_by: string;
  readonly modified: number;
  readonly modified_by: string;
}

/** One assignment of a server to a key. */
export interface KeyServer {
  readonly server_id: string;
  readonly tools_to_execute: readonly string[];
}

/** The same with what a list of them shows. */
export interface AssignedServer extends KeyServer {
  readonly assignment_id: number;
  readonly display_name: string;
}

/** One assignment of a key to a server. */
export interface ServerKey {
  readonly virtual_key_id: string;
  readonly tools_to_execute: readonly string[];
}

/** The same as it is shown. */
export interface NamedServerKey extends ServerKey {
  readonly virtual_key_name: string;
}

/** A key with its assignments, and the generation of its org that it was read at. */
export interface VerifiedKey {
  readonly key: VirtualKey;
  readonly rules: ReadonlyMap<string, KeyRule>;
  readonly generation: number;
}

const PREFIX = "sk-pst-";

/** A new value: the prefix and 256 random bits in base64url (PS-8). */
export function newKeyValue(): string {
  return PREFIX + randomToken(32);
}

/** Whether a credential claims to be a virtual key; anything else is not looked up as one. */
export function looksLikeKey(credential: string): boolean {
  return credential.startsWith(PREFIX);
}

/** What is stored of a value, and what it is found by. */
export function keyHash(value: string): string {
  return sha256Hex(value);
}

/** How a value shows after its one showing. */
export function maskedValue(last4: string): string {
  return `${PREFIX}****${last4}`;
}

/**
 * Until when a value opens its key (PS-8), whatever happens in between.
 *
 * @param valueHash Of the value that was shown: the present one's, or that of the one before.
 * @returns Milliseconds since the Unix epoch, infinity for a value without an end; null when it does not open the key.
 */
export function openUntil(key: VirtualKey, valueHash: string, now: number): number | null {
  if (!key.is_active) return null;
  const replaced = valueHash === key.value_hash ? Number.POSITIVE_INFINITY : endOfPrevious(key, valueHash);
  const until = Math.min(key.expires_at ?? Number.POSITIVE_INFINITY, replaced);
  return until > now ? until : null;
}

function endOfPrevious({ previous_hash, previous_until }: VirtualKey, valueHash: string): number {
  return valueHash === previous_hash && previous_until !== null ? previous_until : Number.NEGATIVE_INFINITY;
}

/** Whether a rule opens a tool, by the server's own name of it, byte for byte. */
export function ruleAllows(rule: KeyRule, tool: string): boolean {
  return rule[0] === "*" || rule.includes(tool);
}
