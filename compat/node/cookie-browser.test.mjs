// Logging in with a cookie in a real Chromium: what the page's scripts never see is what logs it in.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { openBrowser, openPage } from "./browser.mjs";
import { config, inSeconds, isSpinward, jwt, startServer, unique, webHost } from "./server.mjs";

const sdk = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "../dist/centrifuge.js");
const skip = !isSpinward && "an option of our own";
let server, browser, host;
before(async () => {
  if (skip) return;
  const pages = { "/index.html": '<!doctype html><link rel="icon" href="data:,"><script src="/centrifuge.js"></script>', "/centrifuge.js": await readFile(sdk) };
  host = await webHost({ csp: "default-src * 'unsafe-inline' data:", pages });
  server = await startServer(config({ allowed_origins: [host.url], connect_token_cookie: "jwt" }));
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await host?.close();
});

/** Opens the page as `at` has it, with this token in a cookie that scripts cannot read, and connects from there. */
async function visit(at, token, channel) {
  const { context, page } = await openPage(browser);
  if (token) await context.addCookies([{ name: "jwt", value: token, url: server.http, httpOnly: true, sameSite: "Lax" }]);
  await page.goto(at);
  const outcome = await page.evaluate(([url, channel]) => new Promise((resolve) => {
    const client = new Centrifuge(url);
    client.on("disconnected", ({ code }) => resolve({ code }));
    client.on("error", ({ error }) => error.code === 2 && resolve({ refused: true }));
    const sub = client.newSubscription(channel);
    sub.on("subscribed", () => resolve({ subscribed: true, cookies: document.cookie }));
    sub.subscribe();
    client.connect();
  }), [server.ws, channel]);
  return { outcome, close: () => context.close() };
}

describe("a cookie in Chromium", { skip }, () => {
  test("logs the page of a named origin in, as the user of its token", async () => {
    const channel = unique("room:");
    const { outcome, close } = await visit(host.url, jwt({ sub: "42", exp: inSeconds(60) }), channel);
    assert.deepEqual(outcome, { subscribed: true, cookies: "" });
    const { presence } = await server.api("presence", { channel });
    assert.deepEqual(Object.values(presence).map(({ user }) => user), ["42"]);
    await close();
  });

  test("of a wrong signature is refused, and none is no login", async () => {
    for (const [token, code] of [[jwt({ sub: "42" }, { key: "wrong" }), 3500], [null, 3501]]) {
      const { outcome, close } = await visit(host.url, token, unique("room:"));
      assert.deepEqual(outcome, { code });
      await close();
    }
  });

  test("does nothing for a page of another origin", async () => {
    const elsewhere = host.url.replace("127.0.0.1", "localhost");
    const { outcome, close } = await visit(elsewhere, jwt({ sub: "42", exp: inSeconds(60) }), unique("room:"));
    assert.deepEqual(outcome, { refused: true });
    await close();
  });
});
