import * as z from "zod";

/** Ids that an admin gives: they stand in paths and headers. */
const Id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "must have 1 to 64 letters, digits, dots, hyphens");
const Name = z.string();
/** As the identity provider names somebody. */
const UserId = z.string();
const Email = z.string().max(320).nullable();
const DateTime = z.iso.datetime();

export const OrgInput = z.strictObject({ org_id: Id, name: Name });
export type OrgInput = z.infer<typeof OrgInput>;

export const OrgPatch = z
  .strictObject({
    name: Name,
    readme: z.string().max(65_536),
    instructions: z.string().max(65_536),
    call_retention_days: z.int().min(1).max(36_500).nullable().describe("Null keeps calls for ever."),
  })
  .partial();
export type OrgPatch = z.infer<typeof OrgPatch>;

export const OrgView = z.strictObject({
  org_id: z.string(),
  name: z.string(),
  /** What agents read first. */
  readme: z.string(),
  /** What agents are told when they connect. */
  instructions: z.string(),
  /** How many days calls stay in the log; null: for ever. */
  call_retention_days: z.int().nullable(),
  created: DateTime,
});
OrgView.register(z.globalRegistry, { id: "Org" });

export const GroupInput = z.strictObject({ group_id: Id, name: Name });
export type GroupInput = z.infer<typeof GroupInput>;

export const GroupPatch = z.strictObject({ name: Name });

export const GroupView = z.strictObject({
  org_id: z.string(),
  group_id: z.string(),
  name: z.string(),
  created: DateTime,
});
GroupView.register(z.globalRegistry, { id: "Group" });

export const MemberInput = z.strictObject({ role: z.enum(["org_admin", "member"]), email: Email.optional() });
export type MemberInput = z.infer<typeof MemberInput>;

export const MemberView = z.strictObject({
  org_id: z.string(),
  user_id: UserId,
  role: z.enum(["org_admin", "member"]),
  email: Email,
  created: DateTime,
});
MemberView.register(z.globalRegistry, { id: "Member" });

export const GroupMemberInput = z.strictObject({ is_admin: z.boolean().optional() });

export const GroupMemberView = z.strictObject({
  org_id: z.string(),
  group_id: z.string(),
  user_id: UserId,
  is_admin: z.boolean(),
});
GroupMemberView.register(z.globalRegistry, { id: "GroupMember" });
