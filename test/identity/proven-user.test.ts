/** What claims say, as the operator maps them (PS-3). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClaimNames, OidcSettings } from "../../src/config.ts";
import { GatewayError } from "../../src/failure/gateway-error.ts";
import { provenUser } from "../../src/identity/proven-user.ts";
import { NOW, NOW_S, SETTINGS } from "../support/identity-provider.ts";

type Mapping = Partial<ClaimNames> & { values?: Record<string, "org_admin" | "member"> };

const settingsOf = ({ values, ...names }: Mapping): OidcSettings => ({
  ...SETTINGS,
  claims: { ...SETTINGS.claims, ...names },
  ...(values !== undefined && { roles: new Map(Object.entries(values)) }),
});

const read = (claims: object, mapping: Mapping = {}) =>
  provenUser({ sub: "ada", exp: NOW_S, ...claims }, settingsOf(mapping));

describe("the claims of a user", () => {
  it("say nothing that is not mapped", () => {
    const claims = { org: "acme", roles: ["org_admin"], groups: ["g"], group_admins: ["g"], admin: true };
    expect(read(claims)).toEqual({
      sub: "ada",
      email: null,
      orgs: [],
      claimed: null,
      isPlatformAdmin: false,
      expiresAt: NOW,
    });
  });

  it("say everything that is mapped", () => {
    const claims = {
      oid: "u-7",
      contact: { email: "ada@acme.example" },
      "https://acme.example/org": ["acme", "globex"],
      realm_access: { roles: ["offline_access", "staff", "admins", "root"] },
      teams: ["red", "blue", "red"],
      leads: ["blue", "green"],
    };
    const mapping: Mapping = {
      sub: "oid",
      email: "contact.email",
      org: "https://acme.example/org",
      roles: "realm_access.roles",
      groups: "teams",
      group_admins: "leads",
      platform_admin: { claim: "realm_access.roles", value: "root" },
      values: { admins: "org_admin", staff: "member" },
    };
    expect(read(claims, mapping)).toEqual({
      sub: "u-7",
      email: "ada@acme.example",
      orgs: ["acme", "globex"],
      claimed: {
        role: "org_admin",
        groups: [
          { group_id: "red", is_admin: false },
          { group_id: "blue", is_admin: true },
          { group_id: "green", is_admin: true },
        ],
      },
      isPlatformAdmin: true,
      expiresAt: NOW,
    });
  });

  it("are found by their exact name before they are found by a path", () => {
    const claims = { "a.b": "name", a: { b: "path" } };
    expect(read(claims, { org: "a.b" }).orgs).toEqual(["name"]);
    expect(read({ a: { b: "path" } }, { org: "a.b" }).orgs).toEqual(["path"]);
    expect(read({ a: { "b.c": "no path" } }, { org: "a.b.c" }).orgs).toEqual([]);
    expect(read({ a: ["x"], b: null }, { org: "a.0" }).orgs).toEqual([]);
  });

  it("are never taken from what all objects have", () => {
    for (const org of ["constructor", "constructor.name", "__proto__", "toString.name"]) {
      expect(read({}, { org }).orgs, org).toEqual([]);
    }
    expect(read({ roles: ["constructor", "__proto__"] }, { roles: "roles" }).claimed?.role).toBeNull();
  });

  it.each([
    ["admins", "org_admin"],
    [["staff"], "member"],
    [["staff", "admins"], "org_admin"],
    [["admins", "staff"], "org_admin"],
    [["guests"], null],
    [["ADMINS"], null],
    [["org_admin"], null],
    [[], null],
    [null, null],
  ])("with roles %j make %s", (roles, role) => {
    const values = { admins: "org_admin", staff: "member" } as const;
    expect(read({ roles }, { roles: "roles", values }).claimed).toEqual({ role, groups: [] });
  });

  it("decide, when roles are mapped and the token has none: no role then", () => {
    expect(read({}, { roles: "roles" }).claimed).toEqual({ role: null, groups: [] });
  });

  it.each([
    ["root", "root", true],
    ["root", ["a", "root"], true],
    ["root", "rooted", false],
    ["root", ["rooted"], false],
    ["root", { root: true }, false],
    ["root", undefined, false],
    [true, true, true],
    [true, "true", false],
    [true, 1, false],
  ])("make a platform admin where %j is asked for and %j is there: %s", (value, found, expected) => {
    expect(read({ is: found }, { platform_admin: { claim: "is", value } }).isPlatformAdmin).toBe(expected);
  });

  it.each([
    ["a text", "ada@acme.example", {}, "ada@acme.example"],
    ["verified", "ada@acme.example", { email_verified: true }, "ada@acme.example"],
    ["not verified", "ada@acme.example", { email_verified: false }, null],
    ["not verified, as a text", "ada@acme.example", { email_verified: "false" }, null],
    ["a list", ["ada@acme.example"], {}, null],
    ["too long", `${"a".repeat(256)}@acme.example`, {}, null],
  ])("with an email that is %s", (_, email, more, expected) => {
    expect(read({ email, ...more }).email).toBe(expected);
  });

  it.each([
    ["a number", 7],
    ["a flag", true],
    ["an object", { acme: true }],
    ["an empty text", ""],
    ["too long", "x".repeat(256)],
    ["a list with a number", ["acme", 7]],
    ["a list in a list", [["acme"]]],
    ["a list with null", [null]],
    ["a text with a line break", "acme\nglobex"],
  ])("are refused where the org, a role or a group is %s", (_, value) => {
    for (const name of ["org", "roles", "groups", "group_admins"] as const) {
      const mapping = { roles: "roles", [name]: name };
      expect(() => read({ [name]: value }, mapping), name).toThrow(GatewayError);
    }
  });

  it("of any shape are read or refused, and grant nothing that they do not say", () => {
    const text = fc.constantFrom("sub", "org", "roles", "groups", "a", "b", "admins", "staff", "__proto__", "", "a.b");
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.string({ unit: "binary" }),
        fc.double(),
        fc.constantFrom(true, null, NOW_S),
        fc.array(tie("value"), { maxLength: 4 }),
        fc.dictionary(text, tie("value"), { maxKeys: 4 }),
      ),
    }));
    const names = fc.constantFrom("sub", "org", "roles", "groups", "a", "a.b", "a.b.a", "b.__proto__", "__proto__.a");
    const mapping = fc.record({
      sub: names,
      email: names,
      org: names,
      roles: names,
      groups: names,
      group_admins: names,
      platform_admin: fc.record({ claim: names, value: fc.constantFrom("admins", true) }),
    });
    const values = { admins: "org_admin", staff: "member" } as const;
    const keys = ["sub", "org", "roles", "groups", "a", "b", "exp"];
    const claimSets = fc.dictionary(fc.constantFrom(...keys), value as fc.Arbitrary<unknown>, { maxKeys: 7 });
    let believed = 0;
    fc.assert(
      fc.property(claimSets, mapping, fc.boolean(), (random, names, isSound) => {
        const claims: Record<string, unknown> = isSound ? { ...random, [names.sub]: "ada", exp: NOW_S } : random;
        try {
          const user = provenUser(claims, settingsOf({ ...names, values }));
          believed++;
          const said = JSON.stringify(claims);
          const { claimed } = user;
          for (const org of user.orgs) expect(said).toContain(JSON.stringify(org));
          for (const { group_id } of claimed?.groups ?? []) expect(said).toContain(JSON.stringify(group_id));
          if (claimed?.role === "org_admin") expect(said).toContain('"admins"');
          if (claimed?.role === "member") expect(said).toContain('"staff"');
          if (user.isPlatformAdmin) expect(said).toMatch(/"admins"|true/);
          expect(user.sub).toMatch(/^[^\0]{1,255}$/);
          expect(Number.isSafeInteger(user.expiresAt)).toBe(true);
        } catch (thrown) {
          if (!(thrown instanceof GatewayError)) throw thrown;
          expect(thrown.code).toBe("unauthorized");
        }
      }),
      { numRuns: 500 },
    );
    expect(believed, "what is generated must not all be refused").toBeGreaterThan(50);
  });
});
