import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSealer } from "../../src/credentials/sealing.ts";
import { base64Url, fromBase64 } from "../../src/platform/ids.ts";
import { Secret } from "../../src/platform/secret.ts";

const K1 = `k1:${btoa("a key for tests, 32 bytes long!!!")}`;
const K2 = `k2:${btoa("another key, 32 bytes and longer!")}`;
const sealerWith = (...ring: string[]) => createSealer(new Secret(ring.join(",")));

const OWNER = "server:srv_1:config";
const refusal = (code: string) => expect.objectContaining({ name: "GatewayError", code });

describe("sealing", () => {
  it("gives every text back to its owner, and to nobody else [PS-50]", async () => {
    const sealer = sealerWith(K1);
    const text = fc.string({ unit: "grapheme", maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(text, text, text, async (secret, owner, other) => {
        const sealed = await sealer.seal(secret, owner);
        expect(await sealer.open(sealed, owner)).toBe(secret);
        if (owner !== other)
          await expect(sealer.open(sealed, other)).rejects.toEqual(refusal("sealed_payload_invalid"));
      }),
      { numRuns: 50 },
    );
  });

  it("has the form <key id>.<96-bit nonce>.<text and 128-bit tag>, another nonce each time [PS-50]", async () => {
    const sealer = sealerWith(K2, K1);
    const sealed = await Promise.all(Array.from({ length: 20 }, () => sealer.seal("secret", OWNER)));
    const nonces = sealed.map((text) => {
      const [kid, nonce, ciphertext] = text.split(".");
      expect(kid).toBe("k2");
      expect(fromBase64(ciphertext ?? "")?.length).toBe("secret".length + 16);
      expect(fromBase64(nonce ?? "")?.length).toBe(12);
      return nonce;
    });
    expect(new Set(nonces).size).toBe(20);
  });

  it("is AES-256-GCM under a key that HKDF makes of the ring, with the owner as additional data [PS-50]", async () => {
    const ring = new TextEncoder().encode("a key for tests, 32 bytes long!!!");
    const source = await crypto.subtle.importKey("raw", ring, "HKDF", false, ["deriveKey"]);
    const info = new TextEncoder().encode("postern sealing v1");
    const kdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
    const key = await crypto.subtle.deriveKey(kdf, source, { name: "AES-GCM", length: 256 }, false, ["encrypt"]);
    const iv = new Uint8Array(12).fill(7);
    const algorithm = { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(OWNER) };
    const ciphertext = await crypto.subtle.encrypt(algorithm, key, new TextEncoder().encode("secret"));
    const sealed = `k1.${base64Url(iv)}.${base64Url(new Uint8Array(ciphertext))}`;
    expect(await sealerWith(K1).open(sealed, OWNER)).toBe("secret");
  });

  it("does not open when any bit of it was changed [PS-50]", async () => {
    const sealer = sealerWith(K1, K2);
    const [kid = "", nonce = "", ciphertext = ""] = (await sealer.seal("secret", OWNER)).split(".");
    const bytes = (text: string) => fromBase64(text) ?? new Uint8Array();
    const flipped = (text: string) =>
      Array.from(bytes(text), (_, at) => base64Url(bytes(text).map((byte, i) => (i === at ? byte ^ 1 : byte))));
    const damaged = [
      ...flipped(nonce).map((other) => `${kid}.${other}.${ciphertext}`),
      ...flipped(ciphertext).map((other) => `${kid}.${nonce}.${other}`),
      ...["k2", "k3", "", "K1"].map((other) => `${other}.${nonce}.${ciphertext}`),
      ...[
        "",
        ".",
        "..",
        "k1",
        "k1.",
        `k1.${nonce}`,
        `k1.${nonce}.`,
        `k1..${ciphertext}`,
        `k1.${nonce}.!`,
        `k1.!.${ciphertext}`,
      ],
    ];
    for (const sealed of damaged) {
      await expect(sealer.open(sealed, OWNER), sealed).rejects.toEqual(refusal("sealed_payload_invalid"));
    }
  });

  it("opens with any key of the ring, and seals with the first [PS-50]", async () => {
    const old = await sealerWith(K1).seal("secret", OWNER);
    expect(await sealerWith(K2, K1).open(old, OWNER)).toBe("secret");
    await expect(sealerWith(K2).open(old, OWNER)).rejects.toEqual(refusal("sealed_payload_invalid"));
    expect(await sealerWith(K2, K1).seal("secret", OWNER)).toMatch(/^k2\./);
  });

  it.each([
    ["is empty", ""],
    ["is blank", " , "],
    ["has no key id", btoa("a key for tests, 32 bytes long!!!")],
    ["has an empty key id", `:${btoa("a key for tests, 32 bytes long!!!")}`],
    ["has a key id with a dot", `k.1:${btoa("a key for tests, 32 bytes long!!!")}`],
    ["has a key of 31 bytes", `k1:${btoa("a".repeat(31))}`],
    ["has a key that is no base64", "k1:a-key-for-tests!"],
    ["has a good key and a bad one", `${K1},k2:short`],
  ])("is refused both ways when the ring %s [PS-50]", async (_, ring) => {
    const sealed = await sealerWith(K1).seal("secret", OWNER);
    const sealer = sealerWith(ring);
    await expect(sealer.seal("secret", OWNER)).rejects.toEqual(refusal("encryption_key_missing"));
    await expect(sealer.open(sealed, OWNER)).rejects.toEqual(refusal("encryption_key_missing"));
  });

  it("takes keys in either alphabet of base64, padded or not, with blanks around them", async () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, at) => 255 - at);
    const padded = btoa(String.fromCharCode(...bytes));
    const sealed = await sealerWith(`k1:${padded}`).seal("secret", OWNER);
    for (const encoded of [base64Url(bytes), padded.replaceAll("=", ""), `${padded} `]) {
      expect(await sealerWith(` k1:${encoded}`).open(sealed, OWNER)).toBe("secret");
    }
  });
});

describe("a secret", () => {
  it("shows itself to nobody who does not ask for it by name", () => {
    const secret = new Secret("c4n4ry");
    const shown = [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      JSON.stringify([secret]),
      Object.keys(secret).join(),
    ];
    expect(shown.join("\n")).not.toContain("c4n4ry");
    expect(JSON.stringify({ ...secret })).toBe("{}");
    expect(secret.reveal()).toBe("c4n4ry");
  });
});
