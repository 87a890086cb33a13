/** A gateway for a test: the real app on real D1 and objects, with the network of the test's choosing. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { vi } from "vitest";
import { createApp } from "../../src/app.ts";
import type { Platform } from "../../src/services.ts";

import { expectSecretless } from "./canaries.ts";
import { expectDocumented } from "./documented.ts";

export const ADMIN = { Authorization: `Bearer ${env.ADMIN_KEY}` };

/** What answers every request that leaves. */
export type FakeNetwork = (request: Request) => Promise<Response>;

export interface TestGateway {
  /** Sends a request and waits for what it leaves behind (`waitUntil`), unless the answer is a stream. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** The same for an answer that is streamed whatever its type: it must be read before `settled`. */
  open(path: string, init?: RequestInit): Promise<Response>;
  /** A request of an admin; a body is sent as JSON. */
  admin(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Waits for what all requests so far have left behind; their streams must have been read. */
  settled(): Promise<void>;
}

/**
 * @param network What answers every request that leaves, from the Worker and from its objects.
 * @param vars Bindings that differ from the defaults.
 * @param overrides What code brings to the Worker; objects do not have it.
 */
export function startGateway(
  network: FakeNetwork,
  vars: Record<string, unknown> = {},
  overrides: Partial<Platform> = {},
): TestGateway {
  // Whoever sends a request waits for its rows, most often alone.
  const app = createApp({ gatherMs: 0, ...overrides });
  // Objects share the isolate, so one fake serves both them and the app.
  vi.spyOn(globalThis, "fetch").mockImplementation((input, init) => {
    const request = new Request(input, init);
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    request.signal.addEventListener("abort", () => reject(request.signal.reason));
    return Promise.race([network(request), aborted]);
  });
  const streaming: ExecutionContext[] = [];
  const settings = { ...env, ...vars } as unknown as Env;

  async function send(path: string, init?: RequestInit): Promise<Response> {
    const ctx = createExecutionContext();
    const response = await app.fetch(new Request(`https://gateway.example${path}`, init), settings, ctx);
    const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream") ?? false;
    if (isStream) streaming.push(ctx);
    else await waitOnExecutionContext(ctx);
    await expectDocumented(init?.method ?? "GET", path, response);
    await expectSecretless(init?.method ?? "GET", path, response);
    return response;
  }

  return {
    fetch: send,
    open(path, init) {
      const ctx = createExecutionContext();
      streaming.push(ctx);
      return Promise.resolve(app.fetch(new Request(`https://gateway.example${path}`, init), settings, ctx));
    },
    async settled() {
      for (const ctx of streaming.splice(0)) await waitOnExecutionContext(ctx);
    },
    admin: (method, path, body, headers = {}) =>
      send(path, {
        method,
        headers: { ...ADMIN, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  };
}
