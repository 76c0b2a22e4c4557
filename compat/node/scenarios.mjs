// What every bidirectional transport has to do, told once: it runs in Node and in a page, over each transport and encoding.
//
// A scenario is given a kit:
//   kit.make(options)        a client of the SDK for the transport under test, through the relay
//   kit.call(name, ...args)  what only the test can do: api, token, cut, hold (the relay hands nothing more to the client),
//                            go, burst, flood, restart
//   kit.pack(value), kit.unpack(data)   payloads of the encoding
// Nothing here may use what a browser does not have.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const unique = (prefix) => prefix + Math.random().toString(36).slice(2, 10);

async function until(check, what, ms = 20_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await sleep(15);
  }
}

function same(found, expected, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

function record(emitter, names) {
  const events = [];
  for (const name of names) emitter.on(name, (context) => events.push([name, context]));
  return { events, seen: (name) => events.filter(([found]) => found === name).map(([, context]) => context) };
}

async function connected(kit, options) {
  const client = kit.make(options);
  const record_ = record(client, ["connecting", "connected", "disconnected", "error", "subscribed", "unsubscribed", "publication", "join"]);
  client.connect();
  await until(() => client.state === "connected" || client.state === "disconnected", "a connection");
  if (client.state !== "connected") throw new Error(`refused: ${JSON.stringify(record_.events)}`);
  return Object.assign(client, record_);
}

async function subscribed(kit, client, channel, options) {
  const sub = client.newSubscription(channel, options);
  Object.assign(sub, record(sub, ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"]));
  sub.numbers = () => sub.seen("publication").map(({ data }) => kit.unpack(data).n);
  sub.subscribe();
  await until(() => sub.state === "subscribed", `a subscription to ${channel}: ${JSON.stringify(sub.events)}`);
  return sub;
}

const login = async (kit, claims = {}) => {
  const user = unique("user-");
  return { user, token: await kit.call("token", { sub: user, ...claims }) };
};

/** Codes that a server may give; a client comes back after those below 3500 and from 4000 to 4499. */
const CODES = [
  3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013, 3014, 4000, 4499,
  3500, 3501, 3502, 3503, 3504, 3505, 3506, 3507, 3508, 3509, 4500, 4999,
];

export const scenarios = [
  {
    name: "connect and disconnect",
    async run(kit) {
      const channel = unique("room:");
      const client = await connected(kit, await login(kit));
      same(client.seen("connected")[0].transport, kit.transport, "transport");
      await subscribed(kit, client, channel);
      client.disconnect();
      same(client.seen("disconnected")[0].code, 0, "code of one's own disconnect");
      await until(async () => (await kit.call("api", "presence_stats", { channel })).num_clients === 0, "the client to be gone");
    },
  },
  {
    name: "a refused token",
    async run(kit) {
      const client = kit.make({ token: await kit.call("token", { sub: "x" }, "wrong") });
      const { seen } = record(client, ["disconnected"]);
      client.connect();
      const [context] = await until(() => seen("disconnected")[0] && seen("disconnected"), "a refusal");
      same([context.code, context.reason], [3500, "invalid token"], "refusal");
    },
  },
  {
    name: "a token that is renewed in time",
    async run(kit) {
      const user = unique("user-");
      let asked = 0;
      const getToken = async () => kit.call("token", { sub: user, exp: Math.floor(Date.now() / 1000) + (++asked === 1 ? 2 : 60) });
      const client = await connected(kit, { getToken });
      await until(() => asked === 2, "the second token");
      await sleep(1500);
      same([client.state, client.seen("disconnected").length], ["connected", 0], "state");
      client.disconnect();
    },
  },
  {
    name: "subscribe, publish from both sides, unsubscribe",
    async run(kit) {
      const channel = unique("room:");
      const client = await connected(kit, await login(kit));
      const sub = await subscribed(kit, client, channel);
      await sub.publish(kit.pack({ n: 1 }));
      await kit.call("api", "publish", { channel, data: { n: 2 } });
      await until(() => sub.numbers().length === 2, "two publications");
      same(sub.numbers(), [1, 2], "publications");
      sub.unsubscribe();
      await until(async () => (await kit.call("api", "presence_stats", { channel })).num_clients === 0, "an empty channel");
      client.disconnect();
    },
  },
  {
    name: "a private channel with its token, and without",
    async run(kit) {
      const channel = unique("$room:");
      const { user, token } = await login(kit);
      const client = await connected(kit, { token });
      await subscribed(kit, client, channel, { token: await kit.call("token", { sub: user, channel }) });
      const other = client.newSubscription(unique("$room:"));
      const refusal = new Promise((resolve) => other.on("unsubscribed", resolve));
      other.subscribe();
      same((await refusal).code, 103, "code");
      client.disconnect();
    },
  },
  {
    name: "history, presence and an RPC that is not there",
    async run(kit) {
      const client = await connected(kit, await login(kit));
      const [recov, room] = [unique("recov:"), unique("room:")];
      for (const n of [1, 2, 3]) await client.publish(recov, kit.pack({ n }));
      const { publications } = await client.history(recov, { limit: 2, reverse: true });
      same(publications.map(({ data, offset }) => [kit.unpack(data).n, offset]), [[3, 3], [2, 2]], "history");
      await subscribed(kit, client, room);
      const { clients } = await client.presence(room);
      same(Object.keys(clients).length, 1, "presence");
      const error = await client.rpc("nothing", kit.pack({})).then(() => null, (error) => error);
      same(error?.code, 108, "code");
      client.disconnect();
    },
  },
  {
    name: "recovery after a cut",
    async run(kit) {
      const channel = unique("recov:");
      const client = await connected(kit, await login(kit));
      const sub = await subscribed(kit, client, channel);
      await kit.call("api", "publish", { channel, data: { n: 1 } });
      await until(() => sub.numbers().length === 1, "the first publication");
      await kit.call("cut");
      for (const n of [2, 3, 4]) await kit.call("api", "publish", { channel, data: { n } });
      await until(() => sub.numbers().length === 4, "what was missed");
      same(sub.numbers(), [1, 2, 3, 4], "publications");
      // A session of polling goes on if it is cut between two polls.
      const isWhole = sub.seen("subscribed").length === 1 && kit.transport === "sockjs-xhr-polling";
      if (!isWhole) same(sub.seen("subscribed").at(-1).recovered, true, "recovered");
      client.disconnect();
    },
  },
  {
    name: "server-side subscriptions",
    async run(kit) {
      const [channel, later] = [unique("recov:"), unique("room:")];
      const { token, user } = await login(kit, { channels: [channel] });
      const client = await connected(kit, { token });
      const from = (wanted) => client.seen("publication").filter((one) => one.channel === wanted).map(({ data }) => kit.unpack(data).n);
      await until(() => client.seen("subscribed").some((one) => one.channel === channel), "the subscription of the token");
      await kit.call("api", "publish", { channel, data: { n: 1 } });
      await kit.call("api", "subscribe", { user, channel: later });
      await until(() => client.seen("subscribed").some((one) => one.channel === later), "the other subscription");
      await kit.call("api", "publish", { channel: later, data: { n: 2 } });
      await until(() => from(channel).length && from(later).length, "publications of both");
      await kit.call("api", "unsubscribe", { user, channel: later });
      await until(() => client.seen("unsubscribed").some((one) => one.channel === later), "the end of it");
      await kit.call("cut");
      await kit.call("api", "publish", { channel, data: { n: 3 } });
      await until(() => from(channel).length === 2, "what was missed");
      same(from(channel), [1, 3], "publications");
      client.disconnect();
    },
  },
  ...[[undefined, 3503], [{ code: 4501, reason: "bye" }, 4501], [{ code: 4100, reason: "again" }, 4100]].map(([disconnect, code]) => ({
    name: `a disconnect with code ${code}`,
    async run(kit) {
      const { token, user } = await login(kit);
      const client = await connected(kit, { token });
      await kit.call("api", "disconnect", { user, ...(disconnect ? { disconnect } : {}) });
      // From 4000 to 4499 a client connects again.
      const event = code === 4100 ? "connecting" : "disconnected";
      const context = await until(() => client.seen(event).find((one) => one.code === code), `${event} with ${code}`);
      same(context.reason, disconnect?.reason ?? "force disconnect", "reason");
      client.disconnect();
    },
  })),
  {
    name: "every code of a disconnect",
    async run(kit) {
      const { token, user } = await login(kit);
      const coming = (code) => (code >= 3000 && code < 3500) || (code >= 4000 && code < 4500);
      let client;
      for (const code of CODES) {
        client = client?.state === "connected" ? client : await connected(kit, { token });
        const reason = `for ${code}`;
        await kit.call("api", "disconnect", { user, disconnect: { code, reason } });
        const event = coming(code) ? "connecting" : "disconnected";
        const context = await until(() => client.seen(event).find((one) => one.code === code), `${event} with ${code}`);
        same(context.reason, reason, "reason");
        if (coming(code)) await until(() => client.state === "connected", `a connection after ${code}`);
        else same(client.state, "disconnected", `state after ${code}`);
      }
      client.disconnect();
    },
  },
  {
    name: "a token that is not renewed in time: 3005, and back with another",
    async run(kit) {
      const user = unique("user-");
      let client, late;
      const getToken = async () => {
        if (client && !late) await (late = new Promise(() => {}));
        return kit.call("token", { sub: user, exp: Math.floor(Date.now() / 1000) + (late ? 60 : 2) });
      };
      client = await connected(kit, { getToken });
      const { reason } = await until(() => client.seen("connecting").find(({ code }) => code === 3005), "3005");
      same(reason, "connection expired", "reason");
      await until(() => client.seen("connected").length >= 2, "a connection with another token");
      client.disconnect();
    },
  },
  {
    name: "a stop of the server: 3001, and back once it runs again",
    async run(kit) {
      const channel = unique("recov:");
      const client = await connected(kit, await login(kit));
      const sub = await subscribed(kit, client, channel);
      await kit.call("api", "publish", { channel, data: { n: 1 } });
      await until(() => sub.numbers().length === 1, "the first publication");
      await kit.call("restart");
      await until(() => client.seen("connecting").some(({ code }) => code === 3001), "3001");
      await until(() => sub.seen("subscribed").length === 2, "the subscription");
      same(sub.seen("subscribed").at(-1).recovered, false, "recovered: the memory of the server is gone");
      await kit.call("api", "publish", { channel, data: { n: 2 } });
      await until(() => sub.numbers().length === 2, "a publication after it");
      client.disconnect();
    },
  },
  {
    name: "a message of 1 MB",
    async run(kit) {
      const channel = unique("room:");
      const client = await connected(kit, await login(kit));
      const sub = await subscribed(kit, client, channel);
      const text = "é".repeat(500_000);
      await sub.publish(kit.pack({ n: 1, text }));
      await kit.call("api", "publish", { channel, data: { n: 2, text } });
      await until(() => sub.numbers().length === 2, "both", 20_000);
      same(sub.seen("publication").every(({ data }) => kit.unpack(data).text === text), true, "text");
      client.disconnect();
    },
  },
  {
    name: "a burst of 5,000 messages",
    async run(kit) {
      const channel = unique("room:");
      const client = await connected(kit, await login(kit));
      const sub = await subscribed(kit, client, channel);
      await kit.call("burst", channel, 5000);
      await until(() => sub.numbers().length >= 5000, "all of them", 30_000);
      await sleep(50);
      same(sub.numbers().length, 5000, "messages");
      same(sub.numbers().every((n, at) => n === at), true, "order");
      client.disconnect();
    },
  },
  {
    name: "a slow reader is closed with 3008 and comes back",
    async run(kit) {
      const channel = unique("room:");
      const client = await connected(kit, await login(kit));
      const sub = await subscribed(kit, client, channel);
      await kit.call("hold");
      await kit.call("flood", channel);
      await kit.call("go");
      await until(() => client.seen("connecting").some((one) => one.code === 3008), "3008", 20_000);
      await until(() => sub.state === "subscribed", "the subscription", 20_000);
      await kit.call("api", "publish", { channel, data: { n: -1 } });
      await until(() => sub.numbers().at(-1) === -1, "a message after it", 20_000);
      client.disconnect();
    },
  },
];
