// Tokens of five seconds in the official SDK, undisturbed and with everything that goes wrong around their end: per
// expiry at most one attempt is refused, no subscription and no publication is lost, and nothing goes round in circles.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { follow } from "./expiry-client.mjs";
import { config, inSeconds, jwt, relay, sleep, startServer, unique, until } from "./server.mjs";

/** Longer than a token and the grace after it. */
const PAST_EXPIRY = 7500;

let server;
before(async () => (server = await startServer(config())));
after(() => server?.stop());

/** Publishes numbers until told to stop, and gives how many there were. */
function publishing(to, channel) {
  let [n, running] = [0, true];
  const done = (async () => {
    while (running) {
      await to.api("publish", { channel, data: { n: ++n } });
      await sleep(250);
    }
    return n;
  })();
  return { count: () => n, stop: () => ((running = false), done) };
}

/** The client has settled and has every number once and in order. */
async function whole(tally, count) {
  await until(() => tally().state === "connected" && tally().subState === "subscribed" && tally().numbers.length >= count, "everything to arrive", 15_000)
    .catch((error) => assert.fail(`${error.message}: ${JSON.stringify(tally())}`));
  assert.deepEqual(tally().numbers, Array.from({ length: count }, (_, i) => i + 1));
  assert.equal(tally().unrecovered, 0);
}

/** No more was refused, asked and tried than so many expiries and reconnects call for. */
function bounded({ sent, refused, tokens, subTokens, errors, closes, connected, subscribed }, { expiries, reconnects, seconds }) {
  const told = JSON.stringify({ sent, refused, tokens, subTokens, errors, closes, connected, subscribed, expiries, reconnects });
  const refusals = Object.values(refused).reduce((sum, count) => sum + count);
  assert.ok(refused.connect + refused.refresh <= expiries && refused.subscribe + refused.sub_refresh <= expiries, `one refusal per expiry: ${told}`);
  assert.deepEqual(errors.filter(([, code]) => code !== 109), [], told);
  // The SDK sends its subscribe along with the connect. After a refused connect that is a command out of turn: 3501.
  const outOfTurn = closes.filter((code) => code === 3501).length;
  assert.ok(closes.every((code) => code === 3005 || code === 3501) && outOfTurn <= refused.connect, told);
  // One for the start, one for each five seconds, one for each refusal.
  const due = 1 + Math.ceil(seconds / 4) + refusals;
  assert.ok(tokens <= due && subTokens <= due, `asked at most ${due} times: ${told}`);
  assert.ok(sent.connect <= 1 + reconnects + refused.connect, told);
  assert.ok(sent.subscribe <= 1 + reconnects + refused.subscribe + refused.connect, told);
}

describe("tokens of five seconds", { concurrency: 6 }, () => {
  test("are renewed in time: one connection, one subscription, nothing refused", async () => {
    // The grace is long, so that a machine under load does not make a late refresh a missed one.
    const patient = await startServer(config({ expired_close_delay: "25s", expired_sub_close_delay: "25s" }));
    const channel = unique("recov:");
    const { client, tally } = follow(patient.ws, channel);
    try {
      await until(() => tally().subscribed, "the subscription");
      const numbers = publishing(patient, channel);
      await sleep(17_000);
      await whole(tally, await numbers.stop());
      const { connected, subscribed, sent, refused, tokens, subTokens, closes } = tally();
      assert.deepEqual([connected, subscribed, closes], [1, 1, []]);
      assert.deepEqual(refused, { connect: 0, refresh: 0, subscribe: 0, sub_refresh: 0 });
      // One at the start, then one for each time that a token of five seconds ended.
      for (const [asked, renewed] of [[tokens, sent.refresh], [subTokens, sent.sub_refresh]]) {
        assert.ok(renewed >= 2 && renewed <= 5 && asked <= renewed + 2, JSON.stringify(tally()));
      }
    } finally {
      client.disconnect();
      await patient.stop();
    }
  });

  test("sockets cut before and after the end", async () => {
    const between = await relay(server.port);
    const channel = unique("recov:");
    const { client, tally } = follow(between.ws, channel);
    const begun = Date.now();
    try {
      await until(() => tally().subscribed, "the subscription");
      const numbers = publishing(server, channel);
      await sleep(1000);
      between.cut();
      await until(() => tally().connected === 2, "the first return");
      assert.deepEqual(tally().refused, { connect: 0, refresh: 0, subscribe: 0, sub_refresh: 0 }, "the token was still good");
      for (const round of [3, 4]) {
        between.refuse(true);
        between.cut();
        await sleep(PAST_EXPIRY);
        between.refuse(false);
        await until(() => tally().connected >= round, `return ${round - 1}`, 15_000);
      }
      await whole(tally, await numbers.stop());
      bounded(tally(), { expiries: 2, reconnects: tally().connected - 1, seconds: (Date.now() - begun) / 1000 });
    } finally {
      client.disconnect();
      await between.close();
    }
  });

  test("a client that is frozen past the end", async () => {
    const channel = unique("recov:");
    const child = spawn(process.execPath, [path.join(import.meta.dirname, "expiry-client.mjs"), server.ws, channel], { stdio: ["ignore", "pipe", "inherit"] });
    let last;
    createInterface(child.stdout).on("line", (line) => (last = JSON.parse(line)));
    const begun = Date.now();
    try {
      await until(() => last?.subscribed, "the subscription", 15_000);
      const numbers = publishing(server, channel);
      for (const _ of [1, 2]) {
        child.kill("SIGSTOP");
        await sleep(PAST_EXPIRY);
        child.kill("SIGCONT");
        // What it says first it may have written before.
        await until(() => last.state === "connected" && last.subState === "subscribed" && last.numbers.length >= numbers.count() - 1, "the return", 15_000);
      }
      await whole(() => last, await numbers.stop());
      bounded(last, { expiries: 2, reconnects: last.connected - 1, seconds: (Date.now() - begun) / 1000 });
      assert.ok(last.connected >= 2 && last.connected <= 3, JSON.stringify(last));
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("a server that is frozen past the end", async () => {
    const frozen = await startServer(config());
    const channel = unique("recov:");
    const { client, tally } = follow(frozen.ws, channel);
    const begun = Date.now();
    try {
      await until(() => tally().subscribed, "the subscription");
      let count = 0;
      for (const _ of [1, 2]) {
        await frozen.api("publish", { channel, data: { n: ++count } });
        process.kill(frozen.pid, "SIGSTOP");
        await sleep(PAST_EXPIRY);
        process.kill(frozen.pid, "SIGCONT");
        await frozen.api("publish", { channel, data: { n: ++count } });
        await whole(tally, count);
      }
      // It may close the connection or take the refresh that has waited: both are right, one after the other is not.
      assert.ok(tally().connected <= 3, JSON.stringify(tally()));
      bounded(tally(), { expiries: 2, reconnects: 2, seconds: (Date.now() - begun) / 1000 });
    } finally {
      process.kill(frozen.pid, "SIGCONT");
      client.disconnect();
      await frozen.stop();
    }
  });

  test("a backend whose tokens have always expired is asked with growing delays", async () => {
    const channel = unique("recov:");
    const old = { exp: inSeconds(-60), sub: "42" };
    const { client, tally } = follow(server.ws, channel, { connectionToken: () => jwt(old), minReconnectDelay: 200, maxReconnectDelay: 2000 });
    const other = follow(server.ws, channel, {
      connectionToken: () => jwt({ sub: "42", exp: inSeconds(60) }), subscriptionToken: () => jwt({ ...old, channel }),
      minResubscribeDelay: 200, maxResubscribeDelay: 2000,
    });
    try {
      await sleep(6000);
      const connection = tally();
      assert.equal(connection.connected, 0);
      assert.equal(connection.refused.connect, connection.sent.connect);
      assert.ok(connection.sent.connect >= 2 && connection.sent.connect <= 40 && connection.tokens <= connection.sent.connect + 1, JSON.stringify(connection));
      const subscription = other.tally();
      assert.equal(subscription.subscribed, 0);
      assert.equal(subscription.refused.subscribe, subscription.sent.subscribe);
      assert.ok(subscription.sent.subscribe >= 2 && subscription.sent.subscribe <= 40, JSON.stringify(subscription));
      assert.deepEqual([subscription.sent.connect, subscription.connected], [1, 1], "the connection has nothing to do with it");
    } finally {
      client.disconnect();
      other.client.disconnect();
    }
  });
});
