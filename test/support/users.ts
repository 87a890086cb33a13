/** A gateway whose users come in by an identity provider: real tokens, verified against keys that it publishes. */
import { offline } from "./api.ts";
import { type FakeNetwork, startGateway, type TestGateway } from "./gateway.ts";
import { AUDIENCE, ISSUER, metadataOf, NOW, newKey, sign } from "./identity-provider.ts";

export interface UserGateway extends TestGateway {
  /** A request of a user; a body is sent as JSON. Claims stand beside `sub` in the token. */
  as(
    user: string | Record<string, unknown>,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Response>;
  /** The header that a user's token comes in. */
  bearer(user: string | Record<string, unknown>): Promise<{ Authorization: string }>;
  /** Milliseconds that have passed since the gateway began. */
  passed: number;
}

/** @param network What answers everything but the identity provider. */
export async function startWithUsers(
  network: FakeNetwork = offline,
  vars: Record<string, unknown> = {},
): Promise<UserGateway> {
  const key = await newKey();
  const clock = { passed: 0 };
  const gateway = startGateway(
    async (request) => {
      if (request.url === `${ISSUER}/.well-known/openid-configuration`) return Response.json(metadataOf(ISSUER));
      if (request.url === "https://keys.example/jwks") return Response.json({ keys: [key.jwk] });
      return network(request);
    },
    {
      OIDC_ISSUER: ISSUER,
      OIDC_AUDIENCE: AUDIENCE,
      OIDC_CLAIMS: JSON.stringify({ org: "org", platform_admin: { claim: "platform", value: true } }),
      ...vars,
    },
    { clock: () => NOW + clock.passed },
  );
  const bearer: UserGateway["bearer"] = async (user) => {
    const claims = typeof user === "string" ? { sub: user } : user;
    return { Authorization: `Bearer ${await sign(key, claims)}` };
  };
  return Object.assign(clock, {
    ...gateway,
    bearer,
    async as(
      user: string | Record<string, unknown>,
      method: string,
      path: string,
      body?: unknown,
      headers: Record<string, string> = {},
    ) {
      const json: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
      return gateway.fetch(path, {
        method,
        headers: { ...(await bearer(user)), ...json, ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    },
  });
}
