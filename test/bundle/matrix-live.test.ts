/**
 * The matrix once more, for what goes on during a call: progress, forms that the server has the user fill in, and calls
 * that are given up; and for what servers have beside tools. All as without the gateway, and although no request comes
 * to the isolate that the one before has come to.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKey, type RegisteredServer, registerServer } from "./support/api.ts";
import { type Connection, SDK_CLIENTS } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { type PassThrough, startPassThrough } from "./support/pass-through.ts";
import { labelled, running } from "./support/running.ts";
import { directClient, doorsOf, LIVE_UPSTREAMS, type LiveUpstream } from "./support/upstreams.ts";

/** Each isolate looks so often whether what it remembers still holds. */
const SETTINGS = { SNAPSHOT_TTL_MS: "50" };
const gateway = running("the gateway", () => startGateway(SETTINGS, { isolates: 3 }));
/** What is in front of a Worker tells it at once that a client has left; workerd by itself learns it when it writes. */
const edge = running("the edge", () => startPassThrough(gateway().isolates));
const ANSWER = { name: "Ada", username: "ada", email: "ada@example.com" };

describe.each(labelled(LIVE_UPSTREAMS))("%s", (label, upstream) => {
  const server = running(label, upstream.start);
  const tap = running("the tap", () => startPassThrough(server().url));
  const tappedUrl = () => `${tap().origin}${new URL(server().url).pathname}`;
  let registered: RegisteredServer;
  beforeAll(async () => {
    registered = await registerServer(gateway(), upstream.name, tappedUrl());
  });

  const cells = SDK_CLIENTS.flatMap((client) =>
    doorsOf(upstream.name).map((door) => ({ label: `${client.label} at ${door.path}`, client, door })),
  );

  describe.each(labelled(cells))("for %s", (_, { client, door }) => {
    let through: Asking;
    let direct: Asking;
    beforeAll(async () => {
      // Of its own, so that no call of another cell goes on in the session at the server.
      const { value: key } = await createKey(gateway(), registered);
      through = await connect((onForm) => client.connect(`${edge().origin}${door.path}`, { key, onForm }));
      direct = await connect((onForm) => directClient(client, upstream).connect(tappedUrl(), { onForm }));
    });
    afterAll(async () => {
      await through?.close();
      await direct?.close();
    });
    const isAggregate = door.prefix !== "";
    const named = ({ tool, args }: LiveUpstream["slow"]) => [`${door.prefix}${tool}`, args] as const;

    it("reports the progress that the server reports [P-75]", async () => {
      const { tool, args } = upstream.progressing;
      const seen = await progressOf(through, ...named(upstream.progressing));
      expect(seen).toEqual(await progressOf(direct, tool, args));
      expect(seen.progress).toHaveLength(2);
    });

    const { eliciting } = upstream;
    if (typeof eliciting === "string") {
      it(`asks the user for nothing: ${eliciting}`, async () => {
        expect(await direct.toolNames()).not.toContain("trigger-elicitation-request");
        expect(await through.toolNames()).not.toContain(`${door.prefix}trigger-elicitation-request`);
      });
    } else {
      it("asks the user what the server asks, and gives it the answer [P-75]", async () => {
        const asked = await askedBy(through, ...named(eliciting));
        expect(asked).toEqual(await askedBy(direct, eliciting.tool, eliciting.args));
        expect(asked.forms).toHaveLength(1);
        expect(asked.result.isError ?? false).toBe(false);
      });
    }

    it("gives up at the server the call that the client gives up [P-75]", async () => {
      const { tool, args } = upstream.slow;
      expect(await givenUp(tap(), direct, tool, args)).toBe(true);
      expect(await givenUp(tap(), through, ...named(upstream.slow))).toBe(true);
      const next = await through.call(...named(upstream.progressing));
      expect(next).toEqual(await direct.call(upstream.progressing.tool, upstream.progressing.args));
    });

    if (!isAggregate) {
      it("lists the prompts and resources that the server lists [P-75]", async () => {
        expect(await through.contents()).toEqual(await direct.contents());
      });
    }
  });
});

interface Asking extends Connection {
  /** What its user has been asked. */
  readonly forms: string[];
}

/** Connects a client whose user fills in each form alike. */
async function connect(open: (onForm: (message: string) => typeof ANSWER) => Promise<Connection>): Promise<Asking> {
  const forms: string[] = [];
  const connection = await open((message) => {
    forms.push(message);
    return ANSWER;
  });
  return { ...connection, forms };
}

/** The last report comes together with the result, and is lost on the way of some servers: it is left out. */
async function progressOf(client: Connection, tool: string, args: Record<string, unknown>) {
  const progress: (readonly [number, number | undefined])[] = [];
  const result = await client.call(tool, args, (told) => progress.push([told.progress, told.total]));
  return { result, progress: progress.slice(0, 2) };
}

async function askedBy(client: Asking, tool: string, args: Record<string, unknown>) {
  client.forms.length = 0;
  const result = await client.call(tool, args);
  return { result, forms: [...client.forms] };
}

/** Whether the server hears of it, by a message or because nobody waits for the answer any more. */
async function givenUp(tap: PassThrough, client: Connection, tool: string, args: Record<string, unknown>) {
  const before = tap.passed.length;
  const stop = new AbortController();
  const begun = Promise.withResolvers<void>();
  const outcome = client
    .call(tool, args, () => begun.resolve(), stop.signal)
    .then(
      () => "an answer",
      () => "given up",
    );
  await Promise.race([begun.promise, outcome]);
  const call = tap.passed.slice(before).find(({ body }) => body.includes('"tools/call"'));
  const { id } = JSON.parse(call?.body ?? "{}") as { id?: unknown };
  stop.abort(new Error("enough"));
  expect(await outcome).toBe("given up");
  const isTold = ({ body }: { readonly body: string }) => {
    if (!body.includes("notifications/cancelled")) return false;
    return (JSON.parse(body) as { params?: { requestId?: unknown } }).params?.requestId === id;
  };
  return expect
    .poll(() => call?.isLeft === true || tap.passed.slice(before).some(isTold), { timeout: 5_000 })
    .toBe(true)
    .then(
      () => true,
      () => false,
    );
}
