/** The two Workers that are compared, each in its own workerd under the same flags. */
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { startDatabase } from "./database.ts";
import type { Running } from "./processes.ts";
import { quoted, startWorkerd, text } from "./workerd.ts";

export interface Gateway extends Running {
  /** Opens the admin API. */
  readonly adminKey: string;
}

/** @param name Unlike that of every other process of the run; so it is for the gateways. */
export function startBare(cleanup: Cleanup, bundles: Bundles, name: string, serverUrl: string): Promise<Running> {
  const { bare: script, date, flags } = bundles;
  return startWorkerd(cleanup, { name, script, date, flags, bindings: [text("UPSTREAM", serverUrl)] });
}

/** A gateway on a database that it may share with others. @param vars Settings besides those that it needs to start. */
export async function startGateway(
  cleanup: Cleanup,
  bundles: Bundles,
  name: string,
  database: Running,
  vars: Readonly<Record<string, string>> = {},
): Promise<Gateway> {
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
      ...Object.entries(vars).map(([key, value]) => text(key, value)),
      `(name = "DB", wrapped = (moduleName = "cloudflare-internal:d1-api", innerBindings = [${fetcher}]))`,
      `(name = "TOKENS", kvNamespace = "storage")`,
      `(name = "OAUTH_KV", kvNamespace = "storage")`,
    ],
    objects: { CONNECTOR: "Connector", CREDENTIAL: "Credential", SESSION: "Session" },
    services: [`(name = "storage", external = (address = ${quoted(`127.0.0.1:${database.port}`)}, http = ()))`],
  });
  return { ...gateway, adminKey };
}

/** A gateway with a database of its own, one server, registered as `bench`, and one key for all its tools. */
export async function startGatewayOver(
  cleanup: Cleanup,
  bundles: Bundles,
  name: string,
  serverUrl: string,
  vars: Readonly<Record<string, string>> = {},
): Promise<Running & { readonly key: string }> {
  const database = await startDatabase(cleanup, bundles, `${name}-storage`);
  const gateway = await startGateway(cleanup, bundles, name, database, vars);
  const { server_id } = await create(gateway, "/v1/servers", { name: "bench", server_url: serverUrl });
  const { value: key } = await createKey(gateway, [{ server_id, tools_to_execute: ["*"] }]);
  const stop = async () => {
    await gateway.stop();
    await database.stop();
  };
  return { ...gateway, key, stop };
}

/** A virtual key. @param servers Its assignments; without any it may call what servers allow to every key. */
export async function createKey(gateway: Gateway, servers: readonly object[]): Promise<Key> {
  // What is measured is the way to other servers: the built-in tools stay out of it.
  const own = { server_id: "gateway", tools_to_execute: [] };
  const key = await create(gateway, "/v1/virtual-keys", { name: "bench", servers: [...servers, own] });
  return key as unknown as Key;
}

export interface Key {
  readonly virtual_key_id: string;
  /** What an agent presents. */
  readonly value: string;
}

/** Creates something by the admin API. @returns What it shows of it */
export async function create(
  { port, adminKey }: Gateway,
  path: string,
  body: object,
): Promise<Record<string, unknown>> {
  const headers = { Authorization: `Bearer ${adminKey}`, "Content-Type": "application/json" };
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`POST ${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}
