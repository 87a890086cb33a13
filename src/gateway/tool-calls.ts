/** What requests to servers work with, put together from the capabilities that know of it. */
import type { Catalog } from "../catalog/catalog.ts";
import type { ConnectorStub } from "../connector/connector.stub.ts";
import type { Flows } from "../credentials/flows.ts";
import type { Sealer } from "../credentials/sealing.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { createRequestStates } from "./modern/request-state.ts";
import { createTaskHandles } from "./task-handles.ts";
import type { ToolCallDeps } from "./tool-call.ts";

export interface ToolCallParts
  extends Pick<ToolCallDeps, "targetOf" | "builtIn" | "runs" | "loggedArguments" | "clock" | "newId"> {
  /** The way to a server whose sessions are nobody's to hold. */
  readonly sendTo: (record: ServerRecord) => Send;
  readonly sessions: Sessions;
  readonly connectors: Pick<ConnectorStub, "discover" | "follow">;
  readonly flows: Pick<Flows, "start" | "startWider">;
  readonly sealer: Sealer;
  readonly liveParamHeaders: Catalog["liveParamHeaders"];
  /** The catalog has changed. */
  readonly onWritten: () => void;
}

export function createToolCalls({
  sendTo,
  sessions,
  connectors,
  flows,
  sealer,
  liveParamHeaders,
  onWritten,
  ...deps
}: ToolCallParts): ToolCallDeps {
  const rediscover: ToolCallDeps["rediscover"] = async ({ server_id, auth_type }, owner) => {
    await connectors.discover(server_id, undefined, auth_type === "per_user_oauth" ? owner : undefined);
    onWritten();
  };
  return {
    ...deps,
    sendTo(record, place) {
      const { connection_type, server_id, era } = record;
      if (place.asks === "parked" && era === "legacy" && connection_type !== "inprocess") {
        return sessions.sendParked(place, record);
      }
      return connection_type === "sse" ? sessions.sendOver(place.name, server_id) : sendTo(record);
    },
    resume: sessions.resume,
    answers: sessions.answers,
    states: createRequestStates({ sealer, clock: deps.clock }),
    tasks: createTaskHandles(sealer),
    upstreamSession: (name, { record }, as, lost) => sessions.upstream(name, record, as, lost),
    dropSession: sessions.dropUpstream,
    startLink: (record, owner, { self, scopes }) =>
      flows[scopes.length > 0 ? "startWider" : "start"](record, { owner, person: owner.user_id, self, scopes }),
    // The link that follows leads somewhere in any case.
    follow: (serverId) => connectors.follow(serverId).catch(() => false),
    rediscover,
    async learnParamHeaders(record, owner, tool) {
      await rediscover(record, owner);
      return (await liveParamHeaders(owner.org_id, record.server_id, tool)) ?? [];
    },
  };
}
