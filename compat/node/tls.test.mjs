// Over TLS: the official SDK in Node and in Chromium, in both encodings, through a relay that cuts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { openBrowser, openPage } from "./browser.mjs";
import { certificate } from "./certificate.mjs";
import { connected, pack, subscribed, unpack } from "./client.mjs";
import { config, freePort, isSpinward, jwt, relay, startServer, unique, until, webHost } from "./server.mjs";

// The certificate is made for this run, and nobody else trusts it.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const sdk = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "../dist/centrifuge.js");
const skip = !isSpinward && "the form of its options";
let server, way, url;
before(async () => {
  if (skip) return;
  const { cert_pem, key_pem } = certificate();
  const internal = await freePort();
  server = await startServer({
    ...config({ queue_max_size: 4 << 20 }),
    websocket: { message_size_limit: 4 << 20 },
    http_server: { internal_port: String(internal), tls_external: true, tls: { enabled: true, cert_pem, key_pem } },
  });
  // The API is on the port of its own, without TLS.
  server.http = `http://127.0.0.1:${internal}`;
  way = await relay(server.port);
  url = way.ws.replace(/^ws/, "wss");
});
after(async () => {
  await way?.close();
  await server?.stop();
});

for (const encoding of ["json", "protobuf"]) {
  describe(`TLS, ${encoding}, Node`, { skip }, () => {
    test("messages of every size come through in order", async () => {
      const channel = unique("room:");
      const client = await connected(encoding, url, { token: jwt({ sub: "42" }) });
      const sub = await subscribed(client, channel);
      const sizes = [1, 100, 16_000, 16_384, 16_385, 70_000, 1_000_000];
      for (const size of sizes) await server.api("publish", { channel, data: { text: "x".repeat(size) } });
      await until(() => sub.payloads().length === sizes.length, "publications");
      assert.deepEqual(sub.payloads().map(({ text }) => text.length), sizes);
      await sub.publish(pack(encoding, { text: "y".repeat(500_000) }));
      await until(() => sub.payloads().length === sizes.length + 1, "one of its own");
      client.disconnect();
    });

    test("a burst of 5,000 is complete", async () => {
      const channel = unique("room:");
      const client = await connected(encoding, url, { token: jwt({ sub: "42" }) });
      const sub = await subscribed(client, channel);
      for (let at = 0; at < 5_000; at += 500) {
        const commands = Array.from({ length: 500 }, (_, n) => ({ publish: { channel, data: at + n } }));
        await server.api("batch", { commands });
      }
      await until(() => sub.payloads().length === 5_000, "a burst", 20_000);
      assert.deepEqual(sub.payloads(), Array.from({ length: 5_000 }, (_, n) => n));
      client.disconnect();
    });

    test("what was missed while the way was cut is recovered", async () => {
      const channel = unique("recov:");
      const client = await connected(encoding, url, { token: jwt({ sub: "42" }) });
      const sub = await subscribed(client, channel);
      await server.api("publish", { channel, data: 1 });
      await until(() => sub.payloads().length === 1, "the first");
      way.cut();
      await server.api("publish", { channel, data: 2 });
      await until(() => sub.payloads().length === 2, "what was missed");
      assert.equal(sub.seen("subscribed").at(-1).recovered, true);
      client.disconnect();
    });
  });
}

test("a WebSocket in a stream of HTTP/2", { skip }, async () => {
  const session = http2.connect(url.replace(/^wss/, "https").replace(/\/connection.*/, ""), { rejectUnauthorized: false });
  const settings = await new Promise((resolve, reject) => session.once("remoteSettings", resolve).once("error", reject));
  assert.equal(session.alpnProtocol, "h2");
  assert.equal(settings.enableConnectProtocol, true);
  const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":authority": "localhost",
    ":path": "/connection/websocket", "sec-websocket-version": "13" });
  const headers = await new Promise((resolve) => stream.once("response", resolve));
  assert.equal(headers[":status"], 200);
  const body = Buffer.from(JSON.stringify({ id: 1, connect: { token: jwt({ sub: "42" }) } }));
  const mask = Buffer.from([1, 2, 3, 4]);
  const length = Buffer.from([0x81, 0x80 | 126, body.length >> 8, body.length & 0xff]);
  stream.write(Buffer.concat([length, mask, body.map((byte, at) => byte ^ mask[at % 4])]));
  const reply = await new Promise((resolve) => stream.once("data", resolve));
  assert.match(reply.toString(), /"id":1,"connect":/);
  session.destroy();
});

describe("TLS, Chromium", { skip }, () => {
  let browser, host;
  before(async () => {
    const pages = { "/index.html": '<!doctype html><link rel="icon" href="data:,"><script src="/centrifuge.js"></script>', "/centrifuge.js": readFileSync(sdk) };
    host = await webHost({ csp: "default-src * 'unsafe-inline' data:", pages });
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await host?.close();
  });

  test("a page subscribes and publishes", async () => {
    const { context, page } = await openPage(browser, { ignoreHTTPSErrors: true });
    await page.goto(host.url);
    const seen = await page.evaluate(([url, token, channel]) => new Promise((resolve, reject) => {
      const client = new Centrifuge(url, { token });
      client.on("disconnected", ({ code, reason }) => reject(new Error(`${code} ${reason}`)));
      const sub = client.newSubscription(channel);
      sub.on("publication", ({ data }) => resolve(data));
      sub.on("subscribed", () => sub.publish({ from: "the page" }));
      sub.subscribe();
      client.connect();
    }), [url, jwt({ sub: "42" }), unique("room:")]);
    assert.deepEqual(unpack(seen), { from: "the page" });
    await context.close();
  });
});
