// Every method of the server API through npm cent.js, its effect seen by a client or by a plain request.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CentClient, CentMethods } from "cent.js";
import { connected, someone, subscribed } from "./client.mjs";
import { API_KEY, config, inSeconds, jwt, startServer, unique, until } from "./server.mjs";

let server, cent;
before(async () => {
  server = await startServer(config());
  cent = new CentClient({ url: `${server.http}/api`, apiKey: API_KEY });
});
after(() => server?.stop());

/** The methods that the tests below call, to be held against those that there are. */
const called = new Set();
const call = (method, ...parameters) => (called.add(method), cent[method](...parameters));

async function login(user = someone(), claims = {}) {
  const client = await connected("json", server.ws, { token: jwt({ sub: user, ...claims }) });
  client.user = user;
  client.id = client.events.find(([name]) => name === "connected")[1].client;
  client.seen = (name, channel) =>
    client.events.filter(([found, context]) => found === name && (!channel || context.channel === channel)).map(([, context]) => context);
  return client;
}

describe("cent.js", () => {
  test("publish", async () => {
    const client = await login();
    const channel = unique("recov:");
    const sub = await subscribed(client, channel);
    const first = await call("publish", { channel, data: { n: 1 }, tags: { kind: "a" } });
    assert.equal(first.offset, 1);
    assert.ok(first.epoch);
    assert.deepEqual(await call("publish", { channel, data: { n: 2 }, skip_history: true }), {});
    await until(() => sub.payloads().length === 2, "two publications");
    assert.deepEqual(sub.payloads(), [{ n: 1 }, { n: 2 }]);
    assert.deepEqual([sub.seen("publication")[0].offset, sub.seen("publication")[0].tags], [1, { kind: "a" }]);
    assert.equal((await server.api("history", { channel, limit: -1 })).publications.length, 1);
    client.disconnect();
  });

  test("broadcast", async () => {
    const client = await login();
    const channels = [unique("room:"), unique("recov:")];
    const subs = await Promise.all(channels.map((channel) => subscribed(client, channel)));
    const { responses } = await call("broadcast", { channels: [...channels, "nowhere:x"], data: { n: 1 } });
    assert.deepEqual(responses.map(({ error }) => error?.code), [undefined, undefined, 102]);
    assert.equal(responses[1].result.offset, 1);
    await until(() => subs.every((sub) => sub.payloads().length === 1), "a publication in each");
    assert.deepEqual(subs.map((sub) => sub.payloads()), [[{ n: 1 }], [{ n: 1 }]]);
    client.disconnect();
  });

  test("subscribe and unsubscribe, of one connection and of all", async () => {
    const user = someone();
    const [first, second] = [await login(user), await login(user)];
    const [one, all] = [unique("room:"), unique("room:")];
    await call("subscribe", { user, channel: one, client: first.id });
    await call("subscribe", { user, channel: all });
    await until(() => first.seen("subscribed", one).length && second.seen("subscribed", all).length, "the subscriptions");
    assert.deepEqual(second.seen("subscribed", one), []);
    assert.deepEqual(await server.api("presence_stats", { channel: all }), { num_clients: 2, num_users: 1 });
    await server.api("publish", { channel: one, data: { n: 1 } });
    await until(() => first.seen("publication", one).length, "a publication");

    await call("unsubscribe", { user, channel: all, client: second.id });
    await until(() => second.seen("unsubscribed", all).length, "its end");
    assert.deepEqual(Object.keys((await server.api("presence", { channel: all })).presence), [first.id]);
    await call("unsubscribe", { user, channel: all });
    await until(() => first.seen("unsubscribed", all).length, "its end");
    assert.deepEqual(await server.api("presence_stats", { channel: all }), { num_clients: 0, num_users: 0 });
    first.disconnect();
    second.disconnect();
  });

  test("disconnect, of one connection and of all", async () => {
    const user = someone();
    const [first, second] = [await login(user), await login(user)];
    await call("disconnect", { user, client: first.id });
    await until(() => first.state === "disconnected", "the end of the first");
    assert.deepEqual(first.events.at(-1), ["disconnected", { code: 3503, reason: "force disconnect" }]);
    await subscribed(second, unique("room:"));
    await call("disconnect", { user });
    await until(() => second.state === "disconnected", "the end of the second");
    assert.equal(second.events.at(-1)[1].code, 3503);
  });

  test("refresh", async () => {
    const user = someone();
    // Its token ends long after the refresh does, and nothing but the refresh can shorten it.
    const client = await login(user, { exp: inSeconds(600) });
    await call("refresh", { user, client: client.id, expired: true });
    const [, { code }] = await until(() => client.events.find(([name, context]) => name === "connecting" && context.code > 2), "the close");
    assert.equal(code, 3005);
    client.disconnect();
  });

  test("getPresence and getPresenceStats", async () => {
    const channel = unique("room:");
    const [ada, ben] = [await login(someone(), { info: { name: "Ada" } }), await login()];
    await subscribed(ada, channel);
    await subscribed(ben, channel);
    const { presence } = await call("getPresence", { channel });
    assert.deepEqual(presence, {
      [ada.id]: { client: ada.id, user: ada.user, conn_info: { name: "Ada" } },
      [ben.id]: { client: ben.id, user: ben.user },
    });
    assert.deepEqual(await call("getPresenceStats", { channel }), { num_clients: 2, num_users: 2 });
    ada.disconnect();
    ben.disconnect();
    await until(async () => (await call("getPresenceStats", { channel })).num_clients === 0, "the channel to be empty");
  });

  test("getHistory and removeHistory", async () => {
    const client = await login();
    const channel = unique("recov:");
    const sub = await subscribed(client, channel);
    for (let n = 1; n <= 5; n++) await sub.publish({ n });
    const page = await call("getHistory", { channel, limit: -1 });
    assert.deepEqual(page.publications.map(({ offset, data }) => [offset, data.n]), [1, 2, 3, 4, 5].map((n) => [n, n]));
    assert.equal(page.publications[0].info.user, client.user);
    const back = await call("getHistory", { channel, limit: 2, since: { offset: 4, epoch: page.epoch }, reverse: true });
    assert.deepEqual(back.publications.map(({ offset }) => offset), [3, 2]);
    await call("removeHistory", { channel });
    assert.deepEqual(await sub.history({ limit: 10 }), { publications: [], epoch: page.epoch, offset: 5 });
    client.disconnect();
  });

  test("getChannels", async () => {
    const client = await login();
    const channel = unique("room:");
    await subscribed(client, channel);
    assert.deepEqual(await call("getChannels", { pattern: `${channel}*` }), { channels: { [channel]: { num_clients: 1 } } });
    assert.ok(channel in (await call("getChannels")).channels);
    client.disconnect();
    await until(async () => !(channel in (await call("getChannels")).channels), "the channel to go");
  });

  test("getInfo", async () => {
    const client = await login();
    await subscribed(client, unique("room:"));
    // A node may tell its figures every few seconds only.
    const node = await until(async () => {
      const { nodes } = await call("getInfo");
      return nodes.length === 1 && nodes[0].num_clients >= 1 && nodes[0].num_channels >= 1 && nodes[0];
    }, "the node to count the client", 10_000);
    assert.ok(node.uid && node.version);
    client.disconnect();
  });

  test("pipeline, through the old single endpoint", async () => {
    const client = await login();
    const channel = unique("recov:");
    const sub = await subscribed(client, channel);
    const results = await call("pipeline", [
      { method: CentMethods.Publish, params: { channel, data: { n: 1 } } },
      { method: CentMethods.Publish, params: { channel, data: { n: 2 } } },
      { method: CentMethods.History, params: { channel, limit: 0 } },
      { method: CentMethods.Publish, params: { channel: "nowhere:x", data: {} } },
    ]);
    assert.deepEqual(results.map((result) => result?.offset), [1, 2, 2, undefined]);
    await until(() => sub.payloads().length === 2, "two publications");
    assert.deepEqual(sub.payloads(), [{ n: 1 }, { n: 2 }]);
    client.disconnect();
  });

  test("errors reject, and a wrong key does", async () => {
    await assert.rejects(cent.publish({ channel: "nowhere:x", data: {} }));
    await assert.rejects(cent.getHistory({ channel: unique("room:"), limit: 1 }));
    const stranger = new CentClient({ url: `${server.http}/api`, apiKey: "wrong" });
    const channel = unique("recov:");
    await assert.rejects(stranger.publish({ channel, data: {} }));
    assert.deepEqual((await server.api("history", { channel, limit: -1 })).publications, []);
  });

  test("no method is left out", () => {
    const own = Object.keys(cent).filter((name) => typeof cent[name] === "function");
    assert.equal(own.length, Object.keys(CentMethods).length);
    assert.deepEqual([...called].sort(), [...own, "pipeline"].sort());
  });
});
