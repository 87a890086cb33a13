/** The door of agents without MCP: what they send and get, and what they are refused with. */
import { describe, expect, it } from "vitest";
import { accepted } from "../support/api.ts";
import { refused } from "../support/bifrost.ts";
import { DOOR, ERAS, startDocs } from "../support/execute.ts";
import { events, idOf, resultOf, type Seen } from "../support/upstream.ts";

const textResult = (seen: Seen) => resultOf(seen, '{"content":[{"type":"text","text":"found"}]}');

describe("a call", () => {
  it.each(ERAS)("of a %s server is answered with a chat message [BF-53, BF-54]", async (era) => {
    const { upstream, agent, chat, post } = await startDocs(textResult, era);
    const answer = { role: "tool", content: "found", tool_call_id: "call_1", name: "docs__search" };
    const response = await chat("docs__search", '{"q":12345678901234567890}');
    expect(response.headers.get("Content-Type")).toBe("application/json");
    expect(await accepted(response)).toEqual(answer);
    for (const query of ["?format=", "?format=chat", "?format=CHAT"]) {
      const body = { index: 0, type: "function", id: "call_1", function: { name: "docs__search" }, extra: 1 };
      expect(await accepted(await post(body, query))).toEqual(answer);
    }
    const [first] = upstream.calls();
    expect(first?.text).toContain('"arguments":{"q":12345678901234567890}');
    expect(first?.message).toMatchObject({ method: "tools/call", params: { name: "search" } });
    const envelope = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"';
    expect(first?.text.includes(envelope)).toBe(era === "modern");
    expect(first?.headers.get("Mcp-Session-Id")).toBe(era === "modern" ? null : "up-2");
    expect((await agent.rows()).at(-1)).toMatchObject({
      ...{ door: DOOR, server: "docs", tool: "search", ok: true, error: null, reason: null, attempts: 1 },
      ...{ virtual_key_id: agent.key.virtual_key_id, session_id: null, sub: null },
    });
  });

  it.each(ERAS)("of a %s server is answered with a responses message [BF-53, BF-55, BF-57]", async (era) => {
    const { post } = await startDocs(textResult, era);
    const body = {
      name: "search",
      call_id: "call_1",
      arguments: ' {"q":1}',
      output: {},
      action: 1,
      error: "x",
      more: 1,
    };
    for (const query of ["?format=responses", "?format=Responses"]) {
      expect(await accepted(await post(body, query))).toEqual({
        type: "function_call_output",
        call_id: "call_1",
        output: "found",
        status: "completed",
        name: "search",
        arguments: ' {"q":1}',
        content: "found",
      });
    }
  });

  it("has no id or arguments in its answer where it came without [BF-57]", async () => {
    const { post } = await startDocs(textResult);
    expect(await accepted(await post({ function: { name: "search" } }))).toEqual({
      role: "tool",
      content: "found",
      name: "search",
    });
    expect(await accepted(await post({ name: "search", call_id: null }, "?format=responses"))).toEqual({
      type: "function_call_output",
      output: "found",
      status: "completed",
      name: "search",
      content: "found",
    });
  });

  it.each([undefined, "", " \n ", "{}"])("without arguments sends an empty object: %j [BF-56]", async (args) => {
    const { upstream, chat, responses } = await startDocs();
    expect((await chat("search", args)).status).toBe(200);
    expect((await responses("search", args)).status).toBe(200);
    for (const { message } of upstream.calls()) expect(message["params"]).toMatchObject({ arguments: {} });
  });

  const parse = (name = "search") => `failed to parse tool arguments for '${name}'`;
  it.each([
    ["{", parse()],
    ["x", parse()],
    ["[1]", `${parse()}: they are no object`],
    ["null", `${parse()}: they are no object`],
    ['"{}"', `${parse()}: they are no object`],
    ['{"a":1,"a":2}', `${parse()}: an object has the same member twice`],
    ['{"a":[{"b":1,"\\u0062":2}]}', `${parse()}: an object has the same member twice`],
    [`{"a":${"[".repeat(63)}${"]".repeat(63)}}`, `${parse()}: they nest more than 62 levels`],
  ])("is refused with arguments that are %s [BF-56]", async (args, message) => {
    const { upstream, chat, responses } = await startDocs();
    const refusal = { status: 400, code: "invalid_request", message };
    expect(await refused(await chat("search", args))).toEqual({ ...refusal, field: "function.arguments" });
    expect(await refused(await responses("search", args))).toEqual({ ...refusal, field: "arguments" });
    expect(upstream.calls()).toEqual([]);
  });

  it.each<[string, unknown, string, string]>([
    ["no function", {}, "", "function.name"],
    ["a function without a name", { function: {} }, "", "function.name"],
    ["an empty name", { function: { name: "" } }, "?format=chat", "function.name"],
    ["null for a name", { function: { name: null } }, "", "function.name"],
    ["the name where the other format has it", { name: "search" }, "", "function.name"],
    ["no name", { call_id: "1" }, "?format=responses", "name"],
    ["an empty name", { name: "" }, "?format=responses", "name"],
    ["the name where the other format has it", { function: { name: "search" } }, "?format=responses", "name"],
  ])("is refused with %s: %j%s [BF-54, BF-55]", async (_, body, query, field) => {
    const { post } = await startDocs();
    const message = "Tool function name is required";
    expect(await refused(await post(body, query))).toEqual({ status: 400, code: "invalid_request", message, field });
  });

  it.each(["text", "chat2", " chat", "chat,responses"])("is refused in the format %j [BF-53]", async (format) => {
    const { post } = await startDocs();
    expect(
      await refused(await post({ function: { name: "search" } }, `?format=${encodeURIComponent(format)}`)),
    ).toEqual({
      ...{ status: 400, code: "invalid_request", field: "format" },
      message: "Invalid format value, must be 'chat' or 'responses'",
    });
  });

  it("is refused with a body that does not fit", async () => {
    const { post } = await startDocs();
    for (const [body, status, code] of [
      ["{", 400, "invalid_json"],
      ['{"name":"a","name":"b"}', 400, "invalid_json"],
      ["[]", 400, "invalid_request"],
      [{ function: "search" }, 400, "invalid_request"],
      [{ function: { name: 1 } }, 400, "invalid_request"],
      [{ function: { name: "search", arguments: { q: 1 } } }, 400, "invalid_request"],
      [{ id: 1, function: { name: "search" } }, 400, "invalid_request"],
      [`"${"a".repeat(4 << 20)}"`, 413, "body_too_large"],
    ] as const) {
      expect(await refused(await post(body))).toMatchObject({ status, code });
    }
    const plain = await post("{}", "", { "Content-Type": "text/plain" });
    expect(await refused(plain)).toMatchObject({ status: 415, code: "unsupported_media_type" });
  });

  it("takes POST only, and says so in Bifrost's body [PS-73]", async () => {
    const { gateway } = await startDocs();
    const response = await gateway.fetch(DOOR);
    expect(response.headers.get("Allow")).toBe("POST");
    expect(await refused(response)).toMatchObject({ status: 405, code: "method_not_allowed" });
  });
});

/** What both formats make of results, given as JSON text; on the MCP door they are what they were. */
async function startMaking() {
  const { chat, responses, agent, upstream } = await startDocs();
  const made = async (result: string) => {
    upstream.change({ call: (seen) => resultOf(seen, result) });
    const atMcp = await accepted<{ result: unknown }>(
      await agent.modern("/mcp/docs", "tools/call", { name: "search" }),
    );
    expect(atMcp.result).toEqual({ ...JSON.parse(result), resultType: "complete" });
    return {
      chat: await accepted<Record<string, unknown>>(await chat("search")),
      responses: await accepted<Record<string, unknown>>(await responses("search")),
    };
  };
  return { made, agent };
}

describe("a result", () => {
  const DONE = "MCP tool 'search' executed successfully";
  it.each([
    [
      "texts, concatenated and trimmed",
      '{"content":[{"type":"text","text":" a"},{"type":"text","text":"b\\n "}]}',
      "ab",
    ],
    ["no content", '{"content":[]}', DONE],
    ["nothing at all", "{}", DONE],
    ["blank text", '{"content":[{"type":"text","text":" \\n"}]}', DONE],
    ["content that is no list", '{"content":"x"}', DONE],
    ["blocks that are none", '{"content":[1,null,{"type":"text"},{"type":"image"},{"type":"resource"},{}]}', DONE],
    ["structured content alone", '{"structuredContent":{"n":12345678901234567890}}', '{"n":12345678901234567890}'],
    ["structured content and empty content", '{"content":[],"structuredContent":[1, 2]}', "[1, 2]"],
    ["both", '{"content":[{"type":"text","text":"a"}],"structuredContent":{"n":1}}', "a"],
    ["structured content that is null", '{"content":[],"structuredContent":null}', DONE],
  ])("of %s is one text [BF-57, BF-58, T-40]", async (_, result, text) => {
    const made = await (await startMaking()).made(result);
    expect(made.chat).toEqual({ role: "tool", content: text, tool_call_id: "call_1", name: "search" });
    expect(made.responses).toMatchObject({ output: text, content: text, status: "completed" });
    expect(made.responses).not.toHaveProperty("error");
  });

  it.each<[string, string, object, object, string]>([
    [
      "an image",
      '{"type":"image","data":"aGk=","mimeType":"image/png"}',
      { type: "image_url", image_url: { url: "data:image/png;base64,aGk=" } },
      { type: "input_image", image_url: "data:image/png;base64,aGk=" },
      "[image image/png]",
    ],
    [
      "sound",
      '{"type":"audio","data":"aGk=","mimeType":"audio/x-wav"}',
      { type: "input_audio", input_audio: { data: "aGk=", format: "wav" } },
      { type: "input_audio", input_audio: { data: "aGk=", format: "wav" } },
      "[audio audio/x-wav]",
    ],
    [
      "MPEG sound",
      '{"type":"audio","data":"aGk=","mimeType":"audio/mpeg"}',
      { type: "input_audio", input_audio: { data: "aGk=", format: "mp3" } },
      { type: "input_audio", input_audio: { data: "aGk=", format: "mp3" } },
      "[audio audio/mpeg]",
    ],
    [
      "a file",
      '{"type":"resource","resource":{"uri":"file:///a/b.pdf?x#y","mimeType":"application/pdf","blob":"aGk="}}',
      { type: "file", file: { filename: "b.pdf", file_data: "data:application/pdf;base64,aGk=" } },
      { type: "input_file", filename: "b.pdf", file_data: "data:application/pdf;base64,aGk=" },
      "[file application/pdf]",
    ],
    [
      "a file of which nothing is known",
      '{"type":"resource","resource":{"blob":"aGk="}}',
      { type: "file", file: { filename: "file", file_data: "data:application/octet-stream;base64,aGk=" } },
      { type: "input_file", filename: "file", file_data: "data:application/octet-stream;base64,aGk=" },
      "[file application/octet-stream]",
    ],
    [
      "a text resource",
      '{"type":"resource","resource":{"uri":"file:///a.txt","text":"inside"}}',
      { type: "text", text: "inside" },
      { type: "output_text", text: "inside" },
      "inside",
    ],
    [
      "a link",
      '{"type":"resource_link","uri":"https://docs.example/a","name":"a"}',
      { type: "text", text: "https://docs.example/a" },
      { type: "output_text", text: "https://docs.example/a" },
      "https://docs.example/a",
    ],
    [
      "something of a later revision",
      '{"type":"video","data":"aGk="}',
      { type: "text", text: "[video]" },
      { type: "output_text", text: "[video]" },
      "[video]",
    ],
  ])("with %s has blocks [BF-57, BF-58, T-40]", async (_, block, inChat, inResponses, shown) => {
    const { made } = await startMaking();
    const alone = await made(`{"content":[${block}]}`);
    expect(alone.chat["content"]).toEqual([inChat]);
    expect(alone.responses).toMatchObject({ content: [inResponses], output: shown });
    const text = (part: string) => `{"type":"text","text":"${part}"}`;
    const among = await made(`{"content":[${text("a")},${text("b")},${block},${text("c")}]}`);
    expect(among.chat["content"]).toEqual([
      { type: "text", text: "a" },
      { type: "text", text: "b" },
      inChat,
      { type: "text", text: "c" },
    ]);
    expect(among.responses["output"]).toBe(`ab\n${shown}\nc`);
  });

  it("that is an error is an answer with 200, and logged as not ok [BF-58, T-40]", async () => {
    const { made, agent } = await startMaking();
    const refused = await made('{"content":[{"type":"text","text":"no such page "}],"isError":true}');
    expect(refused.chat).toEqual({ role: "tool", content: "no such page", tool_call_id: "call_1", name: "search" });
    expect(refused.responses).toEqual({
      ...{ type: "function_call_output", call_id: "call_1", name: "search", status: "failed" },
      ...{ output: "no such page", content: "no such page", error: "no such page" },
    });
    const logged = { ok: false, error: "tool returned an error" };
    expect(await agent.rows()).toMatchObject([logged, logged, logged]);
    const silent = await made('{"content":[],"isError":true}');
    expect(silent.responses).toMatchObject({ status: "failed", error: "MCP tool 'search' failed" });
  });

  it.each(ERAS)("in a stream of a %s server comes alone, without what came before it", async (era) => {
    const { chat } = await startDocs(
      (seen) =>
        events(
          '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}',
          '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"x"}}',
          `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[{"type":"text","text":"found"}]}}`,
        ),
      era,
    );
    const response = await chat("search");
    expect(response.headers.get("Content-Type")).toBe("application/json");
    expect(await response.json()).toMatchObject({ content: "found" });
  });
});
