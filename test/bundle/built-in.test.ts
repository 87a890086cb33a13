/**
 * The built-in tools for real clients of both eras, who hold each result against the tool's output schema; and the
 * example of `docs/` as somebody runs it who reads it.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client as ClientV2, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { beforeAll, describe, expect, it } from "vitest";
import { BUILT_IN, createKey, type VirtualKey } from "./support/api.ts";
import { startGateway } from "./support/gateway.ts";
import { labelled, running } from "./support/running.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const gateway = running("the gateway", startGateway);

let key: VirtualKey;
beforeAll(async () => {
  key = await createKey(gateway(), BUILT_IN);
  const body = "Ask before you delete.";
  for (const [path, what] of [
    ["/v1/instructions/rule/deletes", { body, title: "Deletes", description: "Before you delete." }],
    ["/v1/instructions/knowledge/names", { body: "None." }],
  ] as const) {
    expect((await gateway().admin("PUT", path, what)).status).toBe(200);
  }
  const readme = { readme: "Read the rules.", instructions: "Be brief." };
  expect((await gateway().admin("PATCH", "/v1/orgs/default", readme)).status).toBe(200);
});

interface Result {
  readonly content?: unknown;
  readonly structuredContent?: unknown;
  readonly isError?: unknown;
}

interface Connected {
  readonly instructions: string | undefined;
  /** With `outputSchema`, as the client has read it. */
  readonly tools: readonly { readonly name: string; readonly outputSchema?: unknown; readonly annotations?: unknown }[];
  call(name: string, args: Record<string, unknown>): Promise<Result>;
  close(): Promise<void>;
}

const ME = { name: "bundle-test", version: "1.0.0" };

async function connectV1(url: string): Promise<Connected> {
  const client = new ClientV1(ME);
  await client.connect(new TransportV1(new URL(url), { requestInit: { headers: authorization() } }) as never);
  // Listing is what makes a client hold results against schemas.
  const { tools } = await client.listTools();
  return {
    instructions: client.getInstructions(),
    tools,
    call: async (name, args) => (await client.callTool({ name, arguments: args })) as Result,
    close: () => client.close(),
  };
}

const connectV2 = (mode: "legacy" | "auto") =>
  async function connect(url: string): Promise<Connected> {
    const client = new ClientV2(ME, mode === "auto" ? { versionNegotiation: { mode } } : {});
    await client.connect(
      new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: authorization() } }),
    );
    expect(client.getProtocolEra()).toBe(mode === "auto" ? "modern" : "legacy");
    const { tools } = await client.listTools();
    return {
      instructions: client.getInstructions(),
      tools,
      call: async (name, args) => (await client.callTool({ name, arguments: args })) as Result,
      close: () => client.close(),
    };
  };

const authorization = () => ({ Authorization: `Bearer ${key.value}` });

const CLIENTS = [
  { label: "a v1 client", connect: connectV1 },
  { label: "a v2 client in legacy mode", connect: connectV2("legacy") },
  { label: "a v2 client in auto mode", connect: connectV2("auto") },
];
const cells = ["/mcp", "/mcp/gateway"].flatMap((path) =>
  CLIENTS.map((client) => ({ ...client, path, label: `${client.label} at ${path}` })),
);

describe.each(labelled(cells))("for %s, the built-in tools", (_, { connect, path }) => {
  it("are listed with schemas that its validator takes, and told of in its instructions [OT-25]", async () => {
    const client = await connect(`${gateway().url}${path}`);
    expect(client.tools.map(({ name }) => name)).toEqual([
      ...["get_instruction", "list_instructions", "readme_agent", "run_finish", "run_start", "set_instruction"],
    ]);
    for (const tool of client.tools) {
      expect(tool).toMatchObject({ outputSchema: { type: "object" }, annotations: { openWorldHint: false } });
    }
    expect(client.instructions).toMatch(/^Be brief\.\n\n.*readme_agent first/s);
    await client.close();
  });

  it("give results that fit their output schemas, in a run, and errors that say what to do [OT-6, OT-15]", async () => {
    const client = await connect(`${gateway().url}${path}`);
    const done = async (name: string, args: Record<string, unknown> = {}) => {
      const result = await client.call(name, args);
      expect({ name, isError: result.isError ?? false }).toEqual({ name, isError: false });
      return result.structuredContent as Record<string, unknown>;
    };
    const readme = await done("readme_agent");
    expect(readme).toMatchObject({ scope: "default", readme: "Read the rules." });
    expect(await done("list_instructions")).toEqual({ result: readme["instructions"] });
    expect(await done("list_instructions", { kind: "rule" })).toMatchObject({
      result: [{ slug: "deletes", group: null }],
    });
    expect(await done("get_instruction", { kind: "rule", slug: "deletes" })).toMatchObject({
      body: "Ask before you delete.",
    });
    const { run_id } = await done("run_start", { label: "outer", doctrine: "rule/deletes", budget_usd: 0.5 });
    const inner = await done("run_start", { label: "inner" });
    expect(inner).toMatchObject({ label: "inner", doctrine: null });
    const ended = { run_id: inner["run_id"], outcome: "done", note: "fine" };
    expect(await done("run_finish", ended)).toEqual({
      ok: true,
      run_id: inner["run_id"],
      outcome: "done",
      was_open: true,
    });
    expect(await done("run_finish", ended)).toMatchObject({ was_open: false });
    expect(await done("run_finish", { run_id, outcome: "blocked" })).toMatchObject({ was_open: true });

    const refused = await client.call("set_instruction", { kind: "rule", slug: "a", body: "b" });
    expect(refused).toMatchObject({
      isError: true,
      content: [{ type: "text", text: "insufficient role: required 'org_admin', got 'member'" }],
    });
    expect(await client.call("run_finish", { run_id: "x", outcome: "fine" })).toMatchObject({ isError: true });
    await client.close();
  });
});

describe("the runs", () => {
  it("of all these clients are on record, each in the one around it [PS-43]", async () => {
    await expect
      .poll(
        async () => {
          const response = await gateway().admin("GET", "/v1/runs?page_size=100");
          const { rows } = (await response.json()) as { rows: { label: string; status: string; run_id: string }[] };
          return rows.filter(({ status }) => status === "finished").length;
        },
        { timeout: 10_000 },
      )
      .toBe(2 * cells.length);
    const response = await gateway().admin("GET", "/v1/runs?page_size=100");
    const { rows } = (await response.json()) as { rows: Record<string, unknown>[] };
    const outer = rows.filter(({ label }) => label === "outer");
    const inner = rows.filter(({ label }) => label === "inner");
    expect(inner.map(({ parent_run_id }) => parent_run_id).toSorted()).toEqual(
      outer.map(({ run_id }) => run_id).toSorted(),
    );
    for (const run of outer)
      expect(run).toMatchObject({ outcome: "blocked", budget_usd: 0.5, doctrine: "rule/deletes" });
    // Their starts are calls of the run around; each holds its own end, and the outer ones what came in between.
    for (const run of inner) expect(run).toMatchObject({ outcome: "done", note: "fine", calls: 1 });
  });
});

describe("docs/instructions-server.ts", () => {
  it("runs as it says, and shows its log [OT-27]", async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ["docs/instructions-server.ts"], { cwd: ROOT });
    expect(stdout).toContain("bob set_instruction REFUSED: insufficient role");
    expect(stdout).toContain("alice set_instruction REFUSED: write refused");
    expect(stdout).toContain("The call log:");
  });
});
