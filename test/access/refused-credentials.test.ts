/** A credential that one way of coming in refuses comes in by no other: no door, no header, no company. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { agentOf, createAgent } from "../support/agent.ts";
import { DOOR } from "../support/execute.ts";
import { AUDIENCE, ISSUER, NOW_S, newKey, sign } from "../support/identity-provider.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

it("a credential that is refused is refused at every door, in every header and beside a good one [R-30]", async () => {
  const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}'] });
  const gateway = await startWithUsers(upstream.network);
  const agent = await agentOf(gateway, { name: "docs", allow_on_all_virtual_keys: true });
  const off = await createAgent(gateway, []);
  await gateway.admin("PATCH", `/v1/virtual-keys/${off.key.virtual_key_id}`, { is_active: false });
  const good = (await gateway.bearer({ sub: "ann", platform: true })).Authorization;
  const stranger = await newKey();
  const claims = { iss: ISSUER, aud: AUDIENCE, sub: "ann", platform: true, exp: NOW_S + 600 };
  const [head, body] = good.slice("Bearer ".length).split(".");
  const refused: Readonly<Record<string, string>> = {
    "an unknown key": `sk-pst-${"A".repeat(43)}`,
    "a key that is switched off": off.key.value,
    "a token signed by somebody else": await sign(stranger, claims),
    "a token without its signature": `${head}.${body}.`,
    "a token of another audience": (
      await gateway.bearer({ ...claims, aud: "https://other.example" })
    ).Authorization.slice(7),
    "a token that is over": (await gateway.bearer({ ...claims, exp: NOW_S - 600 })).Authorization.slice(7),
    "the key of admins": env.ADMIN_KEY,
    "something else": "hello",
  };
  upstream.seen.length = 0;
  const message = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "search" } });
  const execution = JSON.stringify({ id: "c", type: "function", function: { name: "docs__search" } });
  const doors: readonly [path: string, body: string][] = [
    ["/mcp", message],
    ["/mcp/docs", message],
    [DOOR, execution],
  ];
  const send = async (path: string, sent: string, headers: Record<string, string>) => {
    const response = await gateway.fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: sent,
    });
    await response.text();
    return response.status;
  };
  for (const [path, sent] of doors) {
    expect(await send(path, sent, { Authorization: good }), path).toBe(200);
    expect(await send(path, sent, { "x-api-key": agent.key.value }), path).toBe(200);
    const calls = upstream.calls().length;
    for (const [what, value] of Object.entries(refused)) {
      const ways: Record<string, string>[] = [
        { Authorization: `Bearer ${value}` },
        { "x-api-key": value },
        { "x-bf-vk": value },
        { Cookie: `access_token=${value}` },
        { Authorization: `Bearer ${value}`, "x-api-key": value },
        { Authorization: `Bearer ${value}`, "x-bf-vk": agent.key.value },
        { Authorization: good, "x-api-key": value },
      ];
      for (const headers of ways) {
        // The execute door says of keys what Bifrost says; two keys at once are told apart from none.
        const status = await send(path, sent, headers);
        expect([400, 401, 403], `${what} at ${path} in ${Object.keys(headers)}`).toContain(status);
      }
      expect(await send(`${path}?access_token=${encodeURIComponent(value)}`, sent, {}), what).toBe(401);
    }
    expect(upstream.calls()).toHaveLength(calls);
  }
});
