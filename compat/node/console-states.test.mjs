// Every state of the console, for people who cannot see it or do not use a mouse: axe finds nothing, and no page is
// wider than its window. With COMPAT_SHOTS screenshots are kept; COMPAT_SHOTS_ALL=1 has every state in both sizes and
// both colours, which otherwise the states alone have that differ in more than their words.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { openBrowser, openPage, shots, violations } from "./browser.mjs";
import { openWorld, states, variants } from "./console-states.mjs";
import { isSpinward } from "./server.mjs";

const skip = !isSpinward && "only Spinward has dev";
const all = Boolean(process.env.COMPAT_SHOTS_ALL);
const chosen = all ? Object.keys(variants) : ["desktop-light", "phone-dark"];
const different = ["first", "live", "disconnected", "refused-signature", "no-server", "refused-subscribe-and-publish", "swagger"];

let world, browser;
before(async () => {
  if (skip) return;
  world = await openWorld();
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await world?.close();
});

for (const variant of chosen) {
  describe(`states, ${variant}`, { skip }, () => {
    for (const [name, reach] of Object.entries(states)) {
      if (!all && variant === "phone-dark" && !different.includes(name)) continue;
      test(name, async () => {
        const { page, context } = await openPage(browser, variants[variant]);
        await reach(page, world);
        if (process.env.COMPAT_SHOTS || all) await page.screenshot({ path: path.join(shots, `state-${variant}-${name}.png`) });
        assert.deepEqual(await violations(page), []);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `the page is ${wide} px wider than the window`);
        const over = await page.evaluate(() => [...document.querySelectorAll(".card")].filter((card) => card.scrollWidth > card.clientWidth).map((card) => card.dataset.testid));
        assert.deepEqual(over, [], "what is in a card stays in it");
        if (name === "swagger" && variant.startsWith("phone")) {
          const narrow = await page.evaluate(() => [...document.querySelectorAll("td:last-child")].filter((cell) => cell.clientWidth < innerWidth / 3).map((cell) => cell.textContent));
          assert.deepEqual(narrow, [], "texts have room for several words in a line");
        }
        await context.close();
      });
    }
  });
}

after(() => console.log(`# screenshots: ${shots}`));
