/** Bodies that are refused before any use case sees them: POST and PATCH of the JSON API (PS-72, PS-74). */
import { describe, expect, it } from "vitest";
import { accepted, offline, refusal, register, stored } from "../support/api.ts";
import { ADMIN, startGateway, type TestGateway } from "../support/gateway.ts";

const JSON_TYPE = "application/json";
const DOCS = '"name":"docs","server_url":"https://docs.example/mcp","enabled":false';
const MIB = 1024 * 1024;

interface Sent {
  readonly body: BodyInit;
  readonly headers?: Record<string, string>;
}

function send(gateway: TestGateway, method: string, path: string, { body, headers = {} }: Sent): Promise<Response> {
  return gateway.fetch(path, { method, body, headers: { ...ADMIN, "Content-Type": JSON_TYPE, ...headers } });
}

/** Sends bad bodies by name to several writes, and says how each is refused; none may leave anything behind. */
async function refusals(bodies: Readonly<Record<string, () => Sent>>): Promise<Record<string, unknown>> {
  const gateway = startGateway(offline);
  const { server_id } = await register(gateway, { name: "held" });
  const before = await stored();
  const answers: Record<string, unknown> = {};
  for (const [name, sent] of Object.entries(bodies)) {
    const answer = await refusal(await send(gateway, "POST", "/v1/servers", sent()));
    expect(await refusal(await send(gateway, "PATCH", `/v1/servers/${server_id}`, sent()))).toEqual(answer);
    expect(await refusal(await send(gateway, "POST", "/v1/virtual-keys", sent()))).toEqual(answer);
    answers[name] = answer;
  }
  expect(await stored()).toEqual(before);
  return answers;
}

const all = (bodies: object, answer: unknown) => Object.fromEntries(Object.keys(bodies).map((name) => [name, answer]));

const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;

describe("a body", () => {
  it("is refused when it is no JSON, nests too deeply, or has a member twice anywhere [PS-72]", async () => {
    const texts = {
      nothing: "",
      "white space": " \n",
      "no JSON": "{name:1}",
      "a cut text": `{${DOCS}`,
      "two values": `{${DOCS}}{}`,
      "a trailing comma": `{${DOCS},}`,
      "a byte order mark": `\uFEFF{${DOCS}}`,
      "a member twice": `{${DOCS},"name":"docs"}`,
      "a member twice, once escaped": `{${DOCS},"n\\u0061me":"docs"}`,
      "a member twice below": `{${DOCS},"config":{"headers":{"X-A":"1","X-A":"2"}}}`,
      "a member twice in a list": `{${DOCS},"config":{"more":[1,{"a":[{"b":1,"b":1}]}]}}`,
      "65 levels": `{${DOCS},"config":{"a":${nested(63)}}}`,
      "a very deep one": `{${DOCS},"config":${nested(100_000)}}`,
      "no UTF-8": new Uint8Array([0x7b, 0xff, 0x7d]),
      "a cut character": new Uint8Array([0x7b, 0x22, 0xc3, 0x22, 0x7d]),
      "UTF-16": new Uint8Array([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]),
    };
    const bodies = Object.fromEntries(Object.entries(texts).map(([name, body]) => [name, () => ({ body })]));
    expect(await refusals(bodies)).toEqual(all(bodies, { status: 400, code: "invalid_json" }));
  });

  it("is accepted with 64 levels, escapes and white space [PS-72]", async () => {
    const gateway = startGateway(offline);
    const body = ` {${DOCS},\r\n\t"config":{"a":${nested(62)},"\\u0062b":"\\"{[\\\\"}} `;
    const response = await send(gateway, "POST", "/v1/servers", { body });
    expect(await accepted(response, 201)).toMatchObject({ config: { a: JSON.parse(nested(62)), bb: '"{[\\' } });
  });

  it("is refused unless its content type says JSON, whatever the parameters [PS-72]", async () => {
    const wrong = [
      "",
      "text/plain",
      "application/jsonx",
      "application/x-www-form-urlencoded",
      "application/problem+json",
    ];
    const sent = (type: string) => ({ body: `{${DOCS}}`, headers: { "Content-Type": type } });
    const bodies = Object.fromEntries(wrong.map((type) => [type, () => sent(type)]));
    expect(await refusals(bodies)).toEqual(all(bodies, { status: 415, code: "unsupported_media_type" }));
    for (const type of ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"]) {
      const response = await send(startGateway(offline), "PATCH", "/v1/servers/none", { ...sent(type), body: "{}" });
      expect([type, response.status]).toEqual([type, 404]);
    }
  });

  it("is refused when it is no object [PS-72]", async () => {
    const bodies = Object.fromEntries(["[]", '"docs"', "1", "null"].map((body) => [body, () => ({ body })]));
    expect(await refusals(bodies)).toEqual(all(bodies, { status: 400, code: "invalid_request" }));
  });

  it("is refused when its declared size is over 4 MiB, before it is read [PS-74]", async () => {
    const sent = () => {
      const body = new ReadableStream({ pull: () => Promise.reject(new Error("was read")) }, { highWaterMark: 0 });
      return { body, headers: { "Content-Length": String(4 * MIB + 1) } };
    };
    expect(await refusals({ sent })).toEqual({ sent: { status: 413, code: "body_too_large" } });
  });

  it("is refused as soon as a chunked one has passed 4 MiB [PS-74]", async () => {
    let chunks = 0;
    const endless = () => {
      chunks = 0;
      return new ReadableStream({
        pull(controller) {
          chunks++;
          controller.enqueue(new Uint8Array(MIB / 2).fill(0x20));
        },
      });
    };
    const sent = () => ({ body: endless() });
    expect(await refusals({ sent })).toEqual({ sent: { status: 413, code: "body_too_large" } });
    expect(chunks).toBeLessThan(12);
  });

  it("is accepted with exactly 4 MiB [PS-74]", async () => {
    const body = `{${DOCS}}`.padEnd(4 * MIB);
    expect((await send(startGateway(offline), "POST", "/v1/servers", { body })).status).toBe(201);
    const longer = await send(startGateway(offline), "POST", "/v1/servers", { body: `${body} ` });
    expect(await refusal(longer)).toEqual({ status: 413, code: "body_too_large" });
  });
});

/** Fields that are refused on create and on change, each by its name. */
async function refusedFields(fields: readonly (readonly [object, string])[], code: string): Promise<void> {
  const gateway = startGateway(offline);
  const { server_id } = await register(gateway, { name: "held" });
  const before = await stored();
  for (const [more, field] of fields) {
    const expected = { more, status: 400, code, field };
    const created = await gateway.admin("POST", "/v1/servers", { ...JSON.parse(`{${DOCS}}`), ...more });
    expect({ more, ...(await refusal(created)) }).toEqual(expected);
    const changed = await gateway.admin("PATCH", `/v1/servers/${server_id}`, more);
    expect({ more, ...(await refusal(changed)) }).toEqual(expected);
  }
  expect(await stored()).toEqual(before);
}

describe("a field", () => {
  it("that is unknown or read-only is refused by name, on create and on change [PS-72]", async () => {
    const fields = [
      { colour: "red" },
      { status: "active" },
      { state: "connected" },
      { created: "2026-01-01T00:00:00Z" },
      { created_by: "me" },
      { modified: 1 },
      { modified_by: "me" },
      { tool_mode: "all" },
      { last_failure: null },
    ];
    const named = fields.map((field) => [field, Object.keys(field)[0] ?? ""] as const);
    await refusedFields(named, "unknown_field");
  });

  it("that only a creator may give is refused on change [RB-4]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    const response = await gateway.admin("PATCH", `/v1/servers/${server_id}`, { server_id });
    expect(await refusal(response)).toEqual({ status: 400, code: "unknown_field", field: "server_id" });
  });

  it("of a wrong type is refused by name, on create and on change [PS-72]", async () => {
    await refusedFields(
      [
        [{ name: 1 }, "name"],
        [{ name: null }, "name"],
        [{ display_name: null }, "display_name"],
        [{ display_name: ["a"] }, "display_name"],
        [{ server_url: null }, "server_url"],
        [{ server_url: 1 }, "server_url"],
        [{ connection_type: null }, "connection_type"],
        [{ auth_type: null }, "auth_type"],
        [{ auth_type: "basic" }, "auth_type"],
        [{ allow_on_all_virtual_keys: "true" }, "allow_on_all_virtual_keys"],
        [{ allow_on_all_virtual_keys: null }, "allow_on_all_virtual_keys"],
        [{ allowed_tools: "*" }, "allowed_tools"],
        [{ allowed_tools: [] }, "allowed_tools"],
        [{ allowed_tools: ["search"] }, "allowed_tools"],
        [{ allowed_tools: ["*", "search"] }, "allowed_tools"],
        [{ allowed_tools: { search: "yes" } }, "allowed_tools"],
        [{ allowed_tools: { search: null } }, "allowed_tools"],
        [{ allowed_tools: { "": true } }, "allowed_tools"],
      ],
      "invalid_request",
    );
  });

  it("that is unknown inside another one is refused by its path [PS-72]", async () => {
    const servers = [{ server_id: "srv_1", tools_to_execute: [], tools: [] }];
    const response = await startGateway(offline).admin("POST", "/v1/virtual-keys", { name: "a", servers });
    expect(await refusal(response)).toEqual({ status: 400, code: "unknown_field", field: "servers.0.tools" });
  });
});
