import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { startGateway } from "../support/gateway.ts";
import { exposedNames } from "../../src/catalog/exposed-name.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import { kindOfHost } from "../../src/platform/address.ts";

const offline = () => Promise.reject(new Error("connection refused"));
const base = { name: "docs", server_url: "https://docs.example/mcp", enabled: false };

describe("probe", () => {
  for (let i = 0; i < 10; i++) it(`empty ${i}`, () => { expect(1).toBe(1); });
  it("proto", async () => {
    const g = startGateway(offline);
    const r = await g.fetch("/v1/servers", { method: "POST", headers: { Authorization: `Bearer ${env.ADMIN_KEY}`, "Content-Type": "application/json" }, body: `{"name":"a","server_url":"https://docs.example/mcp","enabled":false,"__proto__":{"x":1}}` });
    console.log("proto unknown", r.status, await r.text());
    const r2 = await g.fetch("/v1/servers", { method: "POST", headers: { Authorization: `Bearer ${env.ADMIN_KEY}`, "Content-Type": "application/json" }, body: `{"name":"b","server_url":"https://docs.example/mcp","enabled":false,"allowed_tools":{"__proto__":true,"x":true},"config":{"__proto__":1,"k":2}}` });
    console.log("proto flags", r2.status, await r2.text());
    console.log(JSON.stringify((await env.DB.prepare("select * from server_tools").all()).results));
  });
  it("like", async () => {
    const g = startGateway(offline);
    const name = "x".repeat(63);
    await g.admin("POST", "/v1/servers", { ...base, name });
    const r = await g.admin("GET", `/v1/servers?name=${name}`);
    console.log("like", r.status, (await r.text()).slice(0, 300));
  });
  it("newline", async () => {
    const g = startGateway(offline);
    const r = await g.admin("POST", "/v1/servers", { ...base, name: "a\n" });
    console.log("newline", r.status, (await r.text()).slice(0, 300));
  });
  it("config bad", async () => {
    const g = startGateway(offline, { JOURNAL_MODE: "bogus" });
    const r = await g.admin("GET", "/v1/servers");
    console.log("config", r.status, [...r.headers], (await r.text()).slice(0, 300));
  });
  it("head/options", async () => {
    const g = startGateway(offline);
    for (const m of ["HEAD", "OPTIONS", "PUT"]) { const r = await g.admin(m, "/v1/servers"); console.log(m, r.status, [...r.headers]); }
    const r = await g.admin("GET", "/v1/servers/%E0%A4%A"); console.log(r.status, await r.text());
    const r2 = await g.admin("GET", "/v1/servers/"); console.log(r2.status, await r2.text());
    const r3 = await g.admin("GET", "/mcp/a/b"); console.log(r3.status, await r3.text());
  });
  it("collide", () => {
    const h = sha256Hex("docs__a.b");
    console.log(exposedNames(["a.b", `a_b_${h.slice(0, 8)}`, `a_b_${h.slice(0, 16)}`].map((tool) => ({ server: "docs", tool }))));
  });
  it("hosts", () => {
    for (const u of ["https://localhost../", "https://foo../", "https://[64:ff9b:1::8.8.8.8]/", "https://127.1.", "https://0/", "https://１２７.0.0.1/", "https://localhost%2e/", "https://a.internal../"]) {
      const p = URL.parse(u); console.log(u, p?.hostname, p && kindOfHost(p.hostname));
    }
  });
  it("body 201", async () => {
    const g = startGateway(offline);
    const r = await g.admin("POST", "/v1/servers", { ...base, allowed_tools: { a: true } });
    const { server_id } = await r.json<any>();
    const p = await g.admin("PATCH", `/v1/servers/${server_id}`, { allowed_tools: ["*"] });
    console.log("all", p.status, await p.text());
    const names = Object.fromEntries(Array.from({ length: 10000 }, (_, i) => ["x".repeat(240) + i, true]));
    const q = await g.admin("PATCH", `/v1/servers/${server_id}`, { allowed_tools: names });
    console.log("many", q.status, (await q.text()).slice(0, 300));
  });
});
