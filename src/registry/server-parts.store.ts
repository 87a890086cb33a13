/**
 * What belongs to a server and is written with it: its orgs, its keys and its tool policy, as statements for the one
 * batch of a write in `registry.store.ts`.
 */
import { and, eq, ne, or, type SQL, sql } from "drizzle-orm";
import type { DrizzleD1Database } from "drizzle-orm/d1";
import { virtualKeyServers } from "../access/access.tables.ts";
import type { ServerKey } from "../access/virtual-key.ts";
import { oauthConfigs } from "../bifrost/oauth-configs.tables.ts";
import { generations, serverTools } from "../catalog/catalog.tables.ts";
import { tokens } from "../credentials/credentials.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { serverContexts, serverOrgs, servers } from "./registry.tables.ts";
import { alreadyThere, type ServerRecord } from "./server-record.ts";
import type { AllowedTools, PolicyChange } from "./tool-policy.ts";

type Db = DrizzleD1Database;

/** The orgs that may see a server. Of a server that does not exist nothing is written. */
export function addOrgs(db: Db, serverId: string, orgIds: readonly string[]) {
  return db
    .insert(serverOrgs)
    .select(sql`SELECT ${serverId}, value FROM json_each(${JSON.stringify(orgIds)}) WHERE ${serverExists(serverId)}`);
}

/** RB-31: the whole set is replaced, and what orgs that lose the server have of it goes in the same batch. */
export function orgStatements(db: Db, serverId: string, orgIds: readonly string[]) {
  const kept = sql`(SELECT value FROM json_each(${JSON.stringify(orgIds)}))`;
  // No org at all means every org, and nobody loses anything.
  const isLost = (column: SQL) => (orgIds.length === 0 ? sql`0` : sql`${column} NOT IN ${kept}`);
  return [
    db.delete(serverOrgs).where(eq(serverOrgs.server_id, serverId)),
    addOrgs(db, serverId, orgIds),
    db.delete(serverContexts).where(and(eq(serverContexts.server_id, serverId), isLost(sql`${serverContexts.org_id}`))),
    db
      .delete(virtualKeyServers)
      .where(
        and(
          eq(virtualKeyServers.server_id, serverId),
          sql`virtual_key_id IN (SELECT virtual_key_id FROM virtual_keys WHERE ${isLost(sql`org_id`)})`,
        ),
      ),
    db.delete(tokens).where(and(eq(tokens.server_id, serverId), ne(tokens.org_id, ""), isLost(sql`${tokens.org_id}`))),
    // The orgs whose keys have just changed.
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(isLost(sql`${generations.org_id}`)),
  ];
}

const serverExists = (serverId: string) => sql`EXISTS (SELECT 1 FROM servers WHERE server_id = ${serverId})`;

/** A key of the list that is unknown, or whose org does not see the server. */
const unfitKey = (serverId: string, keys: readonly ServerKey[]) => sql`
  SELECT 1 FROM json_each(${JSON.stringify(keys)}) AS given
  LEFT JOIN virtual_keys AS k ON k.virtual_key_id = given.value ->> 'virtual_key_id'
  WHERE k.virtual_key_id IS NULL OR (
    EXISTS (SELECT 1 FROM server_orgs WHERE server_id = ${serverId})
    AND NOT EXISTS (SELECT 1 FROM server_orgs AS o WHERE o.server_id = ${serverId} AND o.org_id = k.org_id)
  )`;

/**
 * BF-33: the whole list is replaced, and every org of a former or later key learns of it. A key that does not fit breaks
 * the batch, by a null where none may be.
 */
export function keyStatements(db: Db, serverId: string, keys: readonly ServerKey[]) {
  const ofServer = eq(virtualKeyServers.server_id, serverId);
  const given = JSON.stringify(keys);
  return [
    db.insert(generations).select(sql`SELECT NULL, 0 WHERE EXISTS (${unfitKey(serverId, keys)})`),
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(
        sql`${generations.org_id} IN (SELECT org_id FROM virtual_keys WHERE
          virtual_key_id IN (SELECT virtual_key_id FROM virtual_key_servers WHERE server_id = ${serverId})
          OR virtual_key_id IN (SELECT value ->> 'virtual_key_id' FROM json_each(${given})))`,
      ),
    db.delete(virtualKeyServers).where(ofServer),
    db.insert(virtualKeyServers).select(
      sql`SELECT value ->> 'virtual_key_id', ${serverId}, value -> 'tools_to_execute' FROM json_each(${given})
          WHERE ${serverExists(serverId)}`,
    ),
  ];
}

/**
 * The OAuth configuration that a server is made from is used up by it (BF-15). One that waits for no server any more
 * breaks the batch, by a null where none may be.
 */
export function configStatements(db: Db, { server_id, oauth_config_id, modified }: ServerRecord) {
  if (oauth_config_id === null) return [];
  const used = { server_id, mcp_client_id: server_id, server_sealed: null, client_sealed: null };
  return [
    db.insert(generations).select(sql`SELECT NULL, 0 WHERE NOT EXISTS (${waitingConfig(oauth_config_id, modified)})`),
    db.update(oauthConfigs).set(used).where(eq(oauthConfigs.oauth_config_id, oauth_config_id)),
  ];
}

/** What the batch of an insert has met. */
export async function explainInsert(db: Db, record: ServerRecord, cause: unknown): Promise<unknown> {
  const { server_id, name, oauth_config_id, modified } = record;
  const field = await takenField(db, server_id, name);
  if (field !== null) return alreadyThere(field, cause);
  if (oauth_config_id === null || (await db.all(waitingConfig(oauth_config_id, modified))).length > 0) return cause;
  return alreadyThere("oauth_config_id", cause);
}

/** Which of these a server has already. */
export async function takenField(db: Db, serverId: string, name: string): Promise<"name" | "server_id" | null> {
  const nameKey = name.toLowerCase();
  const same = or(eq(servers.server_id, serverId), eq(servers.name_key, nameKey));
  const found = await db.select({ name_key: servers.name_key }).from(servers).where(same);
  if (found.length === 0) return null;
  return found.some(({ name_key }) => name_key === nameKey) ? "name" : "server_id";
}

/** @param now Milliseconds since the Unix epoch. */
const waitingConfig = (configId: string, now: number) => sql`
  SELECT 1 FROM oauth_configs
  WHERE oauth_config_id = ${configId} AND server_id IS NULL AND status = 'authorized' AND expires_at > ${now}`;

/** What a batch with `keyStatements` has met, once nothing else explains it. */
export async function explainKeys(
  db: Db,
  serverId: string,
  keys: readonly ServerKey[],
  cause: unknown,
): Promise<unknown> {
  const unfit = await db.all(unfitKey(serverId, keys));
  if (unfit.length === 0) return cause;
  const message = "keys names a virtual key that does not exist, or whose org does not see the server.";
  return new GatewayError("invalid_request", message, { field: "keys", cause });
}

/** Replaces those parts of the policy that are given; of a server that does not exist nothing is written. */
export function policyStatements(db: Db, serverId: string, { allowed, auto, prices }: PolicyChange) {
  const ofServer = eq(serverTools.server_id, serverId);
  /** Rows for names that an admin gives, whether or not a discovery has seen them. */
  const upsert = (rows: object, values: { allowed: SQL; auto: SQL }, set: Record<string, SQL>) =>
    db
      .insert(serverTools)
      .select(
        sql`SELECT ${serverId}, key, 0, 0, ${values.allowed}, ${values.auto}, NULL, NULL, NULL, NULL, NULL, NULL, NULL
          FROM json_each(${JSON.stringify(rows)}) WHERE ${serverExists(serverId)}`,
      )
      .onConflictDoUpdate({ target: [serverTools.server_id, serverTools.tool], set });
  const flags = () => {
    if (allowed === undefined || allowed === null) return [];
    if (isAll(allowed)) return [db.update(serverTools).set({ allowed: true, is_new: false }).where(ofServer)];
    return [
      db.delete(serverTools).where(and(ofServer, sql`${serverTools.definition} IS NULL`)),
      db.update(serverTools).set({ allowed: false, is_new: false }).where(ofServer),
      upsert(allowed, { allowed: sql`value`, auto: sql`0` }, { allowed: sql`excluded.allowed` }),
      // What is blocked does not run unasked either; its price stays (RB-32).
      db
        .update(serverTools)
        .set({ auto: false })
        .where(and(ofServer, eq(serverTools.allowed, false))),
    ];
  };
  const unasked = () => {
    if (auto === undefined) return [];
    const named = Object.fromEntries((auto[0] === "*" ? [] : auto).map((tool) => [tool, true]));
    return [
      db.update(serverTools).set({ auto: false }).where(ofServer),
      upsert(named, { allowed: sql`0`, auto: sql`1` }, { auto: sql`1` }),
    ];
  };
  const priced = () => {
    if (prices === undefined) return [];
    const price = sql`(SELECT value FROM json_each(${JSON.stringify(prices)}) WHERE key = ${serverTools.tool})`;
    return [db.update(serverTools).set({ price_nano: price }).where(ofServer)];
  };
  return [...flags(), ...unasked(), ...priced()];
}

function isAll(allowed: AllowedTools): allowed is readonly ["*"] {
  return Array.isArray(allowed);
}
