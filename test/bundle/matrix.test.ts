/**
 * SDK clients of both eras against servers of both, at both doors: the same tools and the same results as without the
 * gateway, and a row in the log for each call.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Call, calls, createKey, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { type Connection, SDK_CLIENTS } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { labelled, running } from "./support/running.ts";
import { directClient, doorsOf, UPSTREAMS } from "./support/upstreams.ts";

const gateway = running("the gateway", startGateway);

/** Rows come within a second of their call; one that is too many would as well. */
const LATE_ROWS_MS = 1_000;

describe.each(labelled(UPSTREAMS))("%s", (label, upstream) => {
  const server = running(label, upstream.start);
  let registered: RegisteredServer;
  beforeAll(async () => {
    registered = await registerServer(gateway(), upstream.name, server().url);
  });

  const cells = SDK_CLIENTS.flatMap((client) =>
    doorsOf(upstream.name).map((door) => ({ label: `${client.label} at ${door.path}`, client, door, made: made() })),
  );

  describe.each(labelled(cells))("for %s", (_, { client, door: { path, prefix }, made }) => {
    let through: Connection;
    let direct: Connection;
    beforeAll(async () => {
      made.key = await createKey(gateway(), registered);
      through = await client.connect(`${gateway().url}${path}`, { key: made.key.value });
      direct = await directClient(client, upstream).connect(server().url);
      made.sessionId = through.sessionId;
    });
    afterAll(async () => {
      await through?.close();
      await direct?.close();
    });

    it("speaks the era of the client, with a session in the legacy one only", () => {
      expect(through.era).toBe(client.era);
      expect(through.sessionId).toEqual(client.era === "legacy" ? expect.stringMatching(/^[!-~]{22,}$/) : null);
    });

    it("lists what the server lists, under the names of the door", async () => {
      // Whatever a server shows to some of its clients, the catalog has.
      const askable = await directClient(client, upstream).connect(server().url, { isAskable: true });
      const own = await askable.toolNames();
      await askable.close();
      expect(own).not.toEqual([]);
      expect(await through.toolNames()).toEqual(own.map((name) => `${prefix}${name}`).sort());
    });

    it("gives the result that the server gives [P-75, CN-5]", async () => {
      const { tool, args } = upstream.good;
      made.calls.push({ tool, ok: true });
      const result = await through.call(`${prefix}${tool}`, args);
      expect(result).toEqual(await direct.call(tool, args));
      expect(result.isError ?? false).toBe(false);
    });

    it("gives the failure of a tool as the server words it", async () => {
      const { tool, args } = upstream.failing;
      made.calls.push({ tool, ok: false });
      const result = await through.call(`${prefix}${tool}`, args);
      expect(result).toEqual(await direct.call(tool, args));
      expect(result.isError).toBe(true);
    });

    it("refuses a tool that is not there with an error object", async () => {
      const name = `${prefix}no-such-tool`;
      made.calls.push({ tool: name, ok: false });
      const refusal = { code: -32602, message: expect.stringContaining(`Unknown tool: ${name}`) };
      await expect(through.call(name, {})).rejects.toMatchObject(refusal);
    });
  });

  describe("the log", () => {
    beforeAll(() => sleep(LATE_ROWS_MS));

    it.each(labelled(cells))("has one row for each call of %s", async (_, { door, made }) => {
      const isKnown = ({ tool }: Made["calls"][number]) => door.prefix === "" || !tool.startsWith(door.prefix);
      const rows = made.calls.map((call) => ({
        ...call,
        server: isKnown(call) ? upstream.name : null,
        door: door.path.toLowerCase(),
        session_id: made.sessionId,
      }));
      const found = made.key === undefined ? [] : await calls(gateway(), made.key, rows.length);
      expect(found.map(essentials)).toEqual(rows);
    });
  });
});

/** What the tests of one cell have done, for the test of the log. */
interface Made {
  key?: VirtualKey;
  sessionId: string | null;
  /** By the server's own name of the tool, or the name as sent when it leads to no tool. */
  readonly calls: { tool: string; ok: boolean }[];
}

function made(): Made {
  return { sessionId: null, calls: [] };
}

function essentials({ tool, ok, server, door, session_id }: Call) {
  return { tool, ok, server, door, session_id };
}
