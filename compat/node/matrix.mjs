// Runs scenarios.mjs over a transport: in this process, or in a page of Chromium. `sdk` gives the SDK:
//   sdk.make(encoding, endpoints, options)   a client, in this process
//   sdk.scripts(encoding)                    the paths of the scripts that a page loads
//   sdk.open()                               a new page that accepts every certificate, and its context
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { scenarios } from "./scenarios.mjs";
import { webHost } from "./server.mjs";
import { arena } from "./transports.mjs";

/** Options of every client. A connection that hears nothing more of the server is given up after the time of a ping and this. */
const QUICK = { minReconnectDelay: 50, maxReconnectDelay: 200, maxServerPingDelay: 2000 };

/**
 * All scenarios over one transport. `endpoints(place)` is the list that the SDK is given, `transport` the name that it has
 * for it, `place` Node or Chromium; `settings` are those of the server.
 */
export function suite({ title, transport, encoding, place: where, scheme = "http", settings, endpoints, options, sdk }) {
  describe(title, { concurrency: 1 }, () => {
    // A server each, so that a relay that cuts or holds does so for this one alone.
    let place, page;
    before(async () => {
      place = await arena(settings?.(), { scheme });
      if (where === "Chromium") page = await openScenarios(place, { transport, encoding, endpoints, options, sdk });
    });
    after(async () => {
      await page?.close();
      await place?.stop();
    });

    for (const { name, run } of scenarios) {
      test(name, async () => {
        if (page) return page.run(name);
        // One that is left by a scenario that fails would connect again and again, and keep this process from ending.
        const clients = [];
        const make = (more) => {
          const client = sdk.make(encoding, endpoints(place), { emulationEndpoint: `${place.base}/emulation`, ...QUICK, ...options, ...more });
          clients.push(client);
          return client;
        };
        await run({
          transport,
          call: async (called, ...rest) => place.calls[called](...rest),
          pack: (value) => (encoding === "json" ? value : new TextEncoder().encode(JSON.stringify(value))),
          unpack: (value) => (value instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(value)) : value),
          make,
        }).finally(() => clients.forEach((client) => client.disconnect()));
      });
    }
  });
}

/** A page of another origin that runs scenarios by name. */
async function openScenarios(place, { transport, encoding, endpoints, options, sdk }) {
  const scripts = sdk.scripts(encoding);
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
  ${scripts.map((_, at) => `<script src="/${at}.js"></script>`).join("")}<script type="module">
    import { scenarios } from "/scenarios.js";
    const [encoding, transport, base, hash] = ${JSON.stringify([encoding, transport, place.base, place.hash ?? null])};
    const options = ${JSON.stringify({ ...QUICK, ...options })};
    // The SDK has no option for the certificate.
    if (hash) window.WebTransport = class extends WebTransport {
      constructor(address) {
        super(address, { serverCertificateHashes: [{ algorithm: "sha-256", value: new Uint8Array(hash) }] });
      }
    };
    const kit = {
      transport,
      call: (name, ...rest) => window.bridge(name, rest),
      pack: (value) => (encoding === "json" ? value : new TextEncoder().encode(JSON.stringify(value))),
      unpack: (value) => (value instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(value)) : value),
      make: (more) => new Centrifuge(${JSON.stringify(endpoints(place))}, {
        emulationEndpoint: base + "/emulation", ...(window.SockJS ? { sockjs: SockJS } : {}), ...options, ...more,
      }),
    };
    window.scenario = (name) => scenarios.find((one) => one.name === name).run(kit).then(() => null, (error) => String(error.stack ?? error));
  </script>`;
  const host = await webHost({
    csp: "default-src * 'unsafe-inline' data:",
    pages: {
      "/index.html": html,
      "/scenarios.js": await readFile(fileURLToPath(new URL("./scenarios.mjs", import.meta.url))),
      ...Object.fromEntries(await Promise.all(scripts.map(async (script, at) => [`/${at}.js`, await readFile(script)]))),
    },
  });
  const { context, page } = await sdk.open();
  await page.exposeFunction("bridge", async (name, rest) => place.calls[name](...rest));
  await page.goto(host.url);
  await page.waitForFunction("window.scenario");
  return {
    run: async (name) => assert.equal(await page.evaluate((wanted) => window.scenario(wanted), name), null),
    close: async () => (await context.close(), host.close()),
  };
}
