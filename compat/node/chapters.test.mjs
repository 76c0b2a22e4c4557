// Chapters of the manual whose blocks are marked to run, as they stand but for the ports.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { Chapter, MARKS, blocks, manual } from "./chapters.mjs";
import { isSpinward } from "./server.mjs";

/** Chapters, and the number of their blocks that run: fewer means that a mark was lost. */
const CHAPTERS = {
  "quick-start.md": 13,
  "install.md": 8,
  "channels.md": 13,
  "subscription-tokens.md": 11,
  "history.md": 19,
  "presence.md": 10,
  "server-side-subscriptions.md": 17,
  "deltas-and-filters.md": 10,
  "client-protocol.md": 8,
  "observability.md": 10,
  "tuning.md": 3,
  "command-line.md": 11,
};

describe("chapters of the manual", { concurrency: 4, skip: !isSpinward }, () => {
  for (const [name, expected] of Object.entries(CHAPTERS)) {
    test(name, { timeout: 120_000 }, async () => {
      const found = blocks(name).filter(({ mark }) => MARKS.includes(mark));
      assert.equal(found.length, expected, "marked blocks");
      // A block of these languages that nothing runs would be an example that may be wrong.
      const text = readFileSync(path.join(manual, name), "utf8");
      const unmarked = text.match(/(?<!-->\n)^```(?:json|js|sh|python)$/gm) ?? [];
      assert.equal(unmarked.length, 0, "blocks without a mark; use ```text for those that cannot run");
      const chapter = await Chapter.open();
      try {
        for (const block of found) await chapter.run(block);
      } finally {
        await chapter.close();
      }
    });
  }
});

test("every chapter with such marks is run", () => {
  const marked = readdirSync(manual).filter((name) => name.endsWith(".md") && blocks(name).some(({ mark }) => ["server", "start", "run", "page"].includes(mark)));
  assert.deepEqual(marked.sort(), Object.keys(CHAPTERS).sort());
});

test("wrong examples are found", { skip: !isSpinward }, async () => {
  const chapter = await Chapter.open();
  const run = (mark, language, code) => chapter.run({ mark, language, code, line: 1 });
  try {
    await run("run", "sh", "echo '{\"a\": {\"b\": \"one two\"}}'\n");
    await run("output", "json", '{"a": {"b": "one …"}}\n');
    await run("output", "text", '{"a": …}\n');
    await assert.rejects(run("output", "json", '{"a": {"b": "two …"}}\n'), /line 1/);
    await assert.rejects(run("output", "json", '{"a": {}}\n'));
    await assert.rejects(run("output", "text", "{}\n"));
    await assert.rejects(run("run", "sh", "false | true\n"));
    await assert.rejects(run("run", "js", "nothing();\n"), /nothing is not defined/);
    await assert.rejects(run("run", "lua", "\n"), /nothing runs/);
    await run("config", "json", '{"client": {"channel_limit": 7}}\n');
    await assert.rejects(run("config", "json", '{"client": {"chanel_limit": 7}}\n'));
    await assert.rejects(run("config", "json", '{"client": {"insecure": true}}\n'), /insecure/);
    await run("page", "js", 'console.log("one", { two: 2 });\n');
    await run("console", "text", "one { two: 2 }\n");
    chapter.patience = 50;
    await assert.rejects(run("console", "text", "one { two: 2 }\n"), /in vain/);
  } finally {
    await chapter.close();
  }
});
