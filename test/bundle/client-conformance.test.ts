/**
 * The official suite's client scenarios, with the gateway as the client: `test/conformance/client-driver.ts` stands
 * between (protocol.md 10.1 and 10.2).
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { startProgram } from "../../scripts/program.ts";
import { startGateway } from "./support/gateway.ts";
import { startIdp } from "./support/idp.ts";
import { running } from "./support/running.ts";
import { startTurns } from "./support/turns.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const SUITE = join(ROOT, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js");
const DRIVER = "test/conformance/client-driver.ts";
const EXPECTED_FAILURES = "test/conformance/expected-failures.yml";
const USER = "ada";
const AUDIENCE = "https://gateway.example/mcp";

/**
 * The suite starts all scenarios of a set at once, each with a program of its own. Few of them work at a time: the servers
 * of the suite close a connection that is idle for five seconds, and a busy machine gets there between two requests.
 */
const AT_A_TIME = 4;
const SET_MS = 300_000;
/** The turns that come before included. */
const SCENARIO_MS = SET_MS - 20_000;

const turns = running("the turns of the scenarios", () => startTurns(AT_A_TIME));
const idp = running("the identity provider", () => startIdp());
const gateway = running("the gateway", () =>
  startGateway({ OIDC_ISSUER: idp().issuer, OIDC_AUDIENCE: AUDIENCE, OIDC_CLIENT_ID: "postern" }),
);
beforeAll(async () => {
  await idp().register({ client_id: "postern", redirect_uris: [`${gateway().url}/oauth/callback`] });
  const put = await gateway().admin("PUT", `/v1/orgs/default/members/${USER}`, { role: "member" });
  expect(put.status).toBe(200);
});

describe("the conformance suite", () => {
  it.each(["2026-07-28", "2025-11-25"])(
    "finds a client of %s in the gateway, but for what is explained",
    async (revision) => {
      const run = await runSuite(revision);
      // Of what it does not score, the suite judges nothing: here that counts as well.
      const failed = new Set(run.failed);
      const explained = (await expectedFailures()).filter((name) => run.scenarios.has(name));
      const said = run.lines.join("\n");
      expect({ how: run.how, failed }, said).toEqual({ how: 0, failed: new Set(explained) });
      expect(run.clientIdOfMetadata).toBe(`${gateway().url}/oauth/client-metadata.json`);
    },
    SET_MS,
  );
});

/** The scenarios that are expected to fail, as a whole or in part. */
async function expectedFailures(): Promise<string[]> {
  const text = await readFile(join(ROOT, EXPECTED_FAILURES), "utf8");
  const [, client = ""] = text.split(/^client:$/m);
  return Array.from(client.matchAll(/^ {2}- ([^\s:]+)/gm), ([, scenario = ""]) => scenario);
}

/** Runs the frozen set of a revision. */
async function runSuite(revision: string) {
  const results = await mkdtemp(join(tmpdir(), "postern-conformance-"));
  const lines: string[] = [];
  const suite = startProgram(
    SUITE,
    [
      ...["client", "--requirements", revision, "--expected-failures", EXPECTED_FAILURES],
      ...["--command", `"${process.execPath}" ${DRIVER}`, "--timeout", `${SCENARIO_MS}`, "--output-dir", results],
    ],
    {
      cwd: ROOT,
      env: {
        ...process.env,
        POSTERN_TURNS: turns().url,
        POSTERN_URL: gateway().url,
        POSTERN_ADMIN_KEY: gateway().adminKey,
        POSTERN_USER_TOKEN: await idp().token(USER, { audience: AUDIENCE, expiresInS: 3_600 }),
        POSTERN_USER_COOKIE: idp().cookieOf(USER),
      },
      onLine: (line) => lines.push(line),
    },
  );
  try {
    const how = await suite.ended;
    const verdicts = lines.flatMap((line) => {
      const [, mark, scenario] = /^([✓✗]) (\S+): \d+ passed/.exec(line) ?? [];
      return mark === undefined || scenario === undefined ? [] : [{ scenario, isPassed: mark === "✓" }];
    });
    return {
      how,
      lines,
      scenarios: new Set(verdicts.map(({ scenario }) => scenario)),
      failed: verdicts.filter(({ isPassed }) => !isPassed).map(({ scenario }) => scenario),
      clientIdOfMetadata: await clientIdOf(join(results, "auth"), "basic-cimd-").catch((error) => `${error}`),
    };
  } finally {
    await suite.stop();
    await rm(results, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The client id that the authorization server of a scenario was asked with. */
async function clientIdOf(folder: string, scenario: string): Promise<unknown> {
  const name = (await readdir(folder)).find((entry) => entry.startsWith(scenario)) ?? "";
  const checks = JSON.parse(await readFile(join(folder, name, "checks.json"), "utf8")) as readonly {
    readonly id: string;
    readonly details?: { readonly actualClientId?: unknown };
  }[];
  return checks.find(({ id }) => id === "cimd-client-id-used")?.details?.actualClientId;
}
