/** Requests with several faults at once: the first rung of protocol.md section 3 that fails is the one that answers. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const PROTOCOL = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";
const TOOL = JSON.stringify({
  name: "search",
  inputSchema: { type: "object", properties: { region: { type: "string", "x-mcp-header": "Region" } } },
});

/** A request in the making. */
interface Draft {
  path: string;
  method: string;
  readonly headers: Record<string, string>;
  readonly message: Record<string, unknown> & { params: Record<string, unknown> & { _meta: Record<string, unknown> } };
  /** What becomes of the body when everything else is done. */
  readonly body: ((text: string) => string)[];
}

interface Fault {
  readonly rung: string;
  readonly make: (draft: Draft) => void;
  readonly status: number;
  readonly code?: number;
  /** Whether the answer names the request. */
  readonly named?: true;
}

const header = (name: string, value: string | null) => (draft: Draft) => {
  if (value === null) delete draft.headers[name];
  else draft.headers[name] = value;
};

/** Rungs that come before the era of a request is known, in their order. */
const FRONT: readonly Fault[] = [
  {
    rung: "3.1.1",
    make: (draft) => {
      draft.path = "/mcp/no_slug";
    },
    status: 404,
  },
  { rung: "3.1.2", make: header("Origin", "https://evil.example"), status: 403, code: -32600 },
  {
    rung: "3.1.4",
    make: (draft) => {
      draft.method = "PUT";
    },
    status: 405,
    code: -32600,
  },
  { rung: "3.1.5", make: header("X-Long", "x".repeat(9_000)), status: 431, code: -32600 },
  { rung: "3.1.6", make: header("Authorization", null), status: 401, code: -32600 },
  { rung: "3.1.8", make: header("Content-Type", "text/plain"), status: 415, code: -32600 },
  { rung: "3.1.9", make: header("Accept", "text/html"), status: 406, code: -32600 },
  {
    rung: "3.1.10",
    make: ({ body }) => void body.push((text) => text + " ".repeat(4 * 1024 * 1024)),
    status: 413,
    code: -32600,
  },
  { rung: "3.2.1", make: ({ body }) => void body.unshift((text) => text.slice(0, -1)), status: 400, code: -32700 },
  {
    rung: "3.2.2 depth",
    make: ({ message }) => {
      message["deep"] = JSON.parse("[".repeat(70) + "]".repeat(70));
    },
    status: 400,
    code: -32600,
  },
  {
    rung: "3.2.3",
    make: ({ body }) => void body.unshift((text) => `[${text},5]`),
    status: 400,
    code: -32600,
  },
  {
    rung: "3.2.2 duplicate",
    make: ({ message }) => {
      message["twice"] = "\u0000";
    },
    status: 400,
    code: -32600,
    named: true,
  },
  {
    rung: "3.2.6",
    make: ({ message }) => {
      message["jsonrpc"] = "1.0";
    },
    status: 400,
    code: -32600,
    named: true,
  },
];

const MODERN: readonly Fault[] = [
  ...FRONT,
  {
    rung: "3.3.4",
    make: ({ message }) => void delete message.params._meta[CAPABILITIES],
    status: 400,
    code: -32602,
    named: true,
  },
  { rung: "3.3.5", make: header("Mcp-Method", "ping"), status: 400, code: -32020, named: true },
  {
    rung: "3.3.6",
    make({ message, headers }) {
      message.params._meta[PROTOCOL] = "2027-01-01";
      if ("MCP-Protocol-Version" in headers) headers["MCP-Protocol-Version"] = "2027-01-01";
    },
    status: 400,
    code: -32022,
    named: true,
  },
  { rung: "3.3.7", make: header("MCP-Protocol-Version", null), status: 400, code: -32020, named: true },
  { rung: "3.3.8", make: header("Mcp-Name", "=?base64?x?="), status: 400, code: -32020, named: true },
  {
    rung: "3.3.9",
    make({ message, headers }) {
      message["method"] = "prompts/get";
      if (headers["Mcp-Method"] === "tools/call") headers["Mcp-Method"] = "prompts/get";
    },
    status: 404,
    code: -32601,
    named: true,
  },
  {
    rung: "3.3.10",
    make: ({ message }) => {
      message.params._meta["io.modelcontextprotocol/logLevel"] = "loud";
    },
    status: 200,
    code: -32602,
    named: true,
  },
  {
    rung: "3.3.12",
    make({ message, headers }) {
      message.params["name"] = "docs__other";
      if (headers["Mcp-Name"] === "docs__search") headers["Mcp-Name"] = "docs__other";
    },
    status: 200,
    code: -32602,
    named: true,
  },
  { rung: "3.3.13", make: header("Mcp-Param-Region", "us"), status: 400, code: -32020, named: true },
];

const LEGACY: readonly Fault[] = [
  ...FRONT,
  { rung: "3.4.3", make: header("MCP-Protocol-Version", "2024-11-05"), status: 400, code: -32600, named: true },
  { rung: "3.4.5", make: header("Mcp-Session-Id", `ses_${"A".repeat(32)}`), status: 404, code: -32600, named: true },
  {
    rung: "3.4.6",
    make: ({ message }) => {
      message["method"] = "no/such";
    },
    status: 200,
    code: -32601,
    named: true,
  },
  {
    rung: "3.4.11",
    make: ({ message }) => {
      message.params["name"] = "docs__other";
    },
    status: 200,
    code: -32602,
    named: true,
  },
];

function draft(era: "modern" | "legacy", key: string): Draft {
  const modern = {
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "docs__search",
    "Mcp-Param-Region": "eu",
  };
  const _meta = era === "modern" ? { [PROTOCOL]: "2026-07-28", [CAPABILITIES]: {} } : {};
  const params = { name: "docs__search", arguments: { region: "eu" }, _meta };
  return {
    path: "/mcp",
    method: "POST",
    headers: {
      Authorization: `Bearer ${key}`,
      "Content-Type": "application/json",
      ...(era === "modern" ? modern : {}),
    },
    message: { jsonrpc: "2.0", id: 7, method: "tools/call", params },
    body: [],
  };
}

/** The body; a member of the value "\u0000" is there twice. */
function bodyOf({ message, body }: Draft): string {
  const text = JSON.stringify(message).replace(/,("twice":"\\u0000")/, ",$1,$1");
  return body.reduce((done, change) => change(done), text);
}

/** Putting a text into an array and cutting it short do not go together: each undoes the other. */
const isClear = (faults: readonly Fault[]) =>
  !(faults.some(({ rung }) => rung === "3.2.1") && faults.some(({ rung }) => rung === "3.2.3"));

it.each([
  ["modern", MODERN],
  ["legacy", LEGACY],
] as const)(
  "a %s request with several faults is answered by the first rung that fails, and no server hears of it [P-1, P-2]",
  async (era, faults) => {
    const upstream = scriptedServer({ era: "modern", tools: [TOOL] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    upstream.seen.length = 0;

    const send = async (chosen: readonly Fault[]) => {
      const request = draft(era, agent.key.value);
      for (const { make } of chosen) make(request);
      const { path, method, headers } = request;
      const response = await gateway.fetch(path, { method, headers, body: bodyOf(request) });
      const text = await response.text();
      const { id, error } = (text === "" ? {} : JSON.parse(text)) as { id?: unknown; error?: { code: number } };
      return { status: response.status, code: error?.code, id };
    };
    expect(await send([])).toMatchObject({ status: 200, code: undefined, id: 7 });
    upstream.seen.length = 0;

    const expectFirst = async (chosen: readonly Fault[]) => {
      const [first] = chosen;
      if (first === undefined) return;
      const { status, code, named } = first;
      const expected = { status, code, id: named === true ? 7 : undefined };
      expect(await send(chosen), chosen.map(({ rung }) => rung).join(", ")).toEqual(expected);
    };
    for (const fault of faults) await expectFirst([fault]);
    // Mostly of the later rungs: with all of them, the first would answer nearly always.
    const chosen = fc
      .tuple(fc.nat(faults.length - 2), fc.infiniteStream(fc.boolean()))
      .map(([from, flips]) => faults.slice(from).filter(() => flips.next().value))
      .filter(isClear);
    await fc.assert(fc.asyncProperty(chosen, expectFirst), { numRuns: 150 });
    expect(upstream.seen).toEqual([]);
  },
  30_000,
);
