import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

// Packages whose code ends up in app.js; their licences travel with it.
const BUNDLED = ["centrifuge", "protobufjs", "@protobufjs/base64", "@protobufjs/float", "@protobufjs/pool",
  "@protobufjs/utf8", "events", "preact"];

function licences() {
  return {
    name: "licences",
    generateBundle() {
      const parts = BUNDLED.map((name) => {
        const dir = `node_modules/${name}/`;
        const { version, license } = JSON.parse(readFileSync(`${dir}package.json`, "utf8"));
        const text = readFileSync(`${dir}LICENSE`, "utf8").replaceAll("\r\n", "\n").trim();
        return `${name} ${version} (${license})\n\n${text}\n`;
      });
      const sdk = readFileSync("node_modules/centrifuge/dist/centrifuge.js", "utf8").replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n");
      this.emitFile({ type: "asset", fileName: "centrifuge.js", source: sdk });
      const rule = `\n${"-".repeat(78)}\n\n`;
      this.emitFile({
        type: "asset",
        fileName: "LICENSES.txt",
        source: `The Spinward console is part of Spinward (Apache-2.0). app.js and\ncentrifuge.js (the SDK alone, for pages of your own) also hold:\n${rule}${parts.join(rule)}`,
      });
    },
  };
}

// Fixed file names and no source map: the output is committed, and CI compares it byte for byte.
export default defineConfig({
  base: "./",
  plugins: [licences()],
  build: {
    // Part of the server's package.
    outDir: "../crates/server/console",
    emptyOutDir: true,
    target: "es2022",
    // Newer than "es2022", so that light-dark() stays as written.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    modulePreload: false,
    cssCodeSplit: false,
    rollupOptions: {
      output: {
        entryFileNames: "app.js",
        assetFileNames: (asset) => (asset.names[0]?.endsWith(".css") ? "app.css" : "[name][extname]"),
        codeSplitting: false,
      },
    },
  },
});
