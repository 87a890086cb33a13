/** Random registries, principals and filters: what every door has to decide on alike. */
import fc from "fast-check";
import type { KeyRule } from "../../src/access/virtual-key.ts";
import { compileSnapshot, type Snapshot } from "../../src/catalog/snapshot.ts";
import type { Principal } from "../../src/identity/principal.ts";
import { keyGrant, principalWith, serverRecord } from "./admission.ts";

export const CLIENTS = "x-bf-mcp-include-clients";
export const TOOLS = "x-bf-mcp-include-tools";

/** The values of the two headers; what is left out is not sent. */
export interface Given {
  readonly clients?: string;
  readonly tools?: string;
}

export const headersOf = ({ clients, tools }: Given): Record<string, string> => ({
  ...(clients === undefined ? {} : { [CLIENTS]: clients }),
  ...(tools === undefined ? {} : { [TOOLS]: tools }),
});

const TOOL_NAMES = ["b", "B", "b-c", "c", "x__y", "read/file", "*x"];
/** Those of the built-in server, in their places: they are exposed as they are. */
const OWN_NAMES = ["run_start", "run_finish", "readme_agent", "get_instruction", "set_instruction", "list", "more"];
const nameIn = (server: string, tool: string) =>
  server === "gateway" ? (OWN_NAMES[TOOL_NAMES.indexOf(tool)] ?? tool) : tool;
const SLUGS = ["a", "a-b", "docs", "gateway"];
const CALLED = ["a", "A", "a-b", "Docs", "Internal docs", "gateway"];

/** Entries that name something, something else or nothing. */
const entry = fc.oneof(
  fc.constantFrom("", " ", "*", "other", "-", "__", "a-", "docs__"),
  fc.constantFrom(...CALLED),
  fc
    .tuple(
      fc.constantFrom(...CALLED, ...CALLED.map((name) => name.toUpperCase())),
      fc.constantFrom("-", "__", " - "),
      fc.constantFrom(...TOOL_NAMES, ...OWN_NAMES, "*", "B-C", ""),
    )
    .map((parts) => parts.join("")),
);
const header = fc.option(
  fc.array(entry, { maxLength: 4 }).map((entries) => entries.join(",")),
  { nil: undefined },
);
export const given = fc.record({ clients: header, tools: header }).map(
  ({ clients, tools }): Given => ({
    ...(clients === undefined ? {} : { clients }),
    ...(tools === undefined ? {} : { tools }),
  }),
);

export const registry = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom(...SLUGS),
      display_name: fc.constantFrom(...CALLED),
      enabled: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
      status: fc.oneof(
        { weight: 4, arbitrary: fc.constant("active" as const) },
        { weight: 1, arbitrary: fc.constantFrom("pending_setup" as const, "error" as const) },
      ),
      tool_mode: fc.constantFrom("unset" as const, "list" as const, "all" as const),
      allow_on_all_virtual_keys: fc.boolean(),
      tools: fc.uniqueArray(fc.record({ tool: fc.constantFrom(...TOOL_NAMES), allowed: fc.boolean() }), {
        selector: ({ tool }) => tool,
      }),
    }),
    { selector: ({ name }) => name },
  )
  .map((servers): Snapshot => {
    const records = servers.map(({ tools: _, ...record }) => serverRecord({ ...record, server_id: record.name }));
    const catalog = servers.flatMap(({ name, tools }) =>
      tools.map((row) => ({
        ...row,
        tool: nameIn(name, row.tool),
        server_id: name,
        auto: false,
        repeatable: 0,
        price_nano: null,
        approved_hash: row.tool,
      })),
    );
    return compileSnapshot("default", { registry: 1, org: 1, credentials: 0 }, records, catalog);
  });

const rule = fc.oneof(
  fc.constant<KeyRule>(["*"]),
  fc.uniqueArray(fc.constantFrom(...TOOL_NAMES, ...OWN_NAMES), { maxLength: 5 }),
) as fc.Arbitrary<KeyRule>;
const rules = fc.dictionary(fc.constantFrom(...SLUGS), rule);
export const principal = fc.oneof(
  rules.map((assigned) => principalWith({ key: keyGrant(assigned) })),
  rules.map((assigned) => principalWith({ kind: "user", id: "ann", key: keyGrant(assigned) })),
  fc.constantFrom<Principal>(
    principalWith({ kind: "user", id: "ann", key: null, role: "member" }),
    principalWith({ kind: "user", id: "ann", key: null, role: null }),
    principalWith({ kind: "user", id: "root", key: null, role: null, isPlatformAdmin: true }),
  ),
);
