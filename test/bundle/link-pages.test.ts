/** Linking an account as a person sees it, in headless Chromium where the machine has one. */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createKey, type RegisteredServer, type VirtualKey } from "./support/api.ts";
import { USER_COOKIE } from "./support/authorization-server.ts";
import { hasChromium, startChromium } from "./support/chromium.ts";
import { v2Pinned, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { linkIn, registerProtected, saidIn } from "./support/linking.ts";
import { expectFit } from "./support/page-sizes.ts";
import { startProtectedServer } from "./support/protected-server.ts";
import { running } from "./support/running.ts";

describe.skipIf(!hasChromium)("the pages of linking an account", () => {
  const gateway = running("the gateway", startGateway);
  const upstream = running("a server", () => startProtectedServer());
  const browser = running("Chromium", startChromium);
  let server: RegisteredServer;
  beforeAll(async () => {
    const display_name = `Notes of <b>everybody</b> ${"long".repeat(24)}`;
    server = await registerProtected(gateway(), "notes", upstream(), { display_name });
  });

  beforeEach(() => browser().forget());

  const whoami = (key: VirtualKey) =>
    withClient(v2Pinned, `${gateway().url}/mcp`, { key: key.value }, (connection) =>
      connection.call("notes__whoami", {}),
    );
  /** A page gives the focus to one of its fields some time after it has been loaded. */
  const expectFocus = (of: string, text: string) =>
    expect.poll(() => browser().ask(`document.activeElement.${of}`), { timeout: 5_000 }).toContain(text);
  const title = () => browser().ask<string>("document.querySelector('h1').textContent");
  const text = () => browser().ask<string>("document.body.innerText");
  const press = (value: string) => browser().follow(`document.querySelector('button[value=${value}]').click()`);
  const signIn = async (key: VirtualKey) => {
    await expectFocus("labels?.[0]?.textContent", "Virtual key");
    await browser().type(key.value);
    await browser().enter();
  };

  it("lead from the link over the key, the consent and the authorization server to the account [PS-54, PS-59]", async () => {
    const [complained, asked] = [browser().complaints.length, browser().requested.length];
    const key = await createKey(gateway(), server);
    const link = linkIn(await whoami(key)) ?? "";
    await expectFit(browser(), link);
    expect(await title()).toBe("Sign in to link an account");
    await signIn(key);
    expect(await title()).toBe("Link an account?");
    expect(await browser().ask<string>("document.documentElement.outerHTML")).not.toContain(key.value);
    expect(await browser().ask("document.querySelectorAll('main b, script').length")).toBe(0);
    for (const part of [new URL(upstream().issuer).host, new URL(upstream().server_url).host, "default"]) {
      expect(await text()).toContain(part);
    }
    await expectFit(browser(), link);
    await browser().ask(`document.cookie = "${USER_COOKIE}=ada; path=/"`);
    await press("link");
    expect(await title()).toBe("The account is linked");
    expect(await browser().ask("location.pathname")).toBe("/connect/callback");
    expect(await text()).toContain("offers one tool");
    await expectFit(browser());
    expect(saidIn(await whoami(key))).toBe("You are ada");
    // No error of a script, nothing blocked by a policy of ours, and nobody else has heard of it.
    expect(browser().complaints.slice(complained)).toEqual([]);
    const origins = new Set(
      browser()
        .requested.slice(asked)
        .map((url) => new URL(url).origin),
    );
    expect([...origins].toSorted()).toEqual([gateway().url, upstream().issuer].toSorted());
  });

  it("turn away whoever the link is not for, and let them sign in as the one it is for [PS-54, T-10]", async () => {
    const [owner, other] = [await createKey(gateway(), server), await createKey(gateway(), server)];
    const link = linkIn(await whoami(owner)) ?? "";
    await browser().goto(link);
    await signIn(other);
    expect(await title()).toBe("This link is not for you");
    await expectFit(browser(), link);
    expect(linkIn(await whoami(other))).toBeDefined();
    await press("sign_out");
    await browser().goto(link);
    await signIn(owner);
    expect(await title()).toBe("Link an account?");
    await press("deny");
    expect(await title()).toBe("Nothing was linked");
    await expectFit(browser());
    expect(linkIn(await whoami(owner))).toBeDefined();
  });

  it("say that a link is over, when it has been used", async () => {
    const key = await createKey(gateway(), server);
    const link = linkIn(await whoami(key)) ?? "";
    await browser().goto(link);
    await signIn(key);
    await press("link");
    expect(await title()).toBe("The account is linked");
    await expectFit(browser(), link);
    expect(await title()).toBe("The account was not linked");
  });
});
