// The page that this project began from, to the letter: {"secret": "secret"}, a token by PyJWT 1.7 and its .decode(),
// npm centrifuge 2.0.0, setToken, connect. And the same lines with later SDKs of its protocol, and in Node.
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
import { OLD, WebSocket } from "./sdk.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const sdk = (version) => path.dirname(require.resolve(`centrifuge-${version}/package.json`));

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
  const page = (url, version) => `<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,"><body></body>
    <script src="/sockjs.js"></script><script src="/centrifuge-${version}.js"></script>
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
  const sockjs = path.dirname(require.resolve("sockjs-client/package.json"));
  const versions = Object.fromEntries((await Promise.all(OLD.map(async (version) => [
    [`/websocket-${version}.html`, page(server.ws, version)],
    [`/sockjs-${version}.html`, page(`${server.http}/connection/sockjs`, version)],
    [`/centrifuge-${version}.js`, await readFile(path.join(sdk(version), "dist/centrifuge.min.js"))],
  ]))).flat());
  host = await webHost({
    csp: "default-src * 'unsafe-inline' data:",
    pages: {
      ...versions,
      "/sockjs.js": await readFile(path.join(sockjs, "dist/sockjs.min.js")),
    },
  });
});
after(async () => {
  await browser?.close();
  await host?.close();
  await server?.stop();
});

for (const version of OLD) {
  for (const [file, transport] of [["websocket", "websocket"], ["sockjs", "sockjs-websocket"]]) {
    test(`the page as it stands, ${version}, ${transport}`, async () => {
      const { page, context, complaints } = await openPage(browser);
      await page.goto(`${host.url}/${file}-${version}.html`);
      await page.getByText(`connected over ${transport}`).waitFor();
      await page.getByText("subscribed", { exact: true }).waitFor();
      assert.deepEqual(complaints, []);
      await context.close();
    });
  }

  test(`the same lines in Node, ${version}`, async () => {
    const Centrifuge = require(`centrifuge-${version}`);
    const centrifuge = new Centrifuge(server.ws, { websocket: WebSocket });
    centrifuge.setToken(token);
    const connected = new Promise((resolve, reject) => {
      centrifuge.on("connect", resolve);
      centrifuge.on("disconnect", ({ reason }) => reject(new Error(reason)));
    });
    const subscribed = new Promise((resolve, reject) => centrifuge.subscribe("news", () => {}).on("subscribe", resolve).on("error", reject));
    centrifuge.connect();
    assert.equal((await connected).transport, "websocket");
    await subscribed;
    centrifuge.removeAllListeners();
    centrifuge.disconnect();
  });
}
