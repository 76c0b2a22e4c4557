// A chapter of the manual, run from top to bottom: its configurations, its pages, its commands, and what they print.
//
// A mark before a block says what becomes of it:
//
//   <!-- server -->      JSON: the configuration; checked, and a server is started with it
//   <!-- config -->      JSON: checked only
//   <!-- file: NAME -->  written to a file of the chapter's folder
//   <!-- start -->       sh, python: a program that goes on, such as the server itself
//   <!-- run -->         sh: commands of one shell; js: a script of the page; python: a program
//   <!-- page -->        js: a script of a new page
//   <!-- output -->      what the last commands printed: JSON, or lines of text; … stands for anything
//   <!-- console -->     lines that the page prints to its console
//
// Port 8000 becomes a free one, and so does 3000. The variable TOKEN of the shell is `token` in pages.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import vm from "node:vm";
import { Centrifuge, UnauthorizedError } from "centrifuge";
import { WebSocket } from "ws";
import { BIN, cleanEnv, freePort, until } from "./server.mjs";

export const manual = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../docs/manual");

/** The marked blocks of a chapter: { mark, name, language, code, line }. */
export function blocks(chapter) {
  const text = readFileSync(path.join(manual, chapter), "utf8");
  return [...text.matchAll(/^<!-- (\w+)(?:: (\S+))? -->\n```(\w+)\n([\s\S]*?)^```$/gm)].map(
    ([, mark, name, language, code]) => ({ mark, name, language, code, line: lineOf(text, code) }));
}

const lineOf = (text, code) => text.slice(0, text.indexOf(code)).split("\n").length;

/** Marks of blocks that this file runs. Other ones are run elsewhere. */
export const MARKS = ["server", "config", "file", "start", "run", "page", "output", "console"];

/** Runs a block after the other, in a folder of its own. */
export class Chapter {
  static async open() {
    const chapter = new Chapter();
    chapter.ports = { 8000: await freePort(), 3000: await freePort() };
    chapter.dir = mkdtempSync(path.join(tmpdir(), "spinward-manual-"));
    symlinkSync(path.resolve(BIN), path.join(chapter.dir, "spinward"));
    chapter.env = {
      ...cleanEnv({ HTTP_SERVER_PORT: String(chapter.ports[8000]), HTTP_SERVER_ADDRESS: "127.0.0.1" }),
      PATH: `${chapter.dir}:${process.env.PATH}`,
    };
    chapter.running = [];
    chapter.patience = 10_000;
    chapter.clients = [];
    chapter.state = path.join(chapter.dir, ".state");
    writeFileSync(chapter.state, "");
    chapter.newPage();
    return chapter;
  }

  /** The block with ports that are free. */
  code(block) {
    return block.code.replace(/\b(localhost|127\.0\.0\.1):(8000|3000)\b/g, (_, host, port) => `127.0.0.1:${this.ports[port]}`);
  }

  async run(block) {
    const key = block.mark === "run" ? `run_${block.language}` : block.mark;
    assert.ok(this[key], `line ${block.line}: nothing runs a ${block.language} block marked ${block.mark}`);
    try {
      await this[key](block);
    } catch (error) {
      throw new Error(`line ${block.line}: ${error.message}\n${this.log()}`, { cause: error });
    }
  }

  log = () => this.running.map(({ lines }) => lines.join("").slice(-4000)).join("\n");

  config(block) {
    const file = path.join(this.dir, `.checked.${block.language}`);
    writeFileSync(file, this.code(block));
    const checked = this.command("bash", ["-c", `spinward checkconfig --strict -c ${file} 2>&1`]);
    assert.doesNotMatch(checked, /^(planned|unknown|INSECURE):/m, "an option that is not built, unknown or insecure");
  }

  async server(block) {
    this.config(block);
    await this.stop();
    writeFileSync(path.join(this.dir, "config.json"), this.code(block));
    this.newPage();
    await this.start({ code: "spinward\n" });
  }

  file(block) {
    writeFileSync(path.join(this.dir, block.name), this.code(block));
  }

  /** Starts a program, and waits until one of the two ports answers that did not. */
  async start(block) {
    const before = await this.listening();
    const [shell, args] = block.language === "python" ? ["python3", ["-c", this.code(block)]] : ["bash", ["-euc", `. ./.state\n${this.code(block)}`]];
    // A process group of its own, which ends as a whole.
    const child = spawn(shell, args, { cwd: this.dir, env: this.env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const one = { child, lines: [], ended: null };
    one.gone = new Promise((resolve) => child.once("exit", (code) => resolve((one.ended = { code }))));
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => one.lines.push(text));
    this.running.push(one);
    await until(async () => {
      assert.equal(one.ended, null, "the program ended");
      return (await this.listening()) > before;
    }, "the program to listen", 15_000);
  }

  async listening() {
    const tries = Object.values(this.ports).map((port) => fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.arrayBuffer()));
    return (await Promise.allSettled(tries)).filter(({ status }) => status === "fulfilled").length;
  }

  /** All commands of a chapter see the same variables. */
  run_sh(block) {
    this.printed = this.command("bash", ["-eu", "-o", "pipefail", "-c",
      `. ./.state\n${this.code(block)}\ndeclare -p | grep -E '^declare -(x|-) [A-Z_]+=' | grep -vE ' (PATH|PWD|OLDPWD|SHLVL|BASH[A-Z_]*|_)=' > .state`]);
    const [, token] = readFileSync(this.state, "utf8").match(/ TOKEN="(.*)"/) ?? [];
    if (token) this.context.token = token;
  }

  run_python(block) {
    this.printed = this.command("python3", ["-c", this.code(block)]);
  }

  command(program, args) {
    try {
      return execFileSync(program, args, { cwd: this.dir, env: this.env, encoding: "utf8", timeout: 30_000, stdio: ["ignore", "pipe", "pipe"] });
    } catch (error) {
      throw new Error(`${error.message}\n${error.stdout ?? ""}${error.stderr ?? ""}`);
    }
  }

  newPage() {
    const { token } = this.context ?? {};
    const clients = this.clients;
    // Tests do not wait for the SDK's usual delays, and Node 20 has no WebSocket of its own.
    class Page extends Centrifuge {
      constructor(endpoint, options) {
        super(endpoint, { websocket: WebSocket, minReconnectDelay: 50, maxReconnectDelay: 200, ...options });
        clients.push(this);
      }
    }
    this.lines = [];
    const log = (...words) => this.lines.push(words.map((word) => (typeof word === "string" ? word : inspect(word, { breakLength: Infinity, depth: 6 }))).join(" "));
    this.context = vm.createContext({
      Centrifuge: Page, UnauthorizedError, WebSocket, fetch, setTimeout, clearTimeout, TextDecoder, TextEncoder, token, console: { log },
      JSON, URL,
    });
  }

  run_js(block) {
    vm.runInContext(this.code(block), this.context);
  }

  page(block) {
    this.newPage();
    this.run_js(block);
  }

  output({ language, code }) {
    if (language === "json") {
      matches(JSON.parse(this.printed), JSON.parse(code), "the output");
    } else {
      const lines = this.printed.trimEnd().split("\n");
      const wanted = code.trimEnd().split("\n");
      assert.equal(lines.length, wanted.length, `the output is\n${this.printed}`);
      wanted.forEach((line, at) => assert.match(lines[at], pattern(line)));
    }
  }

  /** Waits for the lines, in their order; others may come between. */
  async console({ code }) {
    for (const line of code.trimEnd().split("\n")) {
      await until(() => {
        const at = this.lines.findIndex((got) => pattern(line).test(got));
        if (at < 0) return false;
        this.lines.splice(0, at + 1);
        return true;
      }, `the line ${JSON.stringify(line)} among ${JSON.stringify(this.lines)}`, this.patience);
    }
  }

  async stop() {
    this.clients.splice(0).forEach((client) => client.disconnect());
    for (const { child, gone } of this.running.splice(0)) {
      const kill = (signal) => child.exitCode === null && child.signalCode === null && process.kill(-child.pid, signal);
      kill("SIGTERM");
      const late = setTimeout(() => kill("SIGKILL"), 5000);
      await gone;
      clearTimeout(late);
    }
  }

  async close() {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A line of text in which … stands for anything. */
const pattern = (line) => new RegExp(`^${line.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`);

/** Compares values; a text "…" stands for any value, and … within a text for any part of it. */
function matches(value, wanted, at) {
  if (wanted === "…") return;
  if (typeof wanted === "string") {
    assert.match(String(value), pattern(wanted), at);
  } else if (wanted === null || typeof wanted !== "object") {
    assert.equal(value, wanted, at);
  } else {
    assert.deepEqual(Object.keys(value ?? {}), Object.keys(wanted), `${at} is ${JSON.stringify(value)}`);
    for (const key of Object.keys(wanted)) matches(value[key], wanted[key], `${at}.${key}`);
  }
}
