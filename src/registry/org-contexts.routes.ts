import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { PageQuery } from "../http/page.wire.ts";
import { isoTime } from "../platform/clock.ts";
import type { OrgContext } from "./org-contexts.store.ts";
import { ContextInput, ContextView } from "./org-contexts.wire.ts";

const Deleted = z.strictObject({ deleted: z.literal(true) });

export const orgContextOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/contexts",
      needs: "platform_admin",
      summary: "List the contexts of all orgs for a server",
      query: PageQuery,
      status: 200,
      answer: pageOf(ContextView),
    },
    async ({ services, param, query }) => {
      const page = await services.orgContexts.list(param("server_id"), query);
      return { ...page, rows: page.rows.map(viewOf) };
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/contexts/:org_id",
      needs: "member",
      summary: "Read what an org tells its agents about a server",
      status: 200,
      answer: ContextView,
    },
    async ({ services, param }) => viewOf(await services.orgContexts.get(param("org_id"), param("server_id"))),
  ),
  operation(
    {
      method: "PUT",
      path: "/v1/servers/:server_id/contexts/:org_id",
      needs: "org_admin",
      summary: "Set what an org tells its agents about a server; an empty text clears it",
      body: ContextInput,
      status: 200,
      answer: z.union([ContextView, Deleted]),
    },
    async ({ services, principal, param, body }) => {
      const { orgContexts } = services;
      const stored = await orgContexts.set(param("org_id"), param("server_id"), principal.id, body.context);
      return stored === null ? { deleted: true as const } : viewOf(stored);
    },
  ),
  operation(
    {
      method: "DELETE",
      path: "/v1/servers/:server_id/contexts/:org_id",
      needs: "org_admin",
      summary: "Clear what an org tells its agents about a server",
      status: 200,
      answer: Deleted,
    },
    async ({ services, param }) => {
      await services.orgContexts.remove(param("org_id"), param("server_id"));
      return { deleted: true as const };
    },
  ),
];

function viewOf(context: OrgContext): z.infer<typeof ContextView> {
  return { ...context, created: isoTime(context.created), modified: isoTime(context.modified) };
}
