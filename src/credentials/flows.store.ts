import { and, eq, gt, isNull, lte, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import { oauthFlows } from "./credentials.tables.ts";

/** A link that has begun. Its secrets are hashed or sealed. */
export type Flow = typeof oauthFlows.$inferSelect;

/** What is settled when the browser is sent to the authorization server. */
export type Departure = Pick<Flow, "browser_hash" | "redirect_uri" | "verifier_sealed" | "issuer">;

/** The flows of linking in D1: each ticket and each state is used up by the one statement that finds it (PS-54). */
export interface FlowStore {
  /** Adds a flow, and forgets those that have expired. */
  start(flow: Flow, now: number): Promise<void>;
  /** The flow of a ticket that nobody has used. */
  ofTicket(ticketHash: string, now: number): Promise<Flow | null>;
  /** Uses up a ticket. False when somebody was faster, or it has expired. */
  depart(ticketHash: string, departure: Departure, now: number): Promise<boolean>;
  /** Takes the flow of a state that has come back, to the browser that it left: of two at once, one gets it. */
  take(stateHash: string, browserHash: string | null, now: number): Promise<Flow | null>;
}

export function d1FlowStore(d1: D1Database): FlowStore {
  const db = drizzle(d1);
  return withOutages<FlowStore>({
    async start(flow, now) {
      await db.batch([
        db.delete(oauthFlows).where(lte(oauthFlows.expires_at, now)),
        db.insert(oauthFlows).values(flow),
      ]);
    },

    async ofTicket(ticketHash, now) {
      const [flow] = await db
        .select()
        .from(oauthFlows)
        .where(and(eq(oauthFlows.ticket_hash, ticketHash), gt(oauthFlows.expires_at, now)));
      return flow ?? null;
    },

    async depart(ticketHash, departure, now) {
      const departed = await db
        .update(oauthFlows)
        .set({ ...departure, ticket_hash: null })
        .where(and(eq(oauthFlows.ticket_hash, ticketHash), gt(oauthFlows.expires_at, now)))
        .returning({ flow_id: oauthFlows.flow_id });
      return departed.length > 0;
    },

    async take(stateHash, browserHash, now) {
      const [flow] = await db
        .delete(oauthFlows)
        .where(
          and(
            eq(oauthFlows.state_hash, stateHash),
            // Not yet sent anywhere: nothing can come back from there.
            isNull(oauthFlows.ticket_hash),
            browserHash === null ? isNull(oauthFlows.browser_hash) : sql`${oauthFlows.browser_hash} = ${browserHash}`,
            gt(oauthFlows.expires_at, now),
          ),
        )
        .returning();
      return flow ?? null;
    },
  });
}
