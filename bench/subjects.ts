/** Gateways with a given number of registered servers, of which the first one exists. */
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { type Database, startDatabase } from "./database.ts";
import { TOOLS_PER_SERVER } from "./definitions.ts";
import { type Memory, memoryOf, type Running } from "./processes.ts";
import { seedServers } from "./seed.ts";
import { createVisitor, type Visitor, walkTools } from "./visitor.ts";
import { createKey, startGateway } from "./workers.ts";

/** What agents' requests go to. */
export interface Target {
  readonly process: Running;
  /** The headers that name an agent. */
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: Visitor;
}

export interface Subject extends Target {
  /** How many are registered. */
  readonly servers: number;
  readonly database: Database;
  readonly admin: Visitor;
  /** Before the first request of an agent. */
  readonly idle: Memory;
  /** After one agent has read the whole list of tools. */
  readonly listed: Memory;
}

/** @throws Error unless every tool of every server is listed. */
export async function startSubject(
  cleanup: Cleanup,
  bundles: Bundles,
  servers: number,
  serverUrl: string,
): Promise<Subject> {
  const name = `servers-${servers}`;
  const database = await startDatabase(cleanup, bundles, `${name}-storage`);
  await seedServers(database, servers, serverUrl);
  const gateway = await startGateway(cleanup, bundles, name, database);
  const { value: key } = await createKey(gateway, []);
  const headers = { Authorization: `Bearer ${key}` };
  const agent = createVisitor(gateway.port, headers);
  const admin = createVisitor(gateway.port, { Authorization: `Bearer ${gateway.adminKey}` });
  const idle = memoryOf(gateway.pid);
  let tools = 0;
  await walkTools(agent, "/mcp", (page) => {
    tools += page.split('"inputSchema":').length - 1;
  });
  if (tools !== servers * TOOLS_PER_SERVER) throw new Error(`${servers} servers are listed with ${tools} tools`);
  const listed = memoryOf(gateway.pid);
  return { servers, database, process: gateway, headers, agent, admin, idle, listed };
}

/** Ends a target's processes. */
export async function stopTarget({ agent, process, ...rest }: Target | Subject): Promise<void> {
  agent.close();
  await process.stop();
  if (!("database" in rest)) return;
  rest.admin.close();
  await rest.database.stop();
}
