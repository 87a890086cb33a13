/**
 * The load generator, a process of its own: each message from the parent is one measurement, each message back its
 * result. Every client has one connection and sends its next request when it has the answer to the last.
 */
import { readFileSync } from "node:fs";
import { Connection, requestHead, requestText } from "./connection.ts";
import { type Figures, quantile } from "./figures.ts";
import { type Exchange, NUMBER } from "./wire.ts";

export interface Measurement {
  readonly port: number;
  readonly path: string;
  readonly exchange: Exchange;
  /** One for each parallel client: the headers that name it. */
  readonly clients: readonly Readonly<Record<string, string>>[];
  /** The process whose processor time is read. */
  readonly pid: number;
  /** Not counted: connections open, caches fill. */
  readonly leadInMs: number;
  readonly windowMs: number;
}

export interface Sample extends Figures {
  readonly p99Ms: number;
  /** Processor time of the measured process; null where the system has no /proc. */
  readonly cpuMicros: number | null;
  /** How much of one core the load generator took: at 1 it measures itself. */
  readonly clientShare: number;
}

export type Outcome = { readonly sample: Sample } | { readonly error: string };

/** Linux counts in hundredths of a second, whatever its timer does. */
const TICK_MICROS = 10_000;

/** Counts through the whole run, so that no argument comes twice. */
let number = 0;

async function measure({ port, path, exchange, clients, pid, leadInMs, windowMs }: Measurement): Promise<Sample> {
  const from = performance.now() + leadInMs;
  const until = from + windowMs;
  const took: number[] = [];
  let answered = 0;

  async function runClient(own: Readonly<Record<string, string>>): Promise<void> {
    const connection = new Connection(port);
    const spell = speller(path, exchange, own);
    try {
      for (;;) {
        number += 1;
        const text = spell(number);
        const expected = exchange.expects.replace(NUMBER, String(number));
        const startedAt = performance.now();
        if (startedAt >= until) return;
        const body = await connection.send(text);
        const endedAt = performance.now();
        if (!body.includes(expected)) throw new Error(`an answer lacks ${expected}: ${body.slice(0, 300)}`);
        // A request that overlaps the window counts with its whole time, so that a stall shows.
        if (endedAt >= from) took.push(endedAt - startedAt);
        if (endedAt >= from && endedAt < until) answered += 1;
      }
    } finally {
      connection.close();
    }
  }

  const running = Promise.all(clients.map(runClient));
  const spent = readCpu(pid, leadInMs, windowMs);
  await running;
  const { ownMicros, cpuMicros, elapsedMs } = await spent;
  took.sort((a, b) => a - b);
  return {
    p50Ms: quantile(took, 0.5),
    p95Ms: quantile(took, 0.95),
    p99Ms: quantile(took, 0.99),
    perSecond: answered / (windowMs / 1_000),
    cpuMicros: cpuMicros === null || answered === 0 ? null : cpuMicros / answered,
    clientShare: ownMicros / 1_000 / elapsedMs,
  };
}

/** Reads the clocks of both processes at the beginning and at the end of the window. */
async function readCpu(pid: number, leadInMs: number, windowMs: number) {
  await sleep(leadInMs);
  const startedAt = performance.now();
  const own = process.cpuUsage();
  const before = cpuOf(pid);
  await sleep(windowMs);
  const after = cpuOf(pid);
  const { user, system } = process.cpuUsage(own);
  return {
    ownMicros: user + system,
    cpuMicros: before === null || after === null ? null : after - before,
    elapsedMs: performance.now() - startedAt,
  };
}

function cpuOf(pid: number): number | null {
  try {
    // The second field is the program's name in brackets and may hold blanks: utime is the 12th field after it.
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * TICK_MICROS;
  } catch {
    return null;
  }
}

/** @returns What writes a whole request, head included, with its number in place. */
function speller(path: string, { headers, body }: Exchange, own: Readonly<Record<string, string>>) {
  const head = requestHead("POST", path, { ...headers, ...own });
  const parts = body.split(NUMBER);
  return (own: number): string => requestText(head, parts.join(String(own)));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

process.on("message", (measurement: Measurement) => {
  measure(measurement).then(
    (sample) => process.send?.({ sample } satisfies Outcome),
    (thrown: unknown) => process.send?.({ error: String(thrown) } satisfies Outcome),
  );
});
// Whoever started this is gone.
process.on("disconnect", () => process.exit());
