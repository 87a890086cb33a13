/**
 * Asking many servers at once, of which some hang: an answer waits for none of them longer than is stated here, and
 * those that have not answered by then are left out of it (issue 6, R-12).
 */

/** Servers asked at a time: the runtime lets six requests wait for their headers, and the caller has others. */
const AT_ONCE = 5;
/** How long one server may take. */
export const ONE_MS = 3_000;
/** How long all of them may, those included that have had to wait for others. */
export const ALL_MS = 6_000;

/** Whatever a question has brought by then; null for a server that has failed, or has not answered. */
export async function askAll<T, R>(
  subjects: readonly T[],
  ask: (subject: T, left: AbortSignal) => Promise<R | null>,
  { signal, waitUntil }: { readonly signal: AbortSignal; readonly waitUntil: (work: Promise<unknown>) => void },
): Promise<(R | null)[]> {
  const found: (R | null)[] = subjects.map(() => null);
  const isOver = new AbortController();
  const stop = () => isOver.abort();
  signal.addEventListener("abort", stop);
  const over = Promise.withResolvers<void>();
  isOver.signal.addEventListener("abort", () => over.resolve());
  const timer = setTimeout(stop, ALL_MS);
  let next = 0;
  let left = subjects.length;
  if (left === 0) stop();

  /** A server that hangs keeps its place until its request has really ended: there are never more under way. */
  async function work(): Promise<void> {
    while (next < subjects.length && !isOver.signal.aborted) {
      const at = next++;
      const own = new AbortController();
      const end = () => own.abort();
      isOver.signal.addEventListener("abort", end);
      const ownTimer = setTimeout(end, ONE_MS);
      let isCounted = false;
      const count = () => {
        if (!isCounted && --left === 0) stop();
        isCounted = true;
      };
      // From here on the answer does not wait for this server.
      own.signal.addEventListener("abort", count);
      const answer = await ask(subjects[at] as T, own.signal).catch(() => null);
      if (!own.signal.aborted) found[at] = answer;
      clearTimeout(ownTimer);
      isOver.signal.removeEventListener("abort", end);
      count();
    }
  }

  const working = Promise.all(Array.from({ length: Math.min(AT_ONCE, subjects.length) }, work));
  waitUntil(working);
  await over.promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
  return [...found];
}
