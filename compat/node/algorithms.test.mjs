// Every algorithm both ways with npm jose and npm jsonwebtoken: what they sign logs in, what Spinward signs they
// verify, and what is not right is refused.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac, createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { jwtVerify, SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";
import { exchange } from "./client.mjs";
import { BIN, config, isSpinward, startServer } from "./server.mjs";

const HMAC = ["HS256", "HS384", "HS512"];
const RSA = ["RS256", "RS384", "RS512"];
const CURVES = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
const ALL = [...HMAC, ...RSA, ...Object.keys(CURVES), "EdDSA"];

/** A new key for an algorithm: what signs, and what verifies. */
function make(alg) {
  if (HMAC.includes(alg)) {
    const secret = randomBytes(48).toString("base64");
    const key = createSecretKey(Buffer.from(secret));
    return { secret, privateKey: key, publicKey: key };
  }
  if (RSA.includes(alg)) return generateKeyPairSync("rsa", { modulusLength: 2048 });
  return alg === "EdDSA" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: CURVES[alg] });
}

const publicPem = ({ publicKey }) => publicKey.export({ type: "spki", format: "pem" });

const jose = {
  algs: ALL,
  sign: (claims, { privateKey }, alg) => new SignJWT(claims).setProtectedHeader({ alg, typ: "JWT" }).sign(privateKey),
  verify: async (token, { publicKey }, alg) => (await jwtVerify(token, publicKey, { algorithms: [alg] })).payload,
};
const auth0 = {
  algs: ALL.filter((alg) => alg !== "EdDSA"),
  sign: async (claims, { privateKey }, algorithm) => jsonwebtoken.sign(claims, privateKey, { algorithm, noTimestamp: true }),
  verify: async (token, { publicKey }, alg) => jsonwebtoken.verify(token, publicKey, { algorithms: [alg] }),
};

/** The token with one bit of its signature changed. */
function flipped(token, at, bit) {
  const [head, claims, signature] = token.split(".");
  const bytes = Buffer.from(signature, "base64url");
  bytes[at < 0 ? bytes.length + at : at] ^= 1 << bit;
  return `${head}.${claims}.${bytes.toString("base64url")}`;
}

/** The token with another algorithm in its header, the signature as it was. */
const renamed = (token, alg) => `${Buffer.from(JSON.stringify({ alg, typ: "JWT" })).toString("base64url")}.${token.split(".").slice(1).join(".")}`;

describe("algorithms", { skip: !isSpinward && "EdDSA keys, key lists and private keys for gentoken are Spinward's" }, () => {
  let server, dir;
  const keys = {};
  before(async () => {
    dir = mkdtempSync(path.join(tmpdir(), "spinward-keys-"));
    for (const alg of ["HS256", "RS256", ...Object.keys(CURVES), "EdDSA"]) keys[alg] = make(alg);
    const listed = [
      { type: "hmac", key: keys.HS256.secret },
      { type: "rsa", key: publicPem(keys.RS256) },
      ...Object.keys(CURVES).map((alg) => ({ type: "ecdsa", key: publicPem(keys[alg]) })),
      { type: "ed25519", key: publicPem(keys.EdDSA) },
    ];
    for (const alg of ALL) keys[alg] ??= HMAC.includes(alg) ? keys.HS256 : keys.RS256;
    server = await startServer(config({ token: { keys: listed } }));
  });
  after(async () => {
    await server?.stop();
    if (dir) rmSync(dir, { recursive: true });
  });

  async function answer(token) {
    const { socket, reply, code, reason } = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token } }));
    socket.close();
    return reply?.connect ? "connected" : (reply?.error?.code ?? `${code} ${reason}`);
  }

  const INVALID = "3500 invalid token";

  for (const [name, library] of Object.entries({ jose, jsonwebtoken: auth0 })) {
    for (const alg of library.algs) {
      test(`${name} signs ${alg}: it logs in, and nothing near it does`, async () => {
        const token = await library.sign({ sub: "42", exp: 4102444800 }, keys[alg], alg);
        assert.equal(await answer(token), "connected");
        for (const at of [0, 7, -1]) assert.equal(await answer(flipped(token, at, at & 7)), INVALID, `bit of byte ${at}`);
        assert.equal(await answer(await library.sign({ sub: "42" }, make(alg), alg)), INVALID, "another key");
        for (const other of [...ALL, "PS256", "none"]) {
          if (other !== alg) assert.equal(await answer(renamed(token, other)), INVALID, `called ${other}`);
        }
      });

      test(`Spinward signs ${alg}: ${name} verifies it`, async () => {
        let [file, withKey] = [server.file, []];
        if (keys[alg].secret) {
          // It signs with the main secret of its configuration.
          file = path.join(dir, `${name}-${alg}.json`);
          writeFileSync(file, JSON.stringify({ client: { token: { hmac_secret_key: keys[alg].secret } } }));
        } else {
          const pem = path.join(dir, `${name}-${alg}.pem`);
          writeFileSync(pem, keys[alg].privateKey.export({ type: "pkcs8", format: "pem" }));
          withKey = ["--private-key", pem];
        }
        const spinward = async (...command) => (await promisify(execFile)(BIN, ["-c", file, ...command, "-q", "--alg", alg, ...withKey])).stdout.trim();
        const token = await spinward("gentoken", "--user", "42");
        assert.equal((await library.verify(token, keys[alg], alg)).sub, "42");
        assert.equal(await answer(token), "connected");
        await assert.rejects(library.verify(flipped(token, 3, 0), keys[alg], alg));
        const claims = await library.verify(await spinward("gensubtoken", "--user", "42", "--channel", "room:x"), keys[alg], alg);
        assert.deepEqual([claims.sub, claims.channel], ["42", "room:x"]);
      });
    }
  }

  // Both libraries refuse to sign so, as they should: it is done by hand.
  for (const alg of ["RS256", ...Object.keys(CURVES), "EdDSA"]) {
    test(`the text of the public key for ${alg} is no secret`, async () => {
      const pem = publicPem(keys[alg]);
      const raw = keys[alg].publicKey.export({ type: "spki", format: "der" });
      for (const [confused, hash] of [["HS256", "sha256"], ["HS384", "sha384"], ["HS512", "sha512"]]) {
        for (const secret of [pem, pem.trim(), raw, JSON.stringify(keys[alg].publicKey.export({ format: "jwk" }))]) {
          const text = [{ alg: confused, typ: "JWT" }, { sub: "42" }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
          assert.equal(await answer(`${text}.${createHmac(hash, secret).update(text).digest("base64url")}`), INVALID);
        }
      }
    });
  }
});
