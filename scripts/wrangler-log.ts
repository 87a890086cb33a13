/** What wrangler prints: held back while the gateway starts, to be quoted if that fails, and passed on afterwards. */
import { stripVTControlCharacters } from "node:util";

/** An error is told in several lines; the rest of them arrives within this time. */
const REST_MS = 500;
const QUOTED_LINES = 40;

export class WranglerLog {
  readonly #onLog: ((line: string) => void) | undefined;
  readonly #held: string[] = [];
  readonly #failure = Promise.withResolvers<string>();
  #passesOn = false;

  /** @param onLog Receives the lines after `passOn()`. */
  constructor(onLog?: (line: string) => void) {
    this.#onLog = onLog;
  }

  /**
   * Resolves with a text when wrangler reports an error. A Worker that does not build is no reason for it to end: it
   * waits for the source to change. Never rejects.
   */
  get failure(): Promise<string> {
    return this.#failure.promise;
  }

  readonly add = (line: string): void => {
    if (this.#passesOn) {
      this.#onLog?.(line);
      return;
    }
    this.#held.push(stripVTControlCharacters(line));
    if (isError(line)) setTimeout(() => this.#failure.resolve("The Worker could not be started"), REST_MS).unref();
  };

  /** Ends holding back. What is held stays unsaid: bindings, the address, the health checks of the start. */
  passOn(): void {
    this.#passesOn = true;
  }

  /** The last of the lines held back, from the first error on if there is one. */
  quote(): string {
    const from = Math.max(0, this.#held.findIndex(isError));
    return this.#held.slice(from).slice(0, QUOTED_LINES).join("\n").trim();
  }
}

function isError(line: string): boolean {
  return stripVTControlCharacters(line).includes("[ERROR]");
}
