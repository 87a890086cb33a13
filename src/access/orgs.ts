/** The use cases of orgs, groups and members: who belongs where, and who may say so (B.6, PS-4). */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import { isOrgAdmin, type Principal } from "../identity/principal.ts";
import type { Clock } from "../platform/clock.ts";
import { parseDisplayName } from "../registry/server-record.ts";
import type { GroupMember, Member, MemberStore } from "./members.store.ts";
import type { Group, Org, OrgStore } from "./orgs.store.ts";
import type { GroupInput, MemberInput, OrgInput, OrgPatch } from "./orgs.wire.ts";

export interface OrgsDeps {
  readonly orgs: OrgStore;
  readonly members: MemberStore;
  /** The org of requests that name none; it cannot go. */
  readonly defaultOrg: string;
  /** What follows a committed write: this isolate forgets what it verified. */
  readonly onWritten: () => void;
  /** Upstream tokens have been deleted: their values are ended, here and upstream (PS-57). */
  readonly onTokensDeleted: () => Promise<void>;
  readonly clock: Clock;
}

export function createOrgs({ orgs, members, defaultOrg, onWritten, onTokensDeleted, clock }: OrgsDeps) {
  /** @throws GatewayError `not_found` */
  async function requireGroup(orgId: string, groupId: string): Promise<Group> {
    const group = await orgs.group(orgId, groupId);
    if (group === null) throw new GatewayError("not_found", "There is no such group.");
    return group;
  }

  return {
    /** The orgs of somebody; all of them for a platform admin. */
    async list(principal: Principal, query: PageQuery): Promise<Page<Org>> {
      const page = parsePage(query);
      const own = principal.isPlatformAdmin ? null : await ownOrgs(principal);
      const { rows, total } = await orgs.list(own, page);
      return { rows, total_rows: total, ...page, filters: {}, sort: { by: "org_id", direction: "asc" } };
    },

    /** @throws GatewayError `not_found` */
    async get(orgId: string): Promise<Org> {
      const org = await orgs.get(orgId);
      if (org === null) throw new GatewayError("not_found", "There is no such org.");
      return org;
    },

    /** @throws GatewayError `conflict`, `invalid_request` with the field */
    async create({ org_id, name }: OrgInput): Promise<Org> {
      const org = {
        org_id,
        name: parseDisplayName(name, "name"),
        readme: "",
        instructions: "",
        call_retention_days: null,
        created: clock(),
      };
      await orgs.insert(org_id, org);
      onWritten();
      return org;
    },

    /** Changes only what is given. @throws GatewayError `not_found`, `invalid_request` with the field */
    async update(orgId: string, { name, readme, instructions, call_retention_days }: OrgPatch): Promise<Org> {
      const org = await orgs.update(orgId, {
        ...(name === undefined ? {} : { name: parseDisplayName(name, "name") }),
        ...(readme === undefined ? {} : { readme }),
        ...(instructions === undefined ? {} : { instructions }),
        ...(call_retention_days === undefined ? {} : { call_retention_days }),
      });
      if (org === null) throw new GatewayError("not_found", "There is no such org.");
      onWritten();
      return org;
    },

    /** @throws GatewayError `not_found`; `conflict` for the default org, and while a server belongs to it alone (T-34) */
    async remove(orgId: string): Promise<void> {
      if (orgId === defaultOrg) throw new GatewayError("conflict", "The default org cannot be deleted.");
      if (!(await orgs.remove(orgId))) throw new GatewayError("not_found", "There is no such org.");
      onWritten();
      await onTokensDeleted();
    },

    async groups(orgId: string, query: PageQuery): Promise<Page<Group>> {
      const page = parsePage(query);
      const { rows, total } = await orgs.groups(orgId, page);
      return { rows, total_rows: total, ...page, filters: {}, sort: { by: "group_id", direction: "asc" } };
    },

    group: requireGroup,

    /** @throws GatewayError `conflict`, `invalid_request` with the field */
    async createGroup(orgId: string, { group_id, name }: GroupInput): Promise<Group> {
      const group = { org_id: orgId, group_id, name: parseDisplayName(name, "name"), created: clock() };
      await orgs.insertGroup(orgId, group);
      onWritten();
      return group;
    },

    async renameGroup(orgId: string, groupId: string, name: string): Promise<Group> {
      const group = await orgs.renameGroup(orgId, groupId, parseDisplayName(name, "name"));
      if (group === null) throw new GatewayError("not_found", "There is no such group.");
      onWritten();
      return group;
    },

    async removeGroup(orgId: string, groupId: string): Promise<void> {
      if (!(await orgs.removeGroup(orgId, groupId))) throw new GatewayError("not_found", "There is no such group.");
      onWritten();
    },

    async groupMembers(orgId: string, groupId: string, query: PageQuery): Promise<Page<GroupMember>> {
      await requireGroup(orgId, groupId);
      const page = parsePage(query);
      const { rows, total } = await members.groupMembers(orgId, groupId, page);
      return { rows, total_rows: total, ...page, filters: {}, sort: { by: "user_id", direction: "asc" } };
    },

    /**
     * Puts a member of the org in a group. Admins of the group may; who administers it is for org admins to say.
     *
     * @throws GatewayError `not_found` for the group or the member; `forbidden`
     */
    async putGroupMember(
      principal: Principal,
      groupId: string,
      userId: string,
      isAdmin: boolean | undefined,
    ): Promise<GroupMember> {
      const { org } = principal;
      await requireGroup(org, groupId);
      requireGroupAdmin(principal, groupId);
      const before = await members.groupMember(org, groupId, userId);
      const is_admin = isAdmin ?? before?.is_admin ?? false;
      if (is_admin !== (before?.is_admin ?? false) && !isOrgAdmin(principal)) {
        throw new GatewayError("forbidden", "Only an org admin says who administers a group.", { field: "is_admin" });
      }
      const member = { org_id: org, group_id: groupId, user_id: userId, is_admin };
      if (!(await members.putGroupMember(org, member))) {
        throw new GatewayError("not_found", "There is no such member of the org.");
      }
      onWritten();
      return member;
    },

    /** @throws GatewayError as `putGroupMember` */
    async removeGroupMember(principal: Principal, groupId: string, userId: string): Promise<void> {
      const { org } = principal;
      await requireGroup(org, groupId);
      requireGroupAdmin(principal, groupId);
      const before = await members.groupMember(org, groupId, userId);
      if (before === null) throw new GatewayError("not_found", "There is no such member of the group.");
      if (before.is_admin && !isOrgAdmin(principal)) {
        throw new GatewayError("forbidden", "Only an org admin says who administers a group.");
      }
      await members.removeGroupMember(org, groupId, userId);
      onWritten();
    },

    async members(orgId: string, query: PageQuery): Promise<Page<Member>> {
      const page = parsePage(query);
      const { rows, total } = await members.list(orgId, page);
      return { rows, total_rows: total, ...page, filters: {}, sort: { by: "user_id", direction: "asc" } };
    },

    /**
     * Adds a member, or changes one. An org admin cannot lower the last one; a platform admin can.
     *
     * @throws GatewayError `conflict` for the last org admin; `invalid_request` with the field
     */
    async putMember(principal: Principal, userId: string, { role, email = null }: MemberInput): Promise<Member> {
      const user_id = parseUserId(userId);
      const { org } = principal;
      const member = { org_id: org, user_id, role, email, created: clock() };
      const stored = await members.put(org, member, !principal.isPlatformAdmin);
      onWritten();
      return stored;
    },

    /** @throws GatewayError `not_found`; `conflict` for the last org admin */
    async removeMember(principal: Principal, userId: string): Promise<void> {
      if (!(await members.remove(principal.org, userId, !principal.isPlatformAdmin))) {
        throw new GatewayError("not_found", "There is no such member of the org.");
      }
      onWritten();
      await onTokensDeleted();
    },
  };

  /** Where claims say who belongs where, that is the org of the request alone. */
  async function ownOrgs({ id, org, role }: Principal): Promise<string[]> {
    const stored = await members.orgsOf(id);
    return role === null || stored.includes(org) ? stored : [...stored, org];
  }
}

/** @throws GatewayError `forbidden` for whoever does not administer the group */
function requireGroupAdmin(principal: Principal, groupId: string): void {
  if (isOrgAdmin(principal) || principal.groups.get(groupId) === true) return;
  throw new GatewayError("forbidden", "Only admins of the group may do this.");
}

/** What an identity provider may call somebody. @throws GatewayError `invalid_request`, field `user_id` */
function parseUserId(userId: string): string {
  if (userId.length > 0 && userId.length <= 255 && !/\p{Cc}/u.test(userId)) return userId;
  const rule = "user_id must have 1 to 255 characters and no control characters.";
  throw new GatewayError("invalid_request", rule, { field: "user_id" });
}
