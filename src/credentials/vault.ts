/**
 * The vault of token values: sealed, in KV, under the id and version of the token. A value is written once and never
 * changed, so that whatever KV still has of an earlier version has another name and is not found (T-19).
 */
import type { Sealer } from "./sealing.ts";
import type { TokenValue } from "./token.ts";
import type { Disposal } from "./tokens.store.ts";

/** Which value: the row of the token says it. */
export type TokenRef = Disposal;

export interface Vault {
  /** Only its owner's row opens what this makes (PS-50). @throws GatewayError `encryption_key_missing` */
  seal(ref: TokenRef, value: TokenValue): Promise<string>;
  /** @throws GatewayError `sealed_payload_invalid` */
  open(ref: TokenRef, sealed: string): Promise<TokenValue>;
  put(ref: TokenRef, sealed: string): Promise<void>;
  /** Null where KV does not have it, or not yet. */
  get(ref: TokenRef): Promise<string | null>;
  delete(ref: TokenRef): Promise<void>;
}

export function kvVault(kv: KVNamespace, sealer: Pick<Sealer, "seal" | "open">): Vault {
  const keyOf = ({ token_id, version }: TokenRef) => `tok:${token_id}:${version}`;
  const ownerOf = ({ token_id, version, server_id, org_id, user_id }: TokenRef) =>
    `token:${JSON.stringify([server_id, org_id, user_id, token_id, version])}`;
  return {
    seal: (ref, value) => sealer.seal(JSON.stringify(value), ownerOf(ref)),
    open: async (ref, sealed) => JSON.parse(await sealer.open(sealed, ownerOf(ref))) as TokenValue,
    put: (ref, sealed) => kv.put(keyOf(ref), sealed),
    get: (ref) => kv.get(keyOf(ref)),
    delete: (ref) => kv.delete(keyOf(ref)),
  };
}
