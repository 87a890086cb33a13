/** A client that signs somebody in, from its registration to its last token. */
import { describe, expect, it } from "vitest";
import { createAgent } from "../support/agent.ts";
import { accepted, offline } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { askQuery, broughtBack, createBrowser, exchange, listTools, ORIGIN, registerClient } from "../support/oauth.ts";

describe("a client that signs somebody in", () => {
  it("gets a token that lists tools", async () => {
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const client = await registerClient(gateway);
    const path = askQuery(client);
    const browser = createBrowser(gateway);
    const consent = await browser.signIn(path, key.value);
    expect(await consent.text()).toContain("Test app");
    const { code = "", ...rest } = broughtBack(await browser.submit(path, "allow", { org: "default" }));
    expect(rest).toEqual({ state: "the-state", iss: ORIGIN });
    const tokens = await accepted<Record<string, string>>(await exchange(gateway, client, code));
    expect(tokens).toEqual({
      access_token: expect.any(String),
      token_type: "bearer",
      expires_in: 3600,
      refresh_token: expect.any(String),
      scope: "mcp",
      resource: `${ORIGIN}/mcp`,
    });
    expect((await listTools(gateway, "/mcp", tokens["access_token"] ?? "")).status).toBe(200);
  });
});
