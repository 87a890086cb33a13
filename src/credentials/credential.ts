/**
 * The life of one upstream credential: lent out while it is good, renewed once for all who wait, kept until its
 * successor is stored. Runs in the `Credential` object of its owner, so that there is one of it in the world.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import type { LeaseAnswer, LeaseAsk } from "./lease.ts";
import type { Owner } from "./owner.ts";
import {
  expiryOf,
  freshUntil,
  hasEnded,
  isDue,
  renewalOf,
  type TokenClient,
  type TokenRow,
  type TokenValue,
} from "./token.ts";
import type { TokenAnswer, TokenOutcome } from "./token-answer.ts";
import type { Disposal, TokenStore } from "./tokens.store.ts";
import type { TokenRef, Vault } from "./vault.ts";

/** The object's own copy of the token: read back as written, where KV may be a minute old. */
export interface HotToken {
  readonly row: TokenRow;
  readonly sealed: string;
  /** False while KV and D1 may not have it yet. */
  readonly isStored: boolean;
  /** Whether anybody has asked for it since it was made. */
  readonly isUsed: boolean;
}

export interface Hot {
  read(): HotToken | null;
  write(token: HotToken): void;
  clear(): void;
}

export interface CredentialDeps {
  readonly serverId: string;
  readonly owner: Owner;
  readonly hot: Hot;
  readonly tokens: TokenStore;
  readonly vault: Vault;
  readonly serverOf: (serverId: string) => Promise<ServerRecord | null>;
  /** Our registration with the authorization server of a server, its secret open. */
  readonly clientOf: (record: ServerRecord) => Promise<TokenClient>;
  readonly requests: {
    refresh(client: TokenClient, refreshToken: string): Promise<TokenOutcome>;
    clientCredentials(client: TokenClient, scopes: readonly string[]): Promise<TokenOutcome>;
    exchange(client: TokenClient, subjectToken: string, scopes: readonly string[]): Promise<TokenOutcome>;
    revoke(client: TokenClient, value: TokenValue): Promise<void>;
  };
  /**
   * Registers the gateway anew with an authorization server that has forgotten it.
   *
   * @param refused The client id that was refused: another one that is there already is not replaced.
   * @returns False when that is not possible.
   */
  readonly register: (serverId: string, refused: string) => Promise<boolean>;
  /** Tells admins what keeps a credential from being renewed. */
  readonly noteFailure: (record: ServerRecord, message: string) => Promise<void>;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** What is stored of a new authorization. */
export interface Authorization {
  /** The id that the token has been given already. */
  readonly token_id?: string;
  readonly answer: TokenAnswer;
  readonly client: TokenClient;
  /** Those that were asked for: granted, when the answer does not say otherwise (RB-21). */
  readonly scopes: readonly string[];
}

/** How long a failed renewal is not repeated. */
export const RENEW_PAUSE_MS = 5_000;

/** A token and its value. */
interface Held {
  readonly row: TokenRow;
  readonly value: TokenValue;
}

/** The server and its token; null where the server is gone. */
type Seen = { readonly record: ServerRecord; readonly held: Held | null | "lagging" } | null;

export function createCredential(deps: CredentialDeps) {
  const { serverId, owner, hot, tokens, vault, requests, clock } = deps;
  let looking: Promise<Seen> | null = null;
  let renewing: Promise<LeaseAnswer> | null = null;
  let pausedUntil = 0;

  const refOf = ({ token_id, version }: Pick<TokenRow, "token_id" | "version">): TokenRef => ({
    token_id,
    version,
    server_id: serverId,
    ...owner,
  });

  /** The present token: D1 says which, the own copy or KV has it. "lagging": KV does not have it yet. */
  async function current(): Promise<Held | null | "lagging"> {
    const row = await tokens.get(owner, serverId);
    const own = hot.read();
    if (row === null) {
      hot.clear();
      return null;
    }
    if (own !== null && own.row.token_id === row.token_id && own.row.version >= row.version) {
      if (!own.isStored) await persist();
      const { refresh_failed } = own.row.version > row.version ? own.row : row;
      return { row: { ...own.row, refresh_failed }, value: await vault.open(refOf(own.row), own.sealed) };
    }
    const sealed = await vault.get(refOf(row));
    if (sealed === null) return "lagging";
    hot.write({ row, sealed, isStored: true, isUsed: false });
    return { row, value: await vault.open(refOf(row), sealed) };
  }

  /** Brings the own copy to KV and D1; what fails is tried again by the alarm. */
  async function persist(): Promise<void> {
    const own = hot.read();
    if (own === null || own.isStored) return;
    const { row, sealed } = own;
    try {
      await vault.put(refOf(row), sealed);
      const isThere = await tokens.renew(owner, serverId, row.token_id, renewalOf(row));
      // Deleted while it was renewed: its row did not know of this version.
      if (!isThere) return await end(refOf(row), sealed);
    } catch (thrown) {
      log("error", "token_not_stored", { token_id: row.token_id, version: row.version, causes: causesOf(thrown) });
      return;
    }
    const now = hot.read();
    if (now?.row.token_id === row.token_id && now.row.version === row.version) hot.write({ ...now, isStored: true });
    // Only now: until here the former refresh token was the one to go on with after a crash.
    if (row.version > 1) await vault.delete(refOf({ ...row, version: row.version - 1 })).catch(() => undefined);
  }

  /** Ends a value, here and at its authorization server. */
  async function end(ref: TokenRef, sealed: string): Promise<void> {
    if (hot.read()?.row.token_id === ref.token_id) hot.clear();
    const value = await vault.open(ref, sealed).catch(() => null);
    if (value !== null) await requests.revoke(value.client, value);
    await vault.delete(ref);
  }

  function lend({ row, value }: Held, good_until: number | null): LeaseAnswer {
    const own = hot.read();
    if (own !== null && !own.isUsed) hot.write({ ...own, isUsed: true });
    const { token_id, version } = row;
    return { ok: true, token: { token_id, version, access_token: value.access_token, good_until } };
  }

  /** What becomes of a lease when a renewal has not come off: the token is used while it lasts (PS-56). */
  function fallBack(held: Held | null, isRefused: boolean): LeaseAnswer {
    if (held === null || isRefused || hasEnded(held.row, clock())) return { ok: false, why: "later" };
    return lend(held, Math.min(pausedUntil, held.row.expires_at ?? pausedUntil));
  }

  function pause(): void {
    pausedUntil = clock() + RENEW_PAUSE_MS;
  }

  async function renew(
    held: Held | null,
    record: ServerRecord,
    ask: LeaseAsk,
    isRefused: boolean,
  ): Promise<LeaseAnswer> {
    let client = await clientFor(held, record);
    let outcome = await request(held, record, client, ask);
    if (!outcome.ok && outcome.refusal === "client_refused" && record.registration_mode === "dcr") {
      const now = await clientAfter(client.client_id);
      if (now?.issuer === client.issuer) {
        client = now;
        outcome = await request(held, record, client, ask);
        if (!outcome.ok && outcome.refusal === "client_refused") outcome = { ...outcome, refusal: "grant_refused" };
      }
    }
    if (outcome.ok) {
      pausedUntil = 0;
      if (held !== null && hot.read()?.row.token_id !== held.row.token_id) {
        // Another account has been linked meanwhile, or this one deleted: what has come for it is nobody's.
        await requests.revoke(client, { ...held.value, ...outcome.answer, client });
        const now = await current();
        return now === null || now === "lagging" ? { ok: false, why: "none" } : lend(now, freshUntil(now.row));
      }
      const kept = outcome.answer.refresh_token ?? held?.value.refresh_token ?? null;
      const answer = { ...outcome.answer, refresh_token: kept };
      const next = await keep({ answer, client, scopes: scopesOf(record) }, held?.row ?? null);
      return next === null ? { ok: false, why: "none" } : lend(next, freshUntil(next.row));
    }
    if (outcome.refusal === "grant_refused" && held !== null && record.grant_type === "authorization_code") {
      // Whoever was faster has the answer (CN-23).
      const now = await current();
      if (now !== null && now !== "lagging" && now.row.version > held.row.version)
        return lend(now, freshUntil(now.row));
      await tokens.markFailed(owner, serverId, held.row, clock());
      return { ok: false, why: "refresh_failed" };
    }
    if (outcome.refusal !== "unavailable") await deps.noteFailure(record, outcome.message);
    pause();
    return fallBack(held, isRefused);
  }

  /** A token that was given to one registration is renewed by that one, unless there is another by now. */
  async function clientFor(held: Held | null, record: ServerRecord): Promise<TokenClient> {
    if (held !== null && held.value.client.client_id === record.client_id) return held.value.client;
    return deps.clientOf(record);
  }

  async function clientAfter(refused: string): Promise<TokenClient | null> {
    if (!(await deps.register(serverId, refused))) return null;
    const record = await deps.serverOf(serverId);
    return record === null || record.client_id === refused ? null : deps.clientOf(record);
  }

  function request(held: Held | null, record: ServerRecord, client: TokenClient, ask: LeaseAsk): Promise<TokenOutcome> {
    const scopes = scopesOf(record);
    switch (record.grant_type) {
      case "client_credentials":
        return requests.clientCredentials(client, scopes);
      case "token_exchange":
        return requests.exchange(client, ask.subjectToken ?? "", scopes);
      case "authorization_code":
        return requests.refresh(client, held?.value.refresh_token ?? "");
    }
  }

  /** Whether there is a way to another token without a person. */
  function canRenew(held: Held | null, { grant_type, oauth_issuer_url }: ServerRecord, ask: LeaseAsk): boolean {
    if (grant_type === "authorization_code") {
      // What another authorization server has given is of no use with this one (P-60).
      return held?.value.refresh_token != null && held.value.client.issuer === oauth_issuer_url;
    }
    return grant_type === "client_credentials" || ask.subjectToken !== null;
  }

  /** Seals and keeps a token that has just come: in the object first, from where nothing can lose it. */
  async function keep(authorization: Authorization, former: TokenRow | null): Promise<Held | null> {
    const { answer, client } = authorization;
    const now = clock();
    const row: TokenRow = {
      server_id: serverId,
      ...owner,
      token_id: former?.token_id ?? authorization.token_id ?? deps.newId("tok"),
      version: (former?.version ?? 0) + 1,
      ...expiryOf(answer, now),
      has_refresh_token: answer.refresh_token !== null,
      refresh_failed: false,
      scopes: answer.scopes ?? former?.scopes ?? authorization.scopes,
      created: former?.created ?? now,
      modified: now,
    };
    const { access_token, refresh_token, token_type } = answer;
    const value = { access_token, refresh_token, token_type, client };
    const sealed = await vault.seal(refOf(row), value);
    if (former === null && !(await insert(row, sealed))) return null;
    hot.write({ row, sealed, isStored: former === null, isUsed: false });
    if (former !== null) await persist();
    return { row, value };
  }

  /** Stores a token of a new id. False when the server is gone; nothing is left then. */
  async function insert(row: TokenRow, sealed: string): Promise<boolean> {
    const replaced = await tokens.get(owner, serverId);
    await vault.put(refOf(row), sealed);
    let isAdded = false;
    try {
      isAdded = await tokens.put(row);
    } finally {
      if (!isAdded) await vault.delete(refOf(row)).catch(() => undefined);
    }
    if (isAdded && replaced !== null) await vault.delete(refOf(replaced)).catch(() => undefined);
    return isAdded;
  }

  async function see(): Promise<Seen> {
    const record = await deps.serverOf(serverId);
    return record === null ? null : { record, held: await current() };
  }

  /**
   * What is stored at this moment, read once for all who ask in it: at its end a token has many who do. What keeps one
   * reading from coming off would keep it from all of them, so that there is another.
   */
  function look(): Promise<Seen> {
    looking ??= see()
      .catch(see)
      .finally(() => {
        looking = null;
      });
    return looking;
  }

  async function leaseOf(ask: LeaseAsk): Promise<LeaseAnswer> {
    const seen = await look();
    if (seen === null) return { ok: false, why: "none" };
    const { record, held } = seen;
    if (held === "lagging") return { ok: false, why: "later" };
    const isRefused =
      held !== null && ask.refused?.token_id === held.row.token_id && ask.refused.version >= held.row.version;
    const isFailed = held?.row.refresh_failed === true && record.grant_type === "authorization_code";
    if (isFailed) return { ok: false, why: "refresh_failed" };
    if (held !== null && !isRefused && !isDue(held.row, clock())) return lend(held, freshUntil(held.row));
    if (!canRenew(held, record, ask)) {
      if (held === null || (!isRefused && hasEnded(held.row, clock()))) return { ok: false, why: "none" };
      return isRefused ? { ok: false, why: "refused" } : lend(held, held.row.expires_at);
    }
    if (clock() < pausedUntil) return fallBack(held, isRefused);
    // One for all who wait; a later one finds what this one has brought.
    renewing ??= renew(held, record, ask, isRefused).finally(() => {
      renewing = null;
    });
    return renewing;
  }

  return {
    /** Lends the token, renewed if need be. @throws GatewayError `unavailable` */
    async lease(ask: LeaseAsk): Promise<LeaseAnswer> {
      try {
        return await leaseOf(ask);
      } catch (thrown) {
        if (GatewayError.from(thrown).code !== "sealed_payload_invalid") throw thrown;
        log("error", "token_unreadable", { server_id: serverId, ...owner, causes: causesOf(thrown) });
        return { ok: false, why: "unreadable" };
      }
    },

    /**
     * Takes the token of a new authorization in the place of whatever there was.
     *
     * @returns Its row; null when the server is gone.
     */
    async authorize(authorization: Authorization): Promise<TokenRow | null> {
      pausedUntil = 0;
      return (await keep(authorization, null))?.row ?? null;
    },

    /** Ends the values of a deleted token, here and at its authorization server (PS-57). */
    async dispose({ token_id, version }: Disposal): Promise<void> {
      const own = hot.read();
      const isOwn = own?.row.token_id === token_id;
      // The own copy may be a version ahead of the row that was deleted.
      const ref = refOf(isOwn ? own.row : { token_id, version });
      const sealed = isOwn ? own.sealed : await vault.get(ref);
      if (sealed !== null) await end(ref, sealed);
      await tokens.disposed(token_id);
    },

    /** What the alarm does: stores what is not stored, and renews what is in use before anybody has to wait for it. */
    async tend(): Promise<void> {
      await persist();
      const own = hot.read();
      const due = own === null ? null : freshUntil(own.row);
      if (own === null || !own.isUsed || due === null || clock() < due - TEND_AHEAD_MS) return;
      const record = await deps.serverOf(serverId);
      const held = record === null ? null : await current();
      if (record === null || !record.enabled || held === null || held === "lagging" || held.row.refresh_failed) return;
      const ask = { refused: null, subjectToken: null };
      if (!canRenew(held, record, ask) || clock() < pausedUntil) return;
      renewing ??= renew(held, record, ask, false).finally(() => {
        renewing = null;
      });
      await renewing;
      // Whether it is in use, the next who asks will show.
      const after = hot.read();
      if (after !== null && after.row.version > held.row.version) hot.write({ ...after, isUsed: false });
    },

    /** When `tend` has something to do; null: never. */
    nextTend(): number | null {
      const own = hot.read();
      if (own === null) return null;
      if (!own.isStored) return clock() + RENEW_PAUSE_MS;
      const due = freshUntil(own.row);
      return due === null || !own.isUsed ? null : Math.max(due - TEND_AHEAD_MS, pausedUntil);
    },
  };
}

/** How long before it is due a token in use is renewed. */
export const TEND_AHEAD_MS = 30_000;

/** The scopes to ask for: an admin's, else those that the server's metadata names (BF-26). */
export function scopesOf({ scopes, scopes_found }: Pick<ServerRecord, "scopes" | "scopes_found">): readonly string[] {
  return scopes.length > 0 ? scopes : scopes_found;
}
