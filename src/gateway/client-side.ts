/** What a tool call needs to know about its client; one implementation per era folder, and one without MCP. */
import type { Refusal } from "../access/admission.ts";
import type { Outcome } from "../calls/call.ts";
import type { ParamHeader } from "../catalog/param-headers.ts";
import type { Tool } from "../catalog/snapshot.ts";
import type { UpstreamSession } from "../connector/ask.ts";
import type { OutgoingMessage, Received } from "../connector/exchange.ts";
import type { Era } from "../connector/revisions.ts";
import type { UpstreamClient } from "../connector/server-request.ts";
import type { Link } from "../credentials/flows.ts";
import type { RpcError } from "../failure/json-rpc.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import type { ClientMessage } from "./client-message.ts";
import type { InputRequest } from "./input-asked.ts";
import type { ResultEdits } from "./large-answer.ts";

/** A response for the client, and what it means for the log. */
export interface ShapedResponse {
  /** The whole message. */
  readonly text: string;
  readonly status: number;
  readonly ok: boolean;
  readonly outcome: Outcome;
  /** For the log, in our words; null when the call succeeded. */
  readonly error: string | null;
  /** Where the response stands in its stream, for a client that may come back for it. */
  readonly place?: StreamPlace;
  /**
   * The message has gone out in parts: whole, so that there is no text; or not to its end, and the text is what stands
   * for it where another message can follow.
   */
  readonly sent?: "whole" | "cut";
}

/** What its server says of a place in a stream. */
export type StreamPlace = Pick<Received, "eventId" | "retryMs">;

/** One call on its way to a server. */
export interface Forwarding {
  readonly message: ClientMessage;
  /** The server's own name for what is asked, where the message has another; null: as it stands. */
  readonly name: string | null;
  /** Present on its way to a legacy server. */
  readonly session: UpstreamSession | null;
  /**
   * Id and progress token on the upstream session, as JSON text; null where the client's own are unique there. Several
   * clients may share a session, and servers tell requests apart by id.
   */
  readonly ownId: string | null;
  /** Headers of the client's request. */
  readonly headers: Headers;
  /** Whether what a server makes of the request may be a task, which the door carries. */
  readonly hasTasks: boolean;
  /** What a client has said of itself when its session began; null without one. */
  readonly client: UpstreamClient | null;
  /** What the server expects of `Mcp-Param-*`, as far as it is known. */
  readonly paramHeaders: {
    readonly live: readonly ParamHeader[];
    /** Whether that is what clients are shown: then a modern one has made the headers itself. */
    readonly isShown: boolean;
  };
}

/** Where a message of a server comes from. */
export interface MessageSource {
  readonly era: Era;
  readonly serverId: string;
}

/** The same of a response. */
export interface ResponseSource extends MessageSource {
  readonly status: number;
  /** JSON text of what the server calls itself. */
  readonly serverInfo: string | null;
}

/** Why a call brought no answer of its tool, in our words. */
export interface CallFailure {
  readonly code: "upstream_failed" | "upstream_timeout" | "bridge_missing" | "budget_exceeded";
  readonly reason: string;
  /** The same as a sentence that names what was called, for a model to read (CN-13). */
  readonly text: string;
  /** How long an answer was waited for in vain; null when something else went wrong. */
  readonly timeoutMs: number | null;
}

/** A link that was made for the caller, and the server that it is for. */
export interface LinkNeeded extends Pick<Link, "flow_id" | "url"> {
  readonly server: Pick<ServerRecord, "server_id" | "display_name">;
}

/** The same in a sentence, for a model to read and a person to follow. */
export function linkText({ server, url }: LinkNeeded): string {
  return `An account on ${server.display_name} has to be linked first. Open ${url} in a browser, then call the tool again.`;
}

export interface CallSide {
  /** Whether a client that goes away before its answer wants the call cancelled (P-29). */
  readonly leavingCancels: boolean;
  /** Whether a tool may be offered to this client at all; where this is left out, every tool may. */
  readonly offers?: (tool: Tool) => boolean;
  /**
   * The answer to a call whose headers do not say what its arguments do (rung 3.3.13); null when they do. Left out where
   * headers say nothing of arguments.
   */
  readonly headerMismatch?: (
    tool: Tool,
    message: ClientMessage,
    headers: Headers,
  ) => { readonly text: string; readonly status: number } | null;
  /**
   * Whether a modern server hears of this client's capabilities as the request declares them; left out where requests
   * declare none.
   */
  readonly declares?: (message: ClientMessage, hasTasks: boolean) => boolean;
  /** The request as a server of that era takes it. */
  readonly request: (forwarding: Forwarding, era: Era) => OutgoingMessage;
  /**
   * What becomes of a modern server's `input_required`: it goes to the client as it is, the client is asked with
   * requests of its own era, or it is a response like any other.
   */
  readonly inputRequired: "relayed" | "asked" | "unsupported";
  /** Tells the client of links that a server wants opened; left out where there is no word for that (P-31). */
  readonly links?: (
    links: readonly Pick<InputRequest, "text">[],
    message: ClientMessage,
  ) => { readonly text: string; readonly status: number };
  /** A server's response as this client takes it. */
  readonly response: (received: Received, from: ResponseSource, message: ClientMessage) => ShapedResponse;
  /** The same for a result that is too large to be held; left out where it must be held to be answered. */
  readonly edits?: (from: ResponseSource, message: ClientMessage) => ResultEdits;
  /** A notification on the stream of the request, as this client may have it; null when it may not. */
  readonly notification: (received: Received, from: MessageSource, message: ClientMessage) => string | null;
  readonly failure: (
    failure: CallFailure,
    message: ClientMessage,
  ) => { readonly text: string; readonly status: number };
  /** What the caller has to do first: link an account of its own with the server (PS-59). */
  readonly linkNeeded: (link: LinkNeeded, message: ClientMessage) => { readonly text: string; readonly status: number };
  /** @param name The tool's as sent. */
  readonly refusal: (
    reason: Refusal,
    name: string,
    message: ClientMessage,
  ) => { readonly text: string; readonly status: number };
  /** The request itself is wrong: a text of ours, with the number of invalid params. */
  readonly misfit: (text: string, message: ClientMessage) => { readonly text: string; readonly status: number };
}

/** A client that speaks MCP. */
export interface ClientSide extends CallSide {
  /** An error object; `status` is that of the modern era. */
  readonly error: (
    error: RpcError,
    status: number,
    id: string | null,
  ) => { readonly text: string; readonly status: number };
}
