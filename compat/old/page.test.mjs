// The page that this project began from, to the letter: {"secret": "secret"}, a token by PyJWT 1.7 and its .decode(),
// npm centrifuge 2.0.0, setToken, connect.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openBrowser, openPage } from "./browser.mjs";
import { startServer, webHost } from "../node/server.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const sdk = path.dirname(createRequire(import.meta.url).resolve("centrifuge-2.0.0/package.json"));

let server, browser, host, token;
before(async () => {
  const home = path.join(here, "../.work/pyjwt1");
  const python = path.join(home, "bin/python");
  if (!existsSync(python)) execFileSync("python3", ["-m", "venv", home]);
  const requirements = path.join(here, "../python/requirements-pyjwt1.txt");
  execFileSync(python, ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements]);
  const program = 'import jwt\ntoken = jwt.encode({"user": "42", "sub": "42"}, "secret").decode()\nprint(token)';
  token = execFileSync(python, ["-c", program], { encoding: "utf8" }).trim();
  server = await startServer({ secret: "secret" });
  browser = await openBrowser();
  const page = (url) => `<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,"><body></body>
    <script src="/sockjs.js"></script><script src="/centrifuge.js"></script>
    <script>
      var centrifuge = new Centrifuge("${url}");
      centrifuge.setToken("${token}");
      var say = function (text) { var p = document.createElement("p"); p.textContent = text; document.body.appendChild(p); };
      centrifuge.on("connect", function (ctx) { say("connected over " + ctx.transport); });
      centrifuge.on("disconnect", function (ctx) { say("disconnected: " + ctx.reason); });
      centrifuge.subscribe("news", function (message) { say("got " + JSON.stringify(message.data)); })
        .on("subscribe", function () { say("subscribed"); }).on("error", function (e) { say("error " + e.code); });
      centrifuge.connect();
    </script>`;
  const sockjs = path.dirname(createRequire(import.meta.url).resolve("sockjs-client/package.json"));
  host = await webHost({
    csp: "default-src * 'unsafe-inline' data:",
    pages: {
      "/index.html": page(server.ws),
      "/sockjs.html": page(`${server.http}/connection/sockjs`),
      "/sockjs.js": await readFile(path.join(sockjs, "dist/sockjs.min.js")),
      "/centrifuge.js": await readFile(path.join(sdk, "dist/centrifuge.min.js")),
    },
  });
});
after(async () => {
  await browser?.close();
  await host?.close();
  await server?.stop();
});

for (const [file, transport] of [["index.html", "websocket"], ["sockjs.html", "sockjs-websocket"]]) {
  test(`the page as it stands, ${transport}`, async () => {
    const { page, context, complaints } = await openPage(browser);
    await page.goto(`${host.url}/${file}`);
    await page.getByText(`connected over ${transport}`).waitFor();
    await page.getByText("subscribed", { exact: true }).waitFor();
    assert.deepEqual(complaints, []);
    await context.close();
  });
}
