/** The two Workers that are compared, each in its own workerd under the same flags. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Bundles, ROOT } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Running } from "./processes.ts";
import { quoted, startWorkerd, text } from "./workerd.ts";

/** A gateway with one server, and one key for all its tools. */
export interface Gateway extends Running {
  readonly key: string;
}

/** @param name Unlike that of every other process of the run; so it is for the gateway. */
export function startBare(cleanup: Cleanup, bundles: Bundles, name: string, serverUrl: string): Promise<Running> {
  const { bare: script, date, flags } = bundles;
  return startWorkerd(cleanup, { name, script, date, flags, bindings: [text("UPSTREAM", serverUrl)] });
}

/** Starts the gateway on an empty database, registers the server as `bench`, and makes the key. */
export async function startGateway(
  cleanup: Cleanup,
  bundles: Bundles,
  name: string,
  serverUrl: string,
): Promise<Gateway> {
  const storage = await startStorage(cleanup, bundles, `${name}-storage`);
  const adminKey = `adm-${crypto.randomUUID()}`;
  const encryptionKey = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
  const fetcher = `(name = "fetcher", service = "storage")`;
  const { gateway: script, date, flags } = bundles;
  const gateway = await startWorkerd(cleanup, {
    name,
    script,
    date,
    flags,
    bindings: [
      text("ADMIN_KEY", adminKey),
      text("ENCRYPTION_KEYS", `k1:${encryptionKey}`),
      text("ALLOW_INSECURE_UPSTREAMS", "true"),
      `(name = "DB", wrapped = (moduleName = "cloudflare-internal:d1-api", innerBindings = [${fetcher}]))`,
      `(name = "TOKENS", kvNamespace = "storage")`,
    ],
    objects: { CONNECTOR: "Connector", SESSION: "Session" },
    services: [`(name = "storage", external = (address = ${quoted(`127.0.0.1:${storage.port}`)}, http = ()))`],
  });
  const create = (path: string, body: unknown) => post(`http://127.0.0.1:${gateway.port}${path}`, adminKey, body);
  const { server_id } = await create("/v1/servers", { name: "bench", server_url: serverUrl });
  const servers = [{ server_id, tools_to_execute: ["*"] }];
  const { value } = await create("/v1/virtual-keys", { name: "bench", servers });
  const stop = async () => {
    await gateway.stop();
    await storage.stop();
  };
  return { ...gateway, key: String(value), stop };
}

/** D1, after all migrations. It runs apart from the gateway, as it does on Cloudflare. */
async function startStorage(cleanup: Cleanup, bundles: Bundles, name: string): Promise<Running> {
  const { storage: script, date, flags } = bundles;
  const objects = { DATABASE: "Database" };
  const storage = await startWorkerd(cleanup, { name, script, date, flags, bindings: [], objects });
  const folder = join(ROOT, "migrations");
  const files = readdirSync(folder).filter((file) => file.endsWith(".sql"));
  for (const file of files.sort()) {
    const statements = readFileSync(join(folder, file), "utf8").split("--> statement-breakpoint");
    const body = JSON.stringify(statements.map((sql) => ({ sql })));
    const answer = await (await fetch(`http://127.0.0.1:${storage.port}/query`, { method: "POST", body })).text();
    if (!answer.startsWith("[")) throw new Error(`migration ${file} failed: ${answer}`);
  }
  return storage;
}

async function post(url: string, adminKey: string, body: unknown): Promise<Record<string, unknown>> {
  const headers = { Authorization: `Bearer ${adminKey}`, "Content-Type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`POST ${url} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}
