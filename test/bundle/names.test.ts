/** Tools whose own names are not legal at `/mcp`, or would clash or split in more than one way there. */
import { Server } from "@modelcontextprotocol/server";
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, type RegisteredServer, registerServer } from "./support/api.ts";
import { SDK_CLIENTS, v1Client, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { type Seen, startModernServer } from "./support/modern-server.ts";
import { labelled, running } from "./support/running.ts";

const NAMES = [
  ...["plain", "a__b", "__", "a-b", "a_b", "a.b", "a/b", "a b", "read", "Read"],
  ...["größe", "名前", "=?base64?eA==?=", "x".repeat(120), `${"y".repeat(99)}1`, `${"y".repeat(99)}2`],
];

/** Each of its tools says its own name. */
function parrot(): Server {
  const server = new Server({ name: "parrot", version: "1.0.0" }, { capabilities: { tools: {} } });
  server.setRequestHandler("tools/list", () => ({
    tools: NAMES.map((name) => ({ name, inputSchema: { type: "object" } })),
  }));
  server.setRequestHandler("tools/call", ({ params }) => ({ content: [{ type: "text", text: params.name }] }));
  return server;
}

const gateway = running("the gateway", startGateway);
const upstream = running("the server of odd names", () => startModernServer(parrot));

describe.each([
  ["a short name", "odd"],
  ["a name of 63 characters", "o".repeat(63)],
])("a server with %s", (_, slug) => {
  let registered: RegisteredServer;
  beforeAll(async () => {
    registered = await registerServer(gateway(), slug, upstream().url);
  });

  it.each(labelled(SDK_CLIENTS))(
    "has each tool called by its own name for %s [P-44, R-18, T-39]",
    async (_label, client) => {
      const key = await createKey(gateway(), registered);
      await withClient(client, `${gateway().url}/mcp`, { key: key.value }, async (through) => {
        const names = await through.toolNames();
        const own: string[] = [];
        for (const name of names) {
          expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
          const { content } = await through.call(name, {});
          const [{ text }] = content as [{ text: string }];
          expect(calledNames(upstream().requests("tools/call").at(-1))).toEqual({ body: text, header: text });
          own.push(text);
        }
        expect(own.sort()).toEqual(NAMES.toSorted());
      });
    },
  );

  it("keeps the names of its tools when it is discovered again [R-18]", async () => {
    const key = await createKey(gateway(), registered);
    const list = () =>
      withClient(v1Client, `${gateway().url}/mcp`, { key: key.value }, (through) => through.toolNames());
    const before = await list();
    const discovered = await gateway().admin("POST", `/v1/servers/${registered.server_id}/discover`);
    expect(await discovered.json()).toMatchObject({ known: NAMES.length, added: [], changed: [], vanished: [] });
    expect(new Set(before).size).toBe(NAMES.length);
    expect(await list()).toEqual(before);
  });
});

/** The tool that a request names, in its body and in `Mcp-Name` (protocol.md 2.1). */
function calledNames(request: Seen | undefined) {
  const header = request?.headers.get("Mcp-Name") ?? "";
  const encoded = /^=\?base64\?(.*)\?=$/.exec(header)?.[1];
  return {
    body: request && JSON.parse(request.body).params.name,
    header: encoded === undefined ? header : Buffer.from(encoded, "base64").toString(),
  };
}
