/**
 * Spans and counters of tool calls, gathered in the isolate and sent behind the answers (OpenTelemetry). Spans are made
 * by hand where a call passes: nothing is patched, and nothing is recorded where no collector is configured.
 */
import { ROOT_CONTEXT, type Span, type SpanContext, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { parseTraceParent } from "@opentelemetry/core";
import { JsonMetricsSerializer, JsonTraceSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { type ReadableSpan, TracerProvider } from "@opentelemetry/sdk-trace";
import type { CallRow } from "../calls/call.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { log } from "../platform/log.ts";
import { POSTERN } from "../platform/version.ts";
import { type CallTrace, type Phase, untraced } from "./call-trace.ts";
import { type Counts, count, metricsOf } from "./counters.ts";
import { EXPORT_TIMEOUT_MS, exportBatch, type TelemetrySettings } from "./otlp.ts";
import { contextOf, type Received, type TraceContext } from "./trace-context.ts";

/** What waits in this isolate. Plain values: the request that begins a batch sends it. */
export interface TelemetryMemory {
  /** Spans that have ended. */
  spans: ReadableSpan[];
  counts: Counts;
  /** When the batch that waits was begun; null: none waits. */
  since: number | null;
  /** When each batch that is on its way is given up at the latest. */
  sending: readonly number[];
}

export function createTelemetryMemory(): TelemetryMemory {
  return { spans: [], counts: new Map(), since: null, sending: [] };
}

export interface TelemetryDeps {
  /** Null: nothing is recorded. */
  readonly settings: TelemetrySettings | null;
  readonly memory: TelemetryMemory;
  readonly send: Send;
  readonly clock: Clock;
}

/** A call as it comes in. */
export interface TracedCall {
  readonly message: { readonly meta: Received["meta"] };
  readonly headers: Headers;
  /** The server's own name of the tool; undefined where there is none of that name, which a client may have made up. */
  readonly tool: { readonly name: string } | undefined;
  /** Null: the client speaks no MCP. */
  readonly era: "modern" | "legacy" | null;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

export interface Telemetry {
  readonly trace: (call: TracedCall) => CallTrace;
}

/** How long a batch gathers, and how many spans it takes at most. */
const GATHER_MS = 1_000;
const GATHER_SPANS = 512;
/** A batch that nobody has sent for this long has lost its sender. */
const OVERDUE_MS = 10_000;
/** Batches on their way at the same time; beyond, the collector is too slow and the next one is dropped. */
const MAX_SENDING = 4;

export function createTelemetry({ settings, memory, send, clock }: TelemetryDeps): Telemetry {
  if (settings === null) {
    return { trace: ({ message: { meta }, headers }) => untraced(contextOf({ meta, headers })) };
  }
  const { name, version } = POSTERN;
  // Deltas of two isolates are two streams: without a name of its own, one would seem to contradict the other.
  const instance = { "service.instance.id": crypto.randomUUID() };
  const resource = resourceFromAttributes({ "service.name": name, "service.version": version, ...instance });
  const keep = (span: ReadableSpan) => void memory.spans.push(span);
  const done = () => Promise.resolve();
  const processor = { onStart: () => undefined, onEnd: keep, forceFlush: done, shutdown: done };
  // A client that does not sample its trace has said so for all of it: the library's own rule.
  const tracer = new TracerProvider({ resource, spanProcessors: [processor] }).getTracer(name, version);

  /** Sends what waits. Never rejects. */
  async function flush(): Promise<void> {
    const { spans, counts, since } = memory;
    if (since === null) return;
    Object.assign(memory, { spans: [], counts: new Map(), since: null });
    const now = clock();
    // By time, and not by a count: a request that is ended takes its batch with it.
    memory.sending = memory.sending.filter((end) => end > now);
    if (memory.sending.length >= MAX_SENDING) {
      log("warn", "telemetry_dropped", { spans: spans.length });
      return;
    }
    const end = now + EXPORT_TIMEOUT_MS;
    memory.sending = [...memory.sending, end];
    const to = settings as TelemetrySettings;
    await Promise.all([
      spans.length === 0 ? undefined : exportBatch(send, to, "traces", JsonTraceSerializer, spans),
      counts.size === 0
        ? undefined
        : exportBatch(
            send,
            to,
            "metrics",
            JsonMetricsSerializer,
            metricsOf(counts, resource, { from: since, to: now }),
          ),
    ]);
    const at = memory.sending.indexOf(end);
    memory.sending = memory.sending.filter((_, index) => index !== at);
  }

  /** Sees to it that what has just been kept is sent. */
  function schedule(waitUntil: TracedCall["waitUntil"]): void {
    const now = clock();
    if (memory.since === null) {
      memory.since = now;
      waitUntil(new Promise((resolve) => setTimeout(resolve, GATHER_MS)).then(flush));
    } else if (memory.spans.length >= GATHER_SPANS || now - memory.since > OVERDUE_MS) {
      waitUntil(flush());
    }
  }

  return {
    trace({ message: { meta }, headers, tool, era, waitUntil }) {
      const given = contextOf({ meta, headers });
      const parent = given === null ? null : parseTraceParent(given.traceparent);
      const around = parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...parent, isRemote: true });
      const begin = (spanName: string, kind: SpanKind, within = around) =>
        tracer.startSpan(spanName, { kind, startTime: new Date(clock()) }, within);
      const call = begin(`tools/call${tool === undefined ? "" : ` ${tool.name}`}`, SpanKind.SERVER);
      const inCall = trace.setSpan(ROOT_CONTEXT, call);
      call.setAttributes({ "mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool" });
      if (tool !== undefined) call.setAttribute("gen_ai.tool.name", tool.name);
      if (era !== null) call.setAttribute("postern.client.era", era);
      let tried = 0;
      let upstream: Span | null = null;

      const beginPhase = (phase: Phase) => {
        const span = begin(phase, phase === "upstream" ? SpanKind.CLIENT : SpanKind.INTERNAL, inCall);
        if (phase === "upstream") {
          upstream = span;
          span.setAttribute("postern.attempt", ++tried);
        }
        return (failure?: string) => {
          if (failure !== undefined) fail(span, failure);
          span.end(new Date(clock()));
        };
      };

      return {
        begin: beginPhase,

        // Where nothing is recorded of the call, a span of ours would be one that nobody ever sees.
        context: () => (upstream?.isRecording() ? childOf(upstream.spanContext(), given) : given),

        answered(row, { stored, isAwaited }) {
          count(memory.counts, row);
          const endJournal = beginPhase("journal");
          describe(call, row);
          const endCall = (at: number) => call.end(new Date(at));
          if (!isAwaited) endCall(row.created_at + row.duration_ms);
          const after = stored.then(() => {
            endJournal();
            if (isAwaited) endCall(clock());
            schedule(waitUntil);
          });
          waitUntil(after);
        },
      };
    },
  };
}

function childOf({ traceId, spanId, traceFlags }: SpanContext, given: TraceContext | null): TraceContext {
  const traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
  return given === null ? { traceparent, tracestate: null, from: "gateway" } : { ...given, traceparent };
}

function fail(span: Span, code: string): void {
  span.setAttribute("error.type", code).setStatus({ code: SpanStatusCode.ERROR });
}

/** What the row says, as far as it is nobody's text: no arguments, no names as sent, nobody's address. */
function describe(span: Span, row: CallRow): void {
  span.setAttributes({
    "postern.call.id": row.id,
    "postern.org.id": row.org_id,
    "postern.door": row.door,
    "postern.outcome": row.outcome,
    "postern.attempts": row.attempts,
    "postern.cost_usd": row.cost_nano / 1e9,
  });
  if (row.server !== null) span.setAttribute("postern.server.name", row.server);
  if (row.server_id !== null) span.setAttribute("postern.server.id", row.server_id);
  if (row.run_id !== null) span.setAttribute("postern.run.id", row.run_id);
  if (row.reason !== null) span.setAttribute("postern.reason", row.reason);
  if (!row.ok) fail(span, row.outcome);
}
