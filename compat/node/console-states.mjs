// The states of the console that people meet, each reached as they reach it.
import { API_KEY, config, freePort, inSeconds, jwt, startServer, webHost, consoleDir } from "./server.mjs";

export const variants = {
  "desktop-light": { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
  "phone-dark": { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: "dark" },
  "desktop-dark": { viewport: { width: 1280, height: 800 }, colorScheme: "dark" },
  "phone-light": { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: "light" },
};

/** The servers of the states: `dev` with a configuration of its own, one that admits no page, and none. */
export async function openWorld() {
  const settings = config({ allowed_origins: [] });
  settings.swagger = { enabled: true };
  const dev = await startServer(settings, { args: (port, file) => ["-c", file, "dev", "--port", String(port)] });
  const strict = await startServer(config({ allowed_origins: [] }));
  const bare = await webHost({ dir: consoleDir });
  const close = async () => {
    await bare.close();
    await strict.stop();
    await dev.stop();
  };
  return { dev, strict, bare, nowhere: `ws://127.0.0.1:${await freePort()}/connection/websocket`, close };
}

const inState = (page, state) => page.locator(`[data-testid=state][data-state=${state}]`).waitFor();

async function connected(page, { dev }) {
  await page.goto(dev.http);
  await inState(page, "connected");
}

async function subscribed(page, world, channel = "playground") {
  await connected(page, world);
  await page.getByTestId("channel").fill(channel);
  await page.getByTestId("subscribe").click();
  await page.locator("[data-testid=channel-row][data-state=subscribed]").waitFor();
}

async function edited(page, world, { url, token }) {
  await connected(page, world);
  await page.getByTestId("disconnect").click();
  if (url) await page.getByTestId("url").fill(url);
  if (token) await page.getByTestId("token").fill(token);
}

const unreachable = (title, url) => async (page, world) => {
  await edited(page, world, { url: url(world) });
  await page.getByTestId("connect").click();
  await page.getByTestId("ending-title").getByText(title).waitFor();
};

const refused = (token) => async (page, world) => {
  await edited(page, world, { token: token() });
  await page.getByTestId("connect").click();
  await page.getByTestId("ending-code").waitFor();
  await page.getByTestId("ending-change").waitFor();
};

/** Each state by its name: how a page comes to it. */
export const states = {
  "first": async (page, { bare }) => {
    await page.goto(bare.url);
    await page.getByTestId("connect").waitFor();
  },
  "connected": connected,
  "live": async (page, world) => {
    await subscribed(page, world);
    await page.getByTestId("publish").click();
    await page.locator("[data-testid=event][data-kind=pub]").waitFor();
    await page.getByTestId("presence").click();
    await page.getByTestId("channel-result").waitFor();
    await page.locator("[data-testid=event][data-kind=pub] button").first().click();
    await page.getByTestId("publish-options").locator("summary").click();
    await page.getByTestId("subscribe-options").locator("summary").click();
  },
  "disconnected": async (page, world) => {
    await subscribed(page, world);
    await page.getByTestId("disconnect").click();
    await inState(page, "disconnected");
    await page.getByTestId("token-inspector").locator("summary").click();
    await page.getByTestId("what-if-channel").fill("closed:x");
    await page.getByTestId("what-if").waitFor();
  },
  "refused-signature": refused(() => jwt({ sub: "42" }, { key: "wrong" })),
  "refused-expired": refused(() => jwt({ sub: "42", exp: inSeconds(-60) })),
  "refused-claim": refused(() => jwt({ sub: 42 })),
  "refused-subscription-token": refused(() => jwt({ sub: "42", channel: "news" })),
  "refused-malformed": refused(() => "eyJhbGciOiJIUzI1NiJ9.e30"),
  "refused-not-yet": async (page, world) => {
    await refused(() => jwt({ sub: "42", nbf: inSeconds(600) }))(page, world);
    await page.getByTestId("ending").getByText("not valid yet").waitFor();
  },
  "no-server": unreachable("No server", ({ nowhere }) => nowhere),
  "wrong-path": unreachable("Wrong path", ({ dev }) => `${dev.ws}s`),
  "origin-refused": unreachable("origin not allowed", ({ strict }) => strict.ws),
  "server-gone": async (page, world) => {
    await page.routeWebSocket("**/connection/websocket", (socket) => {
      const server = socket.connectToServer();
      page.once("console", () => Promise.all([server.close(), socket.close({ code: 3001, reason: "shutdown" })]).catch(() => {}));
    });
    await subscribed(page, world);
    await page.evaluate(() => console.log("cut"));
    await page.getByTestId("ending").waitFor();
  },
  "refused-subscribe-and-publish": async (page, world) => {
    await connected(page, world);
    await page.getByTestId("channel").fill("closed:x");
    await page.getByTestId("subscribe").click();
    await page.getByTestId("channel-change").waitFor();
    await page.getByTestId("door-client").click();
    await page.getByTestId("publish").click();
    await page.getByTestId("publish-change").waitFor();
  },
  "ten-thousand": async (page, world) => {
    await subscribed(page, world, "many");
    for (let batch = 0; batch < 10; batch++) {
      const commands = Array.from({ length: 1000 }, (_, n) => ({ publish: { channel: "many", data: { n: batch * 1000 + n } } }));
      await world.dev.api("batch", { commands });
    }
    await page.getByTestId("channel-received").getByText("10000", { exact: true }).waitFor();
    await page.getByTestId("log-count").waitFor();
  },
  "swagger": async (page, { dev }) => {
    await page.goto(`${dev.http}/swagger`);
    // In development the page asks for the key.
    await page.locator("pre.curl", { hasText: `X-API-Key: ${API_KEY}` }).first().waitFor();
    await page.getByText("Try publish", { exact: true }).click();
    await page.locator('form[data-url="/api/publish"] button').click();
    await page.locator('form[data-url="/api/publish"] output').getByText("200").waitFor();
  },
};
