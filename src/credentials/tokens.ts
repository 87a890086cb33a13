/** The use cases of upstream tokens: whose there are, linking one, and deleting it everywhere. */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import { isOrgAdmin, type Principal } from "../identity/principal.ts";
import type { Clock } from "../platform/clock.ts";
import { isoTime } from "../platform/clock.ts";
import { causesOf, log } from "../platform/log.ts";
import type { Actor } from "../registry/reach.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import type { CredentialStub } from "./credential.stub.ts";
import type { Flows, Link } from "./flows.ts";
import { isTrial, type Owner, SERVER_ITSELF, TRIAL } from "./owner.ts";
import { statusOf, type TokenRow } from "./token.ts";
import type { TokenStore } from "./tokens.store.ts";
import type { McpTokenRecord, TokenQuery } from "./tokens.wire.ts";

export interface TokensDeps {
  readonly store: TokenStore;
  readonly dispose: CredentialStub["dispose"];
  readonly startFlow: Flows["start"];
  /** @throws GatewayError `not_found` */
  readonly visible: (actor: Actor, serverId: string) => Promise<ServerRecord>;
  /** @throws GatewayError `not_found`, `forbidden`, `read_only` */
  readonly editable: (actor: Actor, serverId: string) => Promise<ServerRecord>;
  /** What follows a deletion: this isolate forgets its leases. */
  readonly onDeleted: () => void;
  readonly clock: Clock;
}

/** Deleted tokens whose values one request ends; the rest is left to the scheduled handler. */
const DISPOSED_AT_ONCE = 20;
const DISPOSED_AT_A_TIME = 200;

export type Tokens = ReturnType<typeof createTokens>;

export function createTokens(deps: TokensDeps) {
  const { store, clock } = deps;

  /** Ends the values of tokens that are deleted already; whatever fails is tried again some time (PS-57). */
  async function dispose(serverId: string | null, limit: number): Promise<void> {
    deps.onDeleted();
    for (const disposal of await store.disposals(serverId, limit)) {
      try {
        await deps.dispose(disposal);
      } catch (thrown) {
        log("error", "token_not_disposed", { token_id: disposal.token_id, causes: causesOf(thrown) });
      }
    }
  }

  /** Whose token of a server is the principal's own, and the server. @throws GatewayError */
  async function own(principal: Principal, serverId: string): Promise<{ owner: Owner; record: ServerRecord }> {
    const record = await deps.visible(principal, serverId);
    if (record.auth_type === "oauth") return { owner: SERVER_ITSELF, record: await deps.editable(principal, serverId) };
    if (record.auth_type !== "per_user_oauth") {
      throw new GatewayError("invalid_request", "The server takes no linked accounts: its auth_type is not OAuth.");
    }
    // Nobody's: it brings the tools of a server whose users come with virtual keys, and is given up.
    if (principal.kind === "admin_key") return { owner: TRIAL, record };
    return { owner: { org_id: principal.org, user_id: principal.id }, record };
  }

  function viewOf(row: TokenRow): McpTokenRecord {
    const { server_id, user_id, org_id, scopes } = row;
    return {
      ...{ server_id, user_id, org_id, scopes: [...scopes] },
      token_status: statusOf(row, clock()),
      expires_at: row.expires_at === null ? null : isoTime(row.expires_at),
      created: isoTime(row.created),
      modified: isoTime(row.modified),
    };
  }

  async function list(
    orgId: string,
    filters: { readonly server_id?: string; readonly user_id?: string },
    query: PageQuery,
  ): Promise<Page<McpTokenRecord>> {
    const page = parsePage(query);
    const { rows, total } = await store.list(orgId, filters, page);
    const sort = { by: "server_id", direction: "asc" } as const;
    return { rows: rows.map(viewOf), total_rows: total, ...page, filters: { ...filters }, sort };
  }

  async function remove(owner: Owner, serverId: string): Promise<void> {
    if (!(await store.remove(owner, serverId))) throw new GatewayError("not_found", "There is no such token.");
    await dispose(serverId, DISPOSED_AT_ONCE);
  }

  return {
    /**
     * Begins to link an account: one's own, or that of a server that everybody shares (RB-35).
     *
     * @throws GatewayError `invalid_request` for servers and principals without such an account; `not_found`,
     *   `forbidden`, `conflict`
     */
    async start(principal: Principal, serverId: string, self: string): Promise<Link> {
      const { owner, record } = await own(principal, serverId);
      if (record.grant_type !== "authorization_code") {
        throw new GatewayError("invalid_request", "The server's grant_type needs nobody to link an account.");
      }
      const person = principal.kind === "user" ? principal.id : null;
      return deps.startFlow(record, { owner, person, self, scopes: [] });
    },

    /** One's own token of a server; of a shared account, for those who may edit the server. @throws GatewayError */
    async get(principal: Principal, serverId: string): Promise<McpTokenRecord> {
      const { owner } = await own(principal, serverId);
      const row = await store.get(owner, serverId);
      if (row === null) throw new GatewayError("not_found", "There is no such token.");
      return viewOf(row);
    },

    /** @throws GatewayError `not_found` and as `get` */
    async removeOwn(principal: Principal, serverId: string): Promise<void> {
      const { owner } = await own(principal, serverId);
      await remove(owner, serverId);
    },

    /** The tokens of an org for a server, by user. @throws GatewayError `not_found` */
    async ofServer(principal: Principal, serverId: string, query: PageQuery): Promise<Page<McpTokenRecord>> {
      await deps.visible(principal, serverId);
      return list(principal.org, { server_id: serverId }, query);
    },

    /** One user's token, for admins of the org. @throws GatewayError `not_found` */
    async removeOf(principal: Principal, serverId: string, userId: string): Promise<void> {
      await deps.visible(principal, serverId);
      await remove({ org_id: principal.org, user_id: userId }, serverId);
    },

    /** One's own tokens in the org; an admin of it may name a user, or all. @throws GatewayError `forbidden` */
    async list(principal: Principal, { user_id = principal.id, ...query }: TokenQuery): Promise<Page<McpTokenRecord>> {
      if (user_id !== principal.id && !isOrgAdmin(principal)) {
        throw new GatewayError("forbidden", "Only an org admin sees the tokens of others.", { field: "user_id" });
      }
      return list(principal.org, user_id === "*" ? {} : { user_id }, query);
    },

    /** Gives up an account that a server was only tried with. */
    async endTrial(owner: Owner, serverId: string): Promise<void> {
      if (isTrial(owner) && (await store.remove(owner, serverId))) await dispose(serverId, DISPOSED_AT_ONCE);
    },

    /** What follows a write that has deleted tokens of a server, or of whoever is gone. */
    disposeNow: (serverId: string | null) => dispose(serverId, DISPOSED_AT_ONCE),

    /** What those have left over; for the scheduled handler. */
    disposeRest: () => dispose(null, DISPOSED_AT_A_TIME),
  };
}
