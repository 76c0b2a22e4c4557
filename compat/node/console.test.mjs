// The console in a real Chromium, at desktop and phone width: what it does before any compatible server.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { openBrowser, openPage, shots } from "./browser.mjs";
import { API_KEY, CONSOLE_CSP, config, consoleDir, inSeconds, isSpinward, jwt, startServer, unique, webHost } from "./server.mjs";

let server, browser;
before(async () => {
  server = await startServer(config());
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

describe("the console", () => {
  // Spinward serves the console itself in `dev`; in front of any other server a small host does.
  let place;
  before(async () => {
    if (isSpinward) {
      const dev = await startServer(null, { args: (port) => ["dev", "--port", String(port)] });
      const info = await (await fetch(`${dev.http}/dev/info`)).json();
      place = { url: dev.http, info, close: () => dev.stop() };
      return;
    }
    const pages = {};
    const host = await webHost({ dir: consoleDir, target: server.port, pages });
    const info = {
      token: jwt({ sub: "42", exp: inSeconds(300), info: { name: "Ada" } }), api_key: API_KEY, websocket: "/connection/websocket",
      version: "0.0.0", user: "42", channel: "room:lobby", api: "/api",
      curl: `curl -X POST ${host.url}/api/publish -H 'X-API-Key: ${API_KEY}' -d '{"channel": "room:lobby", "data": {"text": "hello"}}'`,
    };
    pages["/dev/info"] = JSON.stringify(info);

    place = { url: host.url, info, close: () => host.close() };
  });
  after(() => place?.close());

  const sizes = {
    desktop: { viewport: { width: 1280, height: 900 }, colorScheme: "light" },
    phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: "dark" },
  };

  const byState = (page, state) => page.locator(`[data-testid=state][data-state=${state}]`);
  const publications = (page) => page.locator("[data-testid=event][data-kind=pub] [data-testid=event-text]");

  /** The page connects by itself, in JSON. */
  const open = async (page, protocol = "json") => {
    await page.goto(place.url);
    await byState(page, "connected").waitFor();
    if (protocol === "json") return;
    await page.getByTestId("disconnect").click();
    await page.getByTestId(`protocol-${protocol}`).click();
    await page.getByTestId("connect").click();
    await byState(page, "connected").waitFor();
  };

  for (const [size, options] of Object.entries(sizes)) {
    for (const protocol of ["json", "protobuf"]) {
      test(`${size}, ${protocol}: connect, subscribe, publish, see the event, disconnect`, async () => {
        const { page, context, complaints } = await openPage(browser, options);
        const shot = (name) => page.screenshot({ path: path.join(shots, `console-${size}-${protocol}-${name}.png`), fullPage: true });
        await open(page, protocol);
        await page.getByTestId("token-user").getByText(place.info.user, { exact: true }).waitFor();
        await shot("1-start");
        await page.getByTestId("subscribe").click();
        await page.locator(`[data-testid=channel-row][data-channel="${place.info.channel}"][data-state=subscribed]`).waitFor();

        const text = unique("<b>hello</b> ");
        await page.getByTestId("publish-data").fill(JSON.stringify({ text }));
        await page.getByTestId("publish").click();
        await publications(page).getByText(text).waitFor();
        await publications(page).first().click();
        assert.deepEqual(JSON.parse(await page.getByTestId("event-detail").first().textContent()), { text });
        assert.equal(await page.locator("[data-testid=log] b").count(), 0, "outside text is text, not markup");

        // What the copied curl line does, done without a shell.
        const [, target] = place.info.curl.match(/(https?:\/\/[^\s'"]+)/);
        const fromOutside = unique("from a terminal ");
        await fetch(target, {
          method: "POST",
          headers: { "x-api-key": place.info.api_key },
          body: JSON.stringify({ channel: place.info.channel, data: { text: fromOutside } }),
        });
        await publications(page).getByText(fromOutside).waitFor();
        await shot("2-live");
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `the page is ${wide} px wider than the window`);

        await page.getByTestId("disconnect").click();
        await byState(page, "disconnected").waitFor();
        assert.equal(await page.getByTestId("ending-code").textContent(), "0");
        assert.deepEqual(complaints, []);
        await context.close();
      });
    }
  }

  test("presence, history and the end of a channel are shown, refusals with their reason", async () => {
    const { page, context } = await openPage(browser, sizes.desktop);
    await open(page);
    await page.getByTestId("channel").fill("no_such_namespace:x");
    await page.getByTestId("subscribe").click();
    await page.getByTestId("channel-note").getByText("102 unknown channel").waitFor();
    await page.getByTestId("remove").click();
    assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), "channel", "the focus goes where it is of use");
    await page.getByTestId("channel").fill(place.info.channel);
    await page.getByTestId("subscribe").click();
    await page.locator("[data-testid=channel-row][data-state=subscribed]").waitFor();
    await page.getByTestId("presence").click();
    await page.getByTestId("channel-result").getByText("1 online").waitFor();
    await page.getByTestId("unsubscribe").click();
    await page.locator("[data-testid=channel-row][data-state=unsubscribed]").waitFor();
    await page.getByTestId("resubscribe").click();
    await page.locator("[data-testid=channel-row][data-state=subscribed]").waitFor();
    await page.screenshot({ path: path.join(shots, "console-channels.png"), fullPage: true });
    await context.close();
  });

  test("the server's account of a token is shown where there is one", { skip: !isSpinward && "only Spinward has dev" }, async () => {
    const { page, context } = await openPage(browser, sizes.desktop);
    await page.route("**/dev/explain", (route) =>
      route.fulfill({ json: { summary: "This token connects as user 42.", steps: [{ ok: false, text: "exp: passed" }], algorithm: "<i>HS256</i>" } }));
    await page.goto(place.url);
    await page.getByTestId("token-inspector").locator("summary").click();
    await page.getByTestId("token-account").getByText("This token connects as user 42.").waitFor();
    assert.match(await page.getByTestId("token-account").textContent(), /exp: passed.*<i>HS256<\/i>/s);
    await context.close();
  });

  test("dev tells its keys to pages of this machine alone", { skip: !isSpinward && "only Spinward has dev" }, async () => {
    const { port } = new URL(place.url);
    const status = (host) => new Promise((resolve, reject) => {
      get({ host: "127.0.0.1", port, path: "/dev/info", headers: { host } }, (answer) => resolve(answer.resume().statusCode)).on("error", reject);
    });
    assert.equal(await status(`localhost:${port}`), 200);
    assert.equal(await status(`127.0.0.1:${port}`), 200);
    assert.equal(await status(`rebound.example:${port}`), 403);
  });

  test("dev tells what it makes of a token, step by step", { skip: !isSpinward && "only Spinward has dev" }, async () => {
    const ask = (body, key = place.info.console_key) => fetch(`${place.url}/dev/explain`, { method: "POST", headers: { "x-console-key": key }, body });
    const explain = async (token) => (await ask(JSON.stringify({ token }))).json();
    const good = await explain(place.info.token);
    assert.match(good.summary, /connects user "developer"/);
    assert.ok(good.steps.length > 3 && good.steps.every(({ ok }) => ok));
    const bad = await explain(jwt({ sub: "42" }, { key: "wrong" }));
    assert.equal(bad.reason, "signature_mismatch");
    assert.equal(bad.client_gets, "disconnect 3500 invalid token");
    assert.deepEqual(bad.steps.at(-1).ok, false);
    assert.match(bad.fix, /client\.token\.hmac_secret_key/);
    assert.equal((await ask("token")).status, 400);
    assert.equal((await ask("token", "wrong")).status, 401);

    const { page, context, complaints } = await openPage(browser, sizes.desktop);
    await open(page);
    await page.getByTestId("disconnect").click();
    await page.getByTestId("token").fill(jwt({ sub: "42" }, { key: "wrong" }));
    await page.getByTestId("token-inspector").locator("summary").click();
    await page.getByTestId("token-account").getByText("signature is not that of a configured key", { exact: false }).first().waitFor();
    await page.screenshot({ path: path.join(shots, "console-explained.png"), fullPage: true });
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test("dev tells what would be decided, by which rule, and what to change", { skip: !isSpinward && "only Spinward has dev" }, async () => {
    const { page, context, complaints } = await openPage(browser, sizes.desktop);
    await page.goto(place.url);
    await page.getByTestId("token-inspector").locator("summary").click();
    const told = (text) => page.getByTestId("what-if").getByText(text, { exact: false }).first().waitFor();
    await page.getByTestId("what-if-channel").fill("nowhere:x");
    await told("error 102");
    await told('add a namespace "nowhere" to channel.namespaces');
    await page.getByTestId("what-if-channel").fill("playground");
    await told("allow: ");
    await page.getByTestId("what-if-action").selectOption("history");
    await told("subscribe to the channel first");
    await page.screenshot({ path: path.join(shots, "console-decided.png"), fullPage: true });
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test("a bad token is named by the inspector and by the server", async () => {
    const { page, context } = await openPage(browser, sizes.desktop);
    await open(page);
    await page.getByTestId("disconnect").click();
    await page.getByTestId("token").fill(jwt({ sub: 42, exp: inSeconds(-5) }, { key: "wrong" }));
    await page.getByTestId("token-verdict").getByText("sub must be a string").waitFor();
    await page.getByTestId("token").fill(jwt({ sub: "42" }, { key: "wrong" }));
    await page.getByTestId("connect").click();
    await page.getByTestId("ending-code").getByText("3500").waitFor();
    assert.match(await page.getByTestId("ending-advice").textContent(), /hmac_secret_key/);
    await page.screenshot({ path: path.join(shots, "console-refused.png"), fullPage: true });
    await page.getByTestId("use-ready-token").click();
    await page.getByTestId("connect").click();
    await byState(page, "connected").waitFor();
    await context.close();
  });

  test("where no server tells about itself, address and token are typed in", async () => {
    const host = await webHost({ dir: consoleDir });
    const { page, context, complaints } = await openPage(browser, sizes.phone);
    await page.goto(host.url);
    await page.getByTestId("url").fill("not an address");
    await page.getByTestId("connect").click();
    await page.getByTestId("url-problem").waitFor();
    await page.getByTestId("url").fill(server.ws);
    await page.getByTestId("token").fill(jwt({ sub: "7" }));
    await page.getByTestId("connect").click();
    await byState(page, "connected").waitFor();
    await page.getByTestId("channel").fill("room:manual");
    await page.getByTestId("subscribe").click();
    await page.locator("[data-testid=channel-row][data-state=subscribed]").waitFor();
    await page.getByTestId("publish").click();
    await publications(page).getByText("hello").waitFor();
    assert.deepEqual(complaints.filter((text) => !/404/.test(text)), []);
    await context.close();
    await host.close();
  });

  test("the built page is the one that is served, with its licences", { skip: !isSpinward && "served by the test itself" }, async () => {
    for (const name of ["index.html", "app.js", "app.css", "centrifuge.js", "LICENSES.txt"]) {
      const answer = await fetch(`${place.url}/${name === "index.html" ? "" : name}`);
      assert.equal(answer.status, 200, name);
      assert.deepEqual(Buffer.from(await answer.arrayBuffer()), await readFile(path.join(consoleDir, name)), name);
      if (name === "index.html") assert.ok(answer.headers.get("content-security-policy"), `expected a policy like ${CONSOLE_CSP}`);
    }
  });
});

after(() => console.log(`# screenshots: ${shots}`));
