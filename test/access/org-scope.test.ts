/** That nothing of an org is read or written without the org: the SQL of every store, as it reaches the database (OT-3). */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { d1MemberStore } from "../../src/access/members.store.ts";
import { d1OrgStore } from "../../src/access/orgs.store.ts";
import { d1VirtualKeyStore } from "../../src/access/virtual-keys.store.ts";
import { d1OAuthConfigStore } from "../../src/bifrost/oauth-configs.store.ts";
import { d1CallStatsStore } from "../../src/calls/call-stats.store.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { d1RetentionStore } from "../../src/calls/retention.store.ts";
import { d1CatalogStore } from "../../src/catalog/catalog.store.ts";
import { d1ChangeStore } from "../../src/catalog/changes.store.ts";
import { d1FlowStore } from "../../src/credentials/flows.store.ts";
import { d1TokenStore } from "../../src/credentials/tokens.store.ts";
import { d1BlocklistStore } from "../../src/instructions/blocklist.store.ts";
import { d1InstructionStore } from "../../src/instructions/instructions.store.ts";
import { d1OrgContextStore } from "../../src/registry/org-contexts.store.ts";
import { d1RegistryStore } from "../../src/registry/registry.store.ts";
import { d1RunStore } from "../../src/runs/runs.store.ts";
import { recordingDatabase } from "../support/recording.ts";

const STORES = {
  members: d1MemberStore,
  orgs: d1OrgStore,
  virtualKeys: d1VirtualKeyStore,
  calls: d1CallStore,
  callStats: d1CallStatsStore,
  retention: d1RetentionStore,
  catalog: d1CatalogStore,
  changes: d1ChangeStore,
  orgContexts: d1OrgContextStore,
  registry: d1RegistryStore,
  instructions: d1InstructionStore,
  blocklists: d1BlocklistStore,
  tokens: d1TokenStore,
  flows: d1FlowStore,
  oauthConfigs: d1OAuthConfigStore,
  runs: d1RunStore,
};

/** What is not of one org, and why. A store function that is new has to bind its org, or to stand here with a reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "members.orgsOf": "finds the orgs of a person, before any is known",
  "orgs.list": "lists the orgs that somebody belongs to",
  "virtualKeys.findByHash": "finds the org of a credential, before it is known",
  "calls.append": "moves rows that name their own org",
  "runs.append": "moves rows that name their own org",
  "retention.expired": "finds the orgs whose calls have had their time",
  "catalog.stored": "the connector's, which works for every org that sees the server",
  "catalog.apply": "the connector's",
  "registry.recordSighting": "the connector's",
  "registry.recordRegistration": "the connector's",
  "flows.start": "writes a flow that names its own org",
  "flows.ofTicket": "finds the org of a ticket, before it is known",
  "flows.depart": "follows a read of the ticket",
  "flows.take": "finds the org of a state, before it is known",
  "tokens.disposals": "ends what is deleted already, of any org",
  "tokens.disposed": "ends what is deleted already",
  "registry.insert": "writes a server whose orgs are an argument",
  "registry.taken": "names and ids are of the platform: no two servers of any orgs share one",
  "registry.update": "conditional on a record that was read in a scope",
  "registry.remove": "follows a read in a scope that may edit the server",
  "registry.details": "belongs to records that were read in a scope",
  "registry.existingOrgs": "answers which orgs there are, for whoever gives a server to them",
  "registry.enabled": "the allowlist is of the platform",
  "registry.events": "the allowlist is of the platform",
  "catalog.approved": "the Bifrost surface's, which is for admins of the platform",
  "virtualKeys.ofServers": "the Bifrost surface's, which is for admins of the platform",
  "oauthConfigs.insert": "the Bifrost surface's, which is for admins of the platform",
  "oauthConfigs.get": "the Bifrost surface's, and finds the configuration of a state",
  "oauthConfigs.find": "the Bifrost surface's",
  "oauthConfigs.authorize": "follows a state that has come back",
  "oauthConfigs.fail": "follows a state that has come back",
  "oauthConfigs.revoke": "the Bifrost surface's",
  "oauthConfigs.markRevoked": "the Bifrost surface's",
  "oauthConfigs.takeToken": "conditional on a token that was read",
  "oauthConfigs.giveBack": "follows taking it",
  "orgContexts.list": "the contexts of all orgs, for admins of the platform",
};

/** An org by which every statement that is about one can be told. */
const ORG = "the-org-of-this-test";

/** What belongs to orgs. */
const TENANT_TABLES =
  /\b(orgs|groups|members|group_members|virtual_keys|virtual_key_servers|server_contexts|tool_calls|call_sums|servers|server_tools|tool_changes|instructions|instruction_revisions|tokens|runs)\b/;

/** Something for every argument behind the org: what it is does not matter, the statement is the same. */
const anything: unknown = new Proxy(
  { page: 0, page_size: 10, limit: 10, offset: 0 },
  {
    get: (target, name) =>
      Reflect.get(target, name) ?? (name === "toJSON" ? () => [] : name === Symbol.iterator ? undefined : "x"),
  },
);
const ARGUMENTS = ["x", anything, anything, anything];
const INSTRUCTION = {
  ...{ group_id: "g", kind: "k", slug: "s", title: "", description: "", body: "b", frontmatter: {} },
  ...{ set_by: "x", updated_at: 0, expected_version: 1 },
};
const TOKEN = { token_id: "t", version: 1 };
/** Functions whose first argument is an owner, whose org is a part of it. */
const OWNED = /^tokens\.(?!list$)/;
/** Where the order of arguments matters for the statement to be made at all. */
const GIVEN: Readonly<Record<string, readonly unknown[]>> = {
  "members.list": [anything],
  "members.put": [{ user_id: "u", role: "member", email: null, created: 0 }, true],
  "members.remove": ["u", true],
  "members.groupMembers": ["g", anything],
  "members.putGroupMember": [{ group_id: "g", user_id: "u", is_admin: true }],
  "orgs.insert": [{ name: "n", readme: "", instructions: "", call_retention_days: null, created: 0 }],
  "orgs.update": [{ name: "n" }],
  "orgs.groups": [anything],
  "orgs.insertGroup": [{ group_id: "g", name: "n", created: 0 }],
  "orgs.renameGroup": ["g", "n"],
  "virtualKeys.list": [anything],
  "virtualKeys.assignments": [["k"]],
  "virtualKeys.insert": [
    {
      virtual_key_id: "k",
      name: "n",
      description: "",
      value_hash: "h",
      last4: "1234",
      previous_hash: null,
      previous_until: null,
      is_active: true,
      expires_at: null,
      last_used_at: null,
      group_id: "g",
      created: 0,
      created_by: "x",
      modified: 0,
      modified_by: "x",
    },
    [],
  ],
  "virtualKeys.find": [null, { limit: 1, offset: 0 }],
  "virtualKeys.update": ["k", { group_id: "g", modified: 0, modified_by: "x" }, []],
  "virtualKeys.rotate": ["k", { value_hash: "h", last4: "1234", modified: 0, modified_by: "x" }, 1],
  "virtualKeys.touch": ["k", 1],
  "runs.list": [{}, null, 10],
  "calls.list": [{}, { sort: { by: "duration_ms", direction: "desc" }, after: null, limit: 10 }],
  "callStats.sums": [{ sub: "u", from: 1 }],
  "callStats.serversCalled": [["docs"]],
  "retention.oldest": [1, 10],
  "retention.remove": [["call_1"]],
  "retention.forgetSums": [10],
  "catalog.list": ["s", false, anything],
  "catalog.definitions": [[["s", "t"]]],
  "changes.changes": ["s", null, anything],
  "changes.decide": ["s", null, { state: "approved", by: "x", at: 0 }],
  "registry.list": [{}, { by: "id", direction: "asc" }, anything],
  "registry.find": [null, { limit: 1, offset: 0 }],
  "instructions.list": [{ groups: null }, anything],
  "instructions.documents": [{ kind: "k", groups: ["g"] }, 0, 10],
  "instructions.put": [[INSTRUCTION]],
  "instructions.history": [INSTRUCTION, anything],
  "instructions.revision": [INSTRUCTION, 1],
  "tokens.put": [],
  "tokens.renew": ["s", "t", { version: 2, modified: 0 }],
  "tokens.markFailed": ["s", TOKEN, 0],
  "tokens.list": [{}, { page: 0, page_size: 10 }],
  "blocklists.write": [{ terms: ["t"], forbid_attribution: true }],
  "orgContexts.put": [{ server_id: "s", context: "c", created: 0, created_by: "x", modified: 0, modified_by: "x" }],
};

const functions = Object.entries(STORES).flatMap(([store, create]) =>
  Object.keys(create(env.DB)).map((name) => ({ id: `${store}.${name}`, create, name })),
);

describe("every store", () => {
  it.each(functions.filter(({ id }) => !(id in EXCEPTIONS)))(
    "binds its org in $id [OT-3]",
    async ({ id, create, name }) => {
      const { db, statements } = recordingDatabase();
      const store = create(db) as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
      // What the database makes of it does not matter: a constraint may refuse rows of an org that is not there.
      const whose = OWNED.test(id) ? { ...TOKEN, org_id: ORG, user_id: "u", server_id: "s", scopes: [] } : ORG;
      await store[name]?.(whose, ...(GIVEN[id] ?? ARGUMENTS)).catch(() => undefined);
      const about = statements.filter(({ sql }) => TENANT_TABLES.test(sql.replaceAll('"', "")));
      expect(statements.some(({ bound }) => bound.includes(ORG))).toBe(true);
      for (const { sql, bound } of about) expect({ sql, isBound: bound.includes(ORG) }).toEqual({ sql, isBound: true });
    },
  );

  it("is listed as an exception only where there is such a function", () => {
    const ids = functions.map(({ id }) => id);
    expect(Object.keys(EXCEPTIONS).filter((id) => !ids.includes(id))).toEqual([]);
  });
});
