// Unidirectional transports with what a client without an SDK has: EventSource, fetch, WebSocket and curl, in Node and in
// Chromium, with TLS and without; and the blocks of the manual's chapter.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";
import { openBrowser, openPage } from "./browser.mjs";
import { inSeconds, isSpinward, jwt, unique, until, webHost } from "./server.mjs";
import { arena, everything } from "./transports.mjs";

// The certificates are made for this run, and nobody else trusts them. curl is told to.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const chapter = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../docs/manual/transports.md");
const text = readFileSync(chapter, "utf8");
const blocks = new Map([...text.matchAll(/<!-- test: (\S+) -->\n```js\n([\s\S]*?)```/g)].map(([, name, code]) => [name, code]));
const sdk = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "../dist/centrifuge.js");

const settings = () => {
  const all = everything();
  return { ...all, uni_sse: { ...all.uni_sse, event_ids: true } };
};

const schemes = isSpinward ? ["http", "https"] : ["http"];
/** By scheme. */
const places = {};
let place, browser, folder;
before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "spinward-uni-"));
  browser = await openBrowser();
  for (const scheme of schemes) {
    places[scheme] = await start(scheme);
    await openReaders(places[scheme]);
  }
  place = places.http;
});
after(async () => {
  await browser?.close();
  for (const one of Object.values(places)) await one.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(scheme, wanted = settings()) {
  const started = await arena(wanted, { scheme });
  if (started.certificate) {
    started.authority = path.join(folder, `${unique("cert-")}.pem`);
    writeFileSync(started.authority, started.certificate);
  }
  return started;
}

const query = (request) => `?cf_connect=${encodeURIComponent(JSON.stringify(request))}`;
const publish = (place, channel, ...numbers) =>
  numbers.reduce((before, n) => before.then(() => place.server.api("publish", { channel, data: { n } })), Promise.resolve());

/** Pushes of a client by the way it reads them: `open(request, place)` gives { pushes, close }. */
const readers = {
  "uni_sse, EventSource": (request, { base }) => {
    const pushes = [];
    const source = new EventSource(`${base}/connection/uni_sse${query(request)}`);
    source.onmessage = ({ data, lastEventId }) => pushes.push({ ...JSON.parse(data), lastEventId });
    return { pushes, close: () => source.close() };
  },
  "uni_sse, fetch": (request, { base }) =>
    lines(fetch(`${base}/connection/uni_sse`, { method: "POST", body: JSON.stringify(request) })),
  "uni_http_stream, fetch": (request, { base }) =>
    lines(fetch(`${base}/connection/uni_http_stream`, { method: "POST", body: JSON.stringify(request) })),
  "uni_sse, curl": (request, place) => curl("uni_sse", request, place),
  "uni_http_stream, curl": (request, place) => curl("uni_http_stream", request, place),
  "uni_websocket, first message": (request, { base }) => socket(base, "", request),
  "uni_websocket, query": (request, { base }) => socket(base, query(request)),
  "uni_sse, EventSource in Chromium": (request, place) => place.inPage("EventSource", request),
  "uni_sse, fetch in Chromium": (request, place) => place.inPage("uni_sse", request),
  "uni_http_stream, fetch in Chromium": (request, place) => place.inPage("uni_http_stream", request),
  "uni_websocket, Chromium": (request, place) => place.inPage("WebSocket", request),
};

function curl(name, request, { base, authority }) {
  const trust = authority ? ["--cacert", authority] : [];
  const child = spawn("curl", ["-sSN", ...trust, "-d", JSON.stringify(request), `${base}/connection/${name}`], { stdio: ["ignore", "pipe", "inherit"] });
  const pushes = [];
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (more) => {
    const found = (rest + more).split("\n");
    rest = found.pop();
    pushes.push(...messages(found));
  });
  return { pushes, close: () => child.kill() };
}

function socket(base, tail, request) {
  const pushes = [];
  const socket = new WebSocket(`${base.replace(/^http/, "ws")}/connection/uni_websocket${tail}`);
  if (request) socket.on("open", () => socket.send(JSON.stringify(request)));
  socket.on("message", (data) => pushes.push(...messages(data.toString().split("\n"))));
  return { pushes, close: () => socket.terminate() };
}

/** Messages of whole lines: those of an event stream have a name before them. */
const messages = (lines) => lines.map((line) => line.replace(/^data: /, "").trim()).filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));

function lines(answer) {
  const pushes = [];
  const stop = { close: () => {} };
  (async () => {
    const reader = (await answer).body.pipeThrough(new TextDecoderStream()).getReader();
    stop.close = () => reader.cancel();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read().catch(() => ({ done: true }));
      if (done) return;
      const found = (rest + value).split("\n");
      rest = found.pop();
      pushes.push(...messages(found));
    }
  })();
  return { pushes, close: () => stop.close() };
}

/** Puts the readers of a page into a place. */
async function openReaders(place) {
  const host = await webHost({ csp: "default-src * 'unsafe-inline'", pages: { "/index.html": `<!doctype html><link rel="icon" href="data:,"><script>
    const clients = new Map();
    const ways = {
      EventSource(url, request, said) {
        const source = new EventSource(url + "/uni_sse?cf_connect=" + encodeURIComponent(request));
        source.onmessage = ({ data }) => said([data]);
        return () => source.close();
      },
      WebSocket(url, request, said) {
        const socket = new WebSocket(url.replace(/^http/, "ws") + "/uni_websocket");
        socket.onopen = () => socket.send(request);
        socket.onmessage = ({ data }) => said(data.split("\\n"));
        return () => socket.close();
      },
      uni_sse: (url, request, said) => stream(url + "/uni_sse", request, said),
      uni_http_stream: (url, request, said) => stream(url + "/uni_http_stream", request, said),
    };
    function stream(url, request, said) {
      const control = new AbortController();
      (async () => {
        const { body } = await fetch(url, { method: "POST", body: request, signal: control.signal });
        const reader = body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = ""; ; ) {
          const { value, done } = await reader.read();
          if (done) return;
          const found = (rest + value).split("\\n");
          rest = found.pop();
          said(found);
        }
      })().catch(() => {});
      return () => control.abort();
    }
    window.begin = (id, way, url, request) => clients.set(id, ways[way](url, request, (lines) => window.said(id, lines)));
    window.end = (id) => (clients.get(id)?.(), clients.delete(id));
  </script>` } });
  const pages = new Map();
  const heard = new Map();
  // A page and its connections for each way.
  const open = async () => {
    const { page, context } = await openPage(browser, { ignoreHTTPSErrors: true });
    await page.exposeFunction("said", (id, lines) => heard.get(id)?.push(...messages(lines)));
    await page.goto(host.url);
    return { page, context };
  };
  place.inPage = (way, request) => {
    const [id, pushes] = [unique("client-"), []];
    heard.set(id, pushes);
    if (!pages.has(way)) pages.set(way, open());
    const begun = pages.get(way).then(async ({ page }) => {
      const target = [id, way, `${place.base}/connection`, JSON.stringify(request)];
      await page.evaluate(([id, way, url, request]) => void window.begin(id, way, url, request), target);
      return page;
    });
    // A page that is closed has no clients.
    return { pushes, close: () => begun.then((page) => page.evaluate((id) => window.end(id), id)).catch(() => {}) };
  };
  const { stop } = place;
  place.stop = async () => {
    for (const opened of pages.values()) await opened.then(({ context }) => context.close()).catch(() => {});
    await host.close();
    await stop();
  };
}

const numbers = (client, channel) => client.pushes.filter((push) => push.channel === channel && push.pub).map((push) => push.pub.data.n);
const first = async (client) => (await until(() => client.pushes[0], "the connect push")).connect;

describe("each reader", { concurrency: 3 }, () => {
  for (const scheme of schemes) {
    for (const [name, reader] of Object.entries(readers)) {
      // A page has six connections to a host.
      describe(`${scheme}, ${name}`, { concurrency: name.includes("Chromium") ? 3 : 4 }, () => {
        const at = () => places[scheme];
        const open = (request) => reader(request, at());

        test("connect push, publications, joins and pushes of the server API, disconnect", async () => {
          const [user, channel, later] = [unique("user-"), unique("recov:"), unique("room:")];
          const { server } = at();
          const client = open({ token: jwt({ sub: user, channels: [channel] }) });
          const connect = await first(client);
          assert.ok(connect.client && connect.session && connect.subs[channel].recoverable, JSON.stringify(connect));
          assert.equal(connect.pong ?? false, false);
          await publish(at(), channel, 1, 2);
          await server.api("subscribe", { user, channel: later });
          await publish(at(), later, 3);
          await until(() => numbers(client, later).length === 1, "a publication of the other channel");
          assert.deepEqual(numbers(client, channel), [1, 2]);
          assert.ok(client.pushes.some((push) => push.channel === later && push.subscribe), "a subscribe push");
          assert.ok(client.pushes.some((push) => push.channel === later && push.join), "a join");
          await server.api("unsubscribe", { user, channel: later });
          await until(() => client.pushes.find((push) => push.unsubscribe), "an unsubscribe push");
          await server.api("disconnect", { user, disconnect: { code: 4501, reason: "bye" } });
          const { disconnect } = await until(() => client.pushes.find((push) => push.disconnect), "a disconnect push");
          assert.deepEqual(disconnect, { code: 4501, reason: "bye" });
          client.close();
        });

        test("recovery by subs in the connect request", async () => {
          const channel = unique("recov:");
          await publish(at(), channel, 1, 2, 3);
          const { epoch } = await at().server.api("history", { channel });
          const client = open({ token: jwt({ sub: unique("user-"), channels: [channel] }), subs: { [channel]: { recover: true, offset: 1, epoch } } });
          const { subs } = await first(client);
          assert.equal(subs[channel].recovered, true);
          assert.deepEqual(subs[channel].publications.map(({ data }) => data.n), [2, 3]);
          client.close();
        });

        test("a subscription that the client asks for, and a token that is refused", async () => {
          const channel = unique("room:");
          const client = open({ token: jwt({ sub: unique("user-") }), subs: { [channel]: {}, "closed:x": {} } });
          assert.deepEqual(Object.keys((await first(client)).subs), [channel]);
          client.close();
          const other = open({ token: jwt({ sub: "x" }, { key: "wrong" }) });
          const { disconnect } = await until(() => other.pushes.find((push) => push.disconnect), "the refusal");
          assert.deepEqual(disconnect, { code: 3500, reason: "invalid token" });
          other.close();
        });

        test("a token that has expired ends it, and the server API renews another", async () => {
          const [user, other] = [unique("user-"), unique("user-")];
          const renewed = open({ token: jwt({ sub: other, exp: inSeconds(60) }) });
          await first(renewed);
          await at().server.api("refresh", { user: other, expire_at: inSeconds(600) });
          const { refresh } = await until(() => renewed.pushes.find((push) => push.refresh), "a refresh push");
          assert.ok(refresh.expires && refresh.ttl > 500, JSON.stringify(refresh));
          const client = open({ token: jwt({ sub: user, exp: inSeconds(2) }) });
          const { disconnect } = await until(() => client.pushes.find((push) => push.disconnect), "the end");
          assert.equal(disconnect.code, 3005);
          client.close();
          renewed.close();
        });

        test("codes of a disconnect", async () => {
          for (const code of [3011, 3503, 4100]) {
            const user = unique("user-");
            const client = open({ token: jwt({ sub: user }) });
            await first(client);
            await at().server.api("disconnect", { user, disconnect: { code, reason: `for ${code}` } });
            const { disconnect } = await until(() => client.pushes.find((push) => push.disconnect), `the end with ${code}`);
            assert.deepEqual(disconnect, { code, reason: `for ${code}` });
            client.close();
          }
        });

        test("a message of 1 MB, and a burst of 5,000", async () => {
          const channel = unique("room:");
          const client = open({ token: jwt({ sub: unique("user-"), channels: [channel] }) });
          await first(client);
          const text = "é".repeat(500_000);
          await at().server.api("publish", { channel, data: { n: -1, text } });
          await until(() => numbers(client, channel).length === 1, "the large one");
          assert.ok(client.pushes.find((push) => push.pub).pub.data.text === text, "its text");
          await at().calls.burst(channel, 5000);
          await until(() => numbers(client, channel).length >= 5001, "all of them", 30_000);
          assert.deepEqual(numbers(client, channel), Array.from({ length: 5001 }, (_, n) => n - 1));
          client.close();
        });
      });
    }
  }
});

for (const scheme of schemes) {
  describe(`a slow reader, ${scheme}`, { concurrency: 3 }, () => {
    for (const [name, open] of Object.entries(readers)) {
      test(`${name}: is closed with 3008`, async () => {
        const own = await start(scheme);
        if (name.includes("Chromium")) await openReaders(own);
        try {
          const channel = unique("room:");
          const client = open({ token: jwt({ sub: unique("user-"), channels: [channel] }) }, own);
          await first(client);
          own.calls.hold();
          await own.calls.flood(channel);
          own.calls.go();
          const { disconnect } = await until(() => client.pushes.find((push) => push.disconnect), "the disconnect", 20_000);
          assert.equal(disconnect.code, 3008);
          client.close();
        } finally {
          await own.stop();
        }
      });
    }
  });
}

describe("EventSource that connects again", { concurrency: 3 }, () => {
  /** In Node and in a page: `open(url)` gives what came. */
  const sources = {
    Node: async (url) => {
      const seen = [];
      const source = new EventSource(url);
      source.onmessage = ({ data, lastEventId }) => seen.push({ push: JSON.parse(data), lastEventId });
      return { seen: async () => seen, close: async () => source.close() };
    },
    Chromium: async (url) => {
      const host = await webHost({ csp: "default-src * 'unsafe-inline'", pages: { "/index.html": `<!doctype html><link rel="icon" href="data:,"><script>
        window.seen = [];
        new EventSource(${JSON.stringify(url)}).onmessage = ({ data, lastEventId }) => seen.push({ push: JSON.parse(data), lastEventId });
      </script>` } });
      const { page, context } = await openPage(browser, { ignoreHTTPSErrors: true });
      await page.goto(host.url);
      return { seen: () => page.evaluate("window.seen"), close: async () => (await context.close(), host.close()) };
    },
  };

  for (const [where, scheme] of Object.keys(sources).flatMap((where) => schemes.map((scheme) => [where, scheme]))) {
    test(`${where}, ${scheme}: it resumes where it was, in every channel`, { timeout: 60_000 }, async () => {
      const own = await start(scheme);
      try {
        const channels = [unique("recov:"), unique("recov:")];
        const token = jwt({ sub: unique("user-"), channels });
        const client = await sources[where](`${own.base}/connection/uni_sse${query({ token, subs: { [channels[0]]: { recover: true, offset: 0, epoch: "" } } })}`);
        const seen = async () => {
          const all = await client.seen();
          return all.flatMap(({ push }) => [
            ...Object.values(push.connect?.subs ?? {}).flatMap(({ publications = [] }) => publications.map(({ data }) => data.n)),
            ...(push.pub ? [push.pub.data.n] : []),
          ]).sort((a, b) => a - b);
        };
        const publish = (at, n) => own.server.api("publish", { channel: channels[at], data: { n } });
        await until(async () => (await client.seen()).length === 1, "the connect push");
        await publish(0, 1);
        await publish(1, 2);
        await until(async () => (await seen()).length === 2, "two publications");
        const ids = (await client.seen()).map(({ lastEventId }) => lastEventId);
        assert.equal(new Set(ids).size, ids.length, `an id each: ${ids}`);
        assert.ok(ids.every((id) => /^[\w-]{8,}$/.test(id)), `${ids}`);
        own.calls.cut();
        await publish(0, 3);
        await publish(1, 4);
        await until(async () => (await seen()).length === 4, "what was missed", 20_000);
        assert.deepEqual(await seen(), [1, 2, 3, 4]);
        await publish(1, 5);
        await until(async () => (await seen()).length === 5, "what comes then");
        own.calls.cut();
        await publish(0, 6);
        await until(async () => (await seen()).length === 6, "what was missed again", 20_000);
        assert.deepEqual(await seen(), [1, 2, 3, 4, 5, 6]);
        await client.close();
      } finally {
        await own.stop();
      }
    });
  }

  test("an id that is no such, or of another user's channel, gives nothing", async () => {
    const [mine, theirs] = [unique("recov:"), unique("recov:")];
    await publish(place, mine, 1);
    await publish(place, theirs, 1);
    const open = (channels, id) => lines(fetch(`${place.base}/connection/uni_sse`, {
      method: "POST", headers: id ? { "last-event-id": id } : {}, body: JSON.stringify({ token: jwt({ sub: unique("user-"), channels }) }),
    }));
    const other = readers["uni_sse, EventSource"]({ token: jwt({ sub: unique("user-"), channels: [theirs] }) }, place);
    await first(other);
    const id = other.pushes[0].lastEventId;
    other.close();
    for (const given of [id, "nonsense", `${id.slice(0, -1)}_`, "x".repeat(5000)]) {
      const client = open([mine], given);
      const { subs } = await first(client);
      assert.deepEqual(Object.keys(subs), [mine]);
      assert.equal(subs[mine].was_recovering ?? false, false, given.slice(0, 20));
      client.close();
    }
  });

  test("without the option there are no ids", async () => {
    const own = await start("http", everything());
    try {
      const client = readers["uni_sse, EventSource"]({ token: jwt({ sub: "x", channels: [unique("recov:")] }) }, own);
      await first(client);
      assert.equal(client.pushes[0].lastEventId, "");
      client.close();
    } finally {
      await own.stop();
    }
  });
});

describe("the chapter's blocks in Chromium", () => {
  test("every JavaScript block has a name and a test", () => {
    // WebTransport needs a certificate, and has a test of its own: webtransport.test.mjs.
    assert.equal(blocks.size, text.split("## WebTransport")[0].match(/^```js$/gm).length);
    assert.deepEqual([...blocks.keys()].sort(), ["event-source", "fallback", "fetch", "uni-websocket"]);
  });

  for (const name of blocks.keys()) {
    test(name, async () => {
      const code = blocks.get(name).replaceAll("localhost:8000", `127.0.0.1:${place.server.port}`);
      const token = jwt({ sub: "42", ...(name === "fallback" ? {} : { channels: ["news"] }) });
      const host = await webHost({
        csp: "default-src * 'unsafe-inline' data:",
        pages: {
          "/sdk.js": await readFile(sdk),
          "/index.html": `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script src="/sdk.js"></script><script type="module">
            const token = ${JSON.stringify(token)};
            ${code}
          </script>`,
        },
      });
      const { page, context } = await openPage(browser);
      const said = [];
      page.on("console", async (message) => said.push(await Promise.all(message.args().map((value) => value.jsonValue().catch(() => null)))));
      await page.goto(host.url);
      const got = () => said.some((words) => words.some((word) => word?.hello === name));
      await until(async () => {
        await place.server.api("publish", { channel: "news", data: { hello: name } });
        await new Promise((resolve) => setTimeout(resolve, 100));
        return got();
      }, `the publication: ${JSON.stringify(said)}`, 10_000);
      await context.close();
      await host.close();
    });
  }
});
