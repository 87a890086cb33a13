/** The use cases of blocklists: what an org forbids in its instructions, known to its admins only (OT-12). */
import { type Caller, requireRank } from "./caller.ts";
import type { Blocklist } from "./zero-names.ts";

/** Where blocklists are kept; `d1BlocklistStore`, or `inMemoryBlocklists`. */
export interface BlocklistStore {
  /** An org that is not known forbids attributions and nothing else. */
  read(orgId: string): Promise<Blocklist>;
  write(orgId: string, blocklist: Blocklist): Promise<void>;
}

export interface BlocklistsDeps {
  readonly blocklists: BlocklistStore;
  /** What follows a committed write. */
  readonly onWritten: () => void;
}

/** What an org forbids that has said nothing. */
export const DEFAULT_BLOCKLIST: Blocklist = { terms: [], forbid_attribution: true };

export function createBlocklists({ blocklists, onWritten }: BlocklistsDeps) {
  return {
    /** @throws GatewayError `forbidden` */
    async get(caller: Caller): Promise<Blocklist> {
      requireRank(caller, "org_admin");
      return blocklists.read(caller.org);
    },

    /**
     * Replaces it. What has been written before stays, and is refused when it is written again.
     *
     * @throws GatewayError `forbidden`
     */
    async set(caller: Caller, { terms, forbid_attribution }: Blocklist): Promise<Blocklist> {
      requireRank(caller, "org_admin");
      const blocklist = { terms: [...new Set(terms)], forbid_attribution };
      await blocklists.write(caller.org, blocklist);
      onWritten();
      return blocklist;
    },
  };
}
