/** Clients that work at the same time, with requests that only the gateway can tell apart. */
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { type ClientKind, SDK_CLIENTS, v1Client, v2Legacy, v2Pinned, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { labelled, running } from "./support/running.ts";
import { startEverything } from "./support/server-process.ts";

const gateway = running("the gateway", startGateway);
const everything = running("server-everything", startEverything);

let registered: RegisteredServer;
beforeAll(async () => {
  registered = await registerServer(gateway(), "everything", everything().url);
});

describe("two clients of one server whose requests have equal ids and progress tokens", () => {
  const PAIRS = labelled([
    { label: "modern, one key, one upstream session [P-35]", client: v2Pinned, keys: 1, sessions: 1 },
    { label: "modern, two keys, an upstream session each [R-13]", client: v2Pinned, keys: 2, sessions: 2 },
    { label: "legacy (v1), one key, an upstream session each", client: v1Client, keys: 1, sessions: 2 },
    { label: "legacy (v1), two keys, an upstream session each [R-13]", client: v1Client, keys: 2, sessions: 2 },
    { label: "legacy (v2), one key, an upstream session each", client: v2Legacy, keys: 1, sessions: 2 },
  ]);

  it.each(PAIRS)("get their own answers and progress: %s", async (_, { client, keys, sessions }) => {
    const before = sessionsOpened();
    const events: string[] = [];
    const key = await createKey(gateway(), registered);
    const otherKey = keys === 1 ? key : await createKey(gateway(), registered);
    const [first, second] = await Promise.all([
      callSlowly(client, key, 3, (progress, total) => events.push(`first: ${progress} of ${total}`)),
      callSlowly(client, otherKey, 4, (progress, total) => events.push(`second: ${progress} of ${total}`)),
    ]);

    expect(first.handles).toHaveLength(1);
    expect(first.handles).toEqual(second.handles);
    expect(first.content).toEqual([{ type: "text", text: `${DONE} 0.75 seconds, Steps: 3.` }]);
    expect(second.content).toEqual([{ type: "text", text: `${DONE} 1 seconds, Steps: 4.` }]);
    const of = (who: string) => events.filter((event) => event.startsWith(who));
    expect(of("first")).toEqual(["first: 1 of 3", "first: 2 of 3", "first: 3 of 3"]);
    expect(of("second")).toEqual(["second: 1 of 4", "second: 2 of 4", "second: 3 of 4", "second: 4 of 4"]);
    // They did run at the same time.
    expect(events.indexOf("second: 1 of 4")).toBeLessThan(events.indexOf("first: 3 of 3"));
    expect(events.indexOf("first: 1 of 3")).toBeLessThan(events.indexOf("second: 4 of 4"));
    expect(sessionsOpened() - before).toBe(sessions);
  });
});

describe.each(["/mcp", "/mcp/everything"])("%s", (path) => {
  it("serves clients of both eras at the same time [P-6]", async () => {
    const key = await createKey(gateway(), registered);
    const tool = path === "/mcp" ? "everything__echo" : "echo";
    const connections = await Promise.all(
      SDK_CLIENTS.map((client) => client.connect(`${gateway().url}${path}`, { key: key.value })),
    );
    expect(connections.map(({ era }) => era)).toEqual(SDK_CLIENTS.map(({ era }) => era));
    const rounds = [1, 2, 3, 4, 5];
    const said = (who: number, round: number) => `client ${who}, round ${round}`;
    const results = await Promise.all(
      connections.flatMap((through, who) => rounds.map((round) => through.call(tool, { message: said(who, round) }))),
    );
    expect(results.map(({ content }) => content)).toEqual(
      connections.flatMap((_, who) => rounds.map((round) => [{ type: "text", text: `Echo: ${said(who, round)}` }])),
    );
    for (const connection of connections) await connection.close();
  });
});

/** Connects and makes one call, of a quarter of a second for each step; also gives the handles it was known by. */
async function callSlowly(
  client: ClientKind,
  { value }: VirtualKey,
  steps: number,
  onProgress: (progress: number, total: number | undefined) => void,
) {
  const sent: string[] = [];
  const options = { key: value, onSent: (message: string) => sent.push(message) };
  const { content } = await withClient(client, `${gateway().url}/mcp/everything`, options, (through) =>
    through.call("trigger-long-running-operation", { duration: steps / 4, steps }, ({ progress, total }) =>
      onProgress(progress, total),
    ),
  );
  return { content, handles: handlesOf(sent) };
}

const DONE = "Long running operation completed. Duration:";

/** Sessions that the server has opened so far, as it prints them. */
function sessionsOpened(): number {
  return everything()
    .logs()
    .filter((line) => line.startsWith("Session initialized with ID")).length;
}

/** Id and progress token of each call among messages. */
function handlesOf(messages: readonly string[]) {
  return messages
    .map((message) => JSON.parse(message))
    .filter(({ method }) => method === "tools/call")
    .map(({ id, params }) => ({ id, progressToken: params._meta.progressToken }));
}
