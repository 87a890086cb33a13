import type { Principal } from "../identity/principal.ts";
import type { Services } from "../services.ts";

/** What every request carries through the app. */
export interface AppEnv {
  Bindings: Env;
  Variables: {
    services: Services;
    /** Who is asking, once that is known; for the log. */
    principal?: Principal;
    /** Names this request in answers and logs. */
    requestId: string;
  };
}
