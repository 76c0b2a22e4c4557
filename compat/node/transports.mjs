// The transports of the server under test, and what a scenario needs of the test: see scenarios.mjs.
import https from "node:https";
import { certificate } from "./certificate.mjs";
import { config, datagramRelay, freePort, jwt, relay, startServer } from "./server.mjs";

const both = ["json", "protobuf"];

/** By name: the encodings that there are, where the SDK has it, and the address in an arena. */
export const bidirectional = {
  websocket: { encodings: both, places: ["Node", "Chromium"], endpoint: ({ base }) => `${base.replace(/^http/, "ws")}/connection/websocket` },
  http_stream: { encodings: both, places: ["Node", "Chromium"], endpoint: ({ base }) => `${base}/connection/http_stream` },
  sse: { encodings: ["json"], places: ["Node", "Chromium"], endpoint: ({ base }) => `${base}/connection/sse` },
  // Over HTTP/3 alone, and Node has no WebTransport.
  webtransport: { encodings: both, places: ["Chromium"], encrypted: true, endpoint: ({ quic }) => `${quic}/connection/webtransport` },
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

/** The same with TLS, and with WebTransport. `pem` is of certificate.mjs. */
export function encrypted(pem, settings = everything()) {
  const { cert_pem, key_pem } = pem;
  return {
    ...settings,
    http_server: { tls: { enabled: true, cert_pem, key_pem }, tls_external: true, http3: { enabled: true } },
    webtransport: { enabled: true, message_size_limit: MEGABYTES },
  };
}

/**
 * Starts a server with `settings` behind a relay. With the scheme https, the settings are those of `encrypted`, and what
 * is not for clients has a port of its own, without TLS. `calls` is what scenarios call.
 */
export async function arena(settings, { scheme = "http" } = {}) {
  const isEncrypted = scheme === "https";
  const pem = isEncrypted ? certificate() : null;
  // What asks by the module https may insist on a certificate that it can check.
  if (pem) https.globalAgent.options.ca = [...(https.globalAgent.options.ca ?? []), pem.cert_pem];
  settings ??= everything();
  if (isEncrypted) settings = encrypted(pem, settings);
  const front = isEncrypted ? await freePort() : null;
  const env = isEncrypted ? (port) => ({ HTTP_SERVER_PORT: String(front), HTTP_SERVER_INTERNAL_PORT: String(port) }) : undefined;
  let server = await startServer(settings, { env });
  const { port } = server;
  const way = await relay(front ?? port);
  const datagrams = isEncrypted ? await datagramRelay(front) : null;
  const base = way.ws.replace(/^ws/, scheme).replace(/\/connection.*/, "");
  const calls = {
    token: (claims, key) => jwt(claims, key ? { key } : {}),
    api: (method, body) => server.api(method, body),
    cut: () => (way.cut(), datagrams?.cut()),
    hold: () => (way.hold(true), datagrams?.hold(true)),
    go: () => (way.hold(false), datagrams?.hold(false)),
    restart: async () => {
      await server.stop();
      server = await startServer(settings, { env, port });
    },
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
    get server() {
      return server;
    },
    base,
    /** Where WebTransport is, and the hash of the certificate, by which a page may name it. */
    quic: datagrams && `https://127.0.0.1:${datagrams.port}`,
    hash: pem?.hash,
    certificate: pem?.cert_pem,
    calls,
    async stop() {
      await way.close();
      await datagrams?.close();
      await server.stop();
    },
  };
}
