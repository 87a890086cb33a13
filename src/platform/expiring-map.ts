/** A bounded map whose entries end by themselves. For what an isolate remembers: plain values only, never promises. */
export class ExpiringMap<K, V> {
  readonly #entries = new Map<K, { value: V; expiresAt: number; weight: number }>();
  readonly #clock: () => number;
  readonly #limit: number;
  readonly #weightOf: (value: V) => number;
  #weight = 0;

  /**
   * @param limit What all entries may weigh together; the oldest written go first, and one entry is always kept.
   * @param weightOf What an entry weighs; by default each counts as one.
   */
  constructor(clock: () => number, limit: number, weightOf: (value: V) => number = () => 1) {
    this.#clock = clock;
    this.#limit = limit;
    this.#weightOf = weightOf;
  }

  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt > this.#clock()) return entry.value;
    this.delete(key);
    return undefined;
  }

  /** @param expiresAt Milliseconds since the Unix epoch; from then on the entry is gone. */
  set(key: K, value: V, expiresAt: number): void {
    this.delete(key);
    const weight = this.#weightOf(value);
    this.#entries.set(key, { value, expiresAt, weight });
    this.#weight += weight;
    for (const oldest of this.#entries.keys()) {
      if (this.#weight <= this.#limit || this.#entries.size === 1) return;
      this.delete(oldest);
    }
  }

  delete(key: K): void {
    this.#weight -= this.#entries.get(key)?.weight ?? 0;
    this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#weight = 0;
  }
}
