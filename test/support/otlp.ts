/** What an OpenTelemetry collector is sent as JSON over HTTP, decoded. */

/** One request. */
export interface Collected {
  readonly url: string;
  readonly headers: Headers;
  readonly text: string;
}

interface Value {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
}

interface Attribute {
  readonly key: string;
  readonly value: Value;
}

interface RawSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: number };
  readonly attributes: readonly Attribute[];
}

export interface Metric {
  readonly name: string;
  readonly sum: { readonly dataPoints: readonly { attributes: readonly Attribute[]; asInt: number | string }[] };
}

interface Payload {
  readonly resourceSpans?: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
  readonly resourceMetrics?: readonly { readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[] }[];
}

const PHASES = ["decision", "lease", "upstream", "journal"];

/** What of the collected requests is asked for in tests. */
export function readCollected(received: readonly Collected[]) {
  const payloads = (): Payload[] => received.map(({ text }) => JSON.parse(text));
  const metrics = () =>
    payloads().flatMap(({ resourceMetrics = [] }) =>
      resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics)),
    );
  return {
    /** Calls before their parts, and these in their order. */
    spans: () =>
      payloads()
        .flatMap(({ resourceSpans = [] }) =>
          resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
        )
        .map((span) => ({ ...span, attributes: valuesOf(span.attributes) }))
        .toSorted((a, b) => PHASES.indexOf(a.name) - PHASES.indexOf(b.name)),
    metrics,
    /** Calls by server and outcome. */
    counts() {
      const counts: Record<string, number> = {};
      for (const { sum } of metrics()) {
        for (const { attributes, asInt } of sum.dataPoints) {
          const { server, outcome } = valuesOf(attributes);
          const key = `${server} ${outcome}`;
          counts[key] = (counts[key] ?? 0) + Number(asInt);
        }
      }
      return counts;
    },
    resource: () =>
      valuesOf(payloads().flatMap(({ resourceSpans = [] }) => resourceSpans)[0]?.resource.attributes ?? []),
    /** Everything, to be searched. */
    texts: () => received.map(({ text }) => text).join("\n"),
  };
}

function valuesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.doubleValue ?? Number(value.intValue)]),
  );
}
