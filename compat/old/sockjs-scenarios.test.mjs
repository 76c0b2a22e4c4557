// The scenarios of ../node over SockJS, with the SDK of today, in Node and in Chromium, with TLS and without.
// COMPAT_OLD=all runs them over each transport of SockJS; otherwise over one in each place. COMPAT_ONLY is an expression
// for titles such as "eventsource, Node, https".
import { createRequire } from "node:module";
import path from "node:path";
import { after, describe } from "node:test";
import { suite } from "../node/matrix.mjs";
import { isSpinward } from "../node/server.mjs";
import { everything } from "../node/transports.mjs";
import { openBrowser, openPage } from "./browser.mjs";
import { SOCKJS, SockJS } from "./sdk.mjs";

// The certificates are made for this run, and nobody else trusts them.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const require = createRequire(import.meta.url);
const { Centrifuge } = require("centrifuge-5.8.0");
const scripts = [
  path.join(path.dirname(require.resolve("sockjs-client/package.json")), "dist/sockjs.min.js"),
  path.join(path.dirname(require.resolve("centrifuge-5.8.0")), "../dist/centrifuge.js"),
];

let browser;
after(async () => (await browser)?.close());

const sdk = {
  make: (_, endpoints, options) => new Centrifuge(endpoints, { sockjs: SockJS, ...options }),
  scripts: () => scripts,
  open: async () => openPage(await (browser ??= openBrowser()), { ignoreHTTPSErrors: true }),
};

const every = ["http", "https"].flatMap((scheme) => ["Node", "Chromium"].flatMap((place) => SOCKJS.map((kind) => ({ scheme, place, kind }))));
const few = [
  { scheme: "http", place: "Chromium", kind: "eventsource" },
  { scheme: "https", place: "Node", kind: "xhr-streaming" },
  { scheme: "https", place: "Chromium", kind: "xhr-polling" },
];

// In a page, npm `sockjs-client` begins a poll by a timer once the last has ended, and does not give it up if it is closed
// before the timer fires. The server cannot tell such a poll from others: its session goes on until a ping ends the poll,
// and 5 s more. With the usual ping of 25 s that is later than the scenarios wait.
const settingsOf = ({ place, kind }) =>
  place === "Chromium" && kind === "xhr-polling" ? () => everything({ ping_interval: "10s" }) : undefined;

const only = process.env.COMPAT_ONLY && new RegExp(process.env.COMPAT_ONLY);

describe("SockJS", { concurrency: 3, skip: !isSpinward && "the form of its options" }, () => {
  for (const { scheme, place, kind } of process.env.COMPAT_OLD === "all" ? every : few) {
    const title = `${kind}, ${place}, ${scheme}`;
    if (only && !only.test(title)) continue;
    suite({
      title,
      settings: settingsOf({ place, kind }),
      transport: `sockjs-${kind}`,
      encoding: "json",
      place,
      scheme,
      endpoints: ({ base }) => [{ transport: "sockjs", endpoint: `${base}/connection/sockjs` }],
      options: { sockjsOptions: { transports: [kind] } },
      sdk,
    });
  }
});
