/** What must be gone when the benchmark is, however it ends: processes and a folder. */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, statfsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Cleanup {
  /** Exists until `close`. */
  readonly folder: string;
  /**
   * Takes charge of a process.
   *
   * @param asks Whether it is asked to end, with all its children; it must lead a group. Otherwise it is killed.
   * @returns What ends it, and waits until it has.
   * @throws Error after a signal; the process is then ended at once.
   */
  adopt(child: ChildProcess, asks?: "asks"): () => Promise<void>;
  close(): Promise<void>;
  /** Whether a signal has come: what fails from then on fails for that reason. */
  isInterrupted(): boolean;
}

/** How long a process may take to do as it is asked. */
const END_MS = 3_000;

export function createCleanup(): Cleanup {
  const folder = mkdtempSync(join(temporaryRoot(), "postern-bench-"));
  const running = new Set<() => Promise<void>>();
  let isInterrupted = false;

  async function close(): Promise<void> {
    await Promise.all([...running].map((stop) => stop()));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.on(signal, () => {
      isInterrupted = true;
      const leave = () => process.exit(code);
      close().then(leave, leave);
    });
  }

  return {
    folder,
    adopt(child, asks) {
      const exited = new Promise<void>((resolve) => {
        child.once("exit", () => resolve());
        child.once("error", () => resolve());
      });
      const stop = async () => {
        if (asks) {
          signalGroup(child, "SIGTERM");
          await Promise.race([exited, sleep(END_MS, undefined, { ref: false })]);
          // Its children may be slower than itself.
          signalGroup(child, "SIGKILL");
        } else {
          child.kill("SIGKILL");
        }
        await exited;
        running.delete(stop);
      };
      running.add(stop);
      void exited.then(() => running.delete(stop));
      if (isInterrupted) {
        child.kill("SIGKILL");
        throw new Error("interrupted");
      }
      return stop;
    },
    close,
    isInterrupted: () => isInterrupted,
  };
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left in it.
  }
}

/**
 * Memory where there is enough. workerd waits for the disk on the thread that also runs the Worker; Cloudflare keeps
 * what objects and D1 store on other machines, so that a slow disk here would measure nothing but itself.
 */
function temporaryRoot(): string {
  if (!existsSync(MEMORY)) return tmpdir();
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize > ENOUGH_BYTES ? MEMORY : tmpdir();
}

const MEMORY = "/dev/shm";
const ENOUGH_BYTES = 2 ** 30;
