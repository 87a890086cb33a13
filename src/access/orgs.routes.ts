import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { PageQuery } from "../http/page.wire.ts";
import { isoTime } from "../platform/clock.ts";
import {
  GroupInput,
  GroupMemberInput,
  GroupMemberView,
  GroupPatch,
  GroupView,
  MemberInput,
  MemberView,
  OrgInput,
  OrgPatch,
  OrgView,
} from "./orgs.wire.ts";

const Deleted = z.strictObject({ deleted: z.literal(true) });
const ORG = "/v1/orgs/:org_id";
const GROUP = `${ORG}/groups/:group_id`;

export const orgOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/orgs",
      needs: "user",
      summary: "List the orgs that one belongs to; all of them for a platform admin",
      query: PageQuery,
      status: 200,
      answer: pageOf(OrgView),
    },
    async ({ services, principal, query }) => {
      const page = await services.orgs.list(principal, query);
      return { ...page, rows: page.rows.map(dated) };
    },
  ),
  operation(
    {
      method: "POST",
      path: "/v1/orgs",
      needs: "platform_admin",
      summary: "Create an org",
      body: OrgInput,
      status: 201,
      answer: OrgView,
      failures: ["conflict"],
    },
    async ({ services, body }) => dated(await services.orgs.create(body)),
  ),
  operation(
    { method: "GET", path: ORG, needs: "member", summary: "Read an org", status: 200, answer: OrgView },
    async ({ services, principal }) => dated(await services.orgs.get(principal.org)),
  ),
  operation(
    {
      method: "PATCH",
      path: ORG,
      needs: "org_admin",
      summary: "Change the given fields of an org",
      body: OrgPatch,
      status: 200,
      answer: OrgView,
    },
    async ({ services, principal, body }) => dated(await services.orgs.update(principal.org, body)),
  ),
  operation(
    {
      method: "DELETE",
      path: ORG,
      needs: "platform_admin",
      summary: "Delete an org with its groups, members, keys, contexts and instructions",
      status: 200,
      answer: Deleted,
      failures: ["conflict"],
    },
    async ({ services, principal }) => {
      await services.orgs.remove(principal.org);
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: `${ORG}/groups`,
      needs: "member",
      summary: "List the groups of an org",
      query: PageQuery,
      status: 200,
      answer: pageOf(GroupView),
    },
    async ({ services, principal, query }) => {
      const page = await services.orgs.groups(principal.org, query);
      return { ...page, rows: page.rows.map(dated) };
    },
  ),
  operation(
    {
      method: "POST",
      path: `${ORG}/groups`,
      needs: "org_admin",
      summary: "Create a group",
      body: GroupInput,
      status: 201,
      answer: GroupView,
      failures: ["conflict"],
    },
    async ({ services, principal, body }) => dated(await services.orgs.createGroup(principal.org, body)),
  ),
  operation(
    { method: "GET", path: GROUP, needs: "member", summary: "Read a group", status: 200, answer: GroupView },
    async ({ services, principal, param }) => dated(await services.orgs.group(principal.org, param("group_id"))),
  ),
  operation(
    {
      method: "PATCH",
      path: GROUP,
      needs: "org_admin",
      summary: "Rename a group",
      body: GroupPatch,
      status: 200,
      answer: GroupView,
    },
    async ({ services, principal, param, body }) =>
      dated(await services.orgs.renameGroup(principal.org, param("group_id"), body.name)),
  ),
  operation(
    {
      method: "DELETE",
      path: GROUP,
      needs: "org_admin",
      summary: "Delete a group with its instructions",
      status: 200,
      answer: Deleted,
    },
    async ({ services, principal, param }) => {
      await services.orgs.removeGroup(principal.org, param("group_id"));
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: `${GROUP}/members`,
      needs: "member",
      summary: "List who is in a group",
      query: PageQuery,
      status: 200,
      answer: pageOf(GroupMemberView),
    },
    ({ services, principal, param, query }) => services.orgs.groupMembers(principal.org, param("group_id"), query),
  ),
  operation(
    {
      method: "PUT",
      path: `${GROUP}/members/:user_id`,
      needs: "member",
      summary: "Put a member of the org in a group; for admins of the group",
      body: GroupMemberInput,
      status: 200,
      answer: GroupMemberView,
    },
    ({ services, principal, param, body }) =>
      services.orgs.putGroupMember(principal, param("group_id"), param("user_id"), body.is_admin),
  ),
  operation(
    {
      method: "DELETE",
      path: `${GROUP}/members/:user_id`,
      needs: "member",
      summary: "Take somebody out of a group; for admins of the group",
      status: 200,
      answer: Deleted,
    },
    async ({ services, principal, param }) => {
      await services.orgs.removeGroupMember(principal, param("group_id"), param("user_id"));
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: `${ORG}/members`,
      needs: "member",
      summary: "List the members of an org",
      query: PageQuery,
      status: 200,
      answer: pageOf(MemberView),
    },
    async ({ services, principal, query }) => {
      const page = await services.orgs.members(principal.org, query);
      return { ...page, rows: page.rows.map(dated) };
    },
  ),
  operation(
    {
      method: "PUT",
      path: `${ORG}/members/:user_id`,
      needs: "org_admin",
      summary: "Add a member, or give one another role",
      body: MemberInput,
      status: 200,
      answer: MemberView,
      failures: ["conflict"],
    },
    async ({ services, principal, param, body }) =>
      dated(await services.orgs.putMember(principal, param("user_id"), body)),
  ),
  operation(
    {
      method: "DELETE",
      path: `${ORG}/members/:user_id`,
      needs: "org_admin",
      summary: "Take somebody out of an org and its groups",
      status: 200,
      answer: Deleted,
      failures: ["conflict"],
    },
    async ({ services, principal, param }) => {
      await services.orgs.removeMember(principal, param("user_id"));
      return { deleted: true as const };
    },
  ),
];

function dated<T extends { readonly created: number }>(row: T): Omit<T, "created"> & { created: string } {
  return { ...row, created: isoTime(row.created) };
}
