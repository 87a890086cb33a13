/**
 * A hundred calls from several isolates at the moment when the token they share is due, with a real authorization server
 * that rotates refresh tokens and ends the whole grant where one is used twice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { credentialName } from "../../src/credentials/owner.ts";
import { EXPIRY_BUFFER_S } from "../../src/credentials/token.ts";
import { createKey, type RegisteredServer, type VirtualKey } from "./support/api.ts";
import { v2Pinned, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { followLink, linkIn, registerProtected, saidIn } from "./support/linking.ts";
import { type ProtectedServer, startProtectedServer } from "./support/protected-server.ts";
import { running } from "./support/running.ts";
import { startWire, type Wire } from "./support/wire.ts";

/** Around the built Worker: an answer says which isolate it is from, and an object can be ended in what it does. */
const ENTRY = `
import worker, { Connector, Credential as Built, Session } from "./gateway.js";
export { Connector, Session };
export class Credential extends Built {
  end() {
    this.ctx.abort("moved to another machine");
  }
}
let isolate;
export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/test/end") {
      await env.CREDENTIAL.getByName(searchParams.get("name")).end().catch(() => undefined);
      return new Response();
    }
    isolate ??= crypto.randomUUID();
    if (pathname === "/test/isolate") return new Response(isolate);
    return worker.fetch(request, env, ctx);
  },
};
`;
const ISOLATES = 3;
const CALLS = 100;
/** Due three seconds after it comes. */
const SHORT_S = EXPIRY_BUFFER_S + 3;

const gateway = running("the gateway", () => startGateway({}, { isolates: ISOLATES, entry: ENTRY }));
const strict = running("a server whose authorization server forgives nothing", () => startProtectedServer());
const forgiving = running("a server whose authorization server forgives lost answers", () =>
  startProtectedServer({ isForgiving: true }),
);

interface Linked {
  readonly upstream: ProtectedServer;
  readonly server: RegisteredServer;
  readonly key: VirtualKey;
  /** The way to the token endpoint. */
  readonly wire: Wire;
}

let servers = 0;

/** An account whose token is due by now, and not renewed by any alarm: each isolate has used it before. */
async function dueAccount(upstream: ProtectedServer, test: (account: Linked) => Promise<void>): Promise<void> {
  const wire = await startWire(upstream.issuer);
  try {
    const name = `accounts${++servers}`;
    const server = await registerProtected(gateway(), name, upstream, { token_endpoint: `${wire.origin}/token` });
    const account = { upstream, server, wire, key: await createKey(gateway(), server) };
    upstream.setLifetime(SHORT_S);
    const [refused] = await whoami(account, 1, [gateway().url]);
    const link = linkIn(refused) ?? "";
    expect(await followLink(upstream, link, "ada", account.key.value)).toMatchObject({ status: 200 });
    expect((await whoami(account, ISOLATES)).map(saidIn)).toEqual(Array(ISOLATES).fill("You are ada"));
    await untilDue(account);
    upstream.setLifetime(3_600);
    await test(account);
  } finally {
    await wire.stop();
  }
}

/** Parallel calls, by SDK clients of which each isolate has one. */
async function whoami({ server, key }: Linked, calls: number, urls = gateway().isolates) {
  const each = urls.map((url, at) =>
    withClient(v2Pinned, `${url}/mcp`, { key: key.value }, (connection) => {
      const own = Math.floor(calls / urls.length) + (at < calls % urls.length ? 1 : 0);
      return Promise.all(Array.from({ length: own }, () => connection.call(`${server.name}__whoami`, {})));
    }),
  );
  return (await Promise.all(each)).flat();
}

/** Alarms renew a token in use before it is due; the last of their tokens nobody has used. */
async function untilDue({ server }: Linked): Promise<void> {
  for (const giveUpAt = Date.now() + 30_000; Date.now() < giveUpAt; ) {
    const response = await gateway().admin("GET", `/v1/servers/${server.server_id}/tokens`);
    const { rows }: { rows: { expires_at: string }[] } = await response.json();
    const dueInMs = Date.parse(rows[0]?.expires_at ?? "") - EXPIRY_BUFFER_S * 1_000 - Date.now();
    if (dueInMs <= 0) return;
    await sleep(dueInMs + 50);
  }
  throw new Error("The token is renewed again and again.");
}

/** Ends the object of an account, with whatever it is doing: all that it goes on from is what it has stored. */
async function endObjectOf({ server, key }: Linked): Promise<void> {
  const owner = { org_id: "default", user_id: `key:${key.virtual_key_id}` };
  const name = encodeURIComponent(credentialName(server.server_id, owner));
  expect((await fetch(`${gateway().url}/test/end?name=${name}`)).status).toBe(200);
}

const good = (count: number) => Array(count).fill("You are ada");

/** Whether what is stored is the refresh token that the authorization server takes. */
async function canStillBeRenewed(account: Linked): Promise<void> {
  const { upstream } = account;
  const before = upstream.requests("refresh_token");
  await upstream.endAccess(upstream.shown.at(-1) ?? "");
  expect((await whoami(account, ISOLATES)).map(saidIn)).toEqual(good(ISOLATES));
  expect(upstream.requests("refresh_token") - before).toBe(1);
}

describe("a hundred calls from several isolates when their token is due", () => {
  it("come from isolates that share nothing but what is stored", async () => {
    const ask = () => Promise.all(gateway().isolates.map(async (url) => (await fetch(`${url}/test/isolate`)).text()));
    const ids = await ask();
    expect(new Set(ids).size).toBe(ISOLATES);
    expect(await ask()).toEqual(ids);
  });

  it("all succeed with one refresh request, where reuse would end the grant [T-18, CN-23, P-61]", async () => {
    await dueAccount(strict(), async (account) => {
      const before = strict().requests("refresh_token");
      expect((await whoami(account, CALLS)).map(saidIn)).toEqual(good(CALLS));
      expect(strict().requests("refresh_token") - before).toBe(1);
      await canStillBeRenewed(account);
    });
  });

  it("all succeed with one more when the answer to the first is lost [CN-22, PS-56]", async () => {
    await dueAccount(forgiving(), async (account) => {
      const before = forgiving().requests("refresh_token");
      account.wire.loseNextAnswer();
      expect((await whoami(account, CALLS)).map(saidIn)).toEqual(good(CALLS));
      expect(forgiving().requests("refresh_token") - before).toBe(2);
      await canStillBeRenewed(account);
    });
  });

  it("all succeed with one request to an object that has to be read back from its storage [T-18, T-19]", async () => {
    await dueAccount(strict(), async (account) => {
      const before = strict().requests("refresh_token");
      await endObjectOf(account);
      expect((await whoami(account, CALLS)).map(saidIn)).toEqual(good(CALLS));
      expect(strict().requests("refresh_token") - before).toBe(1);
      await canStillBeRenewed(account);
    });
  });

  it("all succeed with one more when the object is ended in the middle of it [CN-22, PS-56]", async () => {
    await dueAccount(forgiving(), async (account) => {
      const before = forgiving().requests("refresh_token");
      const held = account.wire.holdNextAnswer();
      const calls = whoami(account, CALLS);
      await held.arrived;
      await endObjectOf(account);
      held.release();
      expect((await calls).map(saidIn)).toEqual(good(CALLS));
      expect(forgiving().requests("refresh_token") - before).toBe(2);
      await canStillBeRenewed(account);
    });
  });
});
