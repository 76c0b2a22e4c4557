// SDKs as published, in Node and in Chromium, behind one interface.
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { jwt, unique, until } from "../node/server.mjs";
import { makeOps } from "./ops.mjs";

const require = createRequire(import.meta.url);
export const { WebSocket } = require("ws");
export const SockJS = require("sockjs-client");
// SDKs before 2.6 know no other than the global one, and look for it when they connect.
globalThis.WebSocket = WebSocket;

/** Those of the first protocol, which differ in how they resume: see docs/manual/old-clients.md. */
export const OLD = ["2.0.0", "2.2.3", "2.6.4", "2.8.5"];
export const GO = ["0.2.3", "0.3.0", "0.5.2", "0.6.5", "0.7.2", "0.8.3"];
export const SOCKJS = ["websocket", "xhr-streaming", "eventsource", "xhr-polling"];

const folder = (name) => path.dirname(require.resolve(`${name}/package.json`));
const bundle = (version, encoding) =>
  path.join(folder(`centrifuge-${version}`), "dist", encoding === "json" ? "centrifuge.js" : "centrifuge.protobuf.js");

const fresh = (claims) => jwt({ exp: Math.floor(Date.now() / 1000) + 600, ...claims });

/** Tokens that a client asks for by itself. A test may put others in place. */
export function makeHooks() {
  const hooks = {
    asked: [],
    refreshToken: async (id) => (hooks.asked.push(["refresh", id]), fresh({ sub: id })),
    privateToken: async (client, channel) => (hooks.asked.push(["private", channel]), jwt({ client, channel })),
  };
  return hooks;
}

/** In this process. */
export async function inNode(version, encoding) {
  const hooks = makeHooks();
  const ops = makeOps({
    Centrifuge: require(bundle(version, encoding)),
    SockJS,
    WebSocket,
    binary: encoding === "protobuf",
    hooks,
  });
  return { ops: async (name, ...rest) => ops[name](...rest), hooks, close: async () => ops.close() };
}

/** In a page, which loads the SDK, and SockJS, by script elements. */
export async function inChromium(browser, host, version, encoding) {
  const hooks = makeHooks();
  const context = await browser.newContext();
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.exposeFunction("refreshToken", (id) => hooks.refreshToken(id));
  await page.exposeFunction("privateToken", (client, channel) => hooks.privateToken(client, channel));
  const scripts = { sockjs: path.join(folder("sockjs-client"), "dist/sockjs.js"), sdk: bundle(version, encoding) };
  const ops = (await readFile(new URL("./ops.mjs", import.meta.url), "utf8")).replace("export function", "function");
  const name = `/${version}-${encoding}`;
  host.pages[`${name}.html`] = `<!doctype html><meta charset="utf-8"><title>old</title><link rel="icon" href="data:,">
    <script src="${name}-sockjs.js"></script><script src="${name}-sdk.js"></script><script src="${name}-ops.js"></script>`;
  host.pages[`${name}-sockjs.js`] = await readFile(scripts.sockjs);
  host.pages[`${name}-sdk.js`] = await readFile(scripts.sdk);
  host.pages[`${name}-ops.js`] =
    `${ops}\nvar ops = makeOps({ Centrifuge, SockJS, binary: ${encoding === "protobuf"}, hooks: { refreshToken, privateToken } });`;
  await page.goto(`${host.url}${name}.html`);
  return {
    ops: (op, ...rest) => page.evaluate(([op, rest]) => ops[op](...rest), [op, rest]),
    hooks,
    faults,
    close: () => context.close(),
  };
}

/** Whether there is Go to build the Go SDKs with. */
export const hasGo = (() => {
  try {
    return Boolean(execFileSync("go", ["version"]));
  } catch {
    return false;
  }
})();

/** What the Go SDKs say of an error, which they tell as text. */
const CODES = { "permission denied": 103, "unknown channel": 102, "namespace not found": 102, "method not found": 104, "not available": 108 };
const coded = (error) => ({ ...error, code: Object.entries(CODES).find(([text]) => error.message.includes(text))?.[1] });

/** The program in `go`, built with one version of the SDK. */
export function buildGo(version) {
  const folder = fileURLToPath(new URL("./go", import.meta.url));
  const program = path.join(folder, "../../.work/old-go", version);
  const modules = existsSync(path.join(folder, `v${version}.mod`)) ? [`-modfile=v${version}.mod`] : [];
  const tags = version < "0.6" ? ["-tags=before_06"] : [];
  execFileSync("go", ["build", ...modules, ...tags, "-o", program, "."], { cwd: folder, stdio: "inherit" });
  return program;
}

/** In a Go program, which speaks JSON on lines. */
export async function inGo(program) {
  const hooks = makeHooks();
  const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
  const waiting = new Map();
  const write = (line) => child.stdin.write(`${JSON.stringify(line)}\n`);
  createInterface(child.stdout).on("line", async (line) => {
    const { n, result, error, ask, kind, id, client, channel } = JSON.parse(line);
    if (ask) return write({ answer: ask, token: await (kind === "refresh" ? hooks.refreshToken(id) : hooks.privateToken(client, channel)) });
    const { resolve, reject } = waiting.get(n);
    waiting.delete(n);
    if (error) reject(new Error(error));
    else resolve(result);
  });
  child.on("exit", () => waiting.forEach(({ reject }) => reject(new Error("the program ended"))));
  let number = 0;
  const call = (op, rest) => new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject });
    write({ n: number, op, rest });
  });
  return {
    hooks,
    async ops(op, ...rest) {
      const result = await call(op, rest);
      if (op === "events") return result.map(([name, context]) => [name, name.endsWith(" error") ? coded(context) : context]);
      return result?.error ? { error: coded(result.error) } : result;
    },
    close: async () => void child.kill(),
  };
}

/** One client of a test. */
export function clientOf(driver, url, options = {}, id = unique("user-")) {
  const call = (name, ...rest) => driver.ops(name, id, ...rest);
  const client = {
    id,
    hooks: driver.hooks,
    open: (more = {}) => driver.ops("open", id, { url, token: fresh({ sub: id }), ...more, options: { ...options, ...more.options } }),
    call,
    events: () => call("events"),
    seen: async (name) => (await call("events")).filter(([found]) => found === name).map(([, context]) => context),
    /** Waits until something has happened so often, and gives the last context. */
    wait: (name, count = 1, ms = 10_000) =>
      until(async () => ((await call("count", name)) >= count ? (await client.seen(name)).slice(count - 1)[0] ?? {} : null), `${count} × ${name}`, ms)
        .catch(async (error) => { throw new Error(`${error.message}; events: ${JSON.stringify(await call("events")).slice(0, 2000)}`); }),
    data: async (channel) => (await client.seen(`${channel} publish`)).map(({ data }) => data),
    async connected(more) {
      await client.open(more);
      await client.wait("connect");
      return client;
    },
    async subscribed(channel) {
      const before = await call("count", `${channel} subscribe`);
      await call("subscribe", channel);
      return await client.wait(`${channel} subscribe`, before + 1);
    },
  };
  return client;
}
