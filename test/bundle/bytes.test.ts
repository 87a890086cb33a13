/** Arguments and results that no JSON parser of JavaScript would give back as they were. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, registerServer, type VirtualKey } from "./support/api.ts";
import { startGateway } from "./support/gateway.ts";
import { labelled, type Running, running } from "./support/running.ts";

/** Whole numbers beyond 2^53, decimals and exponents as written, escapes, order, white space, a name twice. */
const VALUE = String.raw`{ "z":12345678901234567890, "b": 1.0,"a":1e2 ,"c":-0.0,"e":1e400,"10":"\u00e9\/é","2":[ ],"a":null}`;
const RESULT = `"content":[{"type":"text","text":"${String.raw`\u0041`}","vendor" : 2.50}],"structuredContent":${VALUE},"other":[1.0]`;

type Era = "legacy" | "modern";

interface Mirror extends Running {
  readonly url: string;
  /** The body of the last call. */
  lastCall(): string;
}

/** A server of one tool that answers each call with the same text, in whole or as a stream. */
async function startMirror(era: Era, isStream: boolean): Promise<Mirror> {
  const bodies: string[] = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    bodies.push(body);
    const { id, method } = body === "" ? { id: undefined, method: "" } : JSON.parse(body);
    const result = ANSWERS[era][method];
    if (id === undefined) response.writeHead(202).end();
    else if (result === undefined) {
      response.writeHead(404, { "Content-Type": "application/json" });
      response.end(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"error":{"code":-32601,"message":"Not here"}}`);
    } else {
      const answer = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{${result}}}`;
      response.writeHead(200, { "Content-Type": isStream ? "text/event-stream" : "application/json" });
      response.end(isStream ? `data: ${answer}\n\n` : answer);
    }
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    lastCall: () => bodies.findLast((body) => body.includes('"tools/call"')) ?? "",
    logs: () => bodies,
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const TOOLS = '"tools":[{"name":"mirror","inputSchema":{"type":"object"}}]';
const ANSWERS: Record<Era, Record<string, string>> = {
  legacy: {
    initialize:
      '"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"mirror","version":"1.0.0"}',
    "tools/list": TOOLS,
    "tools/call": RESULT,
  },
  modern: {
    "server/discover":
      '"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0',
    "tools/list": `"resultType":"complete",${TOOLS}`,
    "tools/call": `"resultType":"complete",${RESULT}`,
  },
};

const CLIENTS: Record<Era, { meta: string; headers: Record<string, string> }> = {
  legacy: { meta: "{}", headers: { "MCP-Protocol-Version": "2025-11-25" } },
  modern: {
    meta: '{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}',
    headers: { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call" },
  },
};

const gateway = running("the gateway", startGateway);

const servers = (["legacy", "modern"] as const).flatMap((era) =>
  [false, true].map((isStream) => ({ label: `${era}, ${isStream ? "as a stream" : "as JSON"}`, era, isStream })),
);

describe.each(labelled(servers))("a server that is %s", (label, { era, isStream }) => {
  const mirror = running(`the server (${label})`, () => startMirror(era, isStream));
  const name = `mirror-${era}-${isStream}`;
  let key: VirtualKey;
  beforeAll(async () => {
    key = await createKey(gateway(), await registerServer(gateway(), name, mirror().url));
  });

  it.each(["legacy", "modern"] as const)(
    "gets the bytes of a %s client, and the client its bytes [P-41, P-43]",
    async (of) => {
      const { meta, headers } = CLIENTS[of];
      const params = `{"_meta":${meta},"arguments":${VALUE},"name":"${name}__mirror"}`;
      const response = await fetch(`${gateway().url}/mcp`, {
        method: "POST",
        headers: {
          ...headers,
          ...(of === "modern" && { "Mcp-Name": `${name}__mirror` }),
          Authorization: `Bearer ${key.value}`,
          Accept: "application/json, text/event-stream",
          "Content-Type": "application/json",
        },
        body: `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":${params}}`,
      });
      expect(await response.text()).toContain(RESULT);
      expect(mirror().lastCall()).toContain(`"arguments":${VALUE}`);
    },
  );
});
