/**
 * The least that a Worker in front of a server can do, and therefore what the gateway is measured against: it forwards
 * the request as it came, and returns the answer as it came. It knows no credential, no policy and no log.
 */

const FORWARDED = ["accept", "content-type", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"];

export default {
  fetch(request: Request, env: { readonly UPSTREAM: string }): Promise<Response> {
    const headers = new Headers();
    for (const name of FORWARDED) {
      const value = request.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    return fetch(env.UPSTREAM, { method: request.method, headers, body: request.body });
  },
};
