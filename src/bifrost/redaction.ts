/** How a secret is shown where somebody may see that there is one, and how it is known again (BF-44). Pure. */

const SHOWN = 4;
const MASK = "*".repeat(24);

/** Up to 8 characters: as many `*`; longer: the first 4, 24 `*` and the last 4. */
export function redact(secret: string): string {
  const characters = [...secret];
  if (characters.length <= 2 * SHOWN) return "*".repeat(characters.length);
  return characters.slice(0, SHOWN).join("") + MASK + characters.slice(-SHOWN).join("");
}

/** Whether a text can only have come from `redact`: what is sent back so must not be stored as a secret (BF-34). */
export function looksRedacted(text: string): boolean {
  return /^(\*{1,8}|.{4}\*{24}.{4})$/su.test(text);
}

/** An endpoint as it is shown: whole, or redacted as a whole where its query may hold a secret. */
export function shownUrl(url: string): string {
  return url.includes("?") ? redact(url) : url;
}
