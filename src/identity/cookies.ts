/**
 * The cookies of the sign-in pages (RFC 6265bis): for no script, sent along when somebody comes from another site's link
 * and never with another site's form. Over https the browser itself holds them to this one host.
 */

/** The browser's own secret; the session of whoever has signed in. */
export type CookieName = "browser" | "session";

const nameOf = (name: CookieName, isSecure: boolean) => `${isSecure ? "__Host-" : ""}postern_${name}`;

/** The value of a cookie that we could have written; null otherwise. */
export function readCookie(request: Request, name: CookieName): string | null {
  const wanted = nameOf(name, request.url.startsWith("https:"));
  const found = (request.headers.get("Cookie") ?? "").split(/; */).find((pair) => pair.startsWith(`${wanted}=`));
  return /^[A-Za-z0-9_-]{43}$/.exec(found?.slice(wanted.length + 1) ?? "")?.[0] ?? null;
}

/** A `Set-Cookie` line; zero seconds take the cookie away. */
export function writeCookie({ protocol }: URL, name: CookieName, value: string, seconds: number): string {
  // Plain http is for this machine only, where browsers keep no secure cookies.
  const isSecure = protocol === "https:";
  const secure = isSecure ? "; Secure" : "";
  return `${nameOf(name, isSecure)}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`;
}
