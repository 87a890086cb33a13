import { DurableObject } from "cloudflare:workers";
import { causesOf, log } from "../platform/log.ts";
import { migrateObject } from "../platform/object-schema.ts";
import { createServices } from "../services.ts";
import { credentialMigrations } from "./credential.migrations.ts";
import { type Authorization, createCredential, type Hot } from "./credential.ts";
import type { LeaseAnswer, LeaseAsk } from "./lease.ts";
import { readCredentialName } from "./owner.ts";
import type { TokenRow } from "./token.ts";
import type { Disposal } from "./tokens.store.ts";

/**
 * One upstream credential, named by its server and owner: the one place in the world where it is renewed. What it does
 * is in `credential.ts`.
 */
export class Credential extends DurableObject<Env> {
  readonly #credential: ReturnType<typeof createCredential>;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrateObject(ctx.storage, credentialMigrations);
    const { serverId, owner } = readCredentialName(ctx.id.name ?? "[]");
    this.#credential = createCredential({
      ...createServices(env).credentialParts,
      serverId,
      owner,
      hot: hotIn(ctx.storage.sql),
    });
  }

  async lease(ask: LeaseAsk): Promise<LeaseAnswer> {
    const answer = await this.#credential.lease(ask);
    await this.#wake();
    return answer;
  }

  async authorize(authorization: Authorization): Promise<TokenRow | null> {
    const row = await this.#credential.authorize(authorization);
    await this.#wake();
    return row;
  }

  async dispose(disposal: Disposal): Promise<void> {
    await this.#credential.dispose(disposal);
    await this.#wake();
  }

  /** May run early, late or twice: what is due is found in the token itself. */
  override async alarm(): Promise<void> {
    try {
      await this.#credential.tend();
    } catch (thrown) {
      // Not rethrown: the next lease does what this could not, and says what is wrong.
      log("error", "token_not_tended", { credential: this.ctx.id.name, causes: causesOf(thrown) });
      return;
    }
    await this.#wake();
  }

  async #wake(): Promise<void> {
    const at = this.#credential.nextTend();
    const standing = await this.ctx.storage.getAlarm();
    if (at === null) {
      if (standing !== null) await this.ctx.storage.deleteAlarm();
    } else if (standing !== at) await this.ctx.storage.setAlarm(at);
  }
}

function hotIn(sql: SqlStorage): Hot {
  return {
    read() {
      const [found] = sql
        .exec<{ row: string; sealed: string; is_stored: number; is_used: number }>(
          "SELECT row, sealed, is_stored, is_used FROM hot",
        )
        .toArray();
      if (found === undefined) return null;
      const { row, sealed, is_stored, is_used } = found;
      return { row: JSON.parse(row) as TokenRow, sealed, isStored: is_stored === 1, isUsed: is_used === 1 };
    },
    write({ row, sealed, isStored, isUsed }) {
      sql.exec(
        "INSERT OR REPLACE INTO hot VALUES (1, ?, ?, ?, ?)",
        ...[JSON.stringify(row), sealed, isStored ? 1 : 0, isUsed ? 1 : 0],
      );
    },
    clear() {
      sql.exec("DELETE FROM hot");
    },
  };
}
