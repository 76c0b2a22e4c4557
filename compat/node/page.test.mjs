// The manual's page with the official SDK in Node, in both encodings: login, expiry, and who is seen by whom.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { SignJWT } from "jose";
import { WebSocket } from "ws";
import { connected, encodings, exchange, makeClient, pack, refused, someone, subscribed, unpack } from "./client.mjs";
import { config, inSeconds, isSpinward, jwt, SECRET, sleep, startServer, unique, until } from "./server.mjs";

const sign = (claims, secret = SECRET) =>
  new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(new TextEncoder().encode(secret));

let server;
before(async () => (server = await startServer(config())));
after(() => server?.stop());

for (const encoding of Object.keys(encodings)) {
  describe(`login, ${encoding}`, { concurrency: 8 }, () => {
    for (const [name, claims] of [
      ["the simplest token", { sub: "42" }],
      ["exp in five minutes", { sub: "42", exp: inSeconds(300) }],
      ["info", { sub: "42", info: { name: "Alexander" } }],
    ]) {
      test(`the page, literally: ${name}`, async () => {
        const page = `
          var centrifuge = new Centrifuge("ws://localhost:8000/connection/websocket");
          centrifuge.setToken(token);
          centrifuge.connect();
          return centrifuge;`.replace("localhost:8000", `127.0.0.1:${server.port}`);
        globalThis.WebSocket = WebSocket;
        const centrifuge = new Function("Centrifuge", "token", page)(encodings[encoding], await sign(claims));
        await until(() => centrifuge.state === "connected", "the page to connect");
        centrifuge.disconnect();
      });
    }

    for (const alg of ["HS256", "HS384", "HS512"]) {
      test(`${alg} is accepted`, async () => {
        (await connected(encoding, server.ws, { token: jwt({ sub: "42" }, { alg }) })).disconnect();
      });
    }

    test("a wrong secret is refused with 3500", async () => {
      assert.deepEqual(await refused(encoding, server.ws, { token: await sign({ sub: "42" }, "wrong") }), { code: 3500, reason: "invalid token" });
    });

    test("a payload changed after signing is refused with 3500", async () => {
      const [head, , tail] = (await sign({ sub: "42" })).split(".");
      const token = `${head}.${Buffer.from('{"sub":"1"}').toString("base64url")}.${tail}`;
      assert.equal((await refused(encoding, server.ws, { token })).code, 3500);
    });

    test("no token at all is refused with 3501", async () => {
      assert.deepEqual(await refused(encoding, server.ws), { code: 3501, reason: "bad request" });
    });

    test("a token that has expired ends in unauthorised, since nothing can renew it", async () => {
      assert.deepEqual(await refused(encoding, server.ws, { token: jwt({ sub: "42", exp: inSeconds(-10) }) }), { code: 1, reason: "unauthorized" });
    });

    test("an expired token is renewed through getToken", async () => {
      let asked = 0;
      const client = await connected(encoding, server.ws, {
        token: jwt({ sub: "42", exp: inSeconds(-10) }),
        getToken: async () => (asked++, jwt({ sub: "42", exp: inSeconds(60) })),
      });
      assert.equal(asked, 1);
      assert.equal(client.events.find(([name]) => name === "error")[1].error.code, 109);
      client.disconnect();
    });

    test("the SDK's refresh keeps a short token's connection alive", async () => {
      let asked = 0;
      const client = await connected(encoding, server.ws, {
        token: jwt({ sub: "42", exp: inSeconds(3) }),
        getToken: async () => (asked++, jwt({ sub: "42", exp: inSeconds(60) })),
      });
      await sleep(6000);
      assert.equal(client.state, "connected");
      assert.equal(asked, 1);
      assert.equal(client.events.filter(([name]) => name === "connected").length, 1, "one and the same connection");
      client.disconnect();
    });

    test("without getToken the SDK gives up when the token expires, and a new token is in", async () => {
      const client = await connected(encoding, server.ws, { token: jwt({ sub: "42", exp: inSeconds(3) }) });
      await until(() => client.state === "disconnected", "the end of the connection", 8000);
      assert.deepEqual(client.events.at(-1), ["disconnected", { code: 1, reason: "unauthorized" }]);
      client.setToken(jwt({ sub: "42", exp: inSeconds(60) }));
      client.connect();
      await until(() => client.state === "connected", "the new token to be accepted");
      client.disconnect();
    });

    test("while refresh fails the server closes with 3005; the same token is 109 then, a new one is in", async () => {
      let works = false;
      const client = await connected(encoding, server.ws, {
        token: jwt({ sub: "42", exp: inSeconds(3) }),
        getToken: async () => {
          if (!works) throw new Error("the backend is down");
          return jwt({ sub: "42", exp: inSeconds(60) });
        },
      });
      const began = Date.now();
      const [, ending] = await until(() => client.events.find(([name, { code }]) => name === "connecting" && code > 2), "the close", 10_000);
      assert.deepEqual(ending, { code: 3005, reason: "connection expired" });
      const took = Date.now() - began;
      // exp in 3 s, then a second of grace; the server may look only once a second.
      assert.ok(took > 2500 && took < 7500, `closed after ${took} ms`);
      await until(() => client.events.some(([name, { error }]) => name === "error" && error.code === 109), "109 on reconnecting");
      works = true;
      await until(() => client.state === "connected", "the new token to be accepted");
      client.disconnect();
    });

    test("info is seen in presence, join, leave and client publications, not on API publications", async () => {
      const channel = unique("room:");
      const [ada, ben] = [someone(), someone()];
      const watcher = await connected(encoding, server.ws, { token: await sign({ sub: ada, info: { name: "Ada" } }) });
      const sub = await subscribed(watcher, channel);
      const other = await connected(encoding, server.ws, { token: await sign({ sub: ben, info: { name: "Ben" } }) });
      const theirs = await subscribed(other, channel);

      const join = await until(() => sub.seen("join").find(({ info }) => info.user === ben), "the join");
      assert.deepEqual(unpack(join.info.connInfo), { name: "Ben" });
      const people = Object.values((await sub.presence()).clients).map(({ user, connInfo }) => [user, unpack(connInfo)]);
      assert.deepEqual(people.sort(), [[ada, { name: "Ada" }], [ben, { name: "Ben" }]].sort());
      assert.deepEqual(await sub.presenceStats(), { numClients: 2, numUsers: 2 });

      await theirs.publish(pack(encoding, { n: 1 }));
      await until(() => sub.payloads().length === 1, "the client's publication");
      await server.api("publish", { channel, data: { n: 2 } });
      await until(() => sub.payloads().length === 2, "the API's publication");
      const [fromClient, fromApi] = sub.seen("publication");
      assert.equal(fromClient.info.user, ben);
      assert.deepEqual(unpack(fromClient.info.connInfo), { name: "Ben" });
      assert.equal(fromApi.info, undefined);
      assert.deepEqual(sub.payloads(), [{ n: 1 }, { n: 2 }]);

      other.disconnect();
      const leave = await until(() => sub.seen("leave").find(({ info }) => info.user === ben), "the leave");
      assert.deepEqual(unpack(leave.info.connInfo), { name: "Ben" });
      watcher.disconnect();
    });

    test("b64info that holds JSON arrives as info does", async () => {
      const channel = unique("room:");
      const b64info = Buffer.from('{"name":"Ada"}').toString("base64");
      const client = await connected(encoding, server.ws, { token: await sign({ sub: someone(), b64info }) });
      const sub = await subscribed(client, channel);
      const [me] = Object.values((await sub.presence()).clients);
      assert.deepEqual(unpack(me.connInfo), { name: "Ada" });
      client.disconnect();
    });

    test("server-side subscriptions from the token's channels and subs, and from the API", async () => {
      const [first, second, third] = [unique("room:"), unique("recov:"), unique("room:")];
      const user = someone();
      const client = await connected(encoding, server.ws, {
        token: await sign({ sub: user, subs: { [first]: {}, [second]: { data: { hello: 1 } } } }),
      });
      const seen = (name, channel) => client.events.filter(([found, context]) => found === name && context.channel === channel).map(([, context]) => context);
      await until(() => seen("subscribed", first).length && seen("subscribed", second).length, "both subscriptions");
      assert.equal(seen("subscribed", second)[0].recoverable, true);
      await server.api("publish", { channel: second, data: { n: 1 } });
      const publication = await until(() => seen("publication", second)[0], "a publication");
      assert.deepEqual(unpack(publication.data), { n: 1 });
      assert.equal(publication.offset, 1);
      await server.api("subscribe", { user, channel: third });
      await until(() => seen("subscribed", third).length, "the API's subscription");
      await server.api("unsubscribe", { user, channel: third });
      await until(() => seen("unsubscribed", third).length, "its end");
      client.disconnect();

      const old = await connected(encoding, server.ws, { token: await sign({ sub: user, channels: [first] }) });
      await until(() => old.events.some(([name, { channel }]) => name === "subscribed" && channel === first), "the channels claim");
      old.disconnect();
    });
  });
}

describe("login, on the wire", { concurrency: 8 }, () => {
  test("without exp the reply has no expires, and the connection stays", async () => {
    const { socket, reply } = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token: await sign({ sub: "42" }) } }));
    assert.equal(reply.connect.expires, undefined);
    assert.equal(reply.connect.ttl, undefined);
    await sleep(3500);
    assert.equal(socket.readyState, WebSocket.OPEN);
    socket.close();
  });

  test("with exp the reply has expires and the seconds that are left", async () => {
    const { socket, reply } = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token: await sign({ sub: "42", exp: inSeconds(300) }) } }));
    assert.equal(reply.connect.expires, true);
    assert.ok(reply.connect.ttl >= 298 && reply.connect.ttl <= 300, `ttl ${reply.connect.ttl}`);
    socket.close();
  });

  test("a client that never refreshes is closed with 3005 after the grace", async () => {
    const token = await sign({ sub: "42", exp: inSeconds(2) });
    const { socket, reply } = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token } }));
    assert.equal(reply.connect.expires, true);
    const end = await new Promise((resolve) => socket.once("close", (code, reason) => resolve([code, reason.toString()])));
    assert.deepEqual(end, [3005, "connection expired"]);
    const again = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token } }));
    assert.deepEqual(again.reply, { id: 1, error: { code: 109, message: "token expired" } });
    again.socket.close();
  });

  test("expire_at 0 leaves exp as the last moment to connect, and the connection without end", async () => {
    const token = await sign({ sub: "42", exp: inSeconds(60), expire_at: 0 });
    const { socket, reply } = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token } }));
    assert.equal(reply.connect.expires, undefined);
    socket.close();
  });

  test("a refresh for another user is refused with 3500", async () => {
    const { socket, reply } = await exchange(server.ws, JSON.stringify({ id: 1, connect: { token: await sign({ sub: "42", exp: inSeconds(60) }) } }));
    assert.ok(reply.connect);
    const closed = new Promise((resolve) => socket.once("close", (code) => resolve(code)));
    socket.send(JSON.stringify({ id: 2, refresh: { token: await sign({ sub: "43", exp: inSeconds(60) }) } }));
    assert.equal(await closed, 3500);
  });

  test("b64info of any bytes reaches Protobuf clients as it is", async () => {
    const channel = unique("room:");
    const bytes = Buffer.from([0, 255, 34, 10, 123, 128]);
    const client = await connected("protobuf", server.ws, { token: await sign({ sub: someone(), b64info: bytes.toString("base64") }) });
    const sub = await subscribed(client, channel);
    const [me] = Object.values((await sub.presence()).clients);
    assert.deepEqual(Buffer.from(me.connInfo), bytes);
    client.disconnect();
  });

  test("b64info of any bytes never breaks a JSON neighbour", { skip: !isSpinward && "Centrifugo v6.9 embeds such bytes as they are" }, async () => {
    const channel = unique("room:");
    const watcher = await connected("json", server.ws, { token: await sign({ sub: someone() }) });
    const sub = await subscribed(watcher, channel);
    const user = someone();
    const b64info = Buffer.from([0, 255, 34, 10, 123, 128]).toString("base64");
    const other = await connected("protobuf", server.ws, { token: await sign({ sub: user, b64info }) });
    const theirs = await subscribed(other, channel);
    await theirs.publish(pack("protobuf", { n: 1 }));
    await until(() => sub.payloads().length === 1, "the publication");
    assert.equal(sub.seen("publication")[0].info.user, user);
    assert.ok(Object.values((await sub.presence()).clients).some((info) => info.user === user));
    await server.api("publish", { channel, data: { n: 2 } });
    await until(() => sub.payloads().length === 2, "the next publication");
    assert.equal(watcher.events.filter(([name]) => name !== "connected" && name !== "connecting").length, 0);
    other.disconnect();
    watcher.disconnect();
  });
});

describe("anonymous users", () => {
  test("without a token: in with the option, and may do what the channel allows", async () => {
    const permissive = await startServer(config({ allow_anonymous_connect_without_token: true }));
    try {
      for (const encoding of Object.keys(encodings)) {
        const client = await connected(encoding, permissive.ws);
        const sub = client.newSubscription("room:x");
        const refusal = new Promise((resolve) => sub.on("unsubscribed", resolve));
        sub.subscribe();
        assert.equal((await refusal).code, 103, "allow_subscribe_for_client does not open a channel to the anonymous");
        client.disconnect();
        assert.equal((await refused(encoding, permissive.ws, { token: jwt({ sub: "42" }, { key: "wrong" }) })).code, 3500,
          "a failed login is never an anonymous one");
      }
    } finally {
      await permissive.stop();
    }
  });

  test("a token with an empty sub: in by default, 3507 where the option forbids it", async () => {
    (await connected("json", server.ws, { token: jwt({ sub: "" }) })).disconnect();
    (await connected("json", server.ws, { token: jwt({}) })).disconnect();
    const strict = await startServer(config({ disallow_anonymous_connection_tokens: true }));
    try {
      assert.deepEqual(await refused("json", strict.ws, { token: jwt({ sub: "" }) }), { code: 3507, reason: "permission denied" });
    } finally {
      await strict.stop();
    }
  });
});

test("the old configuration {\"secret\": \"secret\"} runs the page", { skip: !isSpinward && "a name of version 2" }, async () => {
  const old = await startServer({ secret: "secret" });
  try {
    const client = await connected("json", old.ws, { token: await sign({ sub: "42" }) });
    await subscribed(client, "news");
    client.disconnect();
    assert.equal((await refused("json", old.ws)).code, 3501, "anonymous needs the option there too");
    assert.match(old.log(), /client\.token\.hmac_secret_key/, "the log names the option's new name");
  } finally {
    await old.stop();
  }
});

test("makeClient records a refusal by a server that is not there", async () => {
  const client = makeClient("json", "ws://127.0.0.1:9/connection/websocket");
  client.connect();
  await until(() => client.events.some(([name]) => name === "error"), "a transport error");
  client.disconnect();
});
