/** Spans and counters as an OTLP collector takes them: what the library serializes, sent by the one way out. */
import type { ISerializer } from "@opentelemetry/otlp-transformer";
import type { Send } from "../platform/guarded-fetch.ts";
import { causesOf, log } from "../platform/log.ts";
import type { Secret } from "../platform/secret.ts";

/** Where telemetry goes. */
export interface TelemetrySettings {
  /** Without a slash at its end; `/v1/traces` and `/v1/metrics` are below it. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, Secret>>;
}

/** How long a collector may take. Nobody waits for it; the platform keeps work behind an answer for thirty seconds. */
export const EXPORT_TIMEOUT_MS = 5_000;

/**
 * Sends one batch as JSON (OTLP/HTTP). Never throws and does not try again: what a collector does not take is lost.
 *
 * The library's own exporters keep a queue of promises for all who export, and no promise may outlive its request here.
 */
export async function exportBatch<T>(
  send: Send,
  { endpoint, headers }: TelemetrySettings,
  signal: "traces" | "metrics",
  serializer: ISerializer<T, unknown>,
  batch: T,
): Promise<void> {
  try {
    const body = serializer.serializeRequest(batch);
    if (body === undefined) return;
    const shown = Object.entries(headers).map(([name, value]) => [name, value.reveal()]);
    const response = await send(
      {
        url: `${endpoint}/v1/${signal}`,
        method: "POST",
        headers: { ...Object.fromEntries(shown), "Content-Type": "application/json" },
        body: new TextDecoder().decode(body),
        signal: AbortSignal.timeout(EXPORT_TIMEOUT_MS),
      },
      new URL(endpoint).origin,
    );
    await response.body?.cancel();
    if (!response.ok) log("warn", "telemetry_lost", { signal, status: response.status });
  } catch (thrown) {
    log("warn", "telemetry_lost", { signal, causes: causesOf(thrown) });
  }
}
