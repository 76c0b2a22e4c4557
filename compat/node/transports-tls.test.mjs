// Every bidirectional transport over TLS, and WebTransport, which has no other way: the list is scenarios.mjs.
import { after, describe } from "node:test";
import { openBrowser, openPage } from "./browser.mjs";
import { suite } from "./matrix.mjs";
import { combinations, sdk } from "./sdk.mjs";
import { isSpinward } from "./server.mjs";

// The certificates are made for this run, and nobody else trusts them.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

let browser;
const open = async () => openPage(await (browser ??= openBrowser({ quic: true })), { ignoreHTTPSErrors: true });
after(async () => (await browser)?.close());

describe("over TLS", { concurrency: 3, skip: !isSpinward && "the form of its options" }, () => {
  for (const one of combinations("https")) suite({ ...one, sdk: { ...sdk, open } });
});
