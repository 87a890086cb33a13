import { afterAll, afterEach, beforeAll } from "vitest";

/** Something that a test file has started. */
export interface Running {
  /** What it has printed so far; shown with each test that fails. */
  logs(): readonly string[];
  stop(): Promise<void>;
}

const SHOWN_LINES = 60;

/**
 * Starts something before the tests of the file or block, and stops it after them, however they end.
 *
 * @returns What gives the started thing, within tests and hooks.
 */
export function running<T extends Running>(name: string, start: () => Promise<T>): () => T {
  let started: T | undefined;
  beforeAll(async () => {
    started = await start();
  });
  afterEach(({ task }) => {
    if (task.result?.state !== "fail") return;
    const lines = started?.logs().slice(-SHOWN_LINES) ?? ["was not started"];
    console.error(`The last lines of ${name}:\n  ${lines.join("\n  ")}`);
  });
  afterAll(() => started?.stop());
  return () => {
    if (started === undefined) throw new Error(`${name} is not running`);
    return started;
  };
}

/** Rows for `describe.each` and `it.each` whose titles show the label, whole and without quotes, as `%s`. */
export function labelled<T extends { readonly label: string }>(rows: readonly T[]): [string, T][] {
  return rows.map((row) => [row.label, row]);
}
