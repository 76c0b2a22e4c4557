// The transports of the server under test, and what a scenario needs of the test: see scenarios.mjs.
import { config, jwt, relay, startServer } from "./server.mjs";

/** By name: the encodings that there are, and the address below `base`, which is http://HOST:PORT or https://HOST:PORT. */
export const bidirectional = {
  websocket: { encodings: ["json", "protobuf"], endpoint: (base) => `${base.replace(/^http/, "ws")}/connection/websocket` },
  http_stream: { encodings: ["json", "protobuf"], endpoint: (base) => `${base}/connection/http_stream` },
  sse: { encodings: ["json"], endpoint: (base) => `${base}/connection/sse` },
};

const MEGABYTES = 4 << 20;

/** A configuration with every transport over HTTP on, and limits that let a message of 1 MB through. */
export function everything(client = {}, more = {}) {
  const stream = { enabled: true, max_request_body_size: MEGABYTES };
  return {
    ...config({ queue_max_size: MEGABYTES, ...client }),
    websocket: { message_size_limit: MEGABYTES },
    sse: stream,
    http_stream: stream,
    emulation: { max_request_body_size: MEGABYTES },
    uni_sse: stream,
    uni_http_stream: stream,
    uni_websocket: { enabled: true },
    init: { enabled: true },
    ...more,
  };
}

/**
 * Starts a server with `settings` behind a relay. `scheme` is http or https; with https the settings say so.
 * `calls` is what scenarios call.
 */
export async function arena(settings = everything(), { scheme = "http" } = {}) {
  const server = await startServer(settings);
  const way = await relay(server.port);
  const base = way.ws.replace(/^ws/, scheme).replace(/\/connection.*/, "");
  const calls = {
    token: (claims, key) => jwt(claims, key ? { key } : {}),
    api: (method, body) => server.api(method, body),
    cut: () => way.cut(),
    hold: () => way.hold(true),
    go: () => way.hold(false),
    burst: async (channel, count) => {
      for (let at = 0; at < count; at += 500) {
        const commands = Array.from({ length: 500 }, (_, n) => ({ publish: { channel, data: { n: at + n } } }));
        await server.api("batch", { commands });
      }
    },
    /** More than buffers on the way and the queue hold together, in one call: the last words to a slow reader wait 2 s. */
    flood: async (channel) => {
      const text = "x".repeat(200_000);
      const commands = Array.from({ length: 100 }, (_, n) => ({ publish: { channel, data: { n, text } } }));
      await server.api("batch", { commands });
    },
  };
  return {
    server,
    base,
    calls,
    async stop() {
      await way.close();
      await server.stop();
    },
  };
}
