import { and, eq, gt, lte } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import { browserSessions, signIns } from "./identity.tables.ts";
import { Person } from "./person.wire.ts";

/** A browser that was sent away to sign in. */
export interface StartedSignIn {
  readonly state_hash: string;
  readonly browser_hash: string;
  readonly return_to: string;
  /** Milliseconds since the Unix epoch. */
  readonly expires_at: number;
}

/** What is known of browsers, in D1: it belongs to no org. What has ended is dropped when something is written. */
export interface BrowserStore {
  startSignIn(signIn: StartedSignIn, now: number): Promise<void>;
  /** Takes a sign-in away, for the first who asks with what its browser has. @returns Where it goes on, or null */
  takeSignIn(stateHash: string, browserHash: string, now: number): Promise<string | null>;
  putSession(sessionHash: string, person: Person, now: number, expiresAt: number): Promise<void>;
  session(sessionHash: string, now: number): Promise<Person | null>;
  endSession(sessionHash: string): Promise<void>;
}

export function d1BrowserStore(d1: D1Database): BrowserStore {
  const db = drizzle(d1);
  return withOutages<BrowserStore>({
    async startSignIn(signIn, now) {
      await db.batch([db.delete(signIns).where(lte(signIns.expires_at, now)), db.insert(signIns).values(signIn)]);
    },

    async takeSignIn(stateHash, browserHash, now) {
      const [taken] = await db
        .delete(signIns)
        .where(
          and(eq(signIns.state_hash, stateHash), eq(signIns.browser_hash, browserHash), gt(signIns.expires_at, now)),
        )
        .returning({ return_to: signIns.return_to });
      return taken?.return_to ?? null;
    },

    async putSession(sessionHash, person, now, expiresAt) {
      await db.batch([
        db.delete(browserSessions).where(lte(browserSessions.expires_at, now)),
        db.insert(browserSessions).values({ session_hash: sessionHash, person, expires_at: expiresAt }),
      ]);
    },

    async session(sessionHash, now) {
      const [row] = await db
        .select()
        .from(browserSessions)
        .where(and(eq(browserSessions.session_hash, sessionHash), gt(browserSessions.expires_at, now)));
      const parsed = Person.safeParse(row?.person);
      return parsed.success ? parsed.data : null;
    },

    async endSession(sessionHash) {
      await db.delete(browserSessions).where(eq(browserSessions.session_hash, sessionHash));
    },
  });
}
