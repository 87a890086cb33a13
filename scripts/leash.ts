/**
 * Preloaded (`node --import`) into every program that `program.ts` starts: the program ends when its parent is gone. A
 * parent that is killed outright cannot end its children; this way they end by themselves.
 */
import process from "node:process";

const CHECK_MS = 500;
const parent = process.ppid;

// Not the IPC channel's `disconnect`: wrangler closes its channel itself, before it sets its exit code.
setInterval(() => {
  if (process.ppid !== parent) process.exit(1);
}, CHECK_MS).unref();
