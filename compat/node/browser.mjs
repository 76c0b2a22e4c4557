// Opens a real Chromium, and keeps what the pages say on their consoles.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";

export async function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}

/** A page together with its complaints: console errors, exceptions and requests that left the machine. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    // Whether a server explains tokens is found out by asking it.
    const asked = /\/dev\/explain$/.test(message.location().url) && /404/.test(message.text());
    if (message.type() === "error" && !asked) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && !["127.0.0.1", "localhost"].includes(hostname)) complaints.push(`outside: ${request.url()}`);
  });
  return { context, page, complaints };
}

/** Where screenshots are kept: COMPAT_SHOTS, or a new folder. */
export const shots = process.env.COMPAT_SHOTS ?? mkdtempSync(path.join(tmpdir(), "spinward-shots-"));
