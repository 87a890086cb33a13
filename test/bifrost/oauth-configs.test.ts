/** What becomes of an OAuth configuration: asking for it, giving it up, using it up, and its end (BF-15, BF-47). */
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Credential } from "../../src/credentials/credential.object.ts";
import { accepted, stored, storedValue } from "../support/api.ts";
import { HTTP, refused } from "../support/bifrost.ts";
import { CONNECTED, OAUTH, type OAuthWorld, oauthWorld } from "../support/bifrost-oauth.ts";
import { linkServer } from "../support/protected.ts";

afterEach(() => void vi.useRealTimers());

const MISSING = { status: 404, code: "not_found", message: "OAuth configuration not found" };
const REVOKED = { status: "success", message: "OAuth token revoked successfully" };
const LATE = 601_000;

const later = (ms: number) => void vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
const remove = ({ bifrost }: OAuthWorld, id: string) => bifrost.send("DELETE", `/api/oauth/config/${id}`);
const revokedAt = ({ as }: OAuthWorld) => as.to("revocation").map(({ params }) => params["token"]);

/** The tokens of the first account, in the order in which they are revoked. */
function tokensOf({ as }: OAuthWorld): (string | null | undefined)[] {
  const [first] = as.issued;
  return [first?.refresh_token, first?.access_token];
}

describe("GET /api/oauth/config/:id/status", () => {
  it("says how far a configuration is, and what is known of its token [BF-47]", async () => {
    const { as, begin, agree, complete, statusOf } = oauthWorld();
    const before = Date.now();
    const pending = await begin();
    const id = pending.oauth_config_id;
    const one = { id, created_at: expect.any(String), expires_at: pending.expires_at };
    expect(await statusOf(id)).toEqual({ ...one, status: "pending" });
    const { created_at } = await statusOf(id);
    expect(Date.parse(String(created_at))).toBeGreaterThanOrEqual(before);

    await agree(pending);
    const waiting = await statusOf(id);
    expect(waiting).toEqual({
      ...{ ...one, status: "authorized" },
      ...{ token_id: expect.stringMatching(/^tok_/), token_expires_at: expect.any(String) },
      token_scopes: ["read", "write"],
    });
    const life = Date.parse(String(waiting["token_expires_at"])) - before;
    expect(life).toBeGreaterThanOrEqual(3_600_000);
    expect(life).toBeLessThan(3_660_000);

    // The server goes on with the same token.
    await complete(id);
    const { token_expires_at, ...done } = await statusOf(id);
    const { token_expires_at: former, ...same } = waiting;
    expect(done).toEqual(same);
    expect(Math.abs(Date.parse(String(token_expires_at)) - Date.parse(String(former)))).toBeLessThanOrEqual(1_000);
    expect(as.issued).toHaveLength(1);
  });

  it("counts the life of a token from when it was given, not from when the server got it [CN-21]", async () => {
    const { authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id } = await authorized();
    const { token_expires_at } = await statusOf(oauth_config_id);
    later(500_000);
    expect(await accepted(await complete(oauth_config_id))).toEqual(CONNECTED);
    const { token_expires_at: after } = await statusOf(oauth_config_id);
    expect(Math.abs(Date.parse(String(after)) - Date.parse(String(token_expires_at)))).toBeLessThanOrEqual(1_000);
  });

  it("leaves out what nobody has said of a token [BF-47]", async () => {
    const { as, authorized, statusOf } = oauthWorld();
    as.behaviour.expiresIn = undefined;
    as.behaviour.answer = { scope: undefined };
    const { oauth_config_id } = await authorized({ oauth_config: { scopes: ["write"] } });
    const status = await statusOf(oauth_config_id);
    expect(status).not.toHaveProperty("token_expires_at");
    expect(status).toMatchObject({ status: "authorized", token_scopes: ["write"] });
  });

  it("says that nobody has completed it in time, and then nothing can be [BF-23, BF-47, BF-48]", async () => {
    const { begin, authorized, complete, statusOf } = oauthWorld();
    const pending = await begin();
    const waiting = await authorized({ client_id: "other", name: "other" });
    later(LATE);
    for (const { oauth_config_id: id, mcp_client_id, expires_at } of [pending, waiting]) {
      expect(await statusOf(id)).toEqual({ id, status: "expired", created_at: expect.any(String), expires_at });
      for (const one of [id, mcp_client_id]) expect(await refused(await complete(one))).toEqual(MISSING);
    }
  });

  it("says that an account has to be linked anew, and forgets that when it is [BF-47]", async () => {
    const world = oauthWorld();
    const { authorized, complete, statusOf } = world;
    const { oauth_config_id } = await authorized();
    await complete("docs");
    await env.DB.prepare("UPDATE tokens SET refresh_failed = 1").run();
    const { token_id, ...status } = await statusOf(oauth_config_id);
    expect([status["status"], token_id]).toEqual(["expired", undefined]);
    expect((await linkServer(world, "docs")).status).toBe(200);
    expect(await statusOf(oauth_config_id)).toMatchObject({ status: "authorized", token_id: expect.any(String) });
  });

  it("says that a server goes another way by now [BF-47]", async () => {
    const { bifrost, authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id } = await authorized();
    await complete("docs");
    await bifrost.update("docs", { auth_type: "none" });
    const { token_id, status } = await statusOf(oauth_config_id);
    expect([status, token_id]).toEqual(["revoked", undefined]);
  });

  it("has no token of per-user accounts [BF-47]", async () => {
    const { authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id } = await authorized({ auth_type: "per_user_oauth" });
    await complete("docs");
    const { token_id, status } = await statusOf(oauth_config_id);
    expect([status, token_id]).toEqual(["authorized", undefined]);
  });

  it("knows no others [BF-47]", async () => {
    const { bifrost, authorized, complete } = oauthWorld();
    const { oauth_config_id } = await authorized();
    await complete("docs");
    const status = (id: string) => bifrost.send("GET", `/api/oauth/config/${id}/status`);
    for (const id of ["none", "docs"]) expect(await refused(await status(id))).toEqual(MISSING);
    // It goes with its server.
    await bifrost.remove("docs");
    expect(await refused(await status(oauth_config_id))).toEqual(MISSING);
    expect(await storedValue("SELECT COUNT(*) FROM oauth_configs")).toBe(0);
  });
});

describe("DELETE /api/oauth/config/:id", () => {
  it("ends one that waits for an agreement, so that none comes any more [BF-47]", async () => {
    const world = oauthWorld();
    const { as, begin, agree, complete, statusOf } = world;
    const pending = await begin();
    expect(await accepted(await remove(world, pending.oauth_config_id))).toEqual(REVOKED);
    expect((await agree(pending)).status).toBe(400);
    expect(as.to("token")).toEqual([]);
    expect(await statusOf(pending.oauth_config_id)).toMatchObject({ status: "revoked" });
    expect(await (await complete("docs")).text()).toContain("Current status: revoked");
  });

  it("gives up a token that waits, here and upstream [BF-47, PS-57, T-43]", async () => {
    const world = oauthWorld();
    const { authorized, complete, statusOf } = world;
    const { oauth_config_id: id } = await authorized();
    expect(await accepted(await remove(world, id))).toEqual(REVOKED);
    expect(revokedAt(world)).toEqual(tokensOf(world));
    expect((await statusOf(id))["status"]).toBe("revoked");
    expect((await complete(id)).status).toBe(400);
    expect(await storedValue("SELECT COUNT(*) FROM oauth_configs WHERE token_sealed IS NOT NULL")).toBe(0);
  });

  it("gives up the token of a server, here and upstream; the server stays [BF-47, PS-57, T-43]", async () => {
    const world = oauthWorld();
    const { bifrost, authorized, complete, statusOf } = world;
    const { oauth_config_id: id } = await authorized();
    await complete(id);
    expect(await accepted(await remove(world, id))).toEqual(REVOKED);
    expect(revokedAt(world)).toEqual(tokensOf(world));
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(0);
    expect((await env.TOKENS.list()).keys).toEqual([]);
    expect((await statusOf(id))["status"]).toBe("revoked");
    expect((await bifrost.client("docs")).config["oauth_config_id"]).toBe(id);
    // Once more, there is nothing left to give up.
    expect(await accepted(await remove(world, id))).toEqual(REVOKED);
    expect(revokedAt(world)).toHaveLength(2);
    expect(await accepted(await complete(id))).toEqual(CONNECTED);
  });

  it("does so whatever the authorization server answers [PS-57, T-43]", async () => {
    const world = oauthWorld();
    const { as, authorized, complete } = world;
    const { oauth_config_id: id } = await authorized();
    await complete(id);
    as.failAlways("revocation", 503);
    expect(await accepted(await remove(world, id))).toEqual(REVOKED);
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(0);
  });

  it("leaves the accounts of users alone, and knows no others [BF-47]", async () => {
    const world = oauthWorld();
    const { authorized, complete, statusOf } = world;
    const { oauth_config_id: id } = await authorized({ auth_type: "per_user_oauth" });
    await complete(id);
    const row = "INSERT INTO tokens VALUES ('docs', 'default', 'ada', 'tok_ada', 1, NULL, NULL, 0, 0, '[]', 0, 0)";
    await env.DB.prepare(row).run();
    expect(await accepted(await remove(world, id))).toEqual(REVOKED);
    expect((await statusOf(id))["status"]).toBe("revoked");
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(1);
    for (const none of ["none", "docs"]) expect(await refused(await remove(world, none))).toEqual(MISSING);
  });
});

describe("POST /api/mcp/client with oauth_config_id", () => {
  const named = (oauth_config_id: string, fields = {}) => ({
    ...OAUTH,
    oauth_config: undefined,
    oauth_config_id,
    ...fields,
  });

  it("connects to a server with the account of a configuration, which is used up by that [BF-15]", async () => {
    const { as, gateway, bifrost, authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    const response = await bifrost.create(
      named(id, { client_id: undefined, name: "Another", tools_to_execute: ["search"] }),
    );
    expect(await accepted(response)).toEqual({ status: "success", message: "MCP client connected successfully" });
    // The id that was told with the configuration, and else what this request says.
    expect(await bifrost.client("docs")).toMatchObject({
      config: { name: "Another", oauth_config_id: id, tools_to_execute: ["search"] },
      state: "connected",
    });
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({
      ...{ client_id: [...as.clients.keys()][0], status: "active" },
    });
    expect(await statusOf(id)).toMatchObject({ status: "authorized" });
    const before = await stored();
    const again = await refused(await bifrost.create(named(id, { client_id: "second", name: "Second" })));
    expect(again).toMatchObject({ status: 400, code: "invalid_request", field: "oauth_config_id" });
    expect(await stored()).toEqual(before);
    expect(await accepted(await complete(id))).toEqual(CONNECTED);
    expect(await bifrost.own()).toHaveLength(1);
  });

  it("takes another id for the server, by which the configuration is found from then on [BF-15, BF-48]", async () => {
    const { bifrost, authorized, complete } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    expect((await bifrost.create(named(id, { client_id: "mine", name: "Mine" }))).status).toBe(200);
    expect(await accepted(await complete("mine"))).toEqual(CONNECTED);
    expect(await refused(await complete("docs"))).toEqual(MISSING);
  });

  it("is used up by one of two at once [BF-15]", async () => {
    const { bifrost, authorized, complete } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    const answers = await Promise.all([
      bifrost.create(named(id, { client_id: "one", name: "One" })),
      bifrost.create(named(id, { client_id: "two", name: "Two" })),
      complete(id),
    ]);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(1);
    expect(await bifrost.own()).toHaveLength(1);
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(1);
  });

  it("has to name one that is authorized and unused, for a server at the same origin [BF-15, PS-52]", async () => {
    const world = oauthWorld();
    const { as, shown, bifrost, begin, authorized } = world;
    const pending = await begin({ client_id: "a", name: "a" });
    const denied = await begin({ client_id: "b", name: "b" });
    await world.gateway.fetch(as.visit(denied.authorize_url, { error: "no" }).replace("https://gateway.example", ""));
    const waiting = await authorized();
    const before = await stored();
    const seen = shown.length;
    const elsewhere = { connection_string: "https://evil.example/mcp" };
    for (const body of [
      ...["none", pending.oauth_config_id, denied.oauth_config_id].map((id) => named(id)),
      named(waiting.oauth_config_id, elsewhere),
      named(waiting.oauth_config_id, { connection_string: "https://docs.example:8443/mcp" }),
    ]) {
      expect(await refused(await bifrost.create(body))).toMatchObject({
        ...{ status: 400, code: "invalid_request", field: "oauth_config_id" },
      });
    }
    expect(await stored()).toEqual(before);
    // Nobody was shown the token.
    expect(shown).toHaveLength(seen);
    later(LATE);
    expect(await refused(await bifrost.create(named(waiting.oauth_config_id)))).toMatchObject({
      field: "oauth_config_id",
    });
  });

  it("says nothing with another auth_type [BF-15]", async () => {
    const { as, bifrost, authorized, statusOf } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    as.failAlways("resource_metadata", 404);
    const stdio = { name: "Files", connection_type: "stdio", stdio_config: { command: "npx" } };
    expect((await bifrost.create({ ...stdio, oauth_config_id: id })).status).toBe(200);
    expect(await statusOf(id)).toMatchObject({ status: "authorized" });
  });

  it("begins a flow where there is a configuration besides [BF-15]", async () => {
    const { authorized, begin } = oauthWorld();
    const { oauth_config_id } = await authorized();
    const another = await begin({ oauth_config_id, client_id: "other", name: "other" });
    expect(another.oauth_config_id).not.toBe(oauth_config_id);
  });
});

describe("a configuration", () => {
  it("that has expired is forgotten with the next one, and its token given up; one in use stays [PS-57]", async () => {
    const world = oauthWorld();
    const { begin, authorized, complete, statusOf } = world;
    const waiting = await authorized();
    await begin({ client_id: "pending", name: "pending" });
    const used = await authorized({ client_id: "used", name: "used" });
    await complete("used");
    later(LATE);
    const next = await begin({ client_id: "next", name: "next" });
    const left = await env.DB.prepare("SELECT oauth_config_id AS id FROM oauth_configs ORDER BY 1").all<{
      id: string;
    }>();
    expect(left.results.map(({ id }) => id)).toEqual([used.oauth_config_id, next.oauth_config_id].toSorted());
    expect(await storedValue("SELECT COUNT(*) FROM oauth_flows")).toBe(1);
    expect(revokedAt(world)).toEqual(tokensOf(world));
    expect((await statusOf(used.oauth_config_id))["status"]).toBe("authorized");
    expect(waiting.oauth_config_id).not.toBe("");
  });

  it("that was interrupted behind the write is completed by the next request, once [BF-48]", async () => {
    const { bifrost, upstream, authorized, complete } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    const token = await storedValue<string>("SELECT token_sealed FROM oauth_configs");
    await complete(id);
    // As it is when nothing has followed the write.
    await env.DB.prepare("DELETE FROM tokens").run();
    await env.DB.prepare("DELETE FROM token_disposals").run();
    await env.DB.prepare("UPDATE oauth_configs SET token_sealed = ?").bind(token).run();
    const lists = () => upstream.seen.filter(({ message }) => message["method"] === "tools/list").length;
    const before = lists();
    for (const answer of await Promise.all([complete("docs"), complete(id)])) {
      expect(await accepted(answer)).toEqual(CONNECTED);
    }
    expect(lists()).toBe(before + 1);
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(1);
    expect(await storedValue("SELECT token_sealed FROM oauth_configs")).toBeNull();
    expect((await accepted<{ status: string }>(await bifrost.reconnect("docs"))).status).toBe("success");
  });

  it("keeps its token until the server has it [BF-48]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { bifrost, authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    vi.spyOn(Credential.prototype, "authorize").mockRejectedValueOnce(new Error("evicted"));
    expect(await refused(await complete(id))).toMatchObject({ status: 503, code: "unavailable" });
    expect(await statusOf(id)).toMatchObject({ status: "authorized" });
    expect(await accepted(await complete(id))).toEqual(CONNECTED);
    expect((await bifrost.client("docs")).state).toBe("connected");
  });

  it("gives its token to a server once, whatever became of the answer [BF-48]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id: id } = await authorized();
    const { authorize } = Credential.prototype;
    vi.spyOn(Credential.prototype, "authorize").mockImplementationOnce(async function (this: Credential, ...given) {
      await authorize.apply(this, given);
      throw new Error("evicted");
    });
    expect((await complete(id)).status).toBe(503);
    const { keys: before } = await env.TOKENS.list();
    expect(before).toHaveLength(1);
    expect(await accepted(await complete(id))).toEqual(CONNECTED);
    expect((await env.TOKENS.list()).keys).toEqual(before);
    expect(await statusOf(id)).toMatchObject({ status: "authorized" });
  });

  it("gives its token to no server that was moved or changed in between [PS-52, PS-53]", async () => {
    for (const change of [{ connection_string: "https://evil.example/mcp" }, { auth_type: "none" }]) {
      const world = oauthWorld();
      const { as, shown, bifrost, authorized, complete } = world;
      const fields = { client_id: `docs-${Object.keys(change)}`, name: `docs-${Object.keys(change)}` };
      const { oauth_config_id: id, mcp_client_id } = await authorized(fields);
      const isOne = `oauth_config_id = '${id}'`;
      const token = await storedValue<string>(`SELECT token_sealed FROM oauth_configs WHERE ${isOne}`);
      await complete(id);
      await bifrost.update(mcp_client_id, change);
      await env.DB.prepare(`UPDATE oauth_configs SET token_sealed = ? WHERE ${isOne}`).bind(token).run();
      const seen = shown.length;
      await complete(id);
      expect(shown.slice(seen)).toEqual([]);
      expect(await storedValue("SELECT COUNT(*) FROM tokens WHERE server_id = ?", mcp_client_id)).toBe(0);
      expect(as.isGood(as.issued[0]?.access_token ?? "")).toBe(false);
    }
  });

  it("is opened by itself only [PS-50]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { authorized, complete } = oauthWorld();
    const [one, other] = [await authorized(), await authorized({ client_id: "other", name: "other" })];
    for (const part of ["server_sealed", "client_sealed", "token_sealed"]) {
      const moved = `UPDATE oauth_configs SET ${part} = (SELECT ${part} FROM oauth_configs WHERE oauth_config_id = ?)`;
      const before = await storedValue(`SELECT ${part} FROM oauth_configs WHERE mcp_client_id = 'docs'`);
      const write = env.DB.prepare(`${moved} WHERE oauth_config_id = ?`);
      await write.bind(other.oauth_config_id, one.oauth_config_id).run();
      expect(await refused(await complete("docs"))).toMatchObject({ status: 500, code: "sealed_payload_invalid" });
      const back = env.DB.prepare(`UPDATE oauth_configs SET ${part} = ? WHERE oauth_config_id = ?`);
      await back.bind(before, one.oauth_config_id).run();
    }
    expect(await accepted(await complete("docs"))).toEqual(CONNECTED);
  });
});

describe("what is secret", () => {
  it("is in no answer, page, log or row of this surface [T-1, PS-51]", async () => {
    const printed: string[] = [];
    for (const method of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, method).mockImplementation((...line) => void printed.push(line.join(" ")));
    }
    const world = oauthWorld();
    const { as, gateway, bifrost, begin, complete } = world;
    const said: string[] = [];
    const keep = async (response: Response) => void said.push(await response.text(), [...response.headers].join("\n"));
    const client_secret = "canary-client-secret";
    const redirect_uris = ["https://gateway.example/api/oauth/callback"];
    as.addClient({ client_id: "by-hand", client_secret, redirect_uris });
    const header = "canary-header-value";
    const asked = { oauth_config: { client_id: "by-hand", client_secret }, headers: { "X-Key": header } };
    // One that fails, whose errors echo everything; one that is completed; one that is given up.
    const failing = await begin({ ...asked, client_id: "failing", name: "failing" });
    as.failNext("token", "invalid_grant");
    const codes: string[] = [];
    for (const pending of [failing, await begin(asked), await begin({ ...asked, client_id: "third", name: "third" })]) {
      const back = new URL(as.visit(pending.authorize_url));
      codes.push(back.searchParams.get("code") ?? "");
      const id = pending.oauth_config_id;
      await keep(await gateway.fetch(`${back.pathname}${back.search}`));
      await keep(await gateway.fetch(`${back.pathname}${back.search}`));
      for (let times = 0; times < 2; times++) await keep(await complete(id));
      await keep(await bifrost.send("GET", `/api/oauth/config/${id}/status`));
    }
    await keep(await bifrost.send("GET", "/api/mcp/clients"));
    await keep(await gateway.admin("GET", "/v1/calls"));
    const row = async () => said.push(JSON.stringify(await stored()));
    await row();
    as.failAlways("revocation", 500);
    await keep(await remove(world, failing.oauth_config_id));
    await keep(await bifrost.remove("docs"));
    await row();
    const verifiers = as.to("token").map(({ params }) => params["code_verifier"]);
    const tokens = as.issued.flatMap(({ access_token, refresh_token }) => [access_token, refresh_token]);
    const secrets = [client_secret, header, ...codes, ...verifiers, ...tokens];
    expect(secrets.filter((secret) => (secret ?? "").length > 12)).toHaveLength(2 + 3 + 3 + 4);
    const everything = [...said, ...printed].join("\n");
    for (const secret of secrets) expect(everything.includes(secret ?? "")).toBe(false);
    expect(printed.join("\n")).not.toContain("canary");
  });
});

describe("PUT /api/mcp/client/:id", () => {
  it("takes its own configuration back as it was found, and no other [BF-29]", async () => {
    const { bifrost, authorized, complete } = oauthWorld();
    const { oauth_config_id } = await authorized();
    await complete("docs");
    const other = await authorized({ client_id: "other", name: "other" });
    const { config } = await bifrost.client("docs");
    expect((await bifrost.update("docs", { ...config, name: "Renamed" })).status).toBe(200);
    expect((await bifrost.client("docs")).config).toMatchObject({ name: "Renamed", oauth_config_id });
    const before = await stored();
    const answer = await refused(await bifrost.update("docs", { oauth_config_id: other.oauth_config_id }));
    expect(answer).toMatchObject({ status: 400, code: "invalid_request", field: "oauth_config_id" });
    expect(await stored()).toEqual(before);
    expect((await bifrost.update("docs", { auth_type: "none", oauth_config_id: "any" })).status).toBe(200);
    expect((await bifrost.client("docs")).config).not.toHaveProperty("oauth_config_id");
  });

  it("changes auth_type to OAuth: the gateway registers itself, and waits for an account [BF-31, PS-53]", async () => {
    const world = oauthWorld({ first: () => undefined });
    const { as, gateway, bifrost } = world;
    const off = { name: "docs", server_url: HTTP.connection_string, server_id: "docs", enabled: false };
    expect((await gateway.admin("POST", "/v1/servers", off)).status).toBe(201);
    await gateway.admin("PATCH", "/v1/servers/docs", { enabled: true });
    for (const auth_type of ["oauth", "per_user_oauth"]) {
      expect((await bifrost.update("docs", { auth_type })).status).toBe(200);
      const record = await accepted<Record<string, unknown>>(await gateway.admin("GET", "/v1/servers/docs"));
      expect(record).toMatchObject({ auth_type, registration_mode: "dcr", status: "active", state: "disconnected" });
      expect(record["client_id"]).toBe([...as.clients.keys()].at(-1));
      expect((await linkServer(world, "docs")).status).toBe(200);
      expect((await bifrost.client("docs")).state).toBe("connected");
    }
    expect((await bifrost.update("docs", { auth_type: "headers" })).status).toBe(200);
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(0);
  });

  it("ends the account of a server that goes to another origin [PS-52, T-11]", async () => {
    const world = oauthWorld();
    const { bifrost, shown, authorized, complete } = world;
    await authorized();
    await complete("docs");
    const seen = shown.length;
    expect((await bifrost.update("docs", { connection_string: "https://moved.example/mcp" })).status).toBe(200);
    expect(shown.slice(seen).filter((header) => header !== null)).toEqual([]);
    expect(revokedAt(world)).toEqual(tokensOf(world));
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(0);
  });

  it("keeps a client by hand where the server goes, and only there [PS-52]", async () => {
    const { as, gateway, bifrost, authorized, complete } = oauthWorld();
    as.addClient({ client_id: "by-hand", redirect_uris: ["https://gateway.example/api/oauth/callback"] });
    await authorized({ oauth_config: { client_id: "by-hand" } });
    await complete("docs");
    expect((await bifrost.update("docs", { connection_string: "https://moved.example/mcp" })).status).toBe(200);
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({
      ...{ registration_mode: "manual", client_id: "by-hand", token_endpoint: as.at("/token"), status: "active" },
    });
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(0);
  });
});
