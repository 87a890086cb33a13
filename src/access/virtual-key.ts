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
  readonly is_active: boolean;
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

/** Whether a rule opens a tool, by the server's own name of it, byte for byte. */
export function ruleAllows(rule: KeyRule, tool: string): boolean {
  return rule[0] === "*" || rule.includes(tool);
}
