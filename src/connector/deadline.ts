/** How long one upstream request may take, to the last byte of its answer (PS-30). */
export interface Deadline {
  /** Aborts the request: at the deadline, or when the one who asked has left. */
  readonly signal: AbortSignal;
  /** Whether it was time that ended the request. */
  readonly isOver: () => boolean;
  /** The server is at work on it (progress): the time begins again, up to the cap. */
  readonly restart: () => void;
  /** Ends the request from our side. */
  readonly abort: () => void;
  /** Must be called when the request is done with. */
  readonly clear: () => void;
}

/** No progress keeps a call alive for longer than this. */
export const DEADLINE_CAP_MS = 600_000;

/** @param left Fires when the one who asked has left. */
export function startDeadline(ms: number, left?: AbortSignal): Deadline {
  const controller = new AbortController();
  const capAt = Date.now() + DEADLINE_CAP_MS;
  let over = false;
  const expire = () => {
    over = true;
    controller.abort();
  };
  const abort = () => controller.abort();
  let timer = setTimeout(expire, ms);
  if (left?.aborted) abort();
  left?.addEventListener("abort", abort);
  return {
    signal: controller.signal,
    isOver: () => over,
    restart() {
      clearTimeout(timer);
      if (!over) timer = setTimeout(expire, Math.min(ms, capAt - Date.now()));
    },
    abort,
    clear() {
      clearTimeout(timer);
      left?.removeEventListener("abort", abort);
    },
  };
}
