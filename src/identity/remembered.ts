/**
 * What an identity provider publishes, remembered as values: a promise of one request that another one awaits would die
 * with the first. Times and brakes are here; what is fetched, and what must hold for it, is the caller's.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";

/** A JSON document off the wire. */
export type Published = Readonly<Record<string, unknown>>;

/** A document and the attempts to get it. */
export interface Held {
  /** Null while no attempt has brought one. */
  readonly document: Published | null;
  /** When the fetch that brought it began; 0 without one. */
  readonly at: number;
  /** Whether the last attempt has brought nothing: it failed, or is still under way. */
  readonly isOpen: boolean;
  /** No other attempt before. */
  readonly restUntil: number;
}

/** By address. */
export type ProviderMemory = ExpiringMap<string, Held>;

/** How long a document is believed without a look. */
const FRESH_MS = 600_000;
/** How long it is believed when the provider does not answer: an outage there must not become one here at once. */
const KEEP_MS = 3_600_000;
/** How often something that a document lacks may make us ask for it again: made-up key ids come at any rate. */
const COOLDOWN_MS = 30_000;
/** How long a provider that failed is left alone. */
const RETRY_MS = 5_000;
/** How long one attempt may take. */
export const ATTEMPT_MS = 10_000;

type Load = () => Promise<Published>;

export function createRemembered({ memory, clock }: { memory: ProviderMemory; clock: Clock }) {
  async function attempt(key: string, load: Load, restMs: number): Promise<Published> {
    const began = clock();
    const held = memory.get(key);
    // Others go on with what there is. At the very first, when there is nothing, each asks for itself.
    if (held !== undefined) memory.set(key, { ...held, isOpen: true, restUntil: began + ATTEMPT_MS }, endOf(held));
    try {
      const document = await load();
      const loaded = { document, at: began, isOpen: false, restUntil: began + restMs };
      // A slow answer to an early question must not replace a later one.
      if ((memory.get(key)?.at ?? began) <= began) memory.set(key, loaded, endOf(loaded));
      return document;
    } catch (cause) {
      const last = memory.get(key) ?? { document: null, at: 0, isOpen: true };
      const failed = { ...last, restUntil: clock() + RETRY_MS };
      // What another attempt has brought in the meantime stands.
      if (last.isOpen) memory.set(key, failed, endOf(failed));
      throw cause instanceof GatewayError && cause.code === "unavailable" ? cause : unavailable(cause);
    }
  }

  return {
    /**
     * A document: from memory while it is fresh, and older than that only while the provider does not answer.
     *
     * @throws GatewayError `unavailable`
     */
    async current(key: string, load: Load): Promise<Published> {
      const held = memory.get(key);
      const now = clock();
      if (held === undefined) return attempt(key, load, 0);
      if (held.document !== null && now < held.at + FRESH_MS) return held.document;
      const isResting = held.isOpen && now < held.restUntil;
      if (held.document === null) {
        if (isResting) throw unavailable();
        return attempt(key, load, 0);
      }
      const { document } = held;
      return isResting ? document : attempt(key, load, 0).catch(() => document);
    },

    /**
     * A later one than the document that lacks something, unless it was asked for too lately: then the same.
     *
     * @throws GatewayError `unavailable` when it cannot be known whether there is a later one
     */
    async newer(key: string, known: Published, load: Load): Promise<Published> {
      const held = memory.get(key);
      if (held === undefined) return attempt(key, load, COOLDOWN_MS);
      if (held.document !== null && held.document !== known) return held.document;
      if (clock() >= held.restUntil) return attempt(key, load, COOLDOWN_MS);
      if (held.isOpen) throw unavailable();
      return known;
    },
  };
}

function endOf({ document, at, restUntil }: Held): number {
  return document === null ? restUntil : at + KEEP_MS;
}

/** The provider's failure, not the caller's. */
export function unavailable(cause?: unknown): GatewayError {
  return new GatewayError("unavailable", "The identity provider does not answer.", { cause });
}
