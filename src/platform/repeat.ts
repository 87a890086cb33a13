const TRIES = 3;

/**
 * Asks an object again where the runtime says that this may help. Only for what is safe to repeat: an object that was
 * moved, or ended for a new version, may have done it already.
 */
export async function repeat<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      if (attempt === TRIES || !mayHelp(thrown)) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, attempt * 50 * (1 + Math.random())));
    }
  }
}

function mayHelp(thrown: unknown): boolean {
  const { retryable, overloaded, durableObjectReset } = thrown as Readonly<Record<string, unknown>>;
  return (retryable === true || durableObjectReset === true) && overloaded !== true;
}
