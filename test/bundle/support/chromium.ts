/** Headless Chromium, driven over its own protocol: pages as a person sees them, which no `fetch` can tell. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Running } from "./running.ts";

const EXECUTABLE = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

/** Whether this machine has a Chromium; it comes from the operating system and from no package of ours. */
export const hasChromium = EXECUTABLE !== undefined;

export interface Browser extends Running {
  /** Goes to an address, and waits until the page is there. */
  goto(url: string): Promise<void>;
  /** The value of an expression in the page. */
  ask<T>(expression: string): Promise<T>;
  /** Does something that leads to another page, and waits for that. */
  follow(expression: string): Promise<void>;
  /** Types into what has the focus. */
  type(text: string): Promise<void>;
  /** Presses Enter, which leads to another page, and waits for that. */
  enter(): Promise<void>;
  resize(width: number, height: number): Promise<void>;
  /** Loses all cookies. */
  forget(): Promise<void>;
  /** What the browser itself has complained about so far: blocked resources, refused frames, errors of scripts. */
  readonly complaints: string[];
  /** The URLs of all that pages have asked for so far. */
  readonly requested: string[];
}

const ENTER = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: {
    readonly entry?: { readonly level: string; readonly text: string };
    readonly request?: { readonly url: string };
    readonly exceptionDetails?: { readonly text: string };
  };
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

export async function startChromium(): Promise<Browser> {
  const folder = await mkdtemp(join(tmpdir(), "postern-chromium-"));
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"];
  const child = spawn(EXECUTABLE ?? "", [...flags, `--user-data-dir=${folder}`, "about:blank"], {
    stdio: "ignore",
    // A group of its own: Chromium is many processes, and they are ended together.
    detached: true,
  });
  const port = await portOf(child, join(folder, "DevToolsActivePort"));
  const pages = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
  const socket = new WebSocket(pages.find(({ type }: { type: string }) => type === "page").webSocketDebuggerUrl);
  await once(socket, "open");
  const waiting = new Map<number, (message: Message) => void>();
  const complaints: string[] = [];
  const requested: string[] = [];
  let loads = 0;
  let last = 0;
  socket.addEventListener("message", ({ data }) => {
    const message: Message = JSON.parse(String(data));
    if (message.id !== undefined) waiting.get(message.id)?.(message);
    if (message.method === "Page.loadEventFired") loads++;
    const { entry, request, exceptionDetails } = message.params ?? {};
    if (message.method === "Log.entryAdded" && entry !== undefined) complaints.push(entry.text);
    if (message.method === "Runtime.exceptionThrown") complaints.push(`${exceptionDetails?.text}`);
    if (message.method === "Network.requestWillBeSent" && request !== undefined) requested.push(request.url);
  });
  const send = (method: string, params: object = {}): Promise<Message> => {
    const id = ++last;
    const { promise, resolve } = Promise.withResolvers<Message>();
    waiting.set(id, resolve);
    socket.send(JSON.stringify({ id, method, params }));
    return promise;
  };
  const loaded = async (begin: () => Promise<unknown>) => {
    const before = loads;
    await begin();
    const end = Date.now() + 10_000;
    while (loads === before) {
      if (Date.now() > end) throw new Error("no page was loaded");
      await sleep(20);
    }
  };
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`);
  const evaluate = (expression: string) => send("Runtime.evaluate", { expression, returnByValue: true });
  return {
    complaints,
    requested,
    logs: () => complaints,
    goto: (url) => loaded(() => send("Page.navigate", { url })),
    ask: async <T>(expression: string) => (await evaluate(expression)).result?.result?.value as T,
    follow: (expression) => loaded(() => evaluate(expression)),
    type: async (text) => void (await send("Input.insertText", { text })),
    enter: () => loaded(() => send("Input.dispatchKeyEvent", { type: "keyDown", ...ENTER })),
    resize: async (width, height) => {
      const mobile = width < 600;
      await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
    },
    forget: async () => void (await send("Network.clearBrowserCookies")),
    async stop() {
      socket.close();
      const exited = once(child, "exit");
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      await exited;
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Chromium writes the port that it has chosen into a file of its profile. */
async function portOf(child: ChildProcess, file: string): Promise<string> {
  for (const end = Date.now() + 20_000; Date.now() < end; await sleep(50)) {
    if (child.exitCode !== null) throw new Error(`Chromium ended with ${child.exitCode}`);
    const [port] = (await readFile(file, "utf8").catch(() => "")).split("\n");
    if (port) return port;
  }
  throw new Error("Chromium did not start");
}
