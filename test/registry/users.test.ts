/** Servers as users of several orgs register, change and read them. */
import { beforeEach, describe, expect, it } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { accepted, createOrg, register } from "../support/api.ts";
import { startWithUsers, type UserGateway } from "../support/users.ts";

const ROOT = { sub: "root", platform: true };

let gateway: UserGateway;

beforeEach(async () => {
  await createOrg("acme");
  await createOrg("other");
  gateway = await startWithUsers();
  for (const [org, user, role] of [
    ["acme", "ann", "org_admin"],
    ["acme", "abe", "org_admin"],
    ["acme", "amy", "member"],
    ["other", "oda", "org_admin"],
  ]) {
    await accepted(await gateway.admin("PUT", `/v1/orgs/${org}/members/${user}`, { role }));
  }
});

const DOCS = { name: "docs", server_url: "https://docs.example/mcp", enabled: false };

describe("a record", () => {
  it("says who first registered the server and who last changed it, by their ids [RB-15]", async () => {
    const who = ({ created_by, modified_by }: Partial<ServerView>) => [created_by, modified_by];
    const made = await accepted<ServerView>(await gateway.as("ann", "POST", "/v1/servers", DOCS), 201);
    expect(who(made)).toEqual(["ann", "ann"]);
    const path = `/v1/servers/${made.server_id}`;
    const changed = await accepted<ServerView>(await gateway.as("abe", "PATCH", path, { display_name: "D" }));
    expect(who(changed)).toEqual(["ann", "abe"]);
    const writes: [string, () => Promise<Response>][] = [
      ["root", () => gateway.as(ROOT, "PUT", `/api/mcp/client/${made.server_id}`, { name: "Docs" })],
      ["admin-key", () => gateway.admin("PATCH", path, {})],
      ["root", () => gateway.as(ROOT, "PUT", `${path}/org-ids`, { org_ids: ["acme"] })],
      ["ann", () => gateway.as("ann", "PUT", `${path}/allowed-tools`, { allowed_tools: ["*"] })],
    ];
    for (const [by, write] of writes) {
      await accepted(await write());
      expect(who(await accepted<ServerView>(await gateway.admin("GET", path)))).toEqual(["ann", by]);
    }
    expect(who(await register(gateway, { name: "global" }))).toEqual(["admin-key", "admin-key"]);
    const refused = await gateway.as("oda", "PATCH", path, { display_name: "Mine" });
    expect(refused.status).toBe(404);
    expect(who(await accepted<ServerView>(await gateway.admin("GET", path)))).toEqual(["ann", "ann"]);
  });
});

describe("GET /v1/servers/:server_id", () => {
  it("reads one row, and takes one that is not visible for one that there is not [RG-6]", async () => {
    for (const [server_id, org_ids] of [
      ["global", []],
      ["ours", ["acme"]],
      ["theirs", ["other"]],
      ["shared", ["acme", "other"]],
    ] as const) {
      await register(gateway, { server_id, name: server_id, org_ids });
    }
    const read = async (user: string, id: string) => {
      const answer = await gateway.as(user, "GET", `/v1/servers/${id}`);
      const { request_id: _, ...body } = await answer.json<Record<string, unknown>>();
      return { status: answer.status, body };
    };
    for (const [user, seen, hidden] of [
      ["ann", ["global", "ours", "shared"], "theirs"],
      ["amy", ["global", "ours", "shared"], "theirs"],
      ["oda", ["global", "shared", "theirs"], "ours"],
    ] as const) {
      for (const id of seen) {
        expect(await read(user, id)).toMatchObject({ status: 200, body: { server_id: id, name: id } });
      }
      expect((await read(user, hidden)).body).toMatchObject({ status: 404, code: "not_found" });
      expect(await read(user, hidden)).toEqual(await read(user, "none"));
      // The built-in server is everybody's.
      const page = await accepted<{ rows: ServerView[]; total_rows: number }>(
        await gateway.as(user, "GET", "/v1/servers?page_size=2"),
      );
      expect([page.total_rows, page.rows.length]).toEqual([seen.length + 1, 2]);
    }
  });
});
