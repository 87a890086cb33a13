/**
 * Where the requests of one client session meet: what a client answers to a question, and what it wants cancelled, comes
 * with another request than the one that waits for it, and at any isolate. Kept in memory: whoever waits keeps the
 * object alive.
 */

/** How long something is kept that nobody waits for yet. */
const EARLY_MS = 10_000;
/** A call that has been watched for so long has ended without saying so. */
const WATCH_MS = 900_000;
const MAX_EARLY = 100;

interface Waiter<T> {
  readonly resolve: (value: T) => void;
}

export interface Mailbox {
  /** The answers to some questions, in their order; null for each that has none in time. */
  wait(ids: readonly string[], ms: number): Promise<(string | null)[]>;
  /** An answer, as JSON text of the whole message. One that nobody waits for is dropped after a while. */
  answer(id: string, text: string): void;
  /** Whether a request is cancelled; false once nobody watches it any more. */
  watch(requestId: string): Promise<boolean>;
  cancel(requestId: string): void;
  unwatch(requestId: string): void;
}

export function createMailbox(): Mailbox {
  const questions = createSlots<string>();
  const requests = createSlots<boolean>();
  return {
    wait: (ids, ms) => Promise.all(ids.map((id) => questions.take(id, ms))),
    answer: (id, text) => questions.put(id, text),
    watch: async (requestId) => (await requests.take(requestId, WATCH_MS)) ?? false,
    cancel: (requestId) => requests.put(requestId, true),
    unwatch: (requestId) => requests.give(requestId, false),
  };
}

/** Values by name: each is taken once, by whoever waits for it or comes soon. */
function createSlots<T>() {
  const waiting = new Map<string, Waiter<T | null>>();
  const early = new Map<string, T>();

  /** @returns Whether somebody has waited for it. */
  function give(name: string, value: T | null): boolean {
    const waiter = waiting.get(name);
    waiting.delete(name);
    waiter?.resolve(value);
    return waiter !== undefined;
  }

  return {
    give,

    take(name: string, ms: number): Promise<T | null> {
      const there = early.get(name);
      early.delete(name);
      if (there !== undefined) return Promise.resolve(there);
      give(name, null);
      const { promise, resolve } = Promise.withResolvers<T | null>();
      const own: Waiter<T | null> = { resolve };
      waiting.set(name, own);
      const timer = setTimeout(() => {
        if (waiting.get(name) === own) give(name, null);
      }, ms);
      return promise.finally(() => clearTimeout(timer));
    },

    put(name: string, value: T): void {
      if (give(name, value) || early.size >= MAX_EARLY) return;
      early.set(name, value);
      setTimeout(() => {
        if (early.get(name) === value) early.delete(name);
      }, EARLY_MS);
    },
  };
}
