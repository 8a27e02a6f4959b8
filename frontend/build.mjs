// Bundles the page into the package: one script, one style sheet, and the licences of what is in it.
// The same sources and package-lock.json give the same bytes; tests/view/test_bundle.py compares them.
import { build } from "esbuild";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "../bdc_agents/view"));
mkdirSync(out, { recursive: true });

const shared = { bundle: true,  minify: true, write: false, charset: "ascii", legalComments: "none", absWorkingDir: here };

const script = await build({
  ...shared,
  entryPoints: ["src/main.tsx"],
  format: "iife",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  // The page shows texts of strangers: whatever would make markup of a text writes to a property that no browser knows.
  mangleProps: /^(innerHTML|outerHTML|insertAdjacentHTML|__html)$/,
  mangleQuoted: true,
});
const style = await build({ ...shared, entryPoints: ["src/style.css"], target: ["chrome123", "firefox120", "safari17.5"] });

const licences = ["preact", "diff"].map((name) => {
  const folder = join(here, "node_modules", name);
  const version = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
  return `${name} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`;
});
writeFileSync(join(out, "page.js"), script.outputFiles[0].text);
writeFileSync(join(out, "page.css"), style.outputFiles[0].text);
writeFileSync(join(out, "page.licenses.txt"), `page.js holds these packages.\n\n${licences.join("\n---\n\n")}`);
