import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DiscoveredTool, readDefinition } from "../../src/catalog/definition.ts";
import { type Merge, mergeDiscovery as mergeStored, type ToolRow } from "../../src/catalog/merge-discovery.ts";
import type { ToolMode } from "../../src/registry/tool-policy.ts";

/** A discovery of a pinned server, without the changes that it finds: `pinning.test.ts` has these. */
function mergeDiscovery(
  tool_mode: ToolMode,
  rows: readonly ToolRow[],
  tools: readonly DiscoveredTool[],
  now: number,
): Omit<Merge, "found" | "withdrawn" | "instructions"> {
  const none = { instructions: null, approved_instructions: null };
  const stored = { server_id: "srv_1", tool_mode, definition_policy: "pin", rows, changes: [], ...none } as const;
  const discovery = { tools, instructions: null };
  const made = mergeStored(stored, discovery, { now, newId: (prefix) => `${prefix}_1` });
  const { found: _, withdrawn: _w, instructions: _i, ...merge } = made;
  return merge;
}

const THEN = 1_000;
const NOW = 2_000;

/** A tool whose definition has this description. */
function found(tool: string, description = "one"): DiscoveredTool {
  const read = readDefinition(JSON.stringify({ name: tool, description }));
  if ("reason" in read) throw new Error(read.reason);
  return read;
}

/** A row of a tool that an earlier discovery found and approved. */
function known(tool: string, changes: Partial<ToolRow> = {}): ToolRow {
  const { definition, definition_hash } = found(tool);
  const approved = { approved_definition: definition, approved_hash: definition_hash };
  const row = { tool, known: true, is_new: false, allowed: true, definition, definition_hash, ...approved };
  return { ...row, first_seen: THEN, last_seen: THEN, ...changes };
}

/** A row of a name that an admin has set before any discovery. */
function named(tool: string, allowed: boolean): ToolRow {
  const nothing = { definition: null, definition_hash: null, approved_definition: null, approved_hash: null };
  return { tool, known: false, is_new: false, allowed, ...nothing, first_seen: null, last_seen: null };
}

const seen = { first_seen: NOW, last_seen: NOW };
const again = { last_seen: NOW };

/** What a change to the definition "two" makes of a row whose approved one is "one". */
const held = (row: ToolRow): ToolRow => {
  const { definition, definition_hash } = found(row.tool, "two");
  return { ...row, definition, definition_hash, ...again };
};

interface Cell {
  readonly mode: ToolMode;
  readonly stored: ToolRow[];
  readonly discovered: DiscoveredTool[];
  readonly merge: Partial<ReturnType<typeof mergeDiscovery>>;
}

const CELLS: [name: string, cell: Cell][] = [
  [
    "null at the first discovery becomes a map, all true, approved",
    {
      mode: "unset",
      stored: [],
      discovered: [found("a"), found("b")],
      merge: { tool_mode: "list", rows: [known("a", seen), known("b", seen)], added: ["a", "b"] },
    },
  ],
  ["null at a discovery that finds nothing stays null", { mode: "unset", stored: [], discovered: [], merge: {} }],
  [
    "null again, after a policy, is filled with true for what is found and keeps what is held",
    {
      mode: "unset",
      stored: [known("a", { allowed: false }), known("b", { allowed: false, is_new: true })],
      discovered: [found("a", "two"), found("b")],
      merge: {
        tool_mode: "list",
        rows: [held(known("a")), known("b", again)],
        changed: ["a"],
      },
    },
  ],
  [
    "a map at the first discovery keeps its keys, others are new",
    {
      mode: "list",
      stored: [named("a", true), named("b", false), named("c", true)],
      discovered: [found("a"), found("b"), found("d")],
      merge: {
        rows: [
          known("a", seen),
          known("b", { ...seen, allowed: false }),
          known("d", { ...seen, allowed: false, is_new: true }),
        ],
        added: ["a", "b", "d"],
      },
    },
  ],
  [
    "a map takes a later tool as false and new",
    {
      mode: "list",
      stored: [known("a")],
      discovered: [found("a"), found("b")],
      merge: { rows: [known("b", { ...seen, allowed: false, is_new: true })], added: ["b"] },
    },
  ],
  [
    "a map holds a change, and the approved definition stays in force",
    {
      mode: "list",
      stored: [known("a"), known("b", { allowed: false })],
      discovered: [found("a", "two"), found("b", "two")],
      merge: { rows: [held(known("a")), held(known("b", { allowed: false }))], changed: ["a", "b"] },
    },
  ],
  [
    "a map keeps the key of a vanished tool",
    {
      mode: "list",
      stored: [known("a"), known("b")],
      discovered: [found("b")],
      merge: { rows: [known("a", { known: false })], vanished: ["a"] },
    },
  ],
  [
    "all allows and approves everything at the first discovery",
    {
      mode: "all",
      stored: [],
      discovered: [found("a"), found("b")],
      merge: { rows: [known("a", seen), known("b", seen)], added: ["a", "b"] },
    },
  ],
  [
    "all allows and approves a later tool",
    {
      mode: "all",
      stored: [known("a")],
      discovered: [found("a"), found("b")],
      merge: { rows: [known("b", seen)], added: ["b"] },
    },
  ],
  [
    "all holds a change",
    {
      mode: "all",
      stored: [known("a")],
      discovered: [found("a", "two")],
      merge: { rows: [held(known("a"))], changed: ["a"] },
    },
  ],
  [
    "all no longer offers a vanished tool",
    {
      mode: "all",
      stored: [known("a")],
      discovered: [],
      merge: { rows: [known("a", { known: false })], vanished: ["a"] },
    },
  ],
];

describe("a discovery", () => {
  it.each(CELLS)("%s [PS-21]", (_, { mode, stored, discovered, merge }) => {
    const nothing = { tool_mode: mode, rows: [], added: [], changed: [], vanished: [] };
    expect(mergeDiscovery(mode, stored, discovered, NOW)).toEqual({ ...nothing, ...merge });
  });

  it.each(["list", "all"] as const)(
    "offers a returned tool with its old flag, if it is the approved one: %s",
    (mode) => {
      const gone = known("a", { known: false, allowed: mode === "all" });
      expect(mergeDiscovery(mode, [gone], [found("a")], NOW)).toEqual({
        ...{ tool_mode: mode, added: ["a"], changed: [], vanished: [] },
        rows: [{ ...gone, known: true, ...again }],
      });
    },
  );

  it.each(["list", "all"] as const)("holds the change of a returned tool that is another: %s", (mode) => {
    const gone = known("a", { known: false });
    expect(mergeDiscovery(mode, [gone], [found("a", "two")], NOW)).toEqual({
      ...{ tool_mode: mode, added: ["a"], changed: ["a"], vanished: [] },
      rows: [{ ...held(gone), known: true }],
    });
  });

  it("withdraws a held change when the approved definition is back", () => {
    const merge = mergeDiscovery("list", [held(known("a"))], [found("a")], NOW);
    expect(merge).toMatchObject({ changed: [], rows: [known("a", again)] });
  });

  it("replaces a held change by a newer one", () => {
    const third = found("a", "three");
    const { rows, changed } = mergeDiscovery("list", [held(known("a"))], [third], NOW);
    expect(changed).toEqual(["a"]);
    expect(rows).toEqual([
      { ...known("a"), definition: third.definition, definition_hash: third.definition_hash, ...again },
    ]);
  });

  it("does not hold the changes of a tool that is new and was never allowed", () => {
    const fresh = known("a", { is_new: true, allowed: false });
    const { definition, definition_hash } = found("a", "two");
    const approved = { approved_definition: definition, approved_hash: definition_hash };
    expect(mergeDiscovery("list", [fresh], [found("a", "two")], NOW)).toMatchObject({
      rows: [{ ...fresh, definition, definition_hash, ...approved, ...again }],
      changed: [],
    });
  });

  it("holds the changes of a tool that was new when it was allowed", () => {
    const decided = known("a", { is_new: true, allowed: true });
    expect(mergeDiscovery("list", [decided], [found("a", "two")], NOW)).toMatchObject({ changed: ["a"] });
  });

  it.each([
    ["a letter", '{"name":"a","x":"b"}', '{"name":"a","x":"c"}'],
    ["a member that JSON.parse passes over", '{"name":"a","x":"b","x":"c"}', '{"name":"a","x":"evil","x":"c"}'],
    ["such a member below", '{"name":"a","x":{"y":1,"y":2}}', '{"name":"a","x":{"y":3,"y":2}}'],
    ["a digit beyond what a number holds", '{"name":"a","x":9007199254740993}', '{"name":"a","x":9007199254740992}'],
    ["a number that is none", '{"name":"a","x":1e400}', '{"name":"a","x":null}'],
  ])(
    "shows nobody a definition in which %s has changed, before it is approved [PS-20, T-16]",
    (_, approved, changed) => {
      const [first, second] = [readDefinition(approved), readDefinition(changed)];
      const { rows: before } = mergeDiscovery("unset", [], "reason" in first ? [] : [first], THEN);
      const { rows: after } = mergeDiscovery("list", before, "reason" in second ? [] : [second], NOW);
      expect(after.map(({ approved_definition }) => approved_definition)).not.toContain(changed);
    },
  );

  it("takes a renamed tool for a new one [T-16]", () => {
    const { added, vanished, rows } = mergeDiscovery("list", [known("a")], [found("A")], NOW);
    expect({ added, vanished }).toEqual({ added: ["A"], vanished: ["a"] });
    expect(rows.find(({ tool }) => tool === "A")).toMatchObject({ allowed: false, is_new: true });
  });

  it("reports a tool that stays away once", () => {
    expect(mergeDiscovery("list", [known("a", { known: false })], [], NOW)).toMatchObject({ vanished: [], rows: [] });
  });
});

describe("any discovery", () => {
  const name = fc.constantFrom("a", "b", "c", "d");
  const version = fc.constantFrom("one", "two");
  const listed = fc.uniqueArray(fc.tuple(name, version), { selector: ([tool]) => tool });
  const mode = fc.constantFrom<ToolMode>("unset", "list", "all");
  const history = fc.array(listed, { maxLength: 5 });

  /** The rows after some discoveries, as the store would hold them. */
  function replay(first: ToolMode, lists: [string, string][][]): { mode: ToolMode; rows: Map<string, ToolRow> } {
    let current = first;
    const rows = new Map<string, ToolRow>();
    lists.forEach((list, at) => {
      const merge = mergeDiscovery(
        current,
        [...rows.values()],
        list.map(([tool, text]) => found(tool, text)),
        at,
      );
      current = merge.tool_mode;
      for (const row of merge.rows) rows.set(row.tool, row);
    });
    return { mode: current, rows };
  }

  it("knows afterwards just the tools of the last list, and forgets no row [PS-21]", () => {
    fc.assert(
      fc.property(mode, history, listed, (first, lists, last) => {
        const before = replay(first, lists).rows;
        const { rows } = replay(first, [...lists, last]);
        const names = [...rows.values()].filter((row) => row.known).map(({ tool }) => tool);
        expect(names.toSorted()).toEqual(last.map(([tool]) => tool).toSorted());
        expect([...rows.keys()]).toEqual(expect.arrayContaining([...before.keys()]));
      }),
    );
  });

  it("never changes the approved definition of a tool that is in use [PS-21, R-29]", () => {
    fc.assert(
      fc.property(mode, history, listed, (first, lists, last) => {
        const before = replay(first, lists).rows;
        const { rows } = replay(first, [...lists, last]);
        for (const [tool, row] of before) {
          if (!row.is_new) expect(rows.get(tool)?.approved_hash).toBe(row.approved_hash);
        }
      }),
    );
  });

  it("repeated, writes nothing and reports nothing but what is held [PS-21]", () => {
    fc.assert(
      fc.property(mode, history, listed, (first, lists, last) => {
        const after = replay(first, [...lists, last]);
        const repeated = mergeDiscovery(
          after.mode,
          [...after.rows.values()],
          last.map(([tool, text]) => found(tool, text)),
          NOW,
        );
        expect(repeated).toMatchObject({ tool_mode: after.mode, rows: [], added: [], vanished: [] });
      }),
    );
  });
});
