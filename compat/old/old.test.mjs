// SDKs of 2018 to 2022, unmodified. COMPAT_OLD=all runs every scenario over every SDK, encoding and transport; otherwise
// the oldest and the newest run all of them over a WebSocket in Node, and the others a few. COMPAT_ONLY is an expression
// for titles such as "2.8.5 Chromium json xhr-polling: logs in, and is told who it is".
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { relay as makeRelay, startServer, webHost } from "../node/server.mjs";
import { cannot, FEW, run, scenarios, settings } from "./scenarios.mjs";
import { buildGo, GO, hasGo, inChromium, inGo, inNode, OLD, SOCKJS } from "./sdk.mjs";

const all = process.env.COMPAT_OLD === "all";
const only = process.env.COMPAT_ONLY && new RegExp(process.env.COMPAT_ONLY);
const everything = Object.keys(scenarios);

// Promises: scenarios that begin side by side would open one each, of which one alone is closed.
let browser, host;
after(async () => {
  await (await browser)?.close();
  await (await host)?.close();
});

/** A server and a relay for one SDK, and a client program for each scenario. */
async function with_(make, { transport, version, encoding }, name) {
  const server = await startServer(settings());
  server.settings = settings();
  const relay = await makeRelay(server.port);
  const sockjs = transport !== "ws";
  const base = relay.ws.replace("/connection/websocket", "");
  const query = encoding === "protobuf" ? "?format=protobuf" : "";
  const url = sockjs ? `${base.replace("ws:", "http:")}/connection/sockjs` : `${relay.ws}${query}`;
  const options = sockjs ? { sockjsTransports: [transport] } : {};
  let driver;
  try {
    driver = await make();
    await run(name, { driver, server, relay, url, options, version, encoding });
    assert.deepEqual(driver.faults ?? [], []);
  } finally {
    await driver?.close();
    await relay.close();
    await server.stop();
  }
}

function suite(where, version, encoding, transport, names, make) {
  describe(`${version} in ${where}, ${encoding}, ${transport}`, { concurrency: 4 }, () => {
    for (const name of names) {
      const title = `${version} ${where} ${encoding} ${transport}: ${name}`;
      if ((only && !only.test(title)) || cannot(name, { version, encoding, where })) continue;
      test(name, { timeout: 120_000 }, () => with_(make, { version, encoding, transport }, name));
    }
  });
}

for (const version of OLD) {
  for (const encoding of ["json", "protobuf"]) {
    if (!all && encoding === "protobuf" && version === "2.6.4") continue;
    const whole = all || (encoding === "json" && (version === OLD[0] || version === OLD.at(-1)));
    suite("Node", version, encoding, "ws", whole ? everything : FEW, () => inNode(version, encoding));
  }
}
for (const transport of SOCKJS) {
  suite("Node", "2.8.5", "json", transport, all ? everything : FEW, () => inNode("2.8.5", "json"));
}
if (all) for (const transport of SOCKJS) suite("Node", "2.0.0", "json", transport, FEW, () => inNode("2.0.0", "json"));

const page = async (version, encoding) => {
  browser ??= openBrowser();
  host ??= webHost({ csp: "default-src * 'unsafe-inline' 'unsafe-eval' data:", pages: {} });
  return inChromium(await browser, await host, version, encoding);
};
for (const version of OLD) {
  for (const encoding of ["json", "protobuf"]) {
    if (!all && encoding === "protobuf" && version !== "2.8.5") continue;
    suite("Chromium", version, encoding, "ws", all ? everything : FEW.slice(1, 2), () => page(version, encoding));
  }
}
for (const transport of SOCKJS) {
  suite("Chromium", "2.8.5", "json", transport, all ? everything : FEW.slice(1, 3), () => page("2.8.5", "json"));
}

for (const version of hasGo ? GO : []) {
  if (!all && version !== GO[0] && version !== GO.at(-1)) continue;
  let program;
  for (const encoding of all ? ["json", "protobuf"] : ["json"]) {
    suite("Go", version, encoding, "ws", all ? everything : FEW, () => inGo((program ??= buildGo(version))));
  }
}
