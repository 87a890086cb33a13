import type { Services } from "../services.ts";

/** What every request carries through the app. */
export interface AppEnv {
  Bindings: Env;
  Variables: {
    services: Services;
    /** Names this request in answers and logs. */
    requestId: string;
  };
}
