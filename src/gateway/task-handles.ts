/**
 * Ids of tasks as clients hold them. To a server all principals may be one caller, so an id goes out with the mark of who
 * has made the task, and comes back in without it: to anybody else there is no such task (P-21, protocol.md 5.3). The
 * same task has the same handle each time.
 */
import type { JsonObject, Received } from "../connector/exchange.ts";
import type { Sealer } from "../credentials/sealing.ts";
import type { Principal } from "../identity/principal.ts";
import { applyEdits, type Edit, memberOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";
import { type ClientMessage, readShape } from "./client-message.ts";

/** The extension of the modern era. */
export const TASKS = "io.modelcontextprotocol/tasks";
export const RELATED = "io.modelcontextprotocol/related-task";

/** Whose task, and at which server. */
export interface TaskOwner {
  readonly principal: Pick<Principal, "org" | "id">;
  readonly serverId: string;
}

export interface TaskHandles {
  /** A request about a task as its server takes it; null when the caller has no such task. Others are as they were. */
  readonly open: (message: ClientMessage, owner: TaskOwner) => ClientMessage | null;
  /** What a server says, with the handles of its tasks. @param method Of the request that it answers; null: of none. */
  readonly close: (received: Received, method: string | null, owner: TaskOwner) => Received;
  /** The same of what a server says in `_meta` of a task that something belongs to, JSON text. */
  readonly closeRelated: (related: string, owner: TaskOwner) => string;
}

type Path = readonly string[];

export function createTaskHandles({ mark, isMark }: Pick<Sealer, "mark" | "isMark">): TaskHandles {
  const about = (taskId: string, { principal, serverId }: TaskOwner) =>
    JSON.stringify(["task", principal.org, principal.id, serverId, taskId]);

  function taskIdOf(handle: string, owner: TaskOwner): string | null {
    const at = handle.lastIndexOf(".");
    const taskId = handle.slice(0, Math.max(at, 0));
    return at !== -1 && isMark(about(taskId, owner), handle.slice(at + 1)) ? taskId : null;
  }

  return {
    open(message, owner) {
      if (!message.method.startsWith("tasks/")) return message;
      const { taskId: handle } = message.params;
      const taskId = typeof handle === "string" ? taskIdOf(handle, owner) : null;
      if (taskId === null) return null;
      const shape = readShape(
        applyEdits(
          message.text,
          edits(message.text, [["params", "taskId"]], () => taskId),
        ),
      );
      return shape.kind === "message" ? shape.message : null;
    },

    close(received, method, owner) {
      if (!received.text.includes("taskId") && !received.text.includes("\\u")) return received;
      const paths = pathsIn(received.value, method);
      const made = edits(received.text, paths, (taskId) => `${taskId}.${mark(about(taskId, owner))}`);
      return made.length === 0 ? received : { ...received, text: applyEdits(received.text, made) };
    },

    closeRelated: (related, owner) =>
      applyEdits(
        related,
        edits(related, [["taskId"]], (taskId) => `${taskId}.${mark(about(taskId, owner))}`),
      ),
  };
}

/** Where a message of a server names tasks. */
function pathsIn(value: JsonObject, method: string | null): Path[] {
  const related = ["_meta", RELATED, "taskId"];
  const paths: Path[] = [
    ["result", ...related],
    ["params", ...related],
  ];
  const { result } = value;
  if (value["method"] === "notifications/tasks/status" || value["method"] === "notifications/tasks") {
    paths.push(["params", "taskId"]);
  }
  if (method?.startsWith("tasks/") || (isObject(result) && result["resultType"] === "task"))
    paths.push(["result", "taskId"]);
  if (method === "tools/call" && isObject(result) && isObject(result["task"])) paths.push(["result", "task", "taskId"]);
  return paths;
}

function edits(text: string, paths: readonly Path[], change: (id: string) => string): Edit[] {
  return paths.flatMap((path) => {
    let start = 0;
    let end = text.length;
    for (const key of path) {
      if (text[start] !== "{" && start !== 0) return [];
      const member = memberOf(text, start, key);
      if (member === undefined) return [];
      start = member.valueStart;
      end = member.end;
    }
    const own: unknown = JSON.parse(text.slice(start, end));
    return typeof own === "string" ? [{ start, end, text: JSON.stringify(change(own)) }] : [];
  });
}
