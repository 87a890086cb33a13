/**
 * The authorization server of the benchmark: raw node:http, so that it is never what one waits for. It rotates refresh
 * tokens, and ends the grant where one comes twice. A process of its own, which listens on a free port and tells its
 * parent which; each message from the parent is the life of access tokens in seconds, and is answered with how many
 * refresh requests have come so far.
 */
import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

let lifetimeS = 3_600;
let refreshed = 0;
const isUsed = new Map<string, boolean>();

interface Answer {
  readonly status: number;
  readonly body?: object;
  readonly location?: string;
}

async function answer(request: IncomingMessage): Promise<Answer> {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://127.0.0.1");
  if (pathname === "/authorize") {
    const back = new URL(searchParams.get("redirect_uri") ?? "");
    back.searchParams.set("code", crypto.randomUUID());
    back.searchParams.set("state", searchParams.get("state") ?? "");
    return { status: 302, location: back.href };
  }
  const form = new URLSearchParams(await text(request));
  if (form.get("grant_type") === "refresh_token") {
    refreshed += 1;
    const token = form.get("refresh_token") ?? "";
    if (isUsed.get(token) !== false) {
      isUsed.clear();
      return { status: 400, body: { error: "invalid_grant" } };
    }
    isUsed.set(token, true);
  }
  const refresh_token = crypto.randomUUID();
  isUsed.set(refresh_token, false);
  const body = { access_token: crypto.randomUUID(), token_type: "Bearer", expires_in: lifetimeS, refresh_token };
  return { status: 200, body };
}

const server = createServer((request, response) => {
  void answer(request).then(({ status, body, location }) => {
    response.writeHead(status, { "Content-Type": "application/json", ...(location && { Location: location }) });
    response.end(body && JSON.stringify(body));
  });
});
server.listen(0, "127.0.0.1", () => process.send?.(server.address()));
process.on("message", (seconds: number) => {
  lifetimeS = seconds;
  process.send?.({ refreshed });
});
// Whoever started this is gone.
process.on("disconnect", () => process.exit());
