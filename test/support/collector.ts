/** An OpenTelemetry collector in front of another network. */
import type { FakeNetwork } from "./gateway.ts";
import { type Collected, readCollected } from "./otlp.ts";

export const OTLP = "https://otel.example/otlp";

/** @param answer Without it, everything is taken. */
export function collectorAt(
  endpoint: string,
  network: FakeNetwork,
  answer: (collected: Collected) => Response | Promise<Response> = () => Response.json({}),
) {
  const received: Collected[] = [];
  const own: FakeNetwork = async (request) => {
    if (!request.url.startsWith(endpoint)) return network(request);
    const collected = { url: request.url, headers: request.headers, text: await request.text() };
    received.push(collected);
    return answer(collected);
  };
  return { received, network: own, ...readCollected(received) };
}
