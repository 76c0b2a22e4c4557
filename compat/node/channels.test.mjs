// What a channel does, through the official SDK in both encodings.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connected, countingSocket, deltas, encodings, exchange, pack, someone, subscribed, unpack } from "./client.mjs";
import { config, jwt, relay, startServer, unique, until } from "./server.mjs";

let server;
before(async () => (server = await startServer(config())));
after(() => server?.stop());

const login = () => ({ token: jwt({ sub: someone() }) });
const numbers = (sub) => sub.payloads().map(({ n }) => n);

async function publishAll(channel, from, to) {
  for (let n = from; n <= to; n++) await server.api("publish", { channel, data: { n } });
}

for (const encoding of Object.keys(encodings)) {
  describe(`channels, ${encoding}`, { concurrency: 6 }, () => {
    test("subscribe, publish from both sides, unsubscribe", async () => {
      const channel = unique("room:");
      const client = await connected(encoding, server.ws, login());
      const sub = await subscribed(client, channel);
      await sub.publish(pack(encoding, { n: 1 }));
      await server.api("publish", { channel, data: { n: 2 } });
      await server.api("broadcast", { channels: [channel, unique("room:")], data: { n: 3 } });
      await until(() => sub.payloads().length === 3, "three publications");
      assert.deepEqual(numbers(sub), [1, 2, 3]);
      sub.unsubscribe();
      await until(async () => (await server.api("presence_stats", { channel })).num_clients === 0, "the channel to be empty");
      await server.api("publish", { channel, data: { n: 4 } });
      await client.publish(unique("room:"), pack(encoding, {}));
      assert.equal(sub.payloads().length, 3);
      client.disconnect();
    });

    for (const [channel, code] of [["closed:x", 103], ["nowhere:x", 102], ["$room:x", 103]]) {
      test(`subscribing to ${channel} is refused with ${code}`, async () => {
        const client = await connected(encoding, server.ws, login());
        const sub = client.newSubscription(channel);
        const refusal = new Promise((resolve) => sub.on("unsubscribed", resolve));
        sub.subscribe();
        assert.equal((await refusal).code, code);
        client.disconnect();
      });
    }

    test("a private channel opens with its token", async () => {
      const user = someone();
      const channel = unique("$room:");
      const client = await connected(encoding, server.ws, { token: jwt({ sub: user }) });
      const sub = await subscribed(client, channel, { token: jwt({ sub: user, channel }) });
      await server.api("publish", { channel, data: { n: 1 } });
      await until(() => sub.payloads().length === 1, "a publication");
      client.disconnect();
    });

    test("calls that the channel does not offer: 108 for history, 103 for publish", async () => {
      const client = await connected(encoding, server.ws, login());
      await assert.rejects(client.history(unique("room:"), { limit: 1 }), { code: 108 });
      await assert.rejects(client.presence(unique("recov:")), { code: 108 });
      await assert.rejects(client.publish(unique("short:"), pack(encoding, {})), { code: 103 });
      client.disconnect();
    });

    test("the server's unsubscribe (2000) and disconnect (3503, and a code of one's own) arrive as they are", async () => {
      const user = someone();
      const channel = unique("room:");
      const client = await connected(encoding, server.ws, { token: jwt({ sub: user }) });
      const sub = await subscribed(client, channel);
      await server.api("unsubscribe", { user, channel });
      const [ended] = await until(() => sub.seen("unsubscribed")[0] && sub.seen("unsubscribed"), "the unsubscribe");
      assert.deepEqual([ended.code, ended.reason], [2000, "server unsubscribe"]);
      await server.api("disconnect", { user });
      await until(() => client.state === "disconnected", "the disconnect");
      assert.deepEqual(client.events.at(-1), ["disconnected", { code: 3503, reason: "force disconnect" }]);

      const other = await connected(encoding, server.ws, { token: jwt({ sub: user }) });
      await server.api("disconnect", { user, disconnect: { code: 4501, reason: "bye" } });
      await until(() => other.state === "disconnected", "the disconnect");
      assert.deepEqual(other.events.at(-1), ["disconnected", { code: 4501, reason: "bye" }]);
    });

    test("history pages: limit, since, reverse, position only", async () => {
      const channel = unique("recov:");
      await publishAll(channel, 1, 10);
      const client = await connected(encoding, server.ws, login());
      const got = async (options) => {
        const page = await client.history(channel, options);
        return [page.publications.map(({ data, offset }) => (assert.equal(unpack(data).n, offset), offset)), page.offset];
      };
      const { epoch } = await client.history(channel, { limit: 0 });
      assert.deepEqual(await got({ limit: 0 }), [[], 10]);
      assert.deepEqual(await got({ limit: 3 }), [[1, 2, 3], 10]);
      assert.deepEqual(await got({ limit: 3, since: { offset: 3, epoch } }), [[4, 5, 6], 10]);
      assert.deepEqual(await got({ limit: 3, reverse: true }), [[10, 9, 8], 10]);
      assert.deepEqual(await got({ limit: 2, since: { offset: 8, epoch }, reverse: true }), [[7, 6], 10]);
      assert.deepEqual((await got({ limit: -1 }))[0].length, 10);
      await assert.rejects(client.history(channel, { limit: 1, since: { offset: 3, epoch: "other" } }), { code: 112 });
      client.disconnect();
    });

    test("what was missed while the socket was dead is recovered, in order and once", async () => {
      const channel = unique("recov:");
      const road = await relay(server.port);
      const client = await connected(encoding, road.ws, login());
      const sub = await subscribed(client, channel);
      await publishAll(channel, 1, 3);
      await until(() => sub.payloads().length === 3, "the first publications");
      road.refuse(true);
      road.cut();
      await until(() => client.state === "connecting", "the loss to be noticed");
      await publishAll(channel, 4, 9);
      road.refuse(false);
      await until(() => sub.payloads().length === 9, "the recovered publications");
      await publishAll(channel, 10, 10);
      await until(() => sub.payloads().length === 10, "the live one");
      assert.deepEqual(numbers(sub), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      const [, again] = sub.seen("subscribed");
      assert.deepEqual([again.wasRecovering, again.recovered], [true, true]);
      client.disconnect();
      await road.close();
    });

    test("beyond the history nothing is recovered, and the client is told so", async () => {
      const channel = unique("short:");
      const road = await relay(server.port);
      const client = await connected(encoding, road.ws, login());
      const sub = await subscribed(client, channel);
      await publishAll(channel, 1, 1);
      await until(() => sub.payloads().length === 1, "the first publication");
      road.refuse(true);
      road.cut();
      await until(() => client.state === "connecting", "the loss to be noticed");
      await publishAll(channel, 2, 9);
      road.refuse(false);
      const [, again] = await until(() => sub.seen("subscribed").length === 2 && sub.seen("subscribed"), "the second subscribe");
      assert.deepEqual([again.wasRecovering, again.recovered], [true, false]);
      await publishAll(channel, 10, 10);
      await until(() => numbers(sub).includes(10), "the live publication");
      assert.deepEqual(numbers(sub), [1, 10], "all or nothing");
      client.disconnect();
      await road.close();
    });

    test("server-side subscriptions recover too", async () => {
      const channel = unique("recov:");
      const road = await relay(server.port);
      const client = await connected(encoding, road.ws, { token: jwt({ sub: someone(), channels: [channel] }) });
      const seen = () => client.events.filter(([name]) => name === "publication").map(([, { data }]) => unpack(data).n);
      await publishAll(channel, 1, 2);
      await until(() => seen().length === 2, "the first publications");
      road.refuse(true);
      road.cut();
      await until(() => client.state === "connecting", "the loss to be noticed");
      await publishAll(channel, 3, 5);
      road.refuse(false);
      await until(() => seen().length === 5, "the recovered publications");
      assert.deepEqual(seen(), [1, 2, 3, 4, 5]);
      client.disconnect();
      await road.close();
    });

    test("cache recovery gives the latest publication at once", async () => {
      const channel = unique("cache:");
      await publishAll(channel, 1, 4);
      const client = await connected(encoding, server.ws, login());
      const sub = await subscribed(client, channel, { since: { offset: 0, epoch: "" } });
      await until(() => sub.payloads().length === 1, "the cached publication");
      assert.deepEqual(numbers(sub), [4]);
      client.disconnect();
    });

    test("getState is asked again after error 112", async () => {
      const channel = unique("short:");
      await publishAll(channel, 1, 9);
      const client = await connected(encoding, server.ws, login());
      const { epoch } = await client.history(channel, { limit: 0 });
      const positions = [{ offset: 1, epoch }, { offset: 7, epoch }];
      const asked = [];
      const sub = await subscribed(client, channel, {
        getState: async () => {
          const position = positions[Math.min(asked.length, 1)];
          asked.push(position.offset);
          return position;
        },
      });
      await until(() => sub.payloads().length === 2, "the publications after the second position");
      assert.deepEqual(asked, [1, 7]);
      assert.deepEqual(numbers(sub), [8, 9]);
      client.disconnect();
    });

    test("delta: every payload whole and equal, at most 40 % of the bytes", async () => {
      const channel = unique("delta:");
      const listen = async (delta) => {
        const { Counting, tally } = countingSocket();
        const client = await connected(encoding, server.ws, { ...login(), websocket: Counting });
        const sub = await subscribed(client, channel, delta ? { delta: "fossil" } : {});
        return { client, sub, tally, before: tally.bytes };
      };
      const [plain, packed] = [await listen(false), await listen(true)];
      const rows = Array.from({ length: 12 }, (_, i) => ({ id: i, name: `row number ${i}`, price: 100 + i, note: "the same from one state to the next" }));
      const states = [];
      for (let n = 1; n <= 20; n++) {
        rows[n % rows.length].price += n;
        states.push(structuredClone({ n, rows }));
        await server.api("publish", { channel, data: states.at(-1) });
      }
      for (const { sub } of [plain, packed]) {
        await until(() => sub.payloads().length === 20, "all publications");
        // Byte for byte what was published.
        const texts = sub.seen("publication").map(({ data }) => (data instanceof Uint8Array ? new TextDecoder().decode(data) : JSON.stringify(data)));
        assert.deepEqual(texts, states.map((state) => JSON.stringify(state)));
      }
      const [full, less] = [plain, packed].map(({ tally, before }) => tally.bytes - before);
      assert.ok(less <= full * 0.4, `${less} of ${full} bytes`);
      const [whole, patched] = [plain, packed].map(({ tally }) => deltas(tally.frames));
      assert.deepEqual(whole, states.map(() => false));
      assert.equal(patched.length, states.length);
      const share = patched.slice(1).filter(Boolean).length / (states.length - 1);
      assert.ok(share >= 0.9, `${share} of the pushes after the first are deltas`);
      plain.client.disconnect();
      packed.client.disconnect();
    });

    test("a tags filter lets through what matches", async () => {
      const channel = unique("tags:");
      const client = await connected(encoding, server.ws, login());
      const sub = await subscribed(client, channel, {
        tagsFilter: { op: "and", nodes: [{ key: "city", cmp: "in", vals: ["Oslo", "Rome"] }, { op: "not", nodes: [{ key: "heat", cmp: "gt", val: "30" }] }] },
      });
      const tagged = [[1, { city: "Oslo", heat: "12" }], [2, { city: "Rome", heat: "35.5" }], [3, { city: "Bonn", heat: "9" }], [4, {}], [5, { city: "Rome", heat: "30" }]];
      for (const [n, tags] of tagged) await server.api("publish", { channel, data: { n }, tags });
      await until(() => numbers(sub).includes(5), "the last publication");
      assert.deepEqual(numbers(sub), [1, 5]);
      assert.deepEqual({ ...sub.seen("publication")[0].tags }, { city: "Oslo", heat: "12" });
      client.disconnect();
    });

    test("a burst of 1,000 publications arrives whole and in order", async () => {
      const channel = unique("room:");
      const client = await connected(encoding, server.ws, login());
      const sub = await subscribed(client, channel);
      for (let from = 1; from <= 1000; from += 100) {
        const commands = Array.from({ length: 100 }, (_, i) => ({ publish: { channel, data: { n: from + i } } }));
        await server.api("batch", { commands }).catch((error) => {
          // The batch reply has no "result" around it.
          if (error.code) throw error;
        });
      }
      await until(() => sub.payloads().length === 1000, "all publications", 10_000);
      assert.deepEqual(numbers(sub), Array.from({ length: 1000 }, (_, i) => i + 1));
      client.disconnect();
    });
  });
}

test("a shutdown is 3001", async () => {
  const short = await startServer(config());
  const { socket } = await exchange(short.ws, JSON.stringify({ id: 1, connect: login() }));
  const end = new Promise((resolve) => socket.once("close", (code, reason) => resolve([code, reason.toString()])));
  await short.stop();
  assert.deepEqual(await end, [3001, "shutdown"]);
});
