/** `npm start`: a gateway for this machine alone, until Ctrl-C. */
import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { startGateway } from "./gateway.ts";
import { interruption, unlessAborted } from "./program.ts";

const ROOT = join(import.meta.dirname, "..");
const DEFAULT_PORT = "8787";
const DEFAULT_STATE_DIR = ".wrangler/state";

async function main(signal: AbortSignal): Promise<void> {
  const port = parsePort(process.env["PORT"] || DEFAULT_PORT);
  const stateDir = resolve(ROOT, process.env["STATE_DIR"] || DEFAULT_STATE_DIR);
  console.log("Starting the gateway ...");
  const gateway = await startGateway({ root: ROOT, port, stateDir, signal, onLog: (line) => console.log(line) });
  try {
    console.log(await welcome(gateway.url, stateDir));
    throw new Error(await unlessAborted(gateway.ended, signal));
  } finally {
    await gateway.stop();
  }
}

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new Error(`PORT must be a number from 0 to 65535, not ${JSON.stringify(text)}.`);
}

async function welcome(url: string, stateDir: string): Promise<string> {
  return `
Postern is up: ${url}

  MCP endpoint  ${url}/mcp
  Admin key     ADMIN_KEY in .dev.vars
  State         ${relative(ROOT, stateDir) || stateDir}

Register a server:

  curl -s ${url}/v1/servers \\
    -H "Authorization: Bearer ${await keyCommand()}" \\
    -H 'Content-Type: application/json' \\
    -d '{"name":"everything","server_url":"http://127.0.0.1:3001/mcp"}'

The whole path, from a server to a client's call: npm run demo
Ctrl-C ends the gateway. Its log follows.
`;
}

/** A shell command that reads the admin key, so that the key itself is never printed. */
async function keyCommand(): Promise<string> {
  const text = await readFile(join(ROOT, ".dev.vars"), "utf8");
  const plain = /^ADMIN_KEY=[\w.~+/=-]+$/m.test(text);
  // A key that somebody wrote with quotes or blanks needs the whole syntax.
  return plain
    ? "$(sed -n 's/^ADMIN_KEY=//p' .dev.vars)"
    : "$(env -u ADMIN_KEY node --env-file=.dev.vars -p process.env.ADMIN_KEY)";
}

const signal = interruption();
try {
  await main(signal);
} catch (error) {
  if (!signal.aborted) {
    console.error(`postern: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
