/** Prompts and resources of two servers at `/mcp`, for real clients of both eras, where the operator wants that. */
import { Client as ClientV2, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKey, registerServer } from "./support/api.ts";
import { startGateway } from "./support/gateway.ts";
import { startReference } from "./support/reference.ts";
import { labelled, running } from "./support/running.ts";
import { startEverything } from "./support/server-process.ts";

const gateway = running("the gateway", () => startGateway({ AGGREGATE_PROMPTS_AND_RESOURCES: "true" }));
const reference = running("the reference server", startReference);
const everything = running("server-everything", startEverything);

const ME = { name: "bundle-test", version: "1.0.0" };
let headers: Record<string, string>;
beforeAll(async () => {
  const key = await createKey(
    gateway(),
    await registerServer(gateway(), "reference", reference().modern),
    await registerServer(gateway(), "everything", everything().url),
  );
  headers = { Authorization: `Bearer ${key.value}` };
});

const clients = [
  {
    label: "a v1 client",
    async connect(url: URL) {
      const client = new ClientV1(ME);
      await client.connect(new TransportV1(url, { requestInit: { headers } }) as Transport);
      return client;
    },
  },
  {
    label: "a v2 client pinned to modern",
    async connect(url: URL) {
      const client = new ClientV2(ME, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
      return client;
    },
  },
];

describe.each(labelled(clients))("%s at /mcp", (_, { connect }) => {
  let client: Awaited<ReturnType<typeof connect>>;
  beforeAll(async () => {
    client = await connect(new URL(`${gateway().url}/mcp`));
  });
  afterAll(() => client?.close());

  it("lists the prompts of both servers, gets and completes one of each [OT-1]", async () => {
    const names = (await client.listPrompts()).prompts.map(({ name }) => name);
    expect(names).toEqual(names.toSorted((a, b) => (a.split("__")[0] ?? "").localeCompare(b.split("__")[0] ?? "")));
    expect(names).toEqual(expect.arrayContaining(["everything__simple-prompt", "reference__test_simple_prompt"]));
    const simple = await client.getPrompt({ name: "reference__test_simple_prompt" });
    expect(simple.messages[0]?.content).toMatchObject({ text: "This is a simple prompt for testing." });
    expect((await client.getPrompt({ name: "everything__simple-prompt" })).messages).toHaveLength(1);
    const { completion } = await client.complete({
      ref: { type: "ref/prompt", name: "reference__test_prompt_with_arguments" },
      argument: { name: "arg1", value: "par" },
    });
    expect(completion.values).toEqual(["paris", "park", "party"]);
  });

  it("lists the resources and templates of both, and reads and completes them by the URIs it was given [OT-1]", async () => {
    const { resources } = await client.listResources();
    const uris = resources.map(({ uri }) => uri);
    expect(uris).toContain("postern+reference:test://static-text");
    const one = uris.find((uri) => uri.startsWith("postern+everything:")) ?? "";
    for (const uri of ["postern+reference:test://static-text", one]) {
      expect((await client.readResource({ uri })).contents[0]).toMatchObject({ uri });
    }
    const { resourceTemplates } = await client.listResourceTemplates();
    const templates = resourceTemplates.map(({ uriTemplate }) => uriTemplate);
    const template = "postern+reference:test://template/{id}/data";
    expect(templates).toContain(template);
    expect(templates.some((own) => own.startsWith("postern+everything:"))).toBe(true);
    const ref = { type: "ref/resource" as const, uri: template };
    const { completion } = await client.complete({ ref, argument: { name: "id", value: "1" } });
    expect(completion.values).toEqual(["123"]);
    const read = await client.readResource({ uri: template.replace("{id}", "123") });
    expect(read.contents[0]).toMatchObject({ text: expect.stringContaining("Data for ID: 123") });
  });
});
