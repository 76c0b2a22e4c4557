// Logging in with a cookie or a header of the upgrade request, as a browser or something in front of the server sends it.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { connected, encodings, makeClient, refused, subscribed } from "./client.mjs";
import { config, inSeconds, isSpinward, jwt, startServer, unique, until } from "./server.mjs";

const OURS = "https://app.example";

/** A WebSocket that sends what `headers` gives at the time. */
const sending = (headers) =>
  class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers: headers() });
    }
  };
const page = (cookie, origin = OURS) => sending(() => ({ origin, cookie: typeof cookie === "function" ? cookie() : cookie }));

const skip = !isSpinward && "an option of our own";
let server;
before(async () => {
  if (skip) return;
  // Anonymous visitors may come in, so that a failed login that becomes one is noticed.
  server = await startServer(config({
    allowed_origins: [OURS],
    connect_token_cookie: "jwt",
    connect_token_http_header: "X-Auth",
    allow_anonymous_connect_without_token: true,
  }));
});
after(() => server?.stop());

async function user(client) {
  const channel = unique("room:");
  await subscribed(client, channel);
  const { presence } = await server.api("presence", { channel });
  return Object.values(presence)[0].user ?? "";
}

for (const encoding of Object.keys(encodings)) {
  describe(`a token of the request, ${encoding}`, { skip }, () => {
    test("a cookie logs in", async () => {
      const websocket = page(`a=b; jwt=${jwt({ sub: "42", exp: inSeconds(60) })}`);
      const client = await connected(encoding, server.ws, { websocket });
      assert.equal(await user(client), "42");
      client.disconnect();
    });

    test("a header does, with or without a page", async () => {
      for (const headers of [{ "X-Auth": jwt({ sub: "42" }) }, { "X-Auth": `Bearer ${jwt({ sub: "42" })}`, origin: OURS }]) {
        const client = await connected(encoding, server.ws, { websocket: sending(() => headers) });
        assert.equal(await user(client), "42");
        client.disconnect();
      }
    });

    test("the token of the connect command goes before a cookie", async () => {
      const token = jwt({ sub: "7" });
      const client = await connected(encoding, server.ws, { token, websocket: page(`jwt=${jwt({ sub: "42" })}`) });
      assert.equal(await user(client), "7");
      client.disconnect();
    });

    test("without any of them it is an anonymous visitor", async () => {
      const client = await connected(encoding, server.ws, { websocket: page("a=b") });
      client.disconnect();
    });

    test("a cookie that is no good is a refusal, never an anonymous visitor", async () => {
      for (const [cookie, code] of [
        ["jwt=", 3501],
        ["jwt=none", 3500],
        [`jwt=${jwt({ sub: "42" }, { key: "wrong" })}`, 3500],
        [`jwt=${jwt({ sub: "42" })}; jwt=${jwt({ sub: "43" })}`, 3500],
        // 109, for which the SDK has no other token.
        [`jwt=${jwt({ sub: "42", exp: inSeconds(-5) })}`, 1],
      ]) {
        assert.equal((await refused(encoding, server.ws, { websocket: page(cookie) })).code, code, cookie);
      }
      assert.match(server.log(), /signature_mismatch.*the token of the cookie .{0,2}jwt/);
    });

    test("a cookie that comes from nowhere, or from another page, is not taken", async () => {
      const cookie = `jwt=${jwt({ sub: "42" })}`;
      const { code } = await refused(encoding, server.ws, { websocket: sending(() => ({ cookie })) });
      assert.equal(code, 3507);
      assert.match(server.log(), /origin_not_named/);
      const evil = makeClient(encoding, server.ws, { websocket: page(cookie, "https://evil.example") });
      evil.connect();
      await until(() => evil.events.filter(([name]) => name === "error").length > 1, "refused attempts");
      assert.equal(evil.state, "connecting", "the door stays shut: 403");
      evil.disconnect();
    });

    test("when its token ends the client comes back with the cookie of then, and misses nothing", async () => {
      let cookie = `jwt=${jwt({ sub: "42", exp: inSeconds(2) })}`;
      const client = await connected(encoding, server.ws, { websocket: page(() => cookie) });
      const channel = unique("recov:");
      const sub = await subscribed(client, channel);
      cookie = `jwt=${jwt({ sub: "42", exp: inSeconds(60) })}`;
      await until(() => client.events.some(([name, { code }]) => name === "connecting" && code === 3005), "the end", 8000);
      await server.api("publish", { channel, data: { n: 1 } });
      await until(() => sub.payloads().length === 1, "the publication", 8000);
      assert.deepEqual(sub.payloads(), [{ n: 1 }]);
      assert.equal(client.events.filter(([name]) => name === "disconnected").length, 0);
      client.disconnect();
    });
  });
}
