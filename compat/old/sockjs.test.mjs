// SDKs of today's protocol over SockJS. COMPAT_OLD=all runs every scenario with every SDK.
import assert from "node:assert/strict";
import http from "node:http";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { config, relay as makeRelay, sleep, startServer, unique, until, jwt } from "../node/server.mjs";
import { SOCKJS, SockJS } from "./sdk.mjs";

const require = createRequire(import.meta.url);
const all = process.env.COMPAT_OLD === "all";
const MEGABYTE = 1 << 20;

let server, pinging;
const clients = [];
before(async () => {
  pinging = await startServer(config({ ping_interval: "2s", pong_timeout: "1900ms" }));
  const settings = config({ queue_max_size: 8 * MEGABYTE });
  settings.websocket = { message_size_limit: 2 * MEGABYTE };
  settings.channel.namespaces.push({ name: "hist", allow_subscribe_for_client: true, history_size: 10, history_ttl: "60s", allow_history_for_subscriber: true });
  server = await startServer(settings);
});
after(async () => {
  for (const client of clients) client.disconnect();
  await pinging?.stop();
  await server?.stop();
});

function make(version, transport, { port = server.port, claims = {}, ...options } = {}) {
  const { Centrifuge } = require(`centrifuge-${version}`);
  const user = unique("user-");
  const endpoint = `http://127.0.0.1:${port}/connection/sockjs`;
  const client = new Centrifuge([{ transport: "sockjs", endpoint }], {
    sockjs: SockJS, sockjsOptions: { transports: [transport].flat() }, token: jwt({ sub: user, ...claims }),
    minReconnectDelay: 50, maxReconnectDelay: 200, ...options,
  });
  clients.push(client);
  const events = [];
  for (const name of ["connecting", "connected", "disconnected", "error"]) client.on(name, (context) => events.push([name, context]));
  const seen = (name) => events.filter(([found]) => found === name).map(([, context]) => context);
  return { client, user, events, seen };
}

async function subscribed(client, channel) {
  const sub = client.newSubscription(channel);
  sub.got = [];
  sub.on("publication", ({ data }) => sub.got.push(data));
  sub.recovered = [];
  sub.on("subscribed", ({ recovered }) => sub.recovered.push(recovered));
  sub.subscribe();
  await until(() => sub.state === "subscribed", `a subscription to ${channel}`);
  return sub;
}

async function connected(...rest) {
  const made = make(...rest);
  made.client.connect();
  await until(() => made.client.state === "connected", `a connection: ${JSON.stringify(made.events)}`, 40_000);
  return made;
}

const scenarios = {
  async "publishes, receives, asks for presence and history"(version, transport) {
    const { client, user, seen } = await connected(version, transport);
    assert.match(seen("connected")[0].transport, /^sockjs/);
    const sub = await subscribed(client, unique("room:"));
    await sub.publish({ text: "100% \u2028 \ud83d\ude00 %41 \"\\\n" });
    assert.deepEqual(sub.got, [{ text: "100% \u2028 \ud83d\ude00 %41 \"\\\n" }]);
    assert.deepEqual(Object.values((await sub.presence()).clients).map((info) => info.user), [user]);
    const hist = await subscribed(client, unique("hist:"));
    await server.api("publish", { channel: hist.channel, data: 1 });
    assert.deepEqual((await hist.history({ limit: 5 })).publications.map(({ data }) => data), [1]);
    client.disconnect();
  },
  async "answers pings for as long as it likes"(version, transport) {
    const { client, seen } = await connected(version, transport, { port: pinging.port });
    await sleep(7000);
    assert.deepEqual([client.state, seen("connecting").length], ["connected", 1]);
    client.disconnect();
  },
  async "recovers after a cut"(version, transport) {
    const relay = await makeRelay(server.port);
    try {
      const { client } = await connected(version, transport, { port: Number(new URL(relay.ws).port) });
      const sub = await subscribed(client, unique("recov:"));
      await server.api("publish", { channel: sub.channel, data: 1 });
      await until(() => sub.got.length === 1, "the first");
      relay.refuse(true);
      relay.cut();
      for (let number = 2; number <= 9; number++) await server.api("publish", { channel: sub.channel, data: number });
      relay.refuse(false);
      await until(() => sub.got.length === 9, "the others", 20_000);
      assert.deepEqual(sub.got, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.deepEqual(sub.recovered, [false, true]);
      client.disconnect();
    } finally {
      await relay.close();
    }
  },
  async "is told why it ends"(version, transport) {
    const { client, user, seen } = await connected(version, transport);
    await server.api("disconnect", { user, disconnect: { code: 4501, reason: "enough, \"really\"" } });
    await until(() => client.state === "disconnected", "an end");
    const { code, reason } = seen("disconnected")[0];
    assert.deepEqual({ code, reason }, { code: 4501, reason: "enough, \"really\"" });
    const refused = make(version, transport, { token: jwt({ sub: "x" }, { key: "wrong" }) });
    refused.client.connect();
    await until(() => refused.client.state === "disconnected", "a refusal");
    assert.equal(refused.seen("disconnected")[0].code, 3500);
  },
  async "takes and gives a megabyte, and a burst of 5,000"(version, transport) {
    const { client } = await connected(version, transport);
    const sub = await subscribed(client, unique("room:"));
    const large = "\"x".repeat(MEGABYTE / 3);
    await sub.publish(large);
    await until(() => sub.got.length === 1, "a megabyte", 20_000);
    assert.equal(sub.got[0], large);
    for (let round = 0; round < 50; round++) {
      const commands = Array.from({ length: 100 }, (_, index) => ({ publish: { channel: sub.channel, data: round * 100 + index } }));
      await server.api("batch", { commands });
    }
    await until(() => sub.got.length === 5001, "5,000", 30_000);
    assert.deepEqual(sub.got.slice(1), Array.from({ length: 5000 }, (_, index) => index));
    client.disconnect();
  },
};

for (const version of all ? ["3.1.2", "5.8.0"] : ["5.8.0"]) {
  for (const transport of SOCKJS) {
    describe(`${version} over SockJS, ${transport}`, { concurrency: true }, () => {
      for (const [name, run] of Object.entries(scenarios)) {
        if (!all && version === "3.1.2" && !name.startsWith("publishes")) continue;
        test(name, { timeout: 90_000 }, () => run(version, transport));
      }
    });
  }
}

/** A proxy that knows no WebSocket, and may keep a response until it is complete. */
async function oldProxy(target, keeps) {
  const proxy = http.createServer((request, response) => {
    const { method, url: path, headers } = request;
    const onward = http.request({ port: target, host: "127.0.0.1", method, path, headers }, (answer) => {
      const parts = [];
      if (!keeps) {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      }
      answer.on("data", (part) => parts.push(part)).on("error", () => response.destroy()).on("end", () => {
        if (!keeps) return;
        const { "transfer-encoding": _, ...kept } = answer.headers;
        response.writeHead(answer.statusCode, kept);
        response.end(Buffer.concat(parts));
      });
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  proxy.on("upgrade", (_, socket) => socket.destroy());
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return { port: proxy.address().port, close: () => (proxy.closeAllConnections(), new Promise((resolve) => proxy.close(resolve))) };
}

for (const [what, keeps, found] of [["no WebSocket", false, "xhr-streaming"], ["no WebSocket and no streams", true, "xhr-polling"]]) {
  test(`a proxy with ${what} is got through by ${found}`, { timeout: 90_000 }, async () => {
    const proxy = await oldProxy(server.port, keeps);
    try {
      const { client, seen } = await connected("5.8.0", SOCKJS, { port: proxy.port, timeout: 30_000 });
      assert.equal(seen("connected")[0].transport, `sockjs-${found}`);
      const sub = await subscribed(client, unique("room:"));
      for (let number = 0; number < 3; number++) await sub.publish(number);
      assert.deepEqual(sub.got, [0, 1, 2]);
      client.disconnect();
    } finally {
      await proxy.close();
    }
  });
}

test("a session that nobody fetches ends within seconds", async () => {
  const base = `http://127.0.0.1:${server.port}/connection/sockjs/000/${unique("s")}`;
  const post = async (what, body = "") => {
    const answer = await fetch(`${base}/${what}`, { method: "POST", body });
    return [answer.status, await answer.text()];
  };
  assert.deepEqual(await post("xhr"), [200, "o\n"]);
  const connect = JSON.stringify([JSON.stringify({ id: 1, connect: { token: jwt({ sub: "x" }) } })]);
  assert.deepEqual(await post("xhr_send", connect), [204, ""]);
  assert.match((await post("xhr"))[1], /^a\[/);
  await sleep(7000);
  assert.equal((await post("xhr_send", connect))[0], 404);
});

test("pages of other origins are let in by the list, and not otherwise", async () => {
  const strict = await startServer(config({ allowed_origins: ["https://ok.example"] }));
  try {
    const ask = async (path, method, headers = {}) => {
      const answer = await fetch(`${strict.http}/connection/sockjs${path}`, { method, headers });
      await answer.body?.cancel();
      return [answer.status, answer.headers.get("access-control-allow-origin"), answer.headers.get("access-control-allow-credentials")];
    };
    const [ok, evil] = [{ origin: "https://ok.example" }, { origin: "https://evil.example" }];
    assert.deepEqual(await ask("/info", "GET", ok), [200, "https://ok.example", "true"]);
    assert.deepEqual(await ask("/info", "GET", evil), [403, null, null]);
    assert.deepEqual(await ask("/0/abc/xhr", "POST", ok), [200, "https://ok.example", "true"]);
    assert.deepEqual(await ask("/0/abd/xhr", "POST", evil), [403, null, null]);
    assert.deepEqual(await ask("/0/abe/xhr", "OPTIONS", ok), [204, "https://ok.example", "true"]);
    assert.deepEqual(await ask("/0/abf/xhr", "POST"), [200, null, null]);
    assert.equal((await ask("/0/abg/eventsource", "GET", { "sec-fetch-site": "cross-site" }))[0], 403);
    assert.equal((await ask("/0/abh/jsonp", "GET"))[0], 404);
  } finally {
    await strict.stop();
  }
});
