import { describe, expect, it } from "vitest";
import { NO_OAUTH } from "../../src/registry/oauth-fields.ts";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { accepted, generationOf, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";

const DOCS = { name: "docs", server_url: "https://docs.example/mcp", enabled: false };
const create = (fields: Record<string, unknown>) =>
  startGateway(offline).admin("POST", "/v1/servers", { ...DOCS, ...fields });

/** What one field is shown as, beside what was given for it. */
async function shownFor(field: keyof ServerView, given: readonly unknown[]): Promise<[unknown, unknown][]> {
  const gateway = startGateway(offline);
  const shown: [unknown, unknown][] = [];
  for (const [at, value] of given.entries()) {
    const body = { ...DOCS, name: `docs-${at}`, [field]: value };
    const server = await accepted<ServerView>(await gateway.admin("POST", "/v1/servers", body), 201);
    shown.push([value, server[field]]);
  }
  return shown;
}

/** How values of one field are refused, beside them; nothing of any may be stored. */
async function refusalsOf(field: string, given: readonly unknown[]): Promise<[unknown, unknown][]> {
  const gateway = startGateway(offline);
  const before = await stored();
  const refusals: [unknown, unknown][] = [];
  for (const value of given) {
    refusals.push([value, await refusal(await gateway.admin("POST", "/v1/servers", { ...DOCS, [field]: value }))]);
  }
  expect(await stored()).toEqual(before);
  return refusals;
}

const invalid = (field: string) => ({ status: 400, code: "invalid_request", field });
const conflict = (field: string) => ({ status: 409, code: "conflict", field });
const all = (given: readonly unknown[], answer: unknown) => given.map((value) => [value, answer]);

describe("POST /v1/servers", () => {
  it("answers the whole record with its defaults [RG-1, RG-7, PS-73]", async () => {
    const server = await accepted<ServerView>(await create({}), 201);
    expect(server).toEqual({
      server_id: expect.stringMatching(/^srv_[0-9a-hjkmnp-tv-z]{26}$/),
      name: "docs",
      display_name: "docs",
      connection_type: "http",
      server_url: "https://docs.example/mcp",
      enabled: false,
      timeout_ms: 15_000,
      auth_type: "none",
      config: {},
      allowed_tools: null,
      tool_mode: "unset",
      allow_on_all_virtual_keys: false,
      ...{ stdio_config: null, org_ids: [], tools_to_auto_execute: [], tool_pricing: {}, definition_policy: "pin" },
      ...{ is_code_mode_client: false, is_ping_available: true, status_reason: null },
      ...NO_OAUTH,
      status: "active",
      state: "disconnected",
      instructions: null,
      last_failure: null,
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      created_by: "admin-key",
      modified: server.created,
      modified_by: "admin-key",
    });
    expect(Math.abs(Date.parse(server.created) - Date.now())).toBeLessThan(60_000);
  });

  it("answers the whole record with everything given, open [RG-1, RG-7]", async () => {
    const given = {
      server_id: "my.server:1_2-3",
      name: "Docs-2",
      display_name: "The docs",
      connection_type: "http",
      server_url: "https://docs.example:8443/mcp?team=a",
      enabled: false,
      timeout_ms: 20_000,
      auth_type: "headers",
      config: { headers: { "X-Api-Key": "s3cret" }, note: { for: ["people"] } },
      allowed_tools: { search: true, erase: false },
      allow_on_all_virtual_keys: true,
    };
    const created = await accepted<ServerView>(await create(given), 201);
    expect(created).toMatchObject({ ...given, tool_mode: "list" });
    const gateway = startGateway(offline);
    expect(await accepted(await gateway.admin("GET", `/v1/servers/${given.server_id}`))).toEqual(created);
  });

  it("raises the generation by one [RG-16]", async () => {
    const before = await generationOf();
    await register(startGateway(offline));
    expect(await generationOf()).toBe(before + 1);
  });

  it("contacts nobody for a server that is off", async () => {
    const gateway = startGateway(() => Promise.reject(new Error("was contacted")));
    expect(await register(gateway, { enabled: false })).toMatchObject({ state: "disconnected", last_failure: null });
  });

  it.each(["name", "server_url"])("needs %s", async (field) => {
    expect(await refusalsOf(field, [undefined])).toEqual(all([undefined], invalid(field)));
  });
});

describe("name", () => {
  it("may have letters, digits and hyphens, 63 at most, and is trimmed [RG-8]", async () => {
    const names = ["docs", " Docs-9 ", "A-9", "-", "a".repeat(63)];
    expect(await shownFor("name", names)).toEqual(names.map((name) => [name, name.trim()]));
  });

  it("may have nothing else [RG-8, RG-18]", async () => {
    const names = ["a_b", "a.b", "a b", "é", "", "  ", "a/b", "a__b", "ａ", "a\u0000", "a\nb", "a".repeat(64)];
    expect(await refusalsOf("name", names)).toEqual(all(names, invalid("name")));
  });

  it("may not end in a line break [RG-8]", async () => {
    expect(await refusalsOf("name", ["a\n"])).toEqual(all(["a\n"], invalid("name")));
  });

  it("may not be a reserved one [RG-14]", async () => {
    const names = ["gateway", "Gateway", " server-card "];
    expect(await refusalsOf("name", names)).toEqual(all(names, invalid("name")));
  });

  it("may not be that of another server, whatever its case [RG-14, RG-18]", async () => {
    await register(startGateway(offline), { name: "docs" });
    const names = ["docs", "DOCS", " Docs "];
    expect(await refusalsOf("name", names)).toEqual(all(names, conflict("name")));
  });

  it("goes to one of those who ask for it at once [RG-14]", async () => {
    const gateway = startGateway(offline);
    const before = await generationOf();
    const names = ["docs", "Docs", "DOCS", "dOCS", "docs"];
    const answers = await Promise.all(names.map((name) => gateway.admin("POST", "/v1/servers", { ...DOCS, name })));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409, 409]);
    expect(await storedValue("SELECT COUNT(*) FROM servers WHERE connection_type <> 'inprocess'")).toBe(1);
    expect(await generationOf()).toBe(before + 1);
  });

  it("is free again when its server is gone [RG-14]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    await accepted(await gateway.admin("DELETE", `/v1/servers/${server_id}`));
    await register(gateway, { name: "DOCS" });
  });
});

describe("server_id", () => {
  it("may be given, of 1 to 255 harmless characters [RB-4]", async () => {
    const ids = ["a", "A.b_c:d-9", "a".repeat(255)];
    expect(await shownFor("server_id", ids)).toEqual(ids.map((id) => [id, id]));
    const others = ["", " a", "a b", "a/b", "é", "a\n", "a".repeat(256)];
    expect(await refusalsOf("server_id", others)).toEqual(all(others, invalid("server_id")));
  });

  it("may not be one that is used [RB-4, RG-18]", async () => {
    const { server_id } = await register(startGateway(offline), { name: "other" });
    expect(await refusalsOf("server_id", [server_id])).toEqual(all([server_id], conflict("server_id")));
  });

  it("is made of the time, so that ids sort by age [RB-4]", async () => {
    const gateway = startGateway(offline);
    const older = await register(gateway, { name: "a" });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const newer = await register(gateway, { name: "b" });
    expect(newer.server_id > older.server_id).toBe(true);
  });
});

describe("display_name", () => {
  it("may be any text of 1 to 128 characters, trimmed, and need not be unique [RB-5]", async () => {
    const names = ["GitHub", "GitHub", "  Git Hub\t", "日本語 🚀", "🚀".repeat(128), "a".repeat(128)];
    expect(await shownFor("display_name", names)).toEqual(names.map((name) => [name, name.trim()]));
  });

  it("may not be empty, longer, or hold control characters [RB-5]", async () => {
    const names = ["", "  ", "a\nb", "a\u0000b", "a\u007fb", "a\u0085b", "a".repeat(129), "🚀".repeat(129)];
    expect(await refusalsOf("display_name", names)).toEqual(all(names, invalid("display_name")));
  });
});

describe("timeout_ms", () => {
  const SET = [
    [15_000, 15_000],
    ["20000", 20_000],
    [" 2000 ", 2_000],
    [500, 1_000],
    [-5, 1_000],
    [0, 1_000],
    ["0", 1_000],
    ["-7", 1_000],
    [1_000, 1_000],
    [300_000, 300_000],
    [300_001, 300_000],
    [999_999, 300_000],
    ["9".repeat(30), 300_000],
  ];
  const UNSET = [undefined, null, true, false, "", "  ", "abc", 1500.7, "1500.7", "1e4", "0x10", [20_000], {}];
  const inD1 = () =>
    storedValue(
      "SELECT json_group_array(timeout_ms) FROM (SELECT * FROM servers WHERE connection_type <> 'inprocess' ORDER BY created, rowid)",
    );

  it("is normalised when it is an integer or the text of one [RG-11]", async () => {
    expect(
      await shownFor(
        "timeout_ms",
        SET.map(([given]) => given),
      ),
    ).toEqual(SET);
    expect(await inD1()).toBe(JSON.stringify(SET.map(([, set]) => set)));
  });

  it("is not set by anything else, and shown as 15000 [RG-11]", async () => {
    expect(await shownFor("timeout_ms", UNSET)).toEqual(all(UNSET, 15_000));
    expect(await inD1()).toBe(JSON.stringify(UNSET.map(() => null)));
  });
});

describe("enabled", () => {
  const ON = [true, 1, 2, -1, 0.5, "1", "true", "TRUE", "yes", "On", "y", undefined, null];
  const OFF = [false, 0, "0", "false", "False", "no", "OFF", "n"];

  it("is told from booleans, numbers and words, and is true where nothing is said [RG-13]", async () => {
    expect(await shownFor("enabled", [...ON, ...OFF])).toEqual([...all(ON, true), ...all(OFF, false)]);
  });

  it("is told from nothing else [RG-13]", async () => {
    const others = ["", "maybe", "2", "tru", [], {}, ["true"]];
    expect(await refusalsOf("enabled", others)).toEqual(all(others, invalid("enabled")));
  });
});

describe("connection_type", () => {
  const STDIO = { server_url: undefined, stdio_config: { command: "npx" } };

  it("is http, sse or stdio, trimmed and in whatever case [RG-9]", async () => {
    const given = ["http", " HTTP ", "sse", "\tSse\n", "stdio", " STDIO"];
    const shown: unknown[] = [];
    for (const connection_type of given) {
      const own = connection_type.toLowerCase().includes("stdio") ? STDIO : {};
      const answer = await create({ name: `docs-${shown.length}`, connection_type, ...own });
      shown.push((await accepted<ServerView>(answer, 201)).connection_type);
    }
    expect(shown).toEqual(["http", "http", "sse", "sse", "stdio", "stdio"]);
  });

  it("may not be one that there is not, or that only code can make, at first or later [RG-9]", async () => {
    const others = ["", "ftp", "streamable-http", "inprocess", " InProcess ", 1, true, null];
    expect(await refusalsOf("connection_type", others)).toEqual(all(others, invalid("connection_type")));
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    const wordsOf = async (connection_type: string) => {
      const body = { ...DOCS, name: "other", connection_type };
      const answers = [
        await gateway.admin("POST", "/v1/servers", body),
        await gateway.admin("PATCH", `/v1/servers/${server_id}`, { connection_type }),
      ];
      return Promise.all(answers.map(async (answer) => (await answer.json<{ detail: string }>()).detail));
    };
    const types = "connection_type must be one of: http, sse, stdio";
    for (const other of ["ftp", "", "https"]) expect(await wordsOf(other)).toEqual([types, types]);
    const byCode = "in-process servers must be provided programmatically";
    expect(await wordsOf("inprocess")).toEqual([byCode, byCode]);
  });

  it.each(["http", "sse"])("%s needs an endpoint, at first and later [RG-10, RB-6]", async (connection_type) => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { connection_type });
    const before = await stored();
    for (const server_url of [undefined, null, "", " "]) {
      const body = { ...DOCS, name: "other", connection_type, server_url };
      expect(await refusal(await gateway.admin("POST", "/v1/servers", body))).toEqual(invalid("server_url"));
      if (server_url === undefined) continue;
      const moved = await gateway.admin("PATCH", `/v1/servers/${server_id}`, { server_url });
      expect(await refusal(moved)).toEqual(invalid("server_url"));
    }
    expect(await stored()).toEqual(before);
  });

  it("stdio has no endpoint, and takes none [RB-6]", async () => {
    const stdio = { connection_type: "stdio", ...STDIO };
    for (const server_url of [undefined, null]) {
      const answer = await create({ ...stdio, name: `docs-${server_url}`, server_url });
      expect(await accepted(answer, 201)).toMatchObject({ server_url: null });
    }
    expect(await refusal(await create({ ...stdio, server_url: DOCS.server_url }))).toEqual(invalid("server_url"));
  });
});

describe("auth_type", () => {
  it.each([
    [{}, "none"],
    [{ config: null }, "none"],
    [{ config: {} }, "none"],
    [{ config: { headers: {} } }, "none"],
    [{ config: { note: "a" } }, "none"],
    [{ config: { headers: { "X-A": "b" } } }, "headers"],
    [{ config: { api_key: "k" } }, "headers"],
    [{ config: { headers: {}, api_key: "k" } }, "headers"],
    [{ auth_type: "none", config: { api_key: "k" } }, "none"],
    [{ auth_type: "headers" }, "headers"],
  ])("of %o is %s", async (fields, auth_type) => {
    expect(await accepted(await create(fields), 201)).toMatchObject({ auth_type });
  });

  it("may be no other word", async () => {
    const others = ["", "None", "bearer", 1];
    expect(await refusalsOf("auth_type", others)).toEqual(all(others, invalid("auth_type")));
  });
});
