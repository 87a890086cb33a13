/** Where a server may be, at registration (PS-61): judged alike when it is made and when it is changed. */
import { describe, expect, it } from "vitest";
import { accepted, offline, refusal, register, stored } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";

const DEVELOPMENT = { ALLOW_INSECURE_UPSTREAMS: "true" };

/** Expects the same verdict on each URL, when a server is made with it and when one is moved to it. */
async function expectVerdict(verdict: readonly unknown[], urls: readonly string[], vars = {}): Promise<void> {
  const gateway = startGateway(offline, vars);
  const { server_id } = await register(gateway, { name: crypto.randomUUID() });
  const before = await stored();
  const judged: [string, unknown, unknown][] = [];
  for (const server_url of urls) {
    const body = { name: crypto.randomUUID(), server_url, enabled: false };
    const created = await gateway.admin("POST", "/v1/servers", body);
    const moved = await gateway.admin("PATCH", `/v1/servers/${server_id}`, { server_url });
    judged.push([server_url, await verdictOf(created), await verdictOf(moved)]);
  }
  expect(judged).toEqual(urls.map((url) => [url, ...verdict]));
  if (verdict === REFUSED) expect(await stored()).toEqual(before);
}

const verdictOf = (answer: Response) => (answer.status === 400 ? refusal(answer) : answer.status);

const REFUSAL = { status: 400, code: "invalid_request", field: "server_url" };
const REFUSED = [REFUSAL, REFUSAL];
const ACCEPTED = [201, 200];

describe("server_url", () => {
  it("may be any https URL of a public host [RB-6]", async () => {
    const urls = [
      "https://docs.example/mcp",
      "https://docs.example",
      "https://docs.example:8443/a/b?team=x&y",
      "https://DOCS.example/mcp",
      "https://docs.example./mcp",
      "https://127.0.0.1.example/mcp",
      "https://localhost.example/mcp",
      "https://8.8.8.8/mcp",
      "https://[2606:4700::1111]/mcp",
      "https://bücher.example/mcp",
    ];
    await expectVerdict(ACCEPTED, urls);
  });

  it("may have 2,048 characters and no more [RB-6]", async () => {
    const longest = "https://docs.example/".padEnd(2_048, "a");
    await expectVerdict(ACCEPTED, [longest]);
    await expectVerdict(REFUSED, [`${longest}a`]);
  });

  it("is trimmed and otherwise shown as given [RB-6]", async () => {
    const server_url = "https://Docs.example:443/a/../MCP?q=%41";
    const gateway = startGateway(offline);
    expect(await register(gateway, { server_url: `\t ${server_url} \n` })).toMatchObject({ server_url });
  });

  it("may never be no URL, of another scheme, with user info or fragment, or of a special address [RB-6, PS-61, T-5]", async () => {
    const urls = [
      "",
      " ",
      "docs.example",
      "/mcp",
      "//docs.example/mcp",
      "https://",
      "https:///",
      "ftp://docs.example",
      "ws://docs.example",
      "javascript:alert(1)",
      "data:text/plain,a",
      "file:///etc/passwd",
      "https://user@docs.example/mcp",
      "https://user:pass@docs.example/mcp",
      "https://:pass@docs.example/mcp",
      "https://docs.example/mcp#part",
      "https://docs.example/mcp#",
      "https://0.0.0.0/mcp",
      "https://0/mcp",
      "https://169.254.169.254/latest/meta-data",
      "https://2852039166/latest/meta-data",
      "https://0xa9fea9fe/latest/meta-data",
      "https://0251.0376.0251.0376/latest/meta-data",
      "https://169.254.169.254./mcp",
      "https://[::ffff:169.254.169.254]/mcp",
      "https://[::ffff:a9fe:a9fe]/mcp",
      "https://[64:ff9b::a9fe:a9fe]/mcp",
      "https://[2002:a9fe:a9fe::]/mcp",
      "https://[::]/mcp",
      "https://[fe80::1]/mcp",
      "https://[ff02::1]/mcp",
      "https://[fec0::1]/mcp",
      "https://100.64.0.1/mcp",
      "https://192.0.2.1/mcp",
      "https://198.18.0.1/mcp",
      "https://224.0.0.1/mcp",
      "https://255.255.255.255/mcp",
    ];
    await expectVerdict(REFUSED, urls);
    await expectVerdict(REFUSED, urls, DEVELOPMENT);
  });

  it("may be plain http, local or private in development only [RB-6, PS-61, T-5]", async () => {
    const urls = [
      "http://docs.example/mcp",
      "https://127.0.0.1/mcp",
      "https://127.1/mcp",
      "https://127.255.255.254/mcp",
      "https://2130706433/mcp",
      "https://0x7f.1/mcp",
      "https://0177.0.0.1/mcp",
      "https://１２７.0.0.1/mcp",
      "https://[::1]/mcp",
      "https://[0:0:0:0:0:0:0:1]/mcp",
      "https://[::ffff:127.0.0.1]/mcp",
      "https://[::ffff:10.0.0.1]/mcp",
      "https://[::10.0.0.1]/mcp",
      "https://[64:ff9b::10.0.0.1]/mcp",
      "https://[fd00::1]/mcp",
      "https://10.0.0.1/mcp",
      "https://172.16.0.1/mcp",
      "https://172.31.255.255/mcp",
      "https://192.168.1.1/mcp",
      "https://localhost/mcp",
      "https://LOCALHOST./mcp",
      "https://localhost%2e/mcp",
      "https://a.localhost/mcp",
      "https://printer.local/mcp",
      "https://a.internal/mcp",
      "https://metadata.google.internal./mcp",
      "https://docs/mcp",
      "https://docs./mcp",
      "http://127.0.0.1:4110/mcp",
    ];
    await expectVerdict(REFUSED, urls);
    await expectVerdict(ACCEPTED, urls, DEVELOPMENT);
  });

  it("is not taken for public by more dots behind it [PS-61, T-5]", async () => {
    const urls = ["https://localhost../mcp", "https://docs../mcp", "https://a.internal../mcp"];
    await expectVerdict(REFUSED, urls);
  });

  it("may not be the gateway itself [PS-61, T-5]", async () => {
    const urls = [
      "https://gateway.example/mcp",
      "https://GATEWAY.example:443/mcp/docs",
      "https://gateway.example./v1/servers",
    ];
    await expectVerdict(REFUSED, urls);
  });

  it("may stay when a rule has changed, and is judged again as soon as a change names it", async () => {
    const gateway = startGateway(offline, DEVELOPMENT);
    const { server_id } = await register(gateway, { server_url: "http://127.0.0.1:4110/mcp" });
    const production = startGateway(offline);
    const path = `/v1/servers/${server_id}`;
    expect(await accepted(await production.admin("PATCH", path, { display_name: "Old" }))).toMatchObject({
      server_url: "http://127.0.0.1:4110/mcp",
    });
    const kept = await production.admin("PATCH", path, { server_url: "http://127.0.0.1:4110/mcp" });
    expect(await refusal(kept)).toEqual(REFUSAL);
  });
});
