// permessage-deflate: the official SDK over `ws`, which offers it, and clients that ask for less than all of it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { connected, countingSocket, encodings, pack, someone, subscribed } from "./client.mjs";
import { config, jwt, startServer, unique, until } from "./server.mjs";

const AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const text = Array.from({ length: 400 }, (_, n) => `line ${n * 7919}`).join(" ");

let server;
before(async () => (server = await startServer({ ...config(), websocket: { compression: true, compression_min_size: 100, message_size_limit: 20_000 } })));
after(() => server?.stop());

/** A WebSocket class with these options of compression, which keeps what it agreed on. */
function socketWith(perMessageDeflate) {
  const { Counting, tally } = countingSocket();
  class Chosen extends Counting {
    constructor(url, protocols) {
      super(url, protocols, { perMessageDeflate });
      this.on("upgrade", (response) => (tally.extensions = response.headers["sec-websocket-extensions"]));
      this.on("open", () => (tally.socket = this._socket));
    }
  }
  return { Chosen, tally };
}

for (const encoding of Object.keys(encodings)) {
  describe(`compression, ${encoding}`, { concurrency: 4 }, () => {
    for (const [what, options, extensions] of [
      ["as ws offers it", { threshold: 0 }, AGREED],
      ["with a small window", { threshold: 0, serverMaxWindowBits: 10, clientMaxWindowBits: 9 }, `${AGREED}; server_max_window_bits=9`],
      ["with a window of 4 KiB", { threshold: 0, serverMaxWindowBits: 12, clientNoContextTakeover: true }, `${AGREED}; server_max_window_bits=12`],
      ["declined", false, undefined],
    ]) {
      test(`publications come through, ${what}`, async () => {
        const { Chosen, tally } = socketWith(options);
        const client = await connected(encoding, server.ws, { token: jwt({ sub: someone() }), websocket: Chosen });
        assert.equal(tally.extensions, extensions);
        const channel = unique("room:");
        const sub = await subscribed(client, channel);
        const before = tally.socket.bytesRead;
        for (let n = 0; n < 20; n++) {
          await server.api("publish", { channel, data: { n, text } });
          await sub.publish(pack(encoding, { n: -1 - n, text }));
        }
        await until(() => sub.payloads().length === 40, "all publications");
        assert.deepEqual(new Set(sub.payloads().map(({ n }) => n)).size, 40);
        assert.ok(sub.payloads().every((payload) => payload.text === text));
        const received = tally.socket.bytesRead - before;
        if (extensions) assert.ok(received < 40 * text.length * 0.7, `${received} bytes`);
        else assert.ok(received > 40 * text.length, `${received} bytes`);
        client.disconnect();
      });
    }
  });
}

test("a message that inflates to more than the limit is closed with 1009", async () => {
  for (const [size, code] of [[200_001, 1009], [199_000, 3501]]) {
    const socket = new WebSocket(server.ws, { perMessageDeflate: { threshold: 0 } });
    await once(socket, "open");
    // Text that is no command, which is looked at only if it is not too large.
    socket.send(" ".repeat(size));
    const [closed] = await once(socket, "close");
    assert.equal(closed, code, `${size}`);
  }
});
