// WebTransport: npm centrifuge in a real Chromium, JSON and Protobuf.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openBrowser, openPage } from "./browser.mjs";
import { certificate } from "./certificate.mjs";
import { config, freePort, isSpinward, jwt, startServer } from "./server.mjs";

const bundles = {
  json: "centrifuge.js",
  protobuf: "centrifuge.protobuf.js",
};
const dist = path.join(path.dirname(fileURLToPath(import.meta.url)), "node_modules/centrifuge/dist");

let server, browser, pages, origin, quic, hash;

before(async () => {
  if (!isSpinward) return;
  const { hash: digest, ...pem } = certificate();
  hash = digest;
  quic = await freePort();
  const settings = {
    ...config(),
    http_server: { tls: { enabled: true, ...pem }, tls_external: true, http3: { enabled: true } },
    webtransport: { enabled: true },
  };
  server = await startServer(settings, {
    env: (internal) => ({ HTTP_SERVER_PORT: String(quic), HTTP_SERVER_INTERNAL_PORT: String(internal) }),
  });
  browser = await openBrowser({ quic: true });
  pages = http.createServer((request, answer) => {
    const bundle = Object.values(bundles).find((name) => request.url === `/${name}`);
    answer.setHeader("content-type", bundle ? "text/javascript" : "text/html");
    answer.end(bundle ? readFileSync(path.join(dist, bundle)) : "<!doctype html><title>page</title>");
  });
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${pages.address().port}`;
});

after(async () => {
  await browser?.close();
  await server?.stop();
  pages?.close();
});

for (const [protocol, bundle] of Object.entries(bundles)) {
  test(`a page connects, subscribes, recovers and is disconnected, ${protocol}`, { skip: !isSpinward }, async () => {
    const { context, page } = await openPage(browser);
    await page.goto(origin);
    await page.addScriptTag({ url: `${origin}/${bundle}` });
    const channel = `recov:wt-${protocol}`;
    const connected = await page.evaluate(async ({ url, hash, token, channel }) => {
      const opened = [];
      // The SDK has no option for the certificate.
      window.WebTransport = class extends WebTransport {
        constructor(address) {
          super(address, { serverCertificateHashes: [{ algorithm: "sha-256", value: new Uint8Array(hash) }] });
          opened.push(this);
        }
      };
      const client = new Centrifuge([{ transport: "webtransport", endpoint: url }],
        { token, minReconnectDelay: 50, maxReconnectDelay: 100 });
      const got = [];
      const ends = [];
      Object.assign(window, { client, got, ends, opened });
      client.on("disconnected", ({ code, reason }) => ends.push({ code, reason }));
      const ready = new Promise((resolve, reject) => {
        client.once("connected", resolve);
        setTimeout(() => reject(new Error(`not connected: ${client.state}`)), 10_000);
      });
      window.sub = client.newSubscription(channel);
      window.sub.on("publication", ({ data }) =>
        got.push(data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data));
      window.sub.subscribe();
      client.connect();
      const { transport } = await ready;
      await window.sub.ready(10_000);
      return transport;
    }, { url: `https://127.0.0.1:${quic}/connection/webtransport`, hash, token: jwt({ sub: "7" }), channel });
    assert.equal(connected, "webtransport");

    const publish = (n) => server.api("publish", { channel, data: { n } });
    const until = (count) => page.waitForFunction((count) => window.got.length >= count, count, { timeout: 10_000 });
    await publish(1);
    await until(1);

    // The session is cut, and what comes meanwhile is recovered.
    await page.evaluate(() => window.opened[0].close());
    await publish(2);
    await until(2);
    await publish(3);
    await until(3);
    assert.deepEqual(await page.evaluate(() => window.got), [{ n: 1 }, { n: 2 }, { n: 3 }]);
    assert.ok((await page.evaluate(() => window.opened.length)) >= 2, "it came back");

    await server.api("disconnect", { user: "7" });
    await page.waitForFunction(() => window.ends.length > 0, null, { timeout: 10_000 });
    assert.deepEqual(await page.evaluate(() => window.ends), [{ code: 3503, reason: "force disconnect" }]);
    await context.close();
  });
}
