/** Content of every kind, as clients of both eras get it through the gateway. */
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, registerServer, type VirtualKey } from "./support/api.ts";
import { SDK_CLIENTS, v2Auto, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { startModernServer } from "./support/modern-server.ts";
import { labelled, running } from "./support/running.ts";
import { startEverything } from "./support/server-process.ts";
import { doorsOf } from "./support/upstreams.ts";

const gateway = running("the gateway", startGateway);
const everything = running("server-everything", startEverything);
const ledger = running("the modern server", startModernServer);

let key: VirtualKey;
beforeAll(async () => {
  key = await createKey(
    gateway(),
    await registerServer(gateway(), "everything", everything().url),
    await registerServer(gateway(), "ledger", ledger().url),
  );
});

const KINDS = [
  {
    kind: "an image",
    server: "everything",
    tool: "get-tiny-image",
    args: {},
    blocks: ["text", "image", "text"],
  },
  {
    kind: "structured content",
    server: "everything",
    tool: "get-structured-content",
    args: { location: "Chicago" },
    blocks: ["text"],
    structuredContent: { temperature: 36, conditions: "Light rain / drizzle", humidity: 82 },
  },
  {
    kind: "links to resources",
    server: "everything",
    tool: "get-resource-links",
    args: { count: 2 },
    blocks: ["text", "resource_link", "resource_link"],
  },
  {
    kind: "annotated blocks",
    server: "everything",
    tool: "get-annotated-message",
    args: { messageType: "error", includeImage: true },
    blocks: ["text", "image"],
  },
  {
    kind: "a block of each kind, audio too,",
    server: "ledger",
    tool: "show",
    args: {},
    blocks: ["text", "image", "audio", "resource_link", "resource", "resource"],
  },
];

const cells = KINDS.flatMap((row) => {
  const doors = doorsOf(row.server);
  return doors.map((door) => ({ ...row, ...door, label: `${row.kind} at ${door.path}` }));
});

describe.each(labelled(SDK_CLIENTS))("%s", (_, client) => {
  it.each(labelled(cells))("gets %s as the server sent it [R-24]", async (_label, cell) => {
    const { server, path, prefix, tool, args, blocks, structuredContent } = cell;
    const options = { key: key.value };
    const url = `${gateway().url}${path}`;
    const result = await withClient(client, url, options, (through) => through.call(`${prefix}${tool}`, args));

    const own = server === "ledger" ? ledger().url : everything().url;
    expect(result).toEqual(await withClient(v2Auto, own, {}, (direct) => direct.call(tool, args)));
    expect(result.content).toEqual(blocks.map((type) => expect.objectContaining({ type })));
    expect(result.structuredContent).toEqual(structuredContent);
  });
});
