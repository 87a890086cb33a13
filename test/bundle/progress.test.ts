/** Progress notifications on their way from a server to the client whose call they belong to. */
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, registerServer, type VirtualKey } from "./support/api.ts";
import { SDK_CLIENTS, v1Client, v2Pinned, withClient } from "./support/clients.ts";
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

const LONG = {
  label: "a legacy server",
  name: "everything",
  tool: "trigger-long-running-operation",
  args: { duration: 0.3, steps: 3 },
  text: "Long running operation completed. Duration: 0.3 seconds, Steps: 3.",
};
const COUNT = { label: "a modern server", name: "ledger", tool: "count", args: { to: 3 }, text: "Counted to 3" };

describe.each(labelled([LONG, COUNT]))("progress of %s", (_, { name, tool, args, text }) => {
  const cells = SDK_CLIENTS.flatMap((client) =>
    doorsOf(name).map((door) => ({ ...door, client, label: `${client.label} at ${door.path}` })),
  );

  it.each(labelled(cells))("reaches %s before the result", async (_label, { client, path, prefix }) => {
    const seen: number[][] = [];
    const { content } = await withClient(client, `${gateway().url}${path}`, { key: key.value }, (through) =>
      through.call(`${prefix}${tool}`, args, ({ progress, total = 0 }) => seen.push([progress, total])),
    );
    expect(seen).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
    expect(content).toEqual([{ type: "text", text }]);
  });
});

describe("progress of a slow call", () => {
  it.each(labelled([v1Client, v2Pinned]))("reaches %s while the call goes on", async (_, client) => {
    const arrivals: number[] = [];
    await withClient(client, `${gateway().url}/mcp/everything`, { key: key.value }, (through) =>
      through.call("trigger-long-running-operation", { duration: 1, steps: 2 }, () => arrivals.push(Date.now())),
    );
    const end = Date.now();
    expect(arrivals).toHaveLength(2);
    // Half a second before the second one, which is sent together with the result.
    expect(end - (arrivals[0] ?? end)).toBeGreaterThan(300);
  });
});
