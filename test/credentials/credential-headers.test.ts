import { describe, expect, it } from "vitest";
import { staticHeaders, tokenHeaders } from "../../src/credentials/credential-headers.ts";

describe("the headers of a token", () => {
  it.each([
    ["https://mcp.example.com/mcp", { Authorization: "Bearer t" }],
    ["https://figma.com/mcp", { "X-Figma-Token": "t" }],
    ["https://api.FIGMA.com/mcp", { "X-Figma-Token": "t" }],
    ["https://notion.com/mcp", { Authorization: "Bearer t", "Notion-Version": "2022-06-28" }],
    ["https://mcp.notion.com/mcp", { Authorization: "Bearer t", "Notion-Version": "2022-06-28" }],
    ["https://figma.com.evil.example/mcp", { Authorization: "Bearer t" }],
    ["https://notfigma.com/mcp", { Authorization: "Bearer t" }],
    ["https://evil.example/figma.com", { Authorization: "Bearer t" }],
    ["https://notnotion.com/mcp", { Authorization: "Bearer t" }],
  ])("for %s are what its host wants [CN-6, T-4]", (url, headers) => {
    expect(tokenHeaders(url, "t")).toEqual(headers);
  });
});

describe("static credentials", () => {
  const figma = "https://figma.com/mcp";
  const plain = "https://mcp.example.com/mcp";
  it.each([
    ["headers as they are", plain, { headers: { "X-A": "1" } }, { "X-A": "1" }],
    ["a key as bearer", plain, { api_key: "k" }, { Authorization: "Bearer k" }],
    [
      "a key beside headers",
      plain,
      { api_key: "k", headers: { "X-A": "1" } },
      { "X-A": "1", Authorization: "Bearer k" },
    ],
    [
      "an admin's own header, in any case",
      plain,
      { api_key: "k", headers: { authorization: "x" } },
      { authorization: "x" },
    ],
    ["a key for Figma", figma, { api_key: "k" }, { "X-Figma-Token": "k" }],
    ["an own header for Figma", figma, { api_key: "k", headers: { "x-figma-token": "x" } }, { "x-figma-token": "x" }],
    [
      "an own Notion-Version",
      "https://mcp.notion.com/mcp",
      { api_key: "k", headers: { "Notion-Version": "2099" } },
      { "Notion-Version": "2099", Authorization: "Bearer k" },
    ],
    ["nothing", plain, {}, {}],
  ])("are %s [PS-58, CN-6]", (_, url, config, headers) => {
    expect(staticHeaders(url, config)).toEqual(headers);
  });
});
