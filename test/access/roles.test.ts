/** What each rank may do, generated from what each operation needs (PS-4). */
import { describe, expect, it } from "vitest";
import { operations } from "../../src/app.ts";
import { accepted, createOrg, offline, refusal, stored } from "../support/api.ts";
import { NOW_S } from "../support/identity-provider.ts";
import { startWithUsers, type UserGateway } from "../support/users.ts";

const RANKS: readonly string[] = ["user", "member", "org_admin", "platform_admin"];

/** One user of each rank, and one with a role in another org only. */
async function startWithRanks(): Promise<UserGateway> {
  const gateway = await startWithUsers();
  await createOrg("acme");
  await createOrg("other");
  const put = (org: string, user: string, role: string) =>
    gateway.admin("PUT", `/v1/orgs/${org}/members/${user}`, { role });
  await accepted(await put("acme", "member", "member"));
  await accepted(await put("acme", "org_admin", "org_admin"));
  await accepted(await put("other", "foreigner", "org_admin"));
  return gateway;
}

const claimsOf = (rank: string) => (rank === "platform_admin" ? { sub: rank, platform: true } : { sub: rank });
const specs = operations.map(({ spec }) => spec).filter(({ needs }) => needs !== "anyone");

describe.each(specs)("$method $path", ({ method, path, needs }) => {
  const isOfOrg = path.includes(":org_id");
  const url = path.replace(":org_id", "acme").replaceAll(/:\w+/g, "any");
  const headers: Record<string, string> = isOfOrg ? {} : { "X-Org-Id": "acme" };

  // What agents need is for every user to have: what they may call is for admission to say.
  it(`is open from ${needs} upwards, and closed to everybody below [PS-4]`, async () => {
    const gateway = await startWithRanks();
    const before = await stored();
    const refused = RANKS.slice(0, Math.max(0, RANKS.indexOf(needs)));
    for (const rank of refused) {
      const response = await gateway.as(claimsOf(rank), method, url, undefined, headers);
      const { status, code } = await refusal(response);
      expect({ rank, status, code }).toEqual({ rank, status: 403, code: "forbidden" });
    }
    expect(await stored()).toEqual(before);
    for (const rank of RANKS.slice(refused.length)) {
      // A user without a role is in no org, and can name none.
      const named = rank === "user" ? {} : headers;
      const response = await gateway.as(claimsOf(rank), method, url, undefined, named);
      // Admins of a group are known to the use case only.
      const isWritten = method === "DELETE" && path === "/v1/instructions/:kind/:slug";
      const isGroupRight = needs === "member" && (path.endsWith("/members/:user_id") || isWritten);
      expect({ rank, status: response.status }).not.toEqual({ rank, status: 401 });
      if (!isGroupRight) expect({ rank, status: response.status }).not.toEqual({ rank, status: 403 });
    }
  });

  it("takes no token that has expired, is for somebody else, or was not signed by the provider [PS-3]", async () => {
    const gateway = await startWithRanks();
    const before = await stored();
    const chief = { sub: "platform_admin", platform: true };
    const wrong = [
      { ...chief, exp: NOW_S - 61 },
      { ...chief, aud: "https://other.example" },
      { ...chief, iss: "https://evil.example" },
      { ...chief, nbf: NOW_S + 61 },
    ];
    const bearers = await Promise.all(wrong.map((claims) => gateway.bearer(claims)));
    const [good] = await Promise.all([gateway.bearer(chief)]);
    const forged = { Authorization: `${good.Authorization.slice(0, -8)}AAAAAAAA` };
    for (const bearer of [...bearers, forged]) {
      const response = await gateway.fetch(url, { method, headers: { ...headers, ...bearer } });
      expect(await refusal(response)).toEqual({ status: 401, code: "unauthorized" });
    }
    expect(await stored()).toEqual(before);
  });

  it("does not tell admins of another org whether an org is there [PS-2, PS-6]", async () => {
    const gateway = await startWithRanks();
    if (needs === "user") return;
    const answers = await Promise.all(
      ["acme", "nowhere"].map(async (org) => {
        const of = isOfOrg ? path.replace(":org_id", org).replaceAll(/:\w+/g, "any") : url;
        const named: Record<string, string> = isOfOrg ? {} : { "X-Org-Id": org };
        const response = await gateway.as("foreigner", method, of, undefined, named);
        const { request_id: _, ...body } = await response.json<Record<string, unknown>>();
        return JSON.stringify({ status: response.status, ...body }).replace(/"request_id":"[^"]*"/, "");
      }),
    );
    expect(answers[0]).toContain('"status":403');
    expect(answers[0]).toBe(answers[1]);
  });
});

describe("the org of a request [PS-2]", () => {
  const orgOf = async (gateway: UserGateway, user: string | Record<string, unknown>, headers = {}) => {
    const response = await gateway.as(
      user,
      "POST",
      "/v1/servers",
      { name: "docs", server_url: "https://d.example/mcp", enabled: false },
      headers,
    );
    const body = await response.json<{ org_ids?: string[]; code?: string; field?: string }>();
    return response.status === 201 ? body.org_ids : { status: response.status, code: body.code, field: body.field };
  };

  it("is the one that the user names, where it is one of theirs", async () => {
    const gateway = await startWithRanks();
    await gateway.admin("PUT", "/v1/orgs/other/members/org_admin", { role: "org_admin" });
    expect(await orgOf(gateway, "org_admin", { "X-Org-Id": "other" })).toEqual(["other"]);
  });

  it("is their only one, else has to be named", async () => {
    const gateway = await startWithRanks();
    expect(await orgOf(gateway, "org_admin")).toEqual(["acme"]);
    await gateway.admin("PUT", "/v1/orgs/other/members/org_admin", { role: "org_admin" });
    expect(await orgOf(gateway, "org_admin")).toEqual({ status: 400, code: "org_required", field: "X-Org-Id" });
  });

  it("is the one that the token claims", async () => {
    const gateway = await startWithRanks();
    await gateway.admin("PUT", "/v1/orgs/other/members/org_admin", { role: "org_admin" });
    expect(await orgOf(gateway, { sub: "org_admin", org: "other" })).toEqual(["other"]);
    expect(await orgOf(gateway, { sub: "foreigner", org: "acme" })).toEqual({
      status: 403,
      code: "forbidden",
      field: undefined,
    });
  });

  it("is the default one for whoever belongs to none, and opens nothing there", async () => {
    const gateway = await startWithRanks();
    expect(await orgOf(gateway, "user")).toMatchObject({ status: 403, code: "forbidden" });
    const list = await gateway.as("user", "GET", "/v1/orgs");
    expect(await accepted(list)).toMatchObject({ rows: [], total_rows: 0 });
  });

  it("is any that there is for an admin of the platform [RB-41]", async () => {
    const gateway = await startWithRanks();
    const chief = { sub: "chief", platform: true };
    const list = (headers: Record<string, string>) => gateway.as(chief, "GET", "/v1/servers", undefined, headers);
    expect((await list({ "X-Org-Id": "acme" })).status).toBe(200);
    expect(await refusal(await list({ "X-Org-Id": "nowhere" }))).toEqual({
      status: 404,
      code: "not_found",
      field: "X-Org-Id",
    });
  });
});

describe("roles that are claimed [PS-3, OT-21]", () => {
  const vars = {
    OIDC_CLAIMS: JSON.stringify({ org: "org", roles: "roles", groups: "groups", group_admins: "leads" }),
    OIDC_ROLES: JSON.stringify({ boss: "org_admin", staff: "member" }),
  };

  it("decide, and the members table is not asked", async () => {
    const gateway = await startWithUsers(offline, vars);
    await createOrg("acme");
    await accepted(await gateway.admin("PUT", "/v1/orgs/acme/members/ann", { role: "org_admin" }));
    const create = (claims: object) =>
      gateway.as({ sub: "ann", org: "acme", ...claims }, "POST", "/v1/orgs/acme/groups", {
        group_id: "eng",
        name: "E",
      });
    expect((await create({})).status).toBe(403);
    expect((await create({ roles: ["staff"] })).status).toBe(403);
    expect((await create({ roles: ["staff", "boss"] })).status).toBe(201);
    const read = (claims: object) => gateway.as({ sub: "bob", ...claims }, "GET", "/v1/orgs/acme");
    expect((await read({ org: "acme", roles: ["staff"] })).status).toBe(200);
    expect((await read({ org: "other", roles: ["boss"] })).status).toBe(403);
    expect((await read({ org: ["acme", "other"], roles: ["staff"] })).status).toBe(200);
  });

  it("name the groups that somebody administers", async () => {
    const gateway = await startWithUsers(offline, vars);
    await createOrg("acme");
    await accepted(await gateway.admin("PUT", "/v1/orgs/acme/members/ann", { role: "member" }));
    await accepted(await gateway.admin("POST", "/v1/orgs/acme/groups", { group_id: "eng", name: "Eng" }), 201);
    const put = (claims: object) =>
      gateway.as(
        { sub: "lea", org: "acme", roles: ["staff"], ...claims },
        "PUT",
        "/v1/orgs/acme/groups/eng/members/ann",
        {},
      );
    expect((await put({ groups: ["eng"] })).status).toBe(403);
    expect((await put({ leads: ["eng"] })).status).toBe(200);
  });
});
