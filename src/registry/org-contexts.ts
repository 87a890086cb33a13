/** The use cases of org contexts: what an org tells its agents about a server (RB-22 to RB-25). */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import type { Clock } from "../platform/clock.ts";
import type { OrgContext, OrgContextStore } from "./org-contexts.store.ts";

/** Characters, as code points. */
const MAX_LENGTH = 4_000;

export interface OrgContextsDeps {
  readonly store: OrgContextStore;
  readonly hasOrg: (orgId: string) => Promise<boolean>;
  /** What follows a committed write: this isolate forgets its snapshots. */
  readonly onWritten: () => void;
  readonly clock: Clock;
}

export function createOrgContexts({ store, hasOrg, onWritten, clock }: OrgContextsDeps) {
  /** A server that an org cannot see does not exist for it (RB-25), and neither does one of an unknown org. */
  async function requireVisible(orgId: string, serverId: string): Promise<void> {
    if ((await store.isVisible(orgId, serverId)) && (await hasOrg(orgId))) return;
    throw new GatewayError("not_found", "There is no such server.");
  }

  return {
    async list(serverId: string, query: PageQuery) {
      const page = parsePage(query);
      const { rows, total } = await store.list(serverId, page);
      const sort = { by: "org_id", direction: "asc" } as const;
      const result: Page<OrgContext> = { rows, total_rows: total, ...page, filters: {}, sort };
      return result;
    },

    async get(orgId: string, serverId: string): Promise<OrgContext> {
      await requireVisible(orgId, serverId);
      const context = await store.get(orgId, serverId);
      if (context === null) throw new GatewayError("not_found", "The org has no context for this server.");
      return context;
    },

    /**
     * @param by The principal's id.
     * @returns The context as stored; null when an empty text has cleared it (RB-24).
     */
    async set(orgId: string, serverId: string, by: string, text: string): Promise<OrgContext | null> {
      await requireVisible(orgId, serverId);
      if ([...text].length > MAX_LENGTH) {
        const rule = `context must have at most ${MAX_LENGTH} characters.`;
        throw new GatewayError("invalid_request", rule, { field: "context" });
      }
      const now = clock();
      const row = {
        server_id: serverId,
        org_id: orgId,
        context: text,
        created: now,
        created_by: by,
        modified: now,
        modified_by: by,
      };
      const stored = text === "" ? null : await store.put(orgId, row);
      if (stored === null) await store.remove(orgId, serverId);
      onWritten();
      return stored;
    },

    /** @throws GatewayError `not_found` */
    async remove(orgId: string, serverId: string): Promise<void> {
      await requireVisible(orgId, serverId);
      if (!(await store.remove(orgId, serverId))) {
        throw new GatewayError("not_found", "The org has no context for this server.");
      }
      onWritten();
    },
  };
}
