import { DurableObject } from "cloudflare:workers";
import type { UpstreamClient } from "../connector/server-request.ts";
import type { SseLink } from "../connector/sse-link.ts";
import type { Outgoing } from "../platform/guarded-fetch.ts";
import { causesOf, log } from "../platform/log.ts";
import { migrateObject } from "../platform/object-schema.ts";
import type { RunDraft, RunEnd, RunPlace } from "../runs/run.ts";
import { createServices, type Services } from "../services.ts";
import { createEars, type Ears } from "./ears.ts";
import { listeningTo } from "./listening.ts";
import { createMailbox } from "./mailbox.ts";
import { createParking } from "./parking.ts";
import {
  type Admitted,
  type Believer,
  type CallAsk,
  createRunLedger,
  type RunLedger,
  type Started,
} from "./run-ledger.ts";
import { sessionMigrations } from "./session.migrations.ts";
import {
  CREDENTIAL_HEADER,
  type NoticesAsk,
  type OpenUpstream,
  type ParkedAt,
  readSessionUrl,
  SESSION_IDLE_MS,
  type SessionFacts,
} from "./session.ts";
import type { UpstreamAsk, UpstreamOpened } from "./upstream-sessions.ts";

/** Rows moved to D1 in one batch, and their characters: D1 takes two megabytes in one parameter. */
const BATCH = 500;
const BATCH_LENGTH = 500_000;
/** How long rows wait for company before they move. */
const MOVE_AFTER_MS = 500;
/** A refused batch is tried again after this, doubled up to the limit. */
const RETRY_MS = 1_000;
const RETRY_LIMIT_MS = 60_000;
/** While a call waits here, something happens at least so often. */
const AWAKE_MS = 20_000;
/** A run with a budget may have to wait for so long before it begins. */
const MAX_BELIEF_MS = 5_000;

/**
 * One client session, or a principal's default one: who opened it, its sessions with upstream servers, its runs, and
 * the call rows that are not in D1 yet. What a row says is decided in `calls/`, how a server is spoken to in
 * `connector/`, what runs and budgets are in `run-ledger.ts`.
 */
export class Session extends DurableObject<Env> {
  readonly #services: Services;
  readonly #opening = new Map<string, Promise<UpstreamOpened>>();
  /** The sessions over HTTP+SSE, by server. They end with this instance, and the next call opens others. */
  readonly #links = new Map<string, SseLink>();
  readonly #mailbox = createMailbox();
  readonly #parking = createParking(() => this.#stayAwake());
  readonly #ears: Ears<Omit<UpstreamAsk, "lost"> | null>;
  readonly #runs: RunLedger;
  /** Runs with a budget that wait for others to stop believing that there is none: meanwhile nobody is told so. */
  #waiting = 0;
  #retryMs = RETRY_MS;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrateObject(ctx.storage, sessionMigrations);
    this.#services = createServices(env);
    this.#runs = createRunLedger(ctx.storage.sql);
    this.#ears = createEars(
      listeningTo(this.#services.upstreamSessions, {
        upstream: (ask) => this.#upstreamOf(ask),
        linkOf: (serverId) => this.#links.get(serverId),
      }),
      (serverId) => this.#followed(serverId),
    );
  }

  /** Begins the session. */
  async open(facts: SessionFacts): Promise<void> {
    const { principal_id, org_id, door, revision, client } = facts;
    const now = this.#services.clock();
    this.ctx.storage.sql.exec(
      "INSERT OR REPLACE INTO session VALUES (1, ?, ?, ?, ?, ?, ?)",
      ...[principal_id, org_id, door, revision, now, JSON.stringify(client)],
    );
    await this.#wakeBy(now + SESSION_IDLE_MS);
  }

  /** What the session settled, or null when there is none (any more); asking keeps it alive. */
  async facts(): Promise<SessionFacts | null> {
    const now = this.#services.clock();
    const [facts] = this.ctx.storage.sql
      .exec<Record<keyof SessionFacts, string>>("SELECT principal_id, org_id, door, revision, client FROM session")
      .toArray();
    if (facts === undefined) return null;
    this.ctx.storage.sql.exec("UPDATE session SET seen_at = ? WHERE seen_at < ?", now, now - 60_000);
    return { ...facts, client: JSON.parse(facts.client) as UpstreamClient };
  }

  /** Ends the session and, at their servers, the sessions it holds there (P-26). */
  async end(): Promise<void> {
    const { sql } = this.ctx.storage;
    const open = sql
      .exec<{ server_id: string } & Record<keyof OpenUpstream, string>>("SELECT * FROM upstream")
      .toArray();
    const facts = await this.facts();
    sql.exec("DELETE FROM session");
    sql.exec("DELETE FROM upstream");
    sql.exec("DELETE FROM followed");
    const now = this.#services.clock();
    this.#runs.end(now);
    await this.#wakeBy(now + MOVE_AFTER_MS);
    this.#ears.closeAll();
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    const owner = { org_id: facts?.org_id ?? "", user_id: facts?.principal_id ?? "" };
    this.ctx.waitUntil(
      Promise.all(
        open.map(({ server_id, ...session }) => this.#services.upstreamSessions.close(server_id, session, owner)),
      ),
    );
  }

  /**
   * The session with a legacy server, opened if need be; all who wait for one share it.
   *
   * It belongs to the credential that it is asked for with: another account has another session (CN-3). Whoever listens
   * to the server hears it by then: a server that asks before it is listened to is never answered.
   */
  async upstream(ask: UpstreamAsk): Promise<UpstreamOpened> {
    const opened = await this.#upstreamOf(ask);
    if (opened.ok) await this.#ears.begun(ask.serverId);
    return opened;
  }

  async #upstreamOf(ask: UpstreamAsk): Promise<UpstreamOpened> {
    const { serverId, lost } = ask;
    const key = await this.#services.upstreamSessions.targetKey(serverId, ask.tokenId);
    const [held] = this.ctx.storage.sql
      .exec<OpenUpstream & Record<string, SqlStorageValue>>(
        "SELECT session_id, revision, target_key FROM upstream WHERE server_id = ? AND target_key = ?",
        serverId,
        key,
      )
      .toArray();
    if (held !== undefined && (lost === null || held.session_id !== lost)) return { ok: true, session: { ...held } };
    const running = this.#opening.get(serverId);
    if (running !== undefined) return running;
    const opening = this.#openUpstream(ask).finally(() => this.#opening.delete(serverId));
    this.#opening.set(serverId, opening);
    return opening;
  }

  /** Forgets a session with a legacy server, unless another one is there by now. */
  async dropUpstream(serverId: string, sessionId: string | null): Promise<void> {
    this.ctx.storage.sql.exec("DELETE FROM upstream WHERE server_id = ? AND session_id IS ?", serverId, sessionId);
  }

  async #openUpstream({ serverId, ...as }: UpstreamAsk): Promise<UpstreamOpened> {
    const opened = await this.#services.upstreamSessions.open(serverId, as);
    if (!opened.ok) return opened;
    const { link, session } = opened;
    const { session_id, revision, target_key } = session;
    this.#links.get(serverId)?.close();
    this.#links.delete(serverId);
    if (link !== null) this.#links.set(serverId, link);
    this.ctx.storage.sql.exec(
      "INSERT OR REPLACE INTO upstream VALUES (?, ?, ?, ?)",
      ...[serverId, session_id, revision, target_key],
    );
    return { ok: true, session };
  }

  /** Requests whose answers are streams; see `SessionStub`. */
  override async fetch(request: Request): Promise<Response> {
    const { path, name } = readSessionUrl(request.url);
    switch (path) {
      case "relay":
        return this.#relay(request, name);
      case "park": {
        const { at, message } = await request.json<{ at: ParkedAt; message: Omit<Outgoing, "signal"> }>();
        const way = at.isLink ? this.#links.get(at.serverId)?.send : this.#services.send;
        if (way === undefined) return new Response(null, { status: 404 });
        return this.#parking.send(way, { ...message, signal: request.signal }, at.origin, at.capabilities);
      }
      case "resume": {
        const { headers, body } = await request.json<Pick<Outgoing, "headers" | "body">>();
        return this.#parking.resume(name, headers, body ?? "", request.signal);
      }
      default: {
        const { serverId, ask, ...asked } = await request.json<NoticesAsk>();
        return this.#ears.listen(serverId, ask, asked);
      }
    }
  }

  /** Takes a message for a server over HTTP+SSE to the link that is held here. */
  async #relay(request: Request, serverId: string): Promise<Response> {
    const link = this.#links.get(serverId);
    if (link === undefined) return new Response(null, { status: 404 });
    const { signal } = request;
    const credential = JSON.parse(request.headers.get(CREDENTIAL_HEADER) ?? "{}") as Record<string, string>;
    const headers = { ...credential, "Mcp-Session-Id": request.headers.get("Mcp-Session-Id") ?? "" };
    return link.send({ url: request.url, method: "POST", headers, body: await request.text(), signal }, "");
  }

  answers(ids: readonly string[], ms: number): Promise<(string | null)[]> {
    return this.#mailbox.wait(ids, ms);
  }

  async answer(id: string, text: string): Promise<void> {
    this.#mailbox.answer(id, text);
  }

  watch(requestId: string): Promise<boolean> {
    return this.#mailbox.watch(requestId);
  }

  async cancel(requestId: string): Promise<void> {
    this.#mailbox.cancel(requestId);
  }

  async unwatch(requestId: string): Promise<void> {
    this.#mailbox.unwatch(requestId);
  }

  async unlisten(id: string): Promise<void> {
    this.#ears.unlisten(id);
  }

  /** Servers are told of it with the next session, or the next request. */
  async setLevel(level: string): Promise<void> {
    const facts = await this.facts();
    if (facts === null) return;
    this.ctx.storage.sql.exec("UPDATE session SET client = ?", JSON.stringify({ ...facts.client, logLevel: level }));
  }

  /** Repeating it is harmless. */
  async follow(ask: Omit<UpstreamAsk, "lost">, uri: string, isFollowed: boolean): Promise<void> {
    const change = isFollowed
      ? "INSERT OR IGNORE INTO followed VALUES (?, ?)"
      : "DELETE FROM followed WHERE server_id = ? AND uri = ?";
    this.ctx.storage.sql.exec(change, ask.serverId, uri);
    this.#ears.refollow(ask.serverId, ask);
  }

  #followed(serverId: string): string[] {
    const rows = this.ctx.storage.sql.exec<{ uri: string }>("SELECT uri FROM followed WHERE server_id = ?", serverId);
    return rows.toArray().map(({ uri }) => uri);
  }

  /**
   * Takes call rows; they are in storage when this returns, and in D1 some time later. Repeating it is harmless.
   *
   * @param rows JSON text of a list of `CallRow`: as text they are never taken apart on their way, which is most of
   *   what a row would cost.
   */
  async journal(rows: string): Promise<void> {
    const now = this.#services.clock();
    // First, so that no row can be here without something that moves it.
    await this.#wakeBy(now + MOVE_AFTER_MS);
    this.#runs.journal(rows, now);
  }

  /** Begins a run (OT-15). Repeating it is harmless. */
  async startRun(place: RunPlace, draft: RunDraft, holder: string): Promise<Started> {
    const isBudgeted = draft.budget_nano !== null;
    if (isBudgeted) this.#waiting++;
    try {
      if (isBudgeted) await this.#unbelieved(holder);
      const now = this.#services.clock();
      const started = this.#runs.start(place, draft, this.#believer(holder), now);
      await this.#wakeBy(now + MOVE_AFTER_MS);
      return started;
    } finally {
      if (isBudgeted) this.#waiting--;
    }
  }

  /** Ends a run (OT-16). @param by Names the request, so that its repetition is told what it has done. */
  async finishRun(runId: string, end: RunEnd, by: string, entered: number): Promise<number | null> {
    const now = this.#services.clock();
    const closed = this.#runs.finish(runId, end, by, entered, now);
    if (closed !== null) await this.#wakeBy(now + MOVE_AFTER_MS);
    return closed;
  }

  /** Decides on a call before it goes upstream (PS-40, PS-41). Repeating it is harmless. */
  async admitCall(call: CallAsk, holder: string): Promise<Admitted> {
    const now = this.#services.clock();
    const admitted = this.#runs.admit(call, this.#believer(holder), now);
    if (admitted.kind === "in" && admitted.isReserved) await this.#wakeForRuns();
    return admitted;
  }

  /** A call has failed: what it held is free again. */
  async releaseCall(callId: string): Promise<void> {
    this.#runs.release(callId);
  }

  #believer(holder: string): Believer {
    const { snapshotTtlMs } = this.#services.config;
    return { holder, forMs: this.#waiting > 0 ? 0 : Math.min(snapshotTtlMs, MAX_BELIEF_MS) };
  }

  /** Waits until no other isolate believes any more that this session has no budget. */
  async #unbelieved(holder: string): Promise<void> {
    const until = this.#runs.believedUntil(holder);
    const waitMs = until === null ? 0 : until - this.#services.clock();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  }

  /** Does whatever there is to do. May run early, late or twice: what is due is found in the rows themselves. */
  override async alarm(): Promise<void> {
    const { clock, config } = this.#services;
    this.#runs.sweep(config.runIdleMs, clock());
    const retryAt = (await this.#moveRows()) ?? (await this.#moveRuns());
    const { sql } = this.ctx.storage;
    const now = clock();
    const [session] = sql.exec<{ seen_at: number }>("SELECT seen_at FROM session").toArray();
    if (session !== undefined && session.seen_at + SESSION_IDLE_MS <= now) await this.end();
    else if (session !== undefined) await this.#wakeBy(session.seen_at + SESSION_IDLE_MS);
    const { waiting } = sql.exec<{ waiting: number }>("SELECT COUNT(*) AS waiting FROM journal").one();
    if (waiting > 0 || this.#runs.unmoved().length > 0) await this.#wakeBy(retryAt ?? now);
    await this.#wakeForRuns();
    if (this.#parking.size() > 0) await this.#stayAwake();
  }

  /** An object that nobody speaks with is ended after a while, and what it holds with it. */
  #stayAwake(): Promise<void> {
    return this.#wakeBy(this.#services.clock() + AWAKE_MS);
  }

  /** Moves the oldest rows to D1; says when to try again if D1 refused. A row that D1 has already, it ignores. */
  async #moveRows(): Promise<number | null> {
    const { sql } = this.ctx.storage;
    const { last, count, rows } = sql
      .exec<{ last: number | null; count: number; rows: string }>(
        `SELECT MAX(seq) AS last, COUNT(*) AS count, json_group_array(json(row)) AS rows
         FROM (SELECT seq, row, SUM(LENGTH(row)) OVER (ORDER BY seq) AS total FROM journal ORDER BY seq LIMIT ?)
         WHERE total <= ?`,
        ...[BATCH, BATCH_LENGTH],
      )
      .one();
    if (last === null) return null;
    const retryAt = await this.#append(() => this.#services.callStore.append(rows), "journal_move_failed", count);
    if (retryAt === null) sql.exec("DELETE FROM journal WHERE seq <= ?", last);
    return retryAt;
  }

  /** The same with runs; D1 keeps of each the latest state that it has been given. */
  async #moveRuns(): Promise<number | null> {
    const runs = this.#runs.unmoved();
    if (runs.length === 0) return null;
    const append = () => this.#services.runStore.append(JSON.stringify(runs));
    const retryAt = await this.#append(append, "run_move_failed", runs.length);
    if (retryAt === null) this.#runs.moved(runs);
    return retryAt;
  }

  async #append(append: () => Promise<void>, failure: string, rows: number): Promise<number | null> {
    try {
      await append();
      this.#retryMs = RETRY_MS;
      return null;
    } catch (thrown) {
      // Not rethrown: the runtime would give up after a few tries, and the rows have nowhere else to go.
      log("error", failure, { rows, causes: causesOf(thrown) });
      const retryAt = this.#services.clock() + this.#retryMs;
      this.#retryMs = Math.min(RETRY_LIMIT_MS, this.#retryMs * 2);
      return retryAt;
    }
  }

  async #wakeForRuns(): Promise<void> {
    const at = this.#runs.nextSweep(this.#services.config.runIdleMs);
    if (at !== null) await this.#wakeBy(at);
  }

  /** The one alarm stands at the earliest time that anything has asked for. */
  async #wakeBy(at: number): Promise<void> {
    const standing = await this.ctx.storage.getAlarm();
    if (standing === null || standing > at) await this.ctx.storage.setAlarm(at);
  }
}
