// The manual's page in a real Chromium.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { openBrowser, openPage } from "./browser.mjs";
import { config, inSeconds, jwt, startServer, webHost } from "./server.mjs";

const sdk = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "../dist");

let server, browser;
before(async () => {
  server = await startServer(config());
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

describe("the manual's page in Chromium", () => {
  for (const bundle of ["centrifuge.js", "centrifuge.protobuf.js"]) {
    const page = (token) => `<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">
      <script src="/${bundle}"></script>
      <script>
        const token = ${JSON.stringify(token)};
        var centrifuge = new Centrifuge("ws://127.0.0.1:${server.port}/connection/websocket");
        centrifuge.setToken(token);
        const said = (text) => document.body.append(Object.assign(document.createElement("p"), { textContent: text }));
        addEventListener("load", () => {
          centrifuge.on("connected", () => said("connected"));
          centrifuge.on("disconnected", ({ code }) => said("disconnected " + code));
          centrifuge.connect();
          const sub = centrifuge.newSubscription("news");
          sub.on("subscribed", () => said("subscribed"));
          sub.on("publication", ({ data }) => said("got " + (data instanceof Uint8Array ? new TextDecoder().decode(data) : JSON.stringify(data))));
          sub.subscribe();
        });
      </script><body></body>`;

    const open = async (token) => {
      const host = await webHost({
        csp: "default-src 'self' 'unsafe-inline' data:; connect-src *",
        pages: { "/index.html": page(token), [`/${bundle}`]: await readFile(path.join(sdk, bundle)) },
      });
      const opened = await openPage(browser);
      await opened.page.goto(host.url);
      return { ...opened, close: async () => (await opened.context.close(), host.close()) };
    };

    for (const [name, claims] of [
      ["the simplest token", { sub: "42" }],
      ["exp in five minutes", { sub: "42", exp: inSeconds(300) }],
      ["info", { sub: "42", info: { name: "Alexander" } }],
    ]) {
      test(`${bundle}, ${name}: connects, subscribes and receives what the backend publishes`, async () => {
        const { page, complaints, close } = await open(jwt(claims));
        await page.getByText("subscribed", { exact: true }).waitFor();
        await server.api("publish", { channel: "news", data: { hello: name } });
        await page.getByText(`got ${JSON.stringify({ hello: name })}`).waitFor();
        assert.deepEqual(complaints, []);
        await close();
      });
    }

    test(`${bundle}: a wrong secret is refused`, async () => {
      const { page, close } = await open(jwt({ sub: "42" }, { key: "wrong" }));
      await page.getByText("disconnected 3500").waitFor();
      await close();
    });
  }

  test("a page from an origin that is not allowed stays out, one that is allowed is in", async () => {
    const strict = await startServer(config({ allowed_origins: ["http://localhost:1"] }));
    const opened = await openPage(browser);
    const host = await webHost({ csp: "default-src * 'unsafe-inline'", pages: { "/index.html": "<!doctype html><p>x" } });
    try {
      await opened.page.goto(host.url);
      const outcome = (url) => opened.page.evaluate((target) => new Promise((resolve) => {
        const socket = new WebSocket(target);
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("refused");
      }), url);
      assert.equal(await outcome(strict.ws), "refused");
      assert.equal(await outcome(server.ws), "open");
    } finally {
      await opened.context.close();
      await host.close();
      await strict.stop();
    }
  });
});
