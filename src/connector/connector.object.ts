import { DurableObject } from "cloudflare:workers";
import { createServices, type Services } from "../services.ts";
import type { Discovered } from "./connector.ts";

/** One upstream server, named by its id: the one place that connects to it and decides what it is. */
export class Connector extends DurableObject<Env> {
  readonly #services: Services;
  #running: Promise<Discovered> | null = null;
  #queued: Promise<Discovered> | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#services = createServices(env);
  }

  /**
   * Brings the catalog up to date. One discovery runs at a time; all who ask while one runs share the next, because
   * the running one may have begun before what they ask about.
   */
  discover(): Promise<Discovered> {
    if (this.#running === null) return this.#start();
    const next = () => {
      this.#queued = null;
      return this.#start();
    };
    this.#queued ??= this.#running.then(next, next);
    return this.#queued;
  }

  #start(): Promise<Discovered> {
    const run = this.#services.connector.discover(this.ctx.id.name ?? "").finally(() => {
      this.#running = null;
    });
    this.#running = run;
    return run;
  }
}
