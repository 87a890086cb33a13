/** Who has signed in, as it is stored: in a browser's session, and sealed in a grant. */
import * as z from "zod";

const KeyHolder = z.strictObject({
  kind: z.literal("key"),
  virtual_key_id: z.string(),
  org: z.string(),
  /** SHA-256 of the value they signed in with: a rotation that ends this value ends what was done with it. */
  value_hash: z.string(),
});

/** What the identity provider has said of somebody; how long a token is good is the gateway's to say from then on. */
const UserFacts = z.strictObject({
  sub: z.string(),
  email: z.string().nullable(),
  orgs: z.array(z.string()).readonly(),
  claimed: z
    .strictObject({
      role: z.enum(["org_admin", "member"]).nullable(),
      groups: z.array(z.strictObject({ group_id: z.string(), is_admin: z.boolean() })).readonly(),
    })
    .nullable(),
  isPlatformAdmin: z.boolean(),
});

const SignedInUser = z.strictObject({ kind: z.literal("user"), user: UserFacts });

/** Whoever sits at a browser: the holder of a virtual key, or a user of the identity provider. */
export const Person = z.discriminatedUnion("kind", [KeyHolder, SignedInUser]);
export type Person = z.infer<typeof Person>;

/** What a grant holds: the person, and the one org that its tokens act in. */
export const Grantor = z.discriminatedUnion("kind", [KeyHolder, SignedInUser.extend({ org: z.string() })]);
export type Grantor = z.infer<typeof Grantor>;
