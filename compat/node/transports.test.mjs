// Every bidirectional transport over HTTP, with the official SDK in Node and in Chromium: the list is scenarios.mjs.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { EventSource } from "eventsource";
import { openBrowser, openPage } from "./browser.mjs";
import { makeClient, pack, unpack } from "./client.mjs";
import { scenarios } from "./scenarios.mjs";
import { webHost } from "./server.mjs";
import { arena, bidirectional } from "./transports.mjs";

const sdk = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "../dist");
const here = path.dirname(new URL(import.meta.url).pathname);
const bundles = { json: "centrifuge.js", protobuf: "centrifuge.protobuf.js" };

let browser;
before(async () => (browser = await openBrowser()));
after(() => browser?.close());

const combinations = Object.entries(bidirectional).flatMap(([transport, { encodings }]) =>
  encodings.map((encoding) => ({ transport, encoding })));

for (const { transport, encoding } of combinations) {
  // One server each, so that a relay that cuts or holds does so for this one alone.
  for (const where of ["Node", "Chromium"]) {
    describe(`${transport}, ${encoding}, ${where}`, () => {
      let place, page;
      before(async () => {
        place = await arena();
        if (where === "Chromium") page = await openScenarios(place, transport, encoding);
      });
      after(async () => {
        await page?.close();
        await place?.stop();
      });

      for (const { name, run } of scenarios) {
        test(name, async () => {
          if (page) return page.run(name);
          await run({
            transport,
            call: async (called, ...rest) => place.calls[called](...rest),
            pack: (value) => pack(encoding, value),
            unpack,
            make: (options) => makeClient(encoding, [{ transport, endpoint: bidirectional[transport].endpoint(place.base) }], {
              emulationEndpoint: `${place.base}/emulation`,
              eventsource: EventSource,
              fetch,
              readableStream: ReadableStream,
              ...options,
            }),
          });
        });
      }
    });
  }
}

/** A page of another origin that runs scenarios by name. */
async function openScenarios(place, transport, encoding) {
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script src="/sdk.js"></script><script type="module">
    import { scenarios } from "/scenarios.js";
    const [encoding, transport, base] = ${JSON.stringify([encoding, transport, place.base])};
    const endpoint = ${JSON.stringify(bidirectional[transport].endpoint(place.base))};
    const kit = {
      transport,
      call: (name, ...rest) => window.bridge(name, rest),
      pack: (value) => (encoding === "json" ? value : new TextEncoder().encode(JSON.stringify(value))),
      unpack: (value) => (value instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(value)) : value),
      make: (options) => new Centrifuge([{ transport, endpoint }],
        { emulationEndpoint: base + "/emulation", minReconnectDelay: 50, maxReconnectDelay: 200, ...options }),
    };
    window.scenario = (name) => scenarios.find((one) => one.name === name).run(kit).then(() => null, (error) => String(error.stack ?? error));
  </script>`;
  const host = await webHost({
    csp: "default-src * 'unsafe-inline' data:",
    pages: {
      "/index.html": html,
      "/scenarios.js": await readFile(path.join(here, "scenarios.mjs")),
      "/sdk.js": await readFile(path.join(sdk, bundles[encoding])),
    },
  });
  const { context, page } = await openPage(browser);
  await page.exposeFunction("bridge", async (name, rest) => place.calls[name](...rest));
  await page.goto(host.url);
  await page.waitForFunction("window.scenario");
  return {
    run: async (name) => assert.equal(await page.evaluate((wanted) => window.scenario(wanted), name), null),
    close: async () => (await context.close(), host.close()),
  };
}
