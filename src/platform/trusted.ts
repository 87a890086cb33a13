import { ExpiringMap } from "./expiring-map.ts";

/** A copy of something stored, and since when it is known to be true. */
interface Held<V> {
  readonly value: V;
  /** When the read that confirmed it began: a write that came later may not be in it. */
  readonly since: number;
  /** Until then somebody is already confirming it again. */
  readonly checking: number;
}

/** How long a copy that nobody asks for is kept: older than trusted it only saves reading what has not changed. */
const KEEP_MS = 600_000;

/** How long a second request leaves a confirmation to the first. */
const CHECK_MS = 1_000;

/** What an isolate trusts for a stated time (design.md section 3). Holds values only; the reads are the caller's. */
export class TrustedMap<V> {
  readonly #held: ExpiringMap<string, Held<V>>;
  readonly #clock: () => number;
  #epoch = 0;

  /** @param limit @param weightOf As of `ExpiringMap`. */
  constructor(clock: () => number, limit: number, weightOf: (value: V) => number = () => 1) {
    this.#held = new ExpiringMap(clock, limit, ({ value }) => weightOf(value));
    this.#clock = clock;
  }

  /**
   * The value of a key: from memory while it is young, from memory with a confirmation behind the answer from half of
   * `ttlMs` on, and read before the answer beyond that.
   *
   * @param confirm Reads the truth; given the former copy, it may return that very copy when nothing changed.
   * @param behind Keeps work alive after the answer (`waitUntil`).
   */
  async get(
    key: string,
    ttlMs: number,
    confirm: (former: V | undefined) => Promise<V>,
    behind: (work: Promise<unknown>) => void,
  ): Promise<V> {
    const held = this.#held.get(key);
    if (held === undefined) return this.#read(key, undefined, confirm);
    const now = this.#clock();
    if (now - held.since >= ttlMs) return this.#read(key, held.value, confirm);
    if (now - held.since >= ttlMs / 2 && held.checking <= now) {
      this.#held.set(key, { ...held, checking: now + CHECK_MS }, held.since + KEEP_MS);
      // A confirmation that fails leaves the copy as it is; beyond the bound nobody takes it unconfirmed.
      behind(this.#read(key, held.value, confirm).catch(() => undefined));
    }
    return held.value;
  }

  /** Forgets everything, at once: this isolate has just written. */
  clear(): void {
    this.#epoch++;
    this.#held.clear();
  }

  delete(key: string): void {
    this.#epoch++;
    this.#held.delete(key);
  }

  async #read(key: string, former: V | undefined, confirm: (former: V | undefined) => Promise<V>): Promise<V> {
    const epoch = this.#epoch;
    const since = this.#clock();
    const value = await confirm(former);
    // A read that began before this isolate's own write must not bring the old value back.
    if (epoch === this.#epoch) this.#held.set(key, { value, since, checking: 0 }, since + KEEP_MS);
    return value;
  }
}
