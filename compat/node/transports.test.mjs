// Every bidirectional transport without TLS, with the official SDK in Node and in Chromium: the list is scenarios.mjs.
import { after, describe } from "node:test";
import { openBrowser, openPage } from "./browser.mjs";
import { suite } from "./matrix.mjs";
import { combinations, sdk } from "./sdk.mjs";

let browser;
const open = async () => openPage(await (browser ??= openBrowser()), { ignoreHTTPSErrors: true });
after(async () => (await browser)?.close());

describe("without TLS", { concurrency: 3 }, () => {
  for (const one of combinations("http")) suite({ ...one, sdk: { ...sdk, open } });
});
