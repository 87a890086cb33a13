/**
 * The official suite's server scenarios, with the gateway as the server: at the doors of the reference server in each
 * era, and of server-everything (protocol.md 10.1 and 10.2).
 */
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, post, type RegisteredServer } from "./support/api.ts";
import { startGateway } from "./support/gateway.ts";
import { startPassThrough } from "./support/pass-through.ts";
import { startReference } from "./support/reference.ts";
import { labelled, running } from "./support/running.ts";
import { startEverything } from "./support/server-process.ts";
import { expectedFailures, judge, runServerSuite, type SuiteRun } from "./support/suite.ts";

const RUN_MS = 120_000;
/** The SDK of the reference server makes a result of every error that a tool throws, this one included. */
const OF_THE_SDK = ["tasks-required-task-error:sep-2663-server-returns-missing-capability-when-required"];
const NOTHING = { unexpected: [], stale: [] };

const reference = running("the reference server", startReference);
const everything = running("server-everything", () => startEverything());
const gateway = running("the gateway", startGateway);
let servers: RegisteredServer[];
beforeAll(async () => {
  servers = [
    await register("modern-reference", reference().modern),
    await register("legacy-reference", reference().legacy),
    await register("everything", everything().url),
  ];
});

/** Runs scenarios at a server's door, through a shim: the suite presents no credential. */
async function runAtDoor(name: string, ...options: [readonly string[], ("0.1" | "0.2")?]): Promise<SuiteRun> {
  // A key of its own for each run: together they are more than one may ask in a minute.
  const { value } = await createKey(gateway(), ...servers);
  const shim = await startPassThrough(gateway().url, { authorization: `Bearer ${value}` });
  try {
    return await runServerSuite(`${shim.origin}/mcp/${name}`, ...options);
  } finally {
    await shim.stop();
  }
}

function register(name: string, server_url: string): Promise<RegisteredServer> {
  const given = { auth_type: "none", definition_policy: "trust", allowed_tools: ["*"] };
  return post(gateway(), "/v1/servers", { name, server_url, ...given });
}

const ERAS = [
  { label: "of 2026-07-28", revision: "2026-07-28", era: "modern" },
  { label: "of 2025-11-25", revision: "2025-11-25", era: "legacy" },
] as const;
const CELLS = ERAS.flatMap(({ label, revision }) =>
  ERAS.map((server) => ({
    label: `${label}, in front of a server ${server.label}`,
    revision,
    door: `${server.era}-reference`,
    isOneEra: server.revision === revision,
  })),
);
const expectedAt = (revision: string, door: string) => `test/conformance/expected-failures.${revision}.${door}.yml`;

/** What knows nothing of frozen sets: all scenarios of a revision, and the line of the suite before 2026-07-28. */
const OLDER = [
  { label: "of 2025-06-18", release: "0.2", options: ["--suite", "all", "--spec-version", "2025-06-18"] },
  { label: "as the 0.1 line of the suite knows it", release: "0.1", options: [] },
] as const;

describe("the conformance suite", () => {
  it.each(labelled(ERAS))(
    "finds nothing wrong with the reference server %s itself, but for what its SDK does",
    async (_, { revision, era }) => {
      const run = await runServerSuite(reference()[era], ["--requirements", revision]);
      expectVerdict(run, era === "modern" ? OF_THE_SDK : []);
    },
    RUN_MS,
  );

  it.each(labelled(CELLS))(
    "finds a server %s, but for what is explained [P-73, P-74]",
    async (_, { revision, door, isOneEra }) => {
      const path = expectedAt(revision, door);
      const run = await runAtDoor(door, ["--requirements", revision, "--expected-failures", path]);
      const explained = await expectedFailures(path);
      // Whoever speaks one era on both sides loses nothing.
      if (isOneEra) expect(explained).toEqual([]);
      // What is wrong with the reference server itself is wrong behind the gateway as well.
      expectVerdict(run, isOneEra && door === "modern-reference" ? OF_THE_SDK : explained);
    },
    RUN_MS,
  );

  it.each(labelled(OLDER))(
    "finds a server %s, but for what is explained",
    async (_, { release, options }) => {
      const path = expectedAt("2025-11-25", "legacy-reference");
      const run = await runAtDoor("legacy-reference", [...options, "--expected-failures", path], release);
      expectVerdict(
        run,
        (await expectedFailures(path)).filter((entry) => run.scenarios.has(scenarioOf(entry))),
      );
    },
    RUN_MS,
  );

  it(
    "finds nothing at the door of server-everything that it does not find without, but for what is explained",
    async () => {
      const set = ["--requirements", "2025-11-25"];
      const direct = await runServerSuite(everything().url, set);
      const through = await runAtDoor("everything", set);
      expect(through.scenarios).toEqual(direct.scenarios);
      const expected = await expectedFailures(expectedAt("2025-11-25", "everything"));
      const { stale } = judge(through, expected);
      const { unexpected } = judge(through, [...direct.failed, ...expected]);
      expect({ unexpected, stale }, through.lines.join("\n")).toEqual(NOTHING);
    },
    RUN_MS,
  );
});

function expectVerdict(run: SuiteRun, expected: readonly string[]): void {
  expect(run.scenarios.size).toBeGreaterThan(0);
  expect({ how: run.how, ...judge(run, expected) }, run.lines.join("\n")).toEqual({ how: 0, ...NOTHING });
}

const scenarioOf = (entry: string) => entry.split(":", 1)[0] ?? "";
