import { createApp, runSchedule } from "./app.ts";

export { Connector } from "./connector/connector.object.ts";
export { Credential } from "./credentials/credential.object.ts";
export { Session } from "./sessions/session.object.ts";

const app = createApp();

export default {
  fetch: (request, env, ctx) => app.fetch(request, env, ctx),
  scheduled: (_, env) => runSchedule(env),
} satisfies ExportedHandler<Env>;
