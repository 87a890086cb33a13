/**
 * The tasks extension of the reference server, and the tools that answer with tasks (protocol.md 2.8). The SDK carries the
 * methods and leaves what they mean to others.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type CallToolResult,
  type InputRequests,
  inputRequired,
  inputResponse,
  type McpServer,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
} from "@modelcontextprotocol/server";
import * as z from "zod";
import { text } from "./reference-tools.ts";

const EXTENSION = "io.modelcontextprotocol/tasks";
/** What servers that have the extension say of themselves. */
export const TASKS_EXTENSION = { [EXTENSION]: {} };

/** How long a second of work takes: nobody gains by waiting for the rest. */
const SECOND_MS = 20;
const TTL_MS = 600_000;
const POLL_MS = 100;

/** What the work of a task is given. */
interface Worker {
  /** Aborts when the task is cancelled. */
  readonly signal: AbortSignal;
  /** Has the client asked, and waits until all answers are there. */
  ask(requests: InputRequests): Promise<Record<string, unknown>>;
}
type Work = (worker: Worker) => Promise<CallToolResult>;

interface Task {
  readonly taskId: string;
  status: "working" | "input_required" | "completed" | "failed" | "cancelled";
  readonly createdAt: string;
  lastUpdatedAt: string;
  readonly ttlMs: number;
  readonly pollIntervalMs: number;
  inputRequests?: InputRequests;
  result?: CallToolResult;
  error?: { readonly code: number; readonly message: string };
}

interface Running {
  readonly task: Task;
  readonly cancelled: AbortController;
  answer(responses: Readonly<Record<string, unknown>>): void;
}

/** The tasks of a server, which outlive the requests that have made them. */
export interface Tasks {
  /** Begins a task; what is known of it as yet. */
  start(work: Work): Task;
  get(taskId: string): Task;
  /** Gives it answers that it waits for; others are nothing to it. */
  update(taskId: string, responses: Readonly<Record<string, unknown>>): void;
  /** Does nothing to a task that has ended. */
  cancel(taskId: string): void;
  close(): void;
}

export function createTasks(): Tasks {
  const all = new Map<string, Running>();
  const find = (taskId: string): Running => {
    const running = all.get(taskId);
    if (running === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, "There is no such task");
    return running;
  };
  return {
    start(work) {
      const running = startTask();
      all.set(running.task.taskId, running);
      const { task } = running;
      const begun = { ...task };
      work(running.worker).then(
        (result) => settle(task, { status: "completed", result }),
        (error: unknown) => settle(task, endOf(error)),
      );
      return begun;
    },
    get: (taskId) => find(taskId).task,
    update: (taskId, responses) => find(taskId).answer(responses),
    cancel(taskId) {
      const { task, cancelled } = find(taskId);
      settle(task, { status: "cancelled" });
      cancelled.abort();
    },
    close() {
      for (const { cancelled } of all.values()) cancelled.abort();
    },
  };
}

function startTask(): Running & { readonly worker: Worker } {
  const now = new Date().toISOString();
  const task: Task = {
    taskId: crypto.randomUUID(),
    status: "working",
    createdAt: now,
    lastUpdatedAt: now,
    ttlMs: TTL_MS,
    pollIntervalMs: POLL_MS,
  };
  const cancelled = new AbortController();
  let given: Record<string, unknown> = {};
  let answered = () => {};
  return {
    task,
    cancelled,
    answer(responses) {
      const left = Object.entries(task.inputRequests ?? {}).filter(([key]) => !Object.hasOwn(responses, key));
      for (const key of Object.keys(task.inputRequests ?? {})) {
        if (Object.hasOwn(responses, key)) given[key] = responses[key];
      }
      if (task.status !== "input_required") return;
      task.inputRequests = Object.fromEntries(left);
      if (left.length === 0) answered();
    },
    worker: {
      signal: cancelled.signal,
      async ask(requests) {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        answered = resolve;
        cancelled.signal.addEventListener("abort", () => reject(cancelled.signal.reason), { once: true });
        given = {};
        Object.assign(task, { status: "input_required", inputRequests: requests });
        await promise;
        delete task.inputRequests;
        task.status = "working";
        return given;
      },
    },
  };
}

/** The first end of a task is the one that counts. */
function settle(task: Task, end: Pick<Task, "status" | "result" | "error">): void {
  if (task.status !== "working" && task.status !== "input_required") return;
  delete task.inputRequests;
  Object.assign(task, end, { lastUpdatedAt: new Date().toISOString() });
}

/** A tool that fails has an outcome; a task fails by what is wrong with the request. */
function endOf(error: unknown): Pick<Task, "status" | "result" | "error"> {
  if (error instanceof ProtocolError) return { status: "failed", error: { code: error.code, message: error.message } };
  return { status: "completed", result: { ...text(`${error}`), isError: true } };
}

/** @param tasks None where the era has no such extension: then the tools answer at once, or not at all. */
export function addTasks(server: McpServer, tasks: Tasks | undefined): void {
  const requiring = () => {
    if (server.server.getClientCapabilities()?.extensions?.[EXTENSION] !== undefined) return;
    throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { extensions: TASKS_EXTENSION } });
  };
  const isPossible = () =>
    tasks !== undefined && server.server.getClientCapabilities()?.extensions?.[EXTENSION] !== undefined;
  const begin = (work: Work): CallToolResult => {
    requiring();
    if (tasks === undefined) throw new Error("This server has no tasks");
    // What the SDK takes for a result of a tool is sent as it is.
    return { resultType: "task", ...tasks.start(work) } as unknown as CallToolResult;
  };
  addTaskTools(server, isPossible, begin);
  if (tasks === undefined) return;

  const named = z.looseObject({ taskId: z.string() });
  server.server.setRequestHandler("tasks/get", { params: named }, ({ taskId }) => {
    requiring();
    return { ...tasks.get(taskId) };
  });
  server.server.setRequestHandler("tasks/update", { params: named }, ({ taskId }, { mcpReq }) => {
    requiring();
    tasks.update(taskId, mcpReq.inputResponses ?? {});
    return {};
  });
  server.server.setRequestHandler("tasks/cancel", { params: named }, ({ taskId }) => {
    requiring();
    tasks.cancel(taskId);
    return {};
  });
}

function addTaskTools(server: McpServer, isPossible: () => boolean, begin: (work: Work) => CallToolResult): void {
  const confirm = (message: string) =>
    inputRequired.elicit({
      message,
      requestedSchema: { type: "object", properties: { confirm: { type: "boolean" } }, required: ["confirm"] },
    });
  const greeting = { description: "Greets at once", inputSchema: z.object({ name: z.string() }) };
  server.registerTool("greet", greeting, ({ name }) => text(`Hello, ${name}!`));

  const slow = {
    description: "Computes for some time, as a task if it may",
    inputSchema: z.object({ seconds: z.number(), label: z.string().optional() }),
  };
  server.registerTool("slow_compute", slow, async ({ seconds, label = "" }, { mcpReq }) => {
    const work = async ({ signal }: Pick<Worker, "signal">) => {
      await sleep(seconds * SECOND_MS, undefined, { signal });
      return text(`Computed ${label}`);
    };
    return isPossible() ? begin(work) : work(mcpReq);
  });
  server.registerTool("failing_job", { description: "A task whose tool fails" }, () =>
    begin(async ({ signal }) => {
      await sleep(POLL_MS, undefined, { signal });
      throw new Error("This job always fails");
    }),
  );
  server.registerTool("protocol_error_job", { description: "A task that fails itself" }, () =>
    begin(async () => {
      throw new ProtocolError(ProtocolErrorCode.InternalError, "This job cannot be done");
    }),
  );
  const deleting = { description: "A task that asks once", inputSchema: z.object({ filename: z.string() }) };
  server.registerTool("confirm_delete", deleting, ({ filename }) =>
    begin(async ({ ask }) => {
      const { sure } = await ask({ sure: confirm(`Delete ${filename}?`) });
      return text(`${filename}: ${JSON.stringify(sure)}`);
    }),
  );
  server.registerTool("multi_input", { description: "A task that asks for two things at once" }, () =>
    begin(async ({ ask }) => text(JSON.stringify(await ask({ one: confirm("The first?"), two: confirm("Both?") })))),
  );
  server.registerTool("test_tool_with_task", { description: "Asks before it begins a task" }, ({ mcpReq }) => {
    const answer = inputResponse(mcpReq.inputResponses, "user_name");
    if (answer.kind !== "elicit") {
      const named = { type: "object" as const, properties: { name: { type: "string" as const } }, required: ["name"] };
      const asked = inputRequired.elicit({ message: "What is your name?", requestedSchema: named });
      return inputRequired({ inputRequests: { user_name: asked } });
    }
    return begin(async () => text(`Done for ${answer.content?.["name"]}`));
  });
}
