/**
 * `requestState` as clients hold it: sealed to who asks, the server, the method and the parameters, for ten minutes, so
 * that a handle shown by anybody else, or for anything else, does not exist (protocol.md 5.3, P-18, P-19).
 */
import type { Sealer } from "../../credentials/sealing.ts";
import { canonicalJson } from "../../platform/canonical-json.ts";
import type { Clock } from "../../platform/clock.ts";
import { sha256Hex } from "../../platform/hash.ts";
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import { type ClientMessage, readShape } from "../client-message.ts";
import type { ClientRequest, Resume, Subject } from "../perform.ts";

/** The key of a question that a legacy server has asked within a call. */
export const ASKED = "dev.postern/asked";

/** What a state stands for. */
export type State =
  /** A modern server's own; JSON text of its string. */
  | { readonly kind: "server"; readonly state: string }
  /** A call that waits in the `Session` object of that name. */
  | { readonly kind: "parked"; readonly name: string; readonly park: string; readonly id: string };

export interface RequestStates {
  readonly seal: (request: ClientRequest, subject: Subject, state: State) => Promise<string>;
  /** The request as its server is to get it, or the waiting call that it answers. */
  readonly open: (
    request: ClientRequest,
    subject: Subject,
  ) => Promise<{ readonly message: ClientMessage; readonly resume: Resume | null } | "invalid">;
}

const PREFIX = "pst1.";
const LIFETIME_MS = 600_000;

export function createRequestStates({ sealer, clock }: { sealer: Sealer; clock: Clock }): RequestStates {
  return {
    async seal(request, subject, state) {
      const bound = { until: clock() + LIFETIME_MS, about: aboutOf(request, subject), state };
      return PREFIX + (await sealer.seal(JSON.stringify(bound), ownerOf(request)));
    },

    async open(request, subject) {
      const { message, side } = request;
      const given = message.params["requestState"];
      if (given === undefined || side.inputRequired !== "relayed") return { message, resume: null };
      if (typeof given !== "string" || !given.startsWith(PREFIX)) return "invalid";
      const text = await sealer.open(given.slice(PREFIX.length), ownerOf(request)).catch(() => null);
      if (text === null) return "invalid";
      const bound = JSON.parse(text) as { until: number; about: string; state: State };
      if (bound.until <= clock() || bound.about !== aboutOf(request, subject)) return "invalid";
      const { state } = bound;
      if (state.kind === "server") {
        const restored = withState(message, state.state);
        return restored === null ? "invalid" : { message: restored, resume: null };
      }
      const { name, park, id } = state;
      return { message, resume: { name, park, id, answer: answerIn(message) } };
    },
  };
}

function ownerOf({ principal }: ClientRequest): string {
  return `requestState:${JSON.stringify([principal.org, principal.id])}`;
}

function aboutOf({ message }: ClientRequest, { server }: Subject): string {
  const { requestState: _s, inputResponses: _i, _meta: _m, ...params } = message.params;
  return sha256Hex(canonicalJson([server.record.server_id, message.method, params]));
}

function withState({ text, at }: ClientMessage, state: string): ClientMessage | null {
  if (at.params === undefined) return null;
  const shape = readShape(applyEdits(text, editMembers(text, at.params.valueStart, { requestState: state })));
  return shape.kind === "message" ? shape.message : null;
}

/** JSON text of what the client says to the question; null when it says nothing to it. */
function answerIn({ text, at, params }: ClientMessage): string | null {
  const answers = params["inputResponses"];
  if (at.params === undefined || !isObject(answers) || !isObject(answers[ASKED])) return null;
  const own = memberOf(text, at.params.valueStart, "inputResponses");
  const answer = own === undefined ? undefined : memberOf(text, own.valueStart, ASKED);
  return answer === undefined ? null : text.slice(answer.valueStart, answer.end);
}
