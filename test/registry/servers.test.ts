import { describe, expect, it } from "vitest";
import { startGateway } from "../support/gateway.ts";

const offline = () => Promise.reject(new Error("connection refused"));

describe("POST /v1/servers", () => {
  it("stores a server whose connection fails, and says so [BF-22]", async () => {
    const gateway = startGateway(offline);
    const response = await gateway.admin("POST", "/v1/servers", {
      name: "docs",
      server_url: "https://docs.example/mcp",
    });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({
      name: "docs",
      status: "active",
      state: "error",
      last_failure: {
        stage: "connect",
        message: "The server cannot be reached, or it closed the connection without an answer.",
      },
    });
  });
});
