/**
 * The server that the official suite's server scenarios are run against: whatever they ask for by name, and nothing
 * else. What each tool, prompt and resource must answer is said in the scenarios themselves (protocol.md 10.2).
 *
 * It is written once for both eras. What a modern client is asked for in a result, the SDK asks a legacy one in requests
 * of the server.
 */
import { createRequestStateCodec, McpServer, type ServerNotifier } from "@modelcontextprotocol/server";
import { addContents } from "./reference-contents.ts";
import { addAskingTools } from "./reference-input.ts";
import { addTasks, TASKS_EXTENSION, type Tasks } from "./reference-tasks.ts";
import { addTools } from "./reference-tools.ts";

/** Tells all who listen, on whatever session they listen: who changes something need not be who wants to know. */
export type Listeners = Pick<ServerNotifier, "toolsChanged" | "promptsChanged" | "resourceUpdated">;

const requestStates = createRequestStateCodec<unknown>({ key: crypto.getRandomValues(new Uint8Array(32)) });

/**
 * A fresh server: for one request of a modern client, or for one session of a legacy one.
 *
 * @param tasks Whatever the requests of modern clients begin; legacy ones have no such extension.
 */
export function createReferenceServer(listeners: Listeners, tasks?: Tasks): McpServer {
  const server = new McpServer(
    { name: "conformance-reference", version: "1.0.0" },
    {
      capabilities: {
        completions: {},
        logging: {},
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        tools: { listChanged: true },
        ...(tasks !== undefined && { extensions: TASKS_EXTENSION }),
      },
      instructions: "Ask for what the conformance suite asks for.",
      requestState: { verify: requestStates.verify },
    },
  );
  addTools(server, listeners);
  addAskingTools(server, (state) => requestStates.mint(state));
  addTasks(server, tasks);
  addContents(server);
  return server;
}
