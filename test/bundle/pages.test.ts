/** The pages of the sign-in as a person sees them, in headless Chromium where the machine has one. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKey, registerServer, type VirtualKey } from "./support/api.ts";
import { hasChromium, startChromium } from "./support/chromium.ts";
import { startGateway } from "./support/gateway.ts";
import { startModernServer } from "./support/modern-server.ts";
import { expectFit } from "./support/page-sizes.ts";
import { running } from "./support/running.ts";

describe.skipIf(!hasChromium)("the pages of the sign-in", () => {
  const gateway = running("the gateway", startGateway);
  const server = running("a server", () => startModernServer());
  const browser = running("Chromium", startChromium);
  const got: string[] = [];
  /** What a client on this machine listens on, and a page that frames another. */
  const listener = createServer(({ url = "" }, response) => {
    if (url.startsWith("/callback")) got.push(url);
    const framed = new URL(url, "http://x").searchParams.get("frame");
    response.setHeader("Content-Type", "text/html");
    response.end(
      framed === null ? "<title>back</title>" : `<iframe src="${framed.replaceAll("&", "&amp;")}"></iframe>`,
    );
  });
  let key: VirtualKey;
  beforeAll(async () => {
    key = await createKey(gateway(), await registerServer(gateway(), "ledger", server().url));
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => {
    listener.close();
    // A browser keeps its connections.
    listener.closeAllConnections();
  });

  const own = () => `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;

  /** Where a client of this name sends a person. */
  async function authorizeUrl(client_name: string): Promise<string> {
    const redirect_uri = `${own()}/callback`;
    const registered = await fetch(`${gateway().url}/oauth/register`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ client_name, redirect_uris: [redirect_uri], token_endpoint_auth_method: "none" }),
    });
    const { client_id }: { client_id: string } = await registered.json();
    const query = new URLSearchParams({
      ...{ response_type: "code", client_id, redirect_uri, state: "st", code_challenge_method: "S256" },
      code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
      resource: `${gateway().url}/mcp`,
    });
    return `${gateway().url}/oauth/authorize?${query}`;
  }

  const fitsEverySize = (url: string) => expectFit(browser(), url);
  /** A page gives the focus to one of its fields some time after it has been loaded. */
  const expectFocus = (of: string, text: string) =>
    expect.poll(() => browser().ask(`document.activeElement.${of}`), { timeout: 5_000 }).toContain(text);
  const title = () => browser().ask<string>("document.querySelector('h1').textContent");
  const press = (value: string) => browser().follow(`document.querySelector('button[value=${value}]').click()`);

  it("fit a phone and a desk, and take a key, a refusal and a consent by keyboard alone", async () => {
    const url = await authorizeUrl("Claude Code");
    await fitsEverySize(url);
    expect(await browser().ask("document.documentElement.lang")).toBe("en");
    await expectFocus("labels?.[0]?.textContent", "Virtual key");
    await browser().type("sk-pst-wrong");
    await browser().enter();
    expect(await browser().ask<string>("document.body.innerText")).toMatch(/key/i);
    await expectFocus("getAttribute('aria-invalid')", "true");
    await browser().ask("document.getElementById('key').focus()");
    await browser().type(key.value);
    await browser().enter();
    expect(await title()).toBe("Let this app in?");
    expect(await browser().ask<string>("document.documentElement.outerHTML")).not.toContain(key.value);
    await fitsEverySize(url);
    await press("allow");
    expect(got.at(-1)).toMatch(/^\/callback\?.*code=.+/);
    // The wrong key was a bad request; nothing was blocked by a policy of ours, and no script has failed.
    expect(browser().complaints).toEqual([expect.stringContaining("400")]);
  });

  it("show what a client calls itself as text, however long and whatever it holds", async () => {
    await fitsEverySize(
      await authorizeUrl(`\u202eevil <b>bold</b><script>document.title="x"</script> ${"Long".repeat(60)}`),
    );
    expect(await browser().ask("document.querySelectorAll('main b, script').length")).toBe(0);
    expect(await browser().ask("document.title")).not.toBe("x");
  });

  it("show no foreign page a frame of themselves", async () => {
    const url = await authorizeUrl("Framed");
    await browser().goto(`${own()}/?frame=${encodeURIComponent(url)}`);
    expect(browser().complaints.join()).toMatch(/frame/i);
  });

  it("let people out again", async () => {
    await browser().goto(await authorizeUrl("Second app"));
    await press("sign_out");
    expect(await title()).toMatch(/signed out/i);
  });
});
