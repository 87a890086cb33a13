import { DurableObject } from "cloudflare:workers";
import type { Owner } from "../credentials/owner.ts";
import { causesOf, log } from "../platform/log.ts";
import { migrateObject } from "../platform/object-schema.ts";
import { createServices, type Services } from "../services.ts";
import { connectorMigrations } from "./connector.migrations.ts";
import type { Discovered } from "./connector.ts";
import { nextLook, type Plan, planAfter } from "./schedule.ts";

const NO_PLAN: Plan = { failures: 0, health_at: null, discovery_at: null };

/** How long it is believed that a server has the authorization server that it was last found to have. */
const FOLLOW_PAUSE_MS = 30_000;

/**
 * One upstream server, named by its id: the one place that connects to it and decides what it is. Its alarm looks at
 * the server now and then; how a server is spoken to is in `connector.ts`.
 */
export class Connector extends DurableObject<Env> {
  readonly #services: Services;
  #running: Promise<Discovered> | null = null;
  #queued: Promise<Discovered> | null = null;
  #registering: Promise<boolean> | null = null;
  #following: { readonly since: number; readonly done: Promise<boolean> } | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrateObject(ctx.storage, connectorMigrations);
    this.#services = createServices(env);
  }

  /**
   * Brings the catalog up to date. One discovery runs at a time; all who ask while one runs share the next, because
   * the running one may have begun before what they ask about.
   *
   * @param self An origin that the gateway is reached at: it is known from then on and not contacted (PS-61).
   * @param owner Whose account is used; who brings one shares nobody else's discovery.
   */
  discover(self?: string, owner: Owner | null = null): Promise<Discovered> {
    if (self !== undefined) this.ctx.storage.sql.exec("INSERT OR IGNORE INTO own VALUES (?)", self);
    if (this.#running === null) return this.#start(null, owner);
    if (owner !== null) {
      const mine = () => this.#start(null, owner);
      return this.#running.then(mine, mine);
    }
    const next = () => {
      this.#queued = null;
      return this.#start();
    };
    this.#queued ??= this.#running.then(next, next);
    return this.#queued;
  }

  /**
   * Registers the gateway anew with the server's authorization server: once for all who have met the refusal.
   *
   * @param self An origin of the gateway that the client must know; null: those that are known are enough.
   */
  register(refused: string, self: string | null = null): Promise<boolean> {
    if (self !== null) this.ctx.storage.sql.exec("INSERT OR IGNORE INTO own VALUES (?)", self);
    const own = self === null ? this.#own() : [...this.#own().filter((origin) => origin !== self), self];
    this.#registering ??= this.#services.connector.register(this.ctx.id.name ?? "", refused, own).finally(() => {
      this.#registering = null;
    });
    return this.#registering;
  }

  /**
   * Registers the gateway with another authorization server, where the server has changed to one. Who asks soon after
   * another gets the same answer: an agent may call again and again.
   */
  follow(): Promise<boolean> {
    const now = this.#services.clock();
    if (this.#following === null || now - this.#following.since >= FOLLOW_PAUSE_MS) {
      const done = this.#services.connector.follow(this.ctx.id.name ?? "", this.#own()).catch((thrown: unknown) => {
        this.#following = null;
        throw thrown;
      });
      this.#following = { since: now, done };
    }
    return this.#following.done;
  }

  /** Stops looking at a server that is deleted. */
  async forget(): Promise<void> {
    this.ctx.storage.sql.exec("DELETE FROM plan");
    await this.ctx.storage.deleteAlarm();
  }

  /** Looks at the server. May run early, late or twice: that only looks once more. */
  override async alarm(): Promise<void> {
    const plan = this.#plan();
    const now = this.#services.clock();
    try {
      if (plan.discovery_at !== null && plan.discovery_at <= now) await this.#look(plan);
      else if (plan.health_at !== null && plan.health_at <= now) await this.#check(plan);
      else await this.#wake(plan);
    } catch (thrown) {
      // Not rethrown: the runtime would give up after a few tries, and nothing would look at the server again.
      log("error", "look_failed", { server_id: this.ctx.id.name, causes: causesOf(thrown) });
      await this.#follow("health", false);
    }
  }

  /** A discovery that nobody has asked for; what somebody has asked for meanwhile is one. */
  async #look({ failures }: Plan): Promise<void> {
    await (this.#running === null ? this.#start(failures) : this.discover());
  }

  #start(failures: number | null = null, owner: Owner | null = null): Promise<Discovered> {
    const run = this.#discoverAndPlan(failures, owner).finally(() => {
      this.#running = null;
    });
    this.#running = run;
    return run;
  }

  async #discoverAndPlan(failures: number | null, owner: Owner | null): Promise<Discovered> {
    const discovered = await this.#services.connector.discover(this.ctx.id.name ?? "", {
      failures,
      own: this.#own(),
      owner,
    });
    const isGone = !discovered.ok && (discovered.code === "not_found" || discovered.code === "invalid_request");
    if (isGone || (!discovered.ok && discovered.isWaiting)) await this.forget();
    else await this.#follow("discovery", discovered.ok);
    return discovered;
  }

  async #check(plan: Plan): Promise<void> {
    const checked = await this.#services.connector.check(this.ctx.id.name ?? "", {
      failures: plan.failures,
      own: this.#own(),
    });
    if (checked === "gone") await this.forget();
    else if (checked === "unseen") await this.#look(plan);
    else await this.#follow("health", checked === "well");
  }

  /** The origins of the gateway itself, as far as they are known here. */
  #own(): string[] {
    const rows = this.ctx.storage.sql.exec<{ origin: string }>("SELECT origin FROM own").toArray();
    return rows.map(({ origin }) => origin);
  }

  #plan(): Plan {
    const [plan] = this.ctx.storage.sql
      .exec<Plan & Record<string, number | null>>("SELECT failures, health_at, discovery_at FROM plan")
      .toArray();
    return plan ?? NO_PLAN;
  }

  async #follow(look: "health" | "discovery", isWell: boolean): Promise<void> {
    const { clock, config } = this.#services;
    const plan = planAfter(look, isWell, this.#plan(), clock(), config.intervals, Math.random());
    const { failures, health_at, discovery_at } = plan;
    this.ctx.storage.sql.exec("INSERT OR REPLACE INTO plan VALUES (1, ?, ?, ?)", failures, health_at, discovery_at);
    await this.#wake(plan);
  }

  async #wake(plan: Plan): Promise<void> {
    const at = nextLook(plan);
    if (at === null) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(at);
  }
}
