import { describe, expect, it } from "vitest";
import { offline, refusal, stored } from "../support/api.ts";
import { ADMIN, startGateway } from "../support/gateway.ts";

const BODY = JSON.stringify({ name: "docs", server_url: "https://docs.example/mcp", enabled: false });

const post = (headers: Record<string, string>) =>
  startGateway(offline).fetch("/v1/servers", {
    method: "POST",
    body: BODY,
    headers: { ...ADMIN, "Content-Type": "application/json", ...headers },
  });

describe("request headers", () => {
  it.each(["X-Anything", "User-Agent", "X-Org-Id", "Authorization", "Content-Type"])(
    "of more than 8 KiB are refused by name: %s [PS-74]",
    async (name) => {
      const before = await stored();
      const response = await post({ [name]: "a".repeat(8 * 1024 + 1) });
      expect(await refusal(response)).toEqual({ status: 431, code: "headers_too_large", field: name.toLowerCase() });
      expect(await stored()).toEqual(before);
    },
  );

  it("of 8 KiB pass [PS-74]", async () => {
    expect((await post({ "X-Anything": "a".repeat(8 * 1024) })).status).toBe(201);
  });

  it("are refused together when they are too many", async () => {
    const many = Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`X-A${at}`, "a".repeat(8_000)]));
    const before = await stored();
    expect(await refusal(await post(many))).toEqual({ status: 431, code: "headers_too_large" });
    expect(await stored()).toEqual(before);
  });

  it("are judged before the credential and the path", async () => {
    const headers = { "X-Anything": "a".repeat(9_000) };
    for (const path of ["/v1/servers", "/v1/nothing", "/v1/health"]) {
      expect((await startGateway(offline).fetch(path, { headers })).status).toBe(431);
    }
  });
});

describe("X-Org-Id", () => {
  it.each(["nowhere", "", "DEFAULT", "default'--"])("is refused when there is no such org: %o", async (org) => {
    const before = await stored();
    expect(await refusal(await post({ "X-Org-Id": org }))).toEqual({
      status: 404,
      code: "not_found",
      field: "X-Org-Id",
    });
    expect(await stored()).toEqual(before);
  });

  it("may name the default org", async () => {
    expect((await post({ "X-Org-Id": "default" })).status).toBe(201);
  });
});
