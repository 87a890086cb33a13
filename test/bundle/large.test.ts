/** Results that nobody on the way may hold whole. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { beforeAll, describe, expect, it } from "vitest";
import { calls, createKey, post, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { startGateway } from "./support/gateway.ts";
import { type Era, MIB, PIECE, startLargeServer, type Wanted } from "./support/large-server.ts";
import { labelled, running } from "./support/running.ts";

const gateway = running("the gateway", startGateway);
const servers = {
  legacy: running("the legacy server", () => startLargeServer("legacy")),
  modern: running("the modern server", () => startLargeServer("modern")),
};

const registered: Partial<Record<Era, RegisteredServer>> = {};
beforeAll(async () => {
  for (const era of ["legacy", "modern"] as const) {
    registered[era] = await registerServer(gateway(), `large-${era}`, servers[era]().url);
  }
});

type ClientKind = Era | "asked";

/** An answer that is on its way. */
interface Answer {
  readonly key: VirtualKey;
  readonly response: IncomingMessage;
  readonly work: () => ReturnType<typeof startLargeServer> extends Promise<
    infer S extends { works: readonly unknown[] }
  >
    ? S["works"][number]
    : never;
  leave(): void;
}

/** Calls, and comes back when the head of the answer is there; nothing else of it is read. */
async function call(kind: ClientKind, era: Era, wanted: Wanted, name = `large-${era}`): Promise<Answer> {
  const server = registered[era];
  if (server === undefined) throw new Error("not registered");
  const key = await createKey(gateway(), server, ...(name === server.name ? [] : [await named(name)]));
  const { works } = servers[era]();
  const before = works.length;
  const isModern = kind !== "legacy";
  const capabilities = kind === "asked" ? { elicitation: { form: {} } } : {};
  const envelope = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": capabilities,
  };
  const _meta = { ...(isModern ? envelope : {}), progressToken: "p" };
  const params = { name: "large", arguments: wanted, _meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id: "c-1", method: "tools/call", params });
  const outgoing = request(`${gateway().url}/mcp/${name}`, {
    method: "POST",
    agent: false,
    headers: {
      Authorization: `Bearer ${key.value}`,
      Accept: "application/json, text/event-stream",
      "Content-Type": "application/json",
      "MCP-Protocol-Version": isModern ? "2026-07-28" : "2025-11-25",
      ...(isModern && { "Mcp-Method": "tools/call", "Mcp-Name": "large" }),
    },
  });
  outgoing.on("error", () => {});
  outgoing.end(body);
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  const work = () => {
    const own = works[before];
    if (own === undefined) throw new Error("The call has not reached the server");
    return own;
  };
  return { key, response, work, leave: () => outgoing.destroy() };
}

const others = new Map<string, RegisteredServer>();
async function named(name: string): Promise<RegisteredServer> {
  const server = others.get(name);
  if (server === undefined) throw new Error(`${name} is not registered`);
  return server;
}

interface Got {
  readonly bytes: number;
  readonly first: string;
  readonly last: string;
  /** The answer ends as one does that is whole. */
  readonly isWhole: boolean;
}

/** @param onBytes Is told how many there are by then. */
async function read(response: IncomingMessage, onBytes: (bytes: number) => void = () => {}): Promise<Got> {
  let bytes = 0;
  let first = "";
  let last = Buffer.alloc(0);
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (first.length < 200) first += chunk.subarray(0, 200).toString("latin1");
    last = Buffer.concat([last, chunk.subarray(-400)]).subarray(-400);
    onBytes(bytes);
  }
  const end = last.toString("utf8");
  return { bytes, first: first.slice(0, 100), last: end, isWhole: end.trimEnd().endsWith('"id":"c-1"}') };
}

const SIZE = 100;
/** What holding a part of the answer, or a copy of it, would go beyond. */
const GROWTH = 50;

const cells = labelled(
  (["modern", "asked", "legacy"] as const).flatMap((client) =>
    (["modern", "legacy"] as const).flatMap((era) =>
      (["json", "events"] as const).map((form) => ({
        label: `${client === "asked" ? "modern client that can be asked" : `${client} client`}, ${era} server, ${form}`,
        client,
        era,
        form,
      })),
    ),
  ),
);

describe.each(cells)("a result of 100 MiB: %s", (_, { client, era, form }) => {
  it("passes whole, while it is still being sent, in constant memory [PS-32, P-69]", async () => {
    // What the process takes once, such as compiled code, is not what passes through it.
    await read((await call(client, era, { mebibytes: 16, form })).response);
    const before = gateway().memory();
    const { key, response, work } = await call(client, era, { mebibytes: SIZE, form, holdAt: SIZE / 2 });
    let most = before;
    let looked = 0;
    const got = await read(response, (bytes) => {
      if (bytes < looked) return;
      looked = bytes + 5 * MIB;
      most = Math.max(most, gateway().memory());
      if (bytes > (SIZE / 2 - 5) * MIB) work().release();
    });
    const text = Math.ceil((SIZE * MIB) / Buffer.byteLength(PIECE)) * Buffer.byteLength(PIECE);
    expect(got.bytes).toBeGreaterThan(text);
    expect(got.bytes).toBeLessThan(text + 400);
    expect(got.first).toContain('{"result":{"content":[{"type":"text","text":"0123');
    expect(got.last).toContain('"jsonrpc":"2.0","id":"c-1"}');
    expect(got.last.includes('"resultType":"complete"')).toBe(client !== "legacy");
    expect(got.last.includes("serverInfo")).toBe(client !== "legacy" && era === "legacy");
    expect(most - before).toBeLessThan(GROWTH);
    expect(await calls(gateway(), key, 1)).toMatchObject([{ tool: "large", ok: true, error: null, attempts: 1 }]);
  });
});

const forms = labelled(
  (["json", "events", "notifications"] as const).flatMap((form) =>
    (["modern", "asked", "legacy"] as const).map((client) => ({
      label: `${form} for a ${client} client`,
      form,
      client,
    })),
  ),
);

describe.each(forms)("%s that does not read", (_, { form, client }) => {
  it("holds up the server, and does not grow in memory [P-69]", async () => {
    const before = gateway().memory();
    const { response, work } = await call(client, "legacy", { mebibytes: SIZE, form });
    await expect.poll(() => work().isStalled(), { timeout: 20_000 }).toBe(true);
    expect(work().accepted()).toBeLessThan((SIZE / 2) * MIB);
    expect(gateway().memory() - before).toBeLessThan(GROWTH);
    const got = await read(response);
    expect(got.isWhole).toBe(true);
    expect(got.bytes).toBeGreaterThan(SIZE * MIB - Buffer.byteLength(PIECE));
    expect(work().isFinished()).toBe(true);
  });
});

describe.each(["json", "events"] as const)("a large answer as %s", (form) => {
  /** JSON ends in its midst. An event is taken back, and another says what has happened. */
  function expectCut({ last, isWhole }: Got, error: string): void {
    if (form === "json") expect(isWhole).toBe(false);
    else {
      const [begun, told = ""] = last.split("\nevent: cut\n\nevent: message\ndata: ");
      expect(begun).toMatch(/[0-9a-fx]$/);
      expect(JSON.parse(told)).toMatchObject({
        id: "c-1",
        result: { isError: true, content: [{ text: TOLD(error) }] },
      });
    }
  }
  const TOLD = (error: string) => `Tool execution failed for large. ${error}`;

  it("is cut for its client where the server breaks it off, and its row says so [P-71]", async () => {
    const { key, response } = await call("modern", "modern", { mebibytes: SIZE, form, breakAt: 20 });
    const error = "The connection to the server broke before its answer was complete.";
    expectCut(await read(response), error);
    expect(await calls(gateway(), key, 1)).toMatchObject([{ ok: false, error, attempts: 1 }]);
  });

  it("is cut where it goes beyond 256 MiB, and its row says so [PS-32, P-69]", async () => {
    const { key, response } = await call("legacy", "legacy", { mebibytes: 260, form });
    const error = "The server's answer is too large.";
    expectCut(await read(response), error);
    expect(await calls(gateway(), key, 1)).toMatchObject([{ ok: false, error }]);
  });

  it.each(["modern", "asked"] as const)(
    "ends the upstream request within a second when a client leaves in its midst: %s [P-67]",
    async (client) => {
      const { key, response, work, leave } = await call(client, "legacy", { mebibytes: SIZE, form, holdAt: 50 });
      await once(response, "data");
      leave();
      await expect.poll(() => work().isLeft(), { timeout: 1_000 }).toBe(true);
      expect(await calls(gateway(), key, 1)).toMatchObject([{ ok: false, attempts: 1 }]);
    },
  );

  it("goes on to its end when a legacy client leaves in its midst [P-29]", async () => {
    const { key, response, work, leave } = await call("legacy", "modern", { mebibytes: SIZE, form, holdAt: 50 });
    await once(response, "data");
    leave();
    work().release();
    expect(await calls(gateway(), key, 1)).toMatchObject([{ ok: true, error: null, attempts: 1 }]);
    expect(work().isLeft()).toBe(false);
  });

  it("ends at the deadline for a client that does not read, with its row [PS-30]", async () => {
    const name = `hasty-${form}`;
    const own = { name, server_url: servers.modern().url, timeout_ms: 2_000 };
    others.set(name, await post<RegisteredServer>(gateway(), "/v1/servers", own));
    const { key, response, work } = await call("modern", "modern", { mebibytes: SIZE, form }, name);
    await expect.poll(() => work().isLeft(), { timeout: 10_000 }).toBe(true);
    const error = "The server did not answer in time.";
    expect(await calls(gateway(), key, 1)).toMatchObject([{ ok: false, error }]);
    expectCut(await read(response), error);
  });
});

describe("the stream of a session that its client does not read", () => {
  it("is ended, and does not grow in memory, however much its server says [P-69]", async () => {
    const server = registered.legacy;
    if (server === undefined) throw new Error("not registered");
    const key = await createKey(gateway(), server);
    const url = `${gateway().url}/mcp/${server.name}`;
    const headers = {
      Authorization: `Bearer ${key.value}`,
      Accept: "application/json, text/event-stream",
      "Content-Type": "application/json",
    };
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params });
    const hello = await fetch(url, { method: "POST", headers, body });
    await hello.text();
    const session = { "Mcp-Session-Id": hello.headers.get("Mcp-Session-Id") ?? "" };
    const before = gateway().memory();
    const begun = servers.legacy().works.length;
    const outgoing = request(url, { agent: false, headers: { ...headers, ...session } }).end();
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    const notices = () => servers.legacy().works[begun];
    await expect.poll(() => notices()?.isLeft(), { timeout: 20_000 }).toBe(true);
    expect(gateway().memory() - before).toBeLessThan(GROWTH);
    const got = await read(response);
    expect(got.first).toContain("notifications/progress");
    expect(got.bytes).toBeLessThan(GROWTH * MIB);
  });
});
