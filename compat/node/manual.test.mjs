// The JavaScript blocks of the manual's chapter, run as they stand but for the port.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { UnauthorizedError } from "centrifuge";
import { UnauthorizedError as ProtobufUnauthorizedError } from "centrifuge/build/protobuf";
import { WebSocket } from "ws";
import { encodings, unpack } from "./client.mjs";
import { config, inSeconds, jwt, sleep, startServer, until } from "./server.mjs";

const chapter = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../docs/manual/authentication.md");
const text = readFileSync(chapter, "utf8");
const blocks = new Map([...text.matchAll(/<!-- test: (\S+) -->\n```js\n([\s\S]*?)```/g)].map(([, name, code]) => [name, code]));

let server, open;
before(async () => {
  server = await startServer(config());
  open = await startServer(config({ allow_anonymous_connect_without_token: true }));
});
after(async () => {
  await server?.stop();
  await open?.stop();
});

/** Runs a block with what a page has: the SDK, a token, fetch and a console. */
function run(name, { encoding, token, fetch, lines = [], port = server.port }) {
  const code = blocks.get(name).replace("localhost:8000", `127.0.0.1:${port}`);
  globalThis.WebSocket = WebSocket;
  const Unauthorized = encoding === "json" ? UnauthorizedError : ProtobufUnauthorizedError;
  const page = new Function("Centrifuge", "UnauthorizedError", "token", "fetch", "console", `${code}; return centrifuge;`);
  const centrifuge = page(encodings[encoding], Unauthorized, token, fetch, { log: (...words) => lines.push(words) });
  // Not part of the block: tests do not wait for the SDK's usual delays.
  centrifuge._config.maxReconnectDelay = 300;
  return centrifuge;
}

const connected = (centrifuge) => until(() => centrifuge.state === "connected", "the page to connect");

test("every JavaScript block has a name and a test", () => {
  assert.equal(blocks.size, text.match(/^```js$/gm).length);
  assert.deepEqual([...blocks.keys()].sort(), ["events", "no-token", "page", "refresh", "server-side"]);
});

for (const encoding of Object.keys(encodings)) {
  describe(`the chapter, ${encoding}`, { concurrency: 6 }, () => {
    test("page: it connects, and with a wrong secret it does not", async () => {
      const centrifuge = run("page", { encoding, token: jwt({ sub: "42" }) });
      await connected(centrifuge);
      centrifuge.disconnect();
      const other = run("page", { encoding, token: jwt({ sub: "42" }, { key: "wrong" }) });
      await until(() => other.state === "disconnected", "the refusal");
    });

    test("refresh: a fresh token keeps the connection", async () => {
      let asked = 0;
      const fetch = async (address) => {
        assert.equal(address, "/token");
        asked++;
        return new Response(jwt({ sub: "42", exp: inSeconds(60) }));
      };
      const centrifuge = run("refresh", { encoding, token: jwt({ sub: "42", exp: inSeconds(2) }), fetch });
      await connected(centrifuge);
      await sleep(5000);
      assert.equal(centrifuge.state, "connected");
      assert.equal(asked, 1);
      centrifuge.disconnect();
    });

    test("refresh: 403 logs out, an outage does not", async () => {
      let status = 500;
      const fetch = async () => new Response("no", { status });
      const centrifuge = run("refresh", { encoding, token: jwt({ sub: "42", exp: inSeconds(2) }), fetch });
      const endings = [];
      centrifuge.on("disconnected", ({ code }) => endings.push(code));
      let lost = 0;
      centrifuge.on("connecting", ({ code }) => (lost = code || lost));
      await connected(centrifuge);
      await until(() => lost === 3005, "the end of the grace", 10_000);
      await sleep(500);
      assert.deepEqual(endings, [], "still trying");
      status = 403;
      await until(() => endings.length > 0, "the logout", 10_000);
      assert.deepEqual(endings, [1]);
    });

    test("no-token: refused, and let in by the option", async () => {
      const centrifuge = run("no-token", { encoding });
      await until(() => centrifuge.state === "disconnected", "the refusal");
      const other = run("no-token", { encoding, port: open.port });
      await connected(other);
      other.disconnect();
    });

    test("server-side: publications of the token's channels arrive on the client", async () => {
      const lines = [];
      const centrifuge = run("server-side", { encoding, lines, token: jwt({ sub: "42", subs: { news: {} } }) });
      await connected(centrifuge);
      await server.api("publish", { channel: "news", data: { n: encoding } });
      const line = await until(() => lines.find(([, data]) => unpack(data).n === encoding), "the publication");
      assert.equal(line[0], "news");
      centrifuge.disconnect();
    });

    test("events: they tell the story of a connection and of a refusal", async () => {
      const lines = [];
      const centrifuge = run("events", { encoding, lines, token: jwt({ sub: "42" }) });
      await connected(centrifuge);
      centrifuge.disconnect();
      await until(() => lines.some(([word]) => word === "disconnected"), "the end");
      assert.deepEqual(lines.map(([word]) => word), ["connecting", "connected as", "disconnected"]);

      const refusal = [];
      run("events", { encoding, lines: refusal, token: jwt({ sub: "42" }, { key: "wrong" }) });
      await until(() => refusal.some(([word]) => word === "disconnected"), "the refusal");
      assert.deepEqual(refusal.at(-1), ["disconnected", 3500, "invalid token"]);
    });
  });
}
