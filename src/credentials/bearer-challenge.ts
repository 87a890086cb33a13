const MAX_HEADER = 8_192;
/** A scheme, or a parameter with its value, quoted or not (RFC 9110 section 11.6.1). */
const PART = /([!#$%&'*+\-.^_`|~\w]+)(\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g;

/** The `Bearer` challenge of a `WWW-Authenticate` header: its parameters by their name in lower case; null without. */
export function bearerChallenge(header: string | null): Readonly<Record<string, string>> | null {
  const parameters = new Map<string, string>();
  let scheme = "";
  let isFound = false;
  for (const [, name = "", assignment, quoted, plain = ""] of (header ?? "").slice(0, MAX_HEADER).matchAll(PART)) {
    if (assignment === undefined) {
      scheme = name.toLowerCase();
      if (scheme === "bearer") isFound = true;
    } else if (scheme === "bearer" && !parameters.has(name.toLowerCase())) {
      parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? plain);
    }
  }
  return isFound ? Object.fromEntries(parameters) : null;
}

/** RFC 6749 section 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/** Scopes off the wire: a text with spaces between them, or a list; each once, whatever is none left out. */
export function scopesIn(value: unknown): string[] {
  const all: unknown[] = typeof value === "string" ? value.split(/\s+/) : Array.isArray(value) ? value : [];
  return [...new Set(all.filter((one): one is string => typeof one === "string" && SCOPE.test(one)))];
}
