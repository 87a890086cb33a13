/** The command line of the inspector, in both eras, against each server at each door. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { calls, createKey, type RegisteredServer, registerServer } from "./support/api.ts";
import { type Connection, v2Auto, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { inspector } from "./support/inspector.ts";
import { labelled, running } from "./support/running.ts";
import { doorsOf, UPSTREAMS_BY_ERA } from "./support/upstreams.ts";

// Each run is a program of half a second, mostly of computing.
vi.setConfig({ maxConcurrency: 2 });

const gateway = running("the gateway", startGateway);

describe.each(labelled(UPSTREAMS_BY_ERA))("%s", (label, { name, good, failing, start }) => {
  const server = running(label, start);
  let registered: RegisteredServer;
  beforeAll(async () => {
    registered = await registerServer(gateway(), name, server().url);
  });

  /** What the server says to a client that asks it directly. */
  const directly = <T>(ask: (direct: Connection) => Promise<T>) =>
    withClient(v2Auto, server().url, { isAskable: true }, ask);

  const cells = (["legacy", "modern"] as const).flatMap((era) =>
    doorsOf(name).map((door) => ({ label: `${era} inspector at ${door.path}`, era, ...door })),
  );

  it.concurrent.each(labelled(cells))("lists the same tools to the %s", async (_, { era, path, prefix }) => {
    const key = await createKey(gateway(), registered);
    const names = await inspector(era, `${gateway().url}${path}`, key.value).toolNames();
    expect(names).toEqual((await directly((direct) => direct.toolNames())).map((own) => `${prefix}${own}`).sort());
  });

  it.concurrent.each(labelled(cells))(
    "gives the same results to the %s, and a row for each [P-75]",
    async (_, cell) => {
      const key = await createKey(gateway(), registered);
      const through = inspector(cell.era, `${gateway().url}${cell.path}`, key.value);
      for (const { tool, args } of [good, failing]) {
        const result = await through.call(`${cell.prefix}${tool}`, args);
        expect(result).toEqual(await directly((direct) => direct.call(tool, args)));
      }
      const row = { server: name, door: cell.path.toLowerCase() };
      const session_id = cell.era === "legacy" ? expect.stringMatching(/^ses_/) : null;
      expect(await calls(gateway(), key, 2)).toEqual([
        expect.objectContaining({ ...row, tool: good.tool, ok: true, session_id }),
        expect.objectContaining({ ...row, tool: failing.tool, ok: false, session_id }),
      ]);
    },
  );
});
