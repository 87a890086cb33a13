import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { orgs } from "../access/access.tables.ts";
import { generations } from "../catalog/catalog.tables.ts";
import { withOutages } from "../failure/unavailable.ts";
import { type BlocklistStore, DEFAULT_BLOCKLIST } from "./blocklists.ts";
import { Terms } from "./instructions.wire.ts";

/** Blocklists in D1, as part of their orgs. Each write is one batch that raises the generation of the org. */
export function d1BlocklistStore(d1: D1Database): BlocklistStore {
  const db = drizzle(d1);
  return withOutages<BlocklistStore>({
    async read(orgId) {
      const [row] = await db
        .select({ terms: orgs.blocklist, forbid_attribution: orgs.forbid_attribution })
        .from(orgs)
        .where(eq(orgs.org_id, orgId));
      return row === undefined ? DEFAULT_BLOCKLIST : { ...row, terms: Terms.parse(row.terms) };
    },

    async write(orgId, { terms, forbid_attribution }) {
      await db.batch([
        db
          .update(orgs)
          .set({ blocklist: [...terms], forbid_attribution })
          .where(eq(orgs.org_id, orgId)),
        db
          .update(generations)
          .set({ value: sql`${generations.value} + 1` })
          .where(eq(generations.org_id, orgId)),
      ]);
    },
  });
}
