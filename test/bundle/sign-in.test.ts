/** Real clients sign in to the built Worker, and the official suite looks at it as an authorization server. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { beforeAll, describe, expect, it } from "vitest";
import { type Program, startProgram } from "../../scripts/program.ts";
import { createKey, registerServer, type VirtualKey } from "./support/api.ts";
import { createVisitor } from "./support/browser.ts";
import { startGateway } from "./support/gateway.ts";
import { startIdp } from "./support/idp.ts";
import { startModernServer } from "./support/modern-server.ts";
import { createKeeper, OAUTH_CLIENTS } from "./support/oauth-clients.ts";
import { labelled, running } from "./support/running.ts";
import { freePort } from "./support/server-process.ts";

const MODULES = join(import.meta.dirname, "..", "..", "node_modules");

/** An environment in which no program finds a browser to open. */
const { DISPLAY: _, WAYLAND_DISPLAY: __, ...WITHOUT_BROWSER } = process.env;

const gateway = running("the gateway", startGateway);
const server = running("a server of the v2 SDK", () => startModernServer());
let key: VirtualKey;
beforeAll(async () => {
  key = await createKey(gateway(), await registerServer(gateway(), "ledger", server().url));
});

const sum = { content: [{ type: "text", text: "The sum is 42" }] };

describe.each(labelled(OAUTH_CLIENTS))("%s", (_, client) => {
  it.each(["/mcp", "/mcp/ledger"])("signs in at %s, calls a tool, and refreshes", async (path) => {
    const tool = { name: path === "/mcp" ? "ledger__add" : "add", args: { a: 2, b: 40 } };
    const [keeper, person] = [createKeeper(), createVisitor()];
    const url = `${gateway().url}${path}`;
    const signIn = (authorizationUrl: URL) => person.allow(authorizationUrl, key.value);
    expect(await client.call(url, keeper, signIn, tool)).toMatchObject(sum);
    expect(person.forms).toBe(2);
    // The access token is lost; the refresh token gives another without the person.
    const before = keeper.saved;
    if (before === undefined) throw new Error("no tokens");
    keeper.saved = { ...before, access_token: "stale" };
    expect(await client.call(url, keeper, signIn, tool)).toMatchObject(sum);
    expect(person.forms).toBe(2);
    expect(keeper.saved.refresh_token).not.toBe(before.refresh_token);
  });
});

describe("a user of a real identity provider", () => {
  const idp = running("the identity provider", () => startIdp());
  const theirs = running("a gateway with an identity provider", () =>
    startGateway({
      OIDC_ISSUER: idp().issuer,
      OIDC_AUDIENCE: "https://gateway.example/mcp",
      OIDC_CLIENT_ID: "postern",
      OIDC_CLIENT_SECRET: "s3cr:t",
    }),
  );

  it("signs in there, calls a tool, and uses the API with the token", async () => {
    const { url } = theirs();
    const redirect_uris = [`${url}/oauth/callback`];
    await idp().register({ client_id: "postern", client_secret: "s3cr:t", redirect_uris });
    await registerServer(theirs(), "ledger", server().url);
    const put = await theirs().admin("PUT", "/v1/orgs/default/members/ada", { role: "org_admin" });
    expect(put.status).toBe(200);
    const elsewhere = { origin: idp().issuer, signIn: (there: string) => idp().signIn(there, "ada") };
    const [keeper, person] = [createKeeper(), createVisitor(elsewhere)];
    const [client] = OAUTH_CLIENTS;
    const tool = { name: "ledger__add", args: { a: 2, b: 40 } };
    const signIn = (authorizationUrl: URL) => person.allow(authorizationUrl, "");
    expect(await client?.call(`${url}/mcp`, keeper, signIn, tool)).toMatchObject(sum);
    expect(person.forms).toBe(1);
    const headers = { Authorization: `Bearer ${keeper.saved?.access_token}` };
    const members = await fetch(`${url}/v1/orgs/default/members`, { headers });
    expect(await members.json()).toMatchObject({ rows: [{ user_id: "ada", role: "org_admin" }] });
  });
});

describe("mcp-remote", () => {
  it("signs in, and carries a call", async () => {
    const home = await mkdtemp(join(tmpdir(), "postern-remote-"));
    const script = join(MODULES, "mcp-remote", "dist", "proxy.js");
    const args = [script, `${gateway().url}/mcp`, `${await freePort()}`, "--allow-http", "--transport", "http-only"];
    // With an empty PATH and no display it opens no browser on the machine of whoever runs this.
    const env = { HOME: home, MCP_REMOTE_CONFIG_DIR: home, PATH: home };
    const transport = new StdioClientTransport({ command: process.execPath, args, env, stderr: "pipe" });
    let printed = "";
    const asked = Promise.withResolvers<string>();
    transport.stderr?.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      const url = /^(http\S+\/oauth\/authorize\?\S+)$/m.exec(printed)?.[1];
      if (url !== undefined) asked.resolve(url);
    });
    const client = new Client({ name: "behind-mcp-remote", version: "1.0.0" });
    try {
      const connecting = client.connect(transport);
      const failed = connecting.then(() => Promise.reject(new Error("it has not asked anybody to sign in")));
      const back = await createVisitor().allow(await Promise.race([asked.promise, failed]), key.value);
      expect((await fetch(back)).status).toBe(200);
      await connecting;
      const result = await client.callTool({ name: "ledger__add", arguments: { a: 2, b: 40 } });
      expect(result).toMatchObject(sum);
    } catch (error) {
      throw new Error(`mcp-remote printed:\n${printed}`, { cause: error });
    } finally {
      await client.close();
      await rm(home, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});

describe("the inspector", () => {
  it("signs in, and uses later what it has got", async () => {
    const home = await mkdtemp(join(tmpdir(), "postern-inspector-"));
    const target = ["--cli", "--transport", "http", "--server-url", `${gateway().url}/mcp`, "--protocol-era", "modern"];
    const callback = ["--callback-url", `http://127.0.0.1:${await freePort()}/oauth/callback`];
    const env = { ...WITHOUT_BROWSER, HOME: home, PATH: home };
    // It asks only at a terminal, or where it may open a browser; and the keychain is that of whoever runs this.
    const alone = { MCP_AUTO_OPEN_ENABLED: "true", MCP_INSPECTOR_SECRET_STORE: "file" };
    const lines: string[] = [];
    const asked = Promise.withResolvers<string>();
    const list = (...more: string[]) =>
      startProgram(
        join(MODULES, "@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js"),
        [...target, ...callback, "--format", "json", "--method", "tools/list", ...more],
        {
          cwd: home,
          env: { ...env, ...alone },
          onLine(line) {
            lines.push(line);
            const url = /http\S+\/oauth\/authorize\?\S+/.exec(line)?.[0];
            if (url !== undefined) asked.resolve(url);
          },
        },
      );
    const listed = async (program: Program) => {
      expect({ how: await program.ended, said: lines.join("\n") }).toEqual({
        how: 0,
        said: expect.stringContaining("ledger__add"),
      });
      lines.length = 0;
    };
    const first = list();
    let later: Program | undefined;
    try {
      await fetch(await createVisitor().allow(await asked.promise, key.value));
      await listed(first);
      later = list("--stored-auth-only");
      await listed(later);
    } finally {
      await first.stop();
      await later?.stop();
      await rm(home, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});

describe("the conformance suite", () => {
  it("finds an authorization server that works", async () => {
    const port = await freePort();
    const registered = await fetch(`${gateway().url}/oauth/register`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        client_name: "Conformance suite",
        redirect_uris: [`http://127.0.0.1:${port}/callback`],
        token_endpoint_auth_method: "none",
      }),
    });
    const { client_id } = (await registered.json()) as { client_id: string };
    const lines: string[] = [];
    const asked = Promise.withResolvers<string>();
    const suite = startProgram(
      join(MODULES, "@modelcontextprotocol", "conformance", "dist", "index.js"),
      [
        ...["authorization", "--url", gateway().url, "--client-id", client_id, "--port", `${port}`],
        ...["--resource", `${gateway().url}/mcp`],
      ],
      {
        cwd: tmpdir(),
        env: WITHOUT_BROWSER,
        onLine(line) {
          lines.push(line);
          if (/^http\S+\/oauth\/authorize\?/.test(line)) asked.resolve(line);
        },
      },
    );
    try {
      const ended = suite.ended.then((how) => Promise.reject(new Error(`it ended with ${how}:\n${lines.join("\n")}`)));
      const back = await createVisitor().allow(await Promise.race([asked.promise, ended]), key.value);
      await fetch(back);
      const how = await suite.ended;
      expect({ how, said: lines.join("\n") }).toEqual({ how: 0, said: expect.stringMatching(/0 failed/) });
    } finally {
      await suite.stop();
    }
  });
});
