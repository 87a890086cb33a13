/** The built-in server composed by itself: the example of `docs/`, and each part in another form (OT-25 to OT-27). */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { demo, partsInMemory } from "../../docs/instructions-server.ts";
import { d1MemberStore } from "../../src/access/members.store.ts";
import type { CallRow } from "../../src/calls/call.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { readConfig } from "../../src/config.ts";
import { createIdentityProvider } from "../../src/identity/provider.ts";
import { d1BlocklistStore } from "../../src/instructions/blocklist.store.ts";
import { askersOf, BASE_TEXT, buildServer, type ServerParts } from "../../src/instructions/build-server.ts";
import { d1InstructionStore } from "../../src/instructions/instructions.store.ts";
import { ExpiringMap } from "../../src/platform/expiring-map.ts";
import { sessionStub } from "../../src/sessions/session.stub.ts";
import { createRunMemory, createSessionRuns } from "../../src/sessions/session-runs.ts";
import { createOrg } from "../support/api.ts";
import { AUDIENCE, ISSUER, metadataOf, NOW, newKey, sign } from "../support/identity-provider.ts";
import { moveFrom } from "../support/rows.ts";

const TOKENS = { alice: "token-of-alice", bob: "token-of-bob" };

interface Composed {
  readonly parts: ServerParts<string>;
  readonly tokens: typeof TOKENS;
  readonly rows: () => Promise<readonly CallRow[]>;
}

/** The same with what the gateway has: D1, objects, and tokens of an identity provider. */
async function partsOfGateway(): Promise<Composed> {
  await createOrg("acme");
  const members = d1MemberStore(env.DB);
  const people = { alice: "org_admin", bob: "member" } as const;
  for (const [user_id, role] of Object.entries(people)) {
    await members.put("acme", { org_id: "acme", user_id, role, email: null, created: 0 }, false);
  }
  const blocklists = d1BlocklistStore(env.DB);
  const terms = ["Antonini", "Bolelli", "Delgado", "Thomas"];
  await blocklists.write("acme", { terms, forbid_attribution: true });
  const key = await newKey();
  const clock = () => NOW;
  const settings = readConfig({ ...env, OIDC_ISSUER: ISSUER, OIDC_AUDIENCE: AUDIENCE }).oidc;
  if (settings === null) throw new Error("there is no identity provider");
  const provider = createIdentityProvider({
    ...{ settings, clock, memory: new ExpiringMap(clock, 10), allowInsecure: false },
    send: async ({ url }) => Response.json(url.endsWith("/jwks") ? { keys: [key.jwk] } : metadataOf(ISSUER)),
  });
  const calls = d1CallStore(env.DB);
  const stub = sessionStub(env.SESSION);
  const stacks = new Set<string>();
  const { parts } = partsInMemory();
  return {
    tokens: { alice: await sign(key, { sub: "alice" }), bob: await sign(key, { sub: "bob" }) },
    rows: async () => {
      for (const stack of stacks) await moveFrom(stack);
      const slice = { sort: { by: "created_at", direction: "desc" }, after: null, limit: 100 } as const;
      return (await calls.list("acme", {}, slice)).rows;
    },
    parts: {
      ...parts,
      askerOf: askersOf({
        identity: async (token) => {
          const { sub, email } = await provider.verify(token);
          return { sub, email };
        },
        scope: () => "acme",
        roles: members,
      }),
      store: d1InstructionStore(env.DB),
      blocklists,
      runs: createSessionRuns({ stub, memory: createRunMemory(clock), clock }).stacks,
      // To the object of the stack, which gives it its run and moves it on to D1.
      sink: async (row) => {
        const stack = JSON.stringify([row.org_id, row.sub, row.session_id]);
        stacks.add(stack);
        await stub.journal(stack, JSON.stringify([row]));
      },
    },
  };
}

const FORMS: readonly (readonly [string, () => Composed | Promise<Composed>])[] = [
  [
    "parts in memory",
    () => {
      const { parts, log } = partsInMemory();
      return { parts, tokens: TOKENS, rows: async () => log.rows };
    },
  ],
  ["the parts of the gateway", partsOfGateway],
];

describe.each(FORMS)("the built-in server of %s", (_, compose) => {
  it("plays the demo: instruction tools, runs, roles and refusals, each on record [OT-13, OT-26, OT-27, OT-28]", async () => {
    const { parts, tokens, rows } = await compose();
    const results: [string, string, boolean][] = [];
    const run_id = await demo(parts, tokens, (who, tool, { isError = false }) => results.push([who, tool, isError]));
    expect(results).toEqual([
      ["bob", "run_start", false],
      ["bob", "readme_agent", false],
      ["bob", "list_instructions", false],
      ["bob", "set_instruction", true],
      ["bob", "run_finish", false],
      ["alice", "set_instruction", false],
      ["alice", "set_instruction", true],
      ["bob", "get_instruction", false],
    ]);
    const all = await rows();
    // 1. Every access has a row.
    const key = ({ sub, tool, ok }: Pick<CallRow, "sub" | "tool" | "ok">) => `${sub} ${tool} ${ok}`;
    expect(all.map(key).toSorted()).toEqual(
      results.map(([sub, tool, isError]) => key({ sub, tool, ok: !isError })).toSorted(),
    );
    // 2. Bob's rows carry his run, from behind its start to its end.
    const inRun = all.filter((row) => row.run_id === run_id).map(({ sub, tool }) => `${sub} ${tool}`);
    const expected = ["list_instructions", "readme_agent", "run_finish", "set_instruction"];
    expect(inRun.toSorted()).toEqual(expected.map((tool) => `bob ${tool}`));
    // 3. Exactly two writes were refused, 4. and at least one was not.
    const writes = all.filter(({ tool }) => tool === "set_instruction");
    expect(
      writes
        .filter(({ ok }) => !ok)
        .map(({ error }) => error)
        .toSorted(),
    ).toEqual([
      "insufficient role: required 'org_admin', got 'member'",
      expect.stringContaining("write refused: forbidden term (person or client): 'Antonini'"),
    ]);
    expect(writes.filter(({ ok }) => ok)).toHaveLength(1);
  });
});

describe("the built-in server", () => {
  it("says the org's own text, a blank line, and the base text with its four points [OT-25]", async () => {
    const { parts } = partsInMemory();
    expect(await buildServer(parts).instructions("acme")).toBe(`You work for Acme.\n\n${BASE_TEXT}`);
    expect(await buildServer({ ...parts, businessOf: async () => " " }).instructions("acme")).toBe(BASE_TEXT);
    const points = BASE_TEXT.split("\n").filter((line) => /^\d\./.test(line));
    expect(points).toEqual([
      expect.stringContaining("readme_agent first"),
      expect.stringMatching(/list_instructions.*get_instruction/),
      expect.stringMatching(/run_start.*run_finish/),
      expect.stringMatching(/set_instruction is for admins.*refuses/),
    ]);
  });

  it("fails a call whose org is not found, and reads nothing [OT-4]", async () => {
    const { parts, log } = partsInMemory();
    const unread = new Proxy(parts.store, { get: () => () => Promise.reject(new Error("was read")) });
    const identity = (sub: string) => ({ sub, email: null });
    for (const scope of [() => null, async () => null, () => ""]) {
      const roles = { standing: () => Promise.reject(new Error("was read")) };
      const server = buildServer({ ...parts, store: unread, askerOf: askersOf({ identity, scope, roles }) });
      expect(await server.call("ann", { tool: "readme_agent", args: {}, session_id: null })).toEqual({
        content: [{ type: "text", text: "org not resolved for the caller" }],
        isError: true,
      });
    }
    expect(log.rows.map(({ ok, error }) => [ok, error])).toEqual(
      Array(3).fill([false, "org not resolved for the caller"]),
    );
  });

  it("fails a call of nobody, and one of a tool that is not there, and has a row of each [OT-5, OT-23]", async () => {
    const { parts, log } = partsInMemory();
    const server = buildServer(parts);
    const call = (token: string, tool: string) => server.call(token, { tool, args: {}, session_id: null });
    expect(await call("forged", "readme_agent")).toMatchObject({ isError: true });
    expect(await call(TOKENS.bob, "drop_tables")).toMatchObject({ isError: true });
    expect(log.rows).toMatchObject([
      { sub: null, email: null, tool: "readme_agent", ok: false, args: null },
      { sub: "bob", email: "bob@acme.example", tool: "drop_tables", ok: false, error: "Unknown tool: drop_tables" },
    ]);
  });

  it("answers all the same when its log fails, and tells nothing of what goes wrong inside [OT-24]", async () => {
    const { parts } = partsInMemory();
    const failing = { ...parts, sink: () => Promise.reject(new Error("the log is full")) };
    const call = (of: typeof parts) =>
      buildServer(of).call(TOKENS.bob, { tool: "readme_agent", args: {}, session_id: null });
    expect(await call(failing)).toEqual(await call(parts));
    const broken = { ...parts, readmeOf: () => Promise.reject(new Error("at 10.0.0.1")) };
    expect(JSON.stringify(await call(broken))).not.toContain("10.0.0.1");
    expect(await call(broken)).toMatchObject({ isError: true });
  });

  it("keeps apart the stacks of sessions, and lets calls without one share their caller's", async () => {
    const { parts, log } = partsInMemory();
    const server = buildServer(parts);
    const call = (tool: string, args: unknown, session_id: string | null) =>
      server.call(TOKENS.bob, { tool, args, session_id });
    const begun = await call("run_start", { label: "a" }, "one");
    await call("readme_agent", {}, "one");
    await call("readme_agent", {}, "two");
    await call("readme_agent", {}, null);
    const run = begun.structuredContent?.["run_id"];
    expect(log.rows.map(({ run_id, session_id }) => [session_id, run_id])).toEqual([
      ...[
        ["one", null],
        ["one", run],
        ["two", null],
        [null, null],
      ],
    ]);
  });

  it("offers no marketplace, and nothing but its six tools [OT-6, OT-29]", () => {
    expect(
      buildServer(partsInMemory().parts)
        .tools()
        .map(({ name }) => name),
    ).toEqual([
      ...["get_instruction", "list_instructions", "readme_agent", "run_finish", "run_start", "set_instruction"],
    ]);
  });
});
