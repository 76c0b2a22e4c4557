// Starts the server under test, whichever compatible one it is, and waits until it answers.
import { spawn, execFileSync } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import dgram from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

export const BIN = process.env.SPINWARD_BIN ?? path.join(root, "target/release/spinward");
export const SECRET = "secret";
export const API_KEY = "api-key";
export const consoleDir = path.join(root, "crates/server/console");

/** True for Spinward itself; a few tests ask for what only it has. */
export const isSpinward = (() => {
  try {
    return /spinward/i.test(execFileSync(BIN, ["version"], { encoding: "utf8" }));
  } catch (error) {
    throw new Error(`SPINWARD_BIN (${BIN}) does not run: ${error.message}`);
  }
})();

const history = { history_size: 100, history_ttl: "300s", allow_history_for_client: true };
const open = { allow_subscribe_for_client: true };

/** A configuration with one namespace for each thing that the scenarios need. */
export function config(client = {}, channel = {}) {
  return {
    log: { level: "debug" },
    health: { enabled: true },
    http_api: { key: API_KEY },
    client: {
      token: { hmac_secret_key: SECRET },
      allowed_origins: ["*"],
      expired_close_delay: "1s",
      expired_sub_close_delay: "1s",
      presence_update_interval: "1s",
      ...client,
    },
    channel: {
      without_namespace: {
        ...open,
        presence: true,
        join_leave: true,
        allow_presence_for_client: true,
        allow_publish_for_client: true,
      },
      namespaces: [
        { name: "room", ...open, presence: true, join_leave: true, force_push_join_leave: true,
          allow_presence_for_client: true, allow_publish_for_client: true },
        { name: "recov", ...open, ...history, force_recovery: true, allow_publish_for_client: true },
        { name: "short", ...open, ...history, history_size: 3, force_recovery: true },
        { name: "cache", ...open, ...history, history_size: 1, force_recovery: true, force_recovery_mode: "cache" },
        { name: "delta", ...open, ...history, force_recovery: true, allowed_delta_types: ["fossil"], delta_publish: true },
        { name: "tags", ...open, ...history, allow_tags_filter: true },
        { name: "closed" },
      ],
      ...channel,
    },
  };
}

// Ports that the system gives to nobody by itself: those of outgoing connections and of listeners on port 0 begin above
// (net.ipv4.ip_local_port_range), so that such a one does not take a port before its server does.
const FIRST_PORT = 10_000;
const PORTS = 32_768 - FIRST_PORT;
// Processes side by side begin far from each other.
let nextPort = process.pid * 613;

const isFree = (port) =>
  new Promise((resolve) => {
    const probe = net.createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });

/** A port that nothing listens on, given out once by this process. */
export async function freePort() {
  for (let tries = 0; tries < PORTS; tries += 1) {
    const port = FIRST_PORT + (nextPort++ % PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error("no port is free");
}

/** The environment without a setting that could reach the server from outside. */
export function cleanEnv(extra) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(SPINWARD|CENTRIFUGO)_/.test(name)));
  for (const [name, value] of Object.entries(extra)) {
    env[`SPINWARD_${name}`] = value;
    env[`CENTRIFUGO_${name}`] = value;
  }
  return env;
}

/**
 * Starts `BIN` with `settings` written to a file, on a free port of 127.0.0.1.
 * `args` replaces the arguments, for commands such as `dev`; `env` gives further variables for a port. `state` is the
 * folder where `dev` keeps its keys, if they are to last.
 */
export async function startServer(settings, { args, env, port, state, tries = 3 } = {}) {
  const chosen = port ?? (await freePort());
  const dir = mkdtempSync(path.join(tmpdir(), "spinward-compat-"));
  const file = path.join(dir, "config.json");
  if (settings) writeFileSync(file, JSON.stringify(settings));
  const log = [];
  const child = spawn(BIN, args ? args(chosen, file) : ["-c", file], {
    cwd: dir,
    env: {
      ...cleanEnv({ HTTP_SERVER_PORT: String(chosen), HTTP_SERVER_ADDRESS: "127.0.0.1", ...env?.(chosen) }),
      XDG_STATE_HOME: state ?? dir,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let ended = null;
  const gone = new Promise((resolve) => child.once("exit", (code, signal) => resolve((ended = { code, signal }))));
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => log.push(text));

  const server = {
    port: chosen,
    file,
    ws: `ws://127.0.0.1:${chosen}/connection/websocket`,
    http: `http://127.0.0.1:${chosen}`,
    pid: child.pid,
    log: () => log.join(""),
    async stop() {
      if (!ended) child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 5000);
      await gone;
      clearTimeout(late);
      rmSync(dir, { recursive: true, force: true });
    },
    /** Calls a method of the server API and gives its result. */
    async api(method, body) {
      const answer = await fetch(`${server.http}/api/${method}`, {
        method: "POST",
        headers: { "x-api-key": API_KEY, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      if (answer.status !== 200) throw new Error(`${method}: HTTP ${answer.status}`);
      const reply = await answer.json();
      if (reply.error) throw Object.assign(new Error(`${method}: ${reply.error.message}`), reply.error);
      return reply.result;
    },
  };

  const deadline = Date.now() + 15_000;
  for (;;) {
    if (await answers(`${server.http}/health`)) {
      // One that has lost its port to another test's server ends in a moment, and it was the other that answered.
      await sleep(50);
      if (!ended) return server;
    }
    if (ended || Date.now() > deadline) {
      await server.stop();
      if (ended && port == null && tries > 1) return startServer(settings, { args, env, state, tries: tries - 1 });
      throw new Error(`the server did not start (${JSON.stringify(ended)}):\n${server.log()}`);
    }
    await sleep(30);
  }
}

/** Any answer will do: a configuration without `health` gives 404. */
async function answers(url) {
  try {
    const answer = await fetch(url);
    await answer.arrayBuffer();
    return answer.status < 500;
  } catch {
    return false;
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A token made by hand, so that it can be wrong in any way. */
export function jwt(claims, { key = SECRET, alg = "HS256" } = {}) {
  const part = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg, typ: "JWT" })}.${part(claims)}`;
  const hash = { HS256: "sha256", HS384: "sha384", HS512: "sha512" }[alg];
  return `${text}.${createHmac(hash, key).update(text).digest("base64url")}`;
}

export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;
export const unique = (prefix) => `${prefix}${randomBytes(4).toString("hex")}`;

/** Waits for `check` to give something true. */
export async function until(check, what, ms = 20_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await sleep(15);
  }
}

/** A TCP relay in front of a server, whose connections can be cut at will. */
export async function relay(port) {
  const pairs = new Set();
  let refusing = false;
  const listener = net.createServer((near) => {
    if (refusing) return void near.destroy();
    const far = net.connect(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) socket.on("error", end).on("close", end);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const end = () => pairs.forEach(([near, far]) => (near.resetAndDestroy(), far.resetAndDestroy()));
  return {
    ws: `ws://127.0.0.1:${listener.address().port}/connection/websocket`,
    cut: end,
    refuse: (on) => (refusing = on),
    /** Hands nothing more to clients, or goes on. */
    hold: (on) => pairs.forEach(([, far]) => (on ? far.pause() : far.resume())),
    close: () => (end(), new Promise((resolve) => listener.close(resolve))),
  };
}

/** The same for UDP: clients that are cut off hear nothing more and are not heard, as with a cable that is pulled. */
export async function datagramRelay(port) {
  const flows = new Map();
  let held = null;
  const near = dgram.createSocket("udp4");
  const begin = (peer) => {
    const far = dgram.createSocket("udp4");
    const flow = { far, isCut: false };
    far.on("error", () => {}).on("message", (bytes) => {
      if (flow.isCut) return;
      const send = () => near.send(bytes, peer.port, peer.address, () => {});
      if (held) held.push(send);
      else send();
    });
    flow.ready = new Promise((resolve) => far.connect(port, "127.0.0.1", resolve));
    return flow;
  };
  near.on("message", async (bytes, peer) => {
    const flow = flows.get(peer.port) ?? begin(peer);
    flows.set(peer.port, flow);
    await flow.ready;
    // A server that is gone refuses what is sent to it.
    if (!flow.isCut) flow.far.send(bytes, () => {});
  });
  await new Promise((resolve) => near.bind(0, "127.0.0.1", resolve));
  return {
    port: near.address().port,
    cut: () => flows.forEach((flow) => (flow.isCut = true)),
    hold(on) {
      const waiting = held ?? [];
      held = on ? waiting : null;
      if (!on) waiting.forEach((send) => send());
    },
    async close() {
      near.close();
      for (const { far, ready } of flows.values()) {
        await ready;
        far.close();
      }
    },
  };
}

export const CONSOLE_CSP = "default-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self' ws: wss: http: https:";

/**
 * Serves files of `dir` (or `pages`: path to body) under the console's content security policy, and hands
 * /api and /connection on to `target`: what `spinward dev` does by itself, for servers without a console.
 */
export async function webHost({ dir, pages = {}, target, csp = CONSOLE_CSP }) {
  const { readFile } = await import("node:fs/promises");
  const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain" };
  const host = http.createServer(async (request, response) => {
    const at = new URL(request.url, "http://host").pathname;
    if (target && at.startsWith("/api/")) return void forward(request, response, target);
    const name = at === "/" ? "/index.html" : at;
    const body = name in pages ? pages[name] : dir && (await readFile(path.join(dir, path.basename(name))).catch(() => null));
    const type = types[path.extname(name)] ?? "application/json";
    if (body == null) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": type, "content-security-policy": csp });
    response.end(body);
  });
  if (target) {
    host.on("upgrade", (request, near, head) => {
      const far = net.connect(target, "127.0.0.1", () => {
        const lines = [`${request.method} ${request.url} HTTP/1.1`];
        for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
        far.write(`${lines.join("\r\n")}\r\n\r\n`);
        far.write(head);
        near.pipe(far);
        far.pipe(near);
      });
      for (const socket of [near, far]) {
        socket.on("error", () => (near.destroy(), far.destroy())).on("close", () => (near.destroy(), far.destroy()));
      }
    });
  }
  await new Promise((resolve) => host.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${host.address().port}`,
    port: host.address().port,
    pages,
    close: () => (host.closeAllConnections(), new Promise((resolve) => host.close(resolve))),
  };
}

function forward(request, response, port) {
  const onward = http.request({ port, host: "127.0.0.1", method: request.method, path: request.url, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => response.writeHead(502).end());
  request.pipe(onward);
}
