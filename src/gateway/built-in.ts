/** Calls of the built-in tools: performed here, and told like those of any server. */
import type { CallRow } from "../calls/call.ts";
import type { Tool } from "../catalog/snapshot.ts";
import type { Principal } from "../identity/principal.ts";
import type { BuiltInServer, ServerParts } from "../instructions/build-server.ts";
import { withinOrg } from "../instructions/caller.ts";
import { POSTERN } from "../platform/version.ts";
import { GATEWAY } from "../registry/inprocess.ts";
import type { ClientMessage } from "./client-message.ts";
import type { CallSide, ShapedResponse } from "./client-side.ts";
import { resultText } from "./rpc-text.ts";
import { namedRun, type RunMark } from "./run-entry.ts";

/** What a door has proven of a call, and where its row goes: into the one that doors make of every call. */
export interface ProvenCall {
  readonly principal: Principal;
  readonly note: (row: CallRow) => void;
}

/** The parts of the built-in server that the doors are. */
export const PARTS_OF_DOORS: Pick<ServerParts<ProvenCall>, "name" | "askerOf" | "sink"> = {
  name: GATEWAY,
  // Who asks, in which org and with which roles, they have proven (PS-1 to PS-4); the platform counts for nothing here.
  askerOf: ({ principal }) => withinOrg(principal),
  // They make the row of every call, and give it to the journal.
  sink: (row, { note }) => note(row),
};

export type BuiltIn = Pick<BuiltInServer<ProvenCall>, "call">;

/** @returns Also the run that the row is of, where the tool itself decides that. */
export async function callBuiltIn(
  server: BuiltIn,
  {
    side,
    principal,
    message,
    sessionName,
    sessionId,
  }: {
    readonly side: CallSide;
    readonly principal: Principal;
    readonly message: ClientMessage;
    readonly sessionName: string;
    readonly sessionId: string | null;
  },
  tool: Tool,
  mark: RunMark,
): Promise<{ readonly response: ShapedResponse; readonly run: RunMark }> {
  let noted: CallRow | undefined;
  const note = (row: CallRow) => {
    noted = row;
  };
  const result = await server.call(
    { principal, note },
    {
      tool: tool.name,
      args: message.params["arguments"],
      session_id: sessionId,
      stack: sessionName,
      named: namedRun(message),
      ...(mark.entered === undefined ? {} : { entered: mark.entered }),
    },
  );
  const received = { text: resultText(JSON.stringify(result), message.id ?? "null"), value: { result } };
  const from = { era: "legacy", status: 200, serverInfo: JSON.stringify(POSTERN), serverId: GATEWAY } as const;
  const shaped = side.response(received, from, message);
  if (noted === undefined) return { response: shaped, run: mark };
  const { error, run_id, entered } = noted;
  // A named run, which the object has confirmed, counts unless the tool says another.
  const own = entered === undefined ? { run_id } : mark;
  return { response: { ...shaped, error }, run: own };
}
