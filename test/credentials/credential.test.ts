import { describe, expect, it } from "vitest";
import { createCredential, type HotToken } from "../../src/credentials/credential.ts";
import type { LeaseAsk } from "../../src/credentials/lease.ts";
import type { TokenRow, TokenValue } from "../../src/credentials/token.ts";
import { GatewayError } from "../../src/failure/gateway-error.ts";
import type { ServerRecord } from "../../src/registry/server-record.ts";

const NOW = Date.UTC(2030, 0, 1);
const HOUR = 3_600_000;
const OWNER = { org_id: "default", user_id: "ada" };
const NOTHING: LeaseAsk = { refused: null, subjectToken: null };

/** A credential whose stored row a test changes; it counts how often that is read. */
function stored(row: TokenRow) {
  const state = { row: row as TokenRow | null, reads: 0, failures: 0 };
  let hot: HotToken | null = { row, sealed: "sealed", isStored: true, isUsed: false };
  const never = () => {
    throw new Error("not part of the test");
  };
  const credential = createCredential({
    serverId: row.server_id,
    owner: OWNER,
    hot: {
      read: () => hot,
      write: (token) => {
        hot = token;
      },
      clear: () => {
        hot = null;
      },
    },
    tokens: {
      async get() {
        state.reads++;
        if (state.reads <= state.failures) throw new GatewayError("unavailable", "The database does not answer.");
        return state.row;
      },
    } as Partial<Parameters<typeof createCredential>[0]["tokens"]> as never,
    vault: { open: async () => ({ access_token: "at", refresh_token: null }) as TokenValue } as never,
    serverOf: async () => ({ grant_type: "authorization_code" }) as ServerRecord,
    clientOf: never,
    requests: { refresh: never, clientCredentials: never, exchange: never, revoke: never },
    register: never,
    noteFailure: never,
    clock: () => NOW,
    newId: never,
  });
  return { state, credential };
}

const ROW: TokenRow = {
  ...{ ...OWNER, server_id: "srv_1", token_id: "tok_1", version: 1, scopes: [], created: NOW, modified: NOW },
  ...{ expires_at: NOW + HOUR, assumed_expiry: null, has_refresh_token: false, refresh_failed: false },
};

describe("leases of one credential", () => {
  it("that are asked for in one moment take one look at what is stored [T-18]", async () => {
    const { state, credential } = stored(ROW);
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => credential.lease(NOTHING)));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1_000);
    expect(state.reads).toBe(1);
  });

  it("do not all fail with one reading, and do when the storage has failed [PS-34]", async () => {
    const { state, credential } = stored(ROW);
    state.failures = 1;
    const answers = await Promise.all([credential.lease(NOTHING), credential.lease(NOTHING)]);
    expect(answers).toMatchObject([{ ok: true }, { ok: true }]);
    expect(state.reads).toBe(2);
    state.failures = 99;
    await expect(credential.lease(NOTHING)).rejects.toMatchObject({ code: "unavailable" });
    state.failures = 0;
    expect(await credential.lease(NOTHING)).toMatchObject({ ok: true });
  });

  it("find what has changed since the last look [PS-57]", async () => {
    const { state, credential } = stored(ROW);
    expect(await credential.lease(NOTHING)).toMatchObject({ ok: true });
    state.row = null;
    expect(await credential.lease(NOTHING)).toEqual({ ok: false, why: "none" });
    expect(state.reads).toBe(2);
  });
});
