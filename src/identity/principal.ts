/** Who is asking, after authentication (design.md section 6). Plain data. */
import type { KeyRule } from "../access/virtual-key.ts";

/** `ADMIN_KEY`: a platform admin, acting in one org. */
export interface AdminPrincipal {
  readonly kind: "admin";
  readonly id: string;
  readonly org: string;
}

/** A virtual key: MCP doors only, within its org and its assignments. */
export interface KeyPrincipal {
  readonly kind: "virtual_key";
  /** `key:<virtual_key_id>` (PS-9). */
  readonly id: string;
  readonly org: string;
  readonly key: {
    readonly virtual_key_id: string;
    readonly name: string;
    /** By server; a server that is not in it falls to `allow_on_all_virtual_keys`. */
    readonly rules: ReadonlyMap<string, KeyRule>;
  };
  /** Names what of a snapshot it may see: principals of one org with equal views are shown the same lists. */
  readonly view: string;
  /** The generation of the org that this was read at. */
  readonly generation: number;
}

/** The id of the principal behind `ADMIN_KEY` (RB-15). */
export const ADMIN_ID = "admin-key";
