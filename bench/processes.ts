/** The helper processes that are Node: the upstream server, its authorization server, and the load generator. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Cleanup } from "./cleanup.ts";
import type { Measurement, Outcome, Sample } from "./load.ts";
import type { Era } from "./wire.ts";

/** A process under measurement. */
export interface Running {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

export type Measure = (measurement: Measurement) => Promise<Sample>;

export async function startUpstream(cleanup: Cleanup, era: Era): Promise<Running> {
  const { child, stop } = start(cleanup, "upstream.ts", [era]);
  const [{ port }] = await message<{ port: number }>(child);
  return { pid: pidOf(child), port, stop };
}

export interface Authorization extends Running {
  /** Sets how long access tokens live that come from now on. @returns How many refresh requests have come so far */
  setLifetime(seconds: number): Promise<number>;
}

export async function startAuthorization(cleanup: Cleanup): Promise<Authorization> {
  const { child, stop } = start(cleanup, "authorization.ts", []);
  const [{ port }] = await message<{ port: number }>(child);
  const setLifetime = async (seconds: number) => {
    child.send(seconds);
    const [{ refreshed }] = await message<{ refreshed: number }>(child);
    return refreshed;
  };
  return { pid: pidOf(child), port, stop, setLifetime };
}

/** @returns What makes one measurement after the other; it lives until the benchmark ends. */
export function startLoad(cleanup: Cleanup): Measure {
  const { child } = start(cleanup, "load.ts", []);
  return async (measurement) => {
    child.send(measurement);
    const [outcome] = await message<Outcome>(child);
    if ("error" in outcome) throw new Error(outcome.error);
    return outcome.sample;
  };
}

/** Megabytes of memory that a process holds, and the most that it has held; NaN where the system has no /proc. */
export interface Memory {
  readonly residentMb: number;
  readonly peakMb: number;
}

export function memoryOf(pid: number): Memory {
  const path = `/proc/${pid}/status`;
  const status = existsSync(path) ? readFileSync(path, "latin1") : "";
  const megabytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(status)?.[1] ?? Number.NaN) / 1_024;
  return { residentMb: megabytes("VmRSS"), peakMb: megabytes("VmHWM") };
}

export function pidOf({ pid, spawnfile }: ChildProcess): number {
  if (pid === undefined) throw new Error(`${spawnfile} did not start`);
  return pid;
}

function start(cleanup: Cleanup, file: string, args: string[]) {
  const child = fork(join(import.meta.dirname, file), args);
  return { child, stop: cleanup.adopt(child) };
}

async function message<T>(child: ChildProcess): Promise<[T]> {
  const gone = new AbortController();
  const onExit = () => gone.abort();
  child.once("exit", onExit);
  try {
    return (await once(child, "message", { signal: gone.signal })) as [T];
  } catch {
    throw new Error(`${child.spawnargs.slice(1).join(" ")} ended`);
  } finally {
    child.off("exit", onExit);
  }
}
