// Writes the pages, their scripts and their style sheets:
//   node www/build.js FOLDER
// `cargo xtask web` and trunk call it after they have put the wasm modules and the models there; trunk without
// FOLDER (trunk.toml).
// All scripts lie in the root of the site: import.meta.url then means the same in every one of them.

import { build as bundle } from "esbuild";
import { readFileSync } from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOMS } from "./rooms.js";
import { composed, included, partsOf } from "./ui/page.js";

const WWW = fileURLToPath(new URL(".", import.meta.url));
/** In every browser that has module workers. */
const TARGET = "es2022";

/** The style sheet of the shell, then the room's. @param {string[]} own */
const sheets = (own) => ["ui/style.css", ...own];
/** @param {string} path */
const nameOf = (path) => path.replace(/^.*\//, "");

/**
 * What a script imports, as files beside it, each once.
 * @param {import("esbuild").Metafile} metafile
 * @param {string} name of the script
 * @returns {string[]} the script first
 */
function graph(metafile, name) {
  const byName = new Map(Object.entries(metafile.outputs).map(([path, output]) => [nameOf(path), output]));
  const found = new Set([name]);
  for (const each of found) {
    for (const { path, kind } of byName.get(each)?.imports ?? []) if (kind === "import-statement") found.add(nameOf(path));
  }
  return [...found];
}

/** @param {string} folder */
export async function build(folder) {
  const common = /** @satisfies {import("esbuild").BuildOptions} */ ({
    absWorkingDir: WWW,
    outdir: folder,
    bundle: true,
    format: "esm",
    target: TARGET,
    minify: true,
    sourcemap: true,
    metafile: true,
    logLevel: "warning",
    legalComments: "none",
  });
  await mkdir(folder, { recursive: true });
  const [pages] = await Promise.all([
    // What rooms share is a file of its own, which a visitor of a second room has already.
    bundle({ ...common, entryPoints: Object.keys(ROOMS).map((room) => ({ in: `${room}/main.js`, out: room })), splitting: true, chunkNames: "shared-[hash]" }),
    // A worker is one file: it has nothing to share that would be worth a request.
    bundle({ ...common, entryPoints: [{ in: "engine/engine.js", out: "engine" }, { in: "race/worker.js", out: "worker" }] }),
    // A classic script, which must run where modules do not.
    bundle({ ...common, entryPoints: [{ in: "ui/early.js", out: "early" }], format: "iife", target: "es2015" }),
    bundle({ ...common, entryPoints: [...new Set(Object.values(ROOMS).flatMap(({ styles }) => sheets(styles))), "ui/noscript.css"].map((path) => ({ in: path, out: nameOf(path).replace(/\.css$/, "") })) }),
    cp(join(WWW, "takeout"), join(folder, "takeout"), { recursive: true }),
  ]);
  const read = (/** @type {string} */ path) => readFileSync(join(WWW, path), "utf8");
  const shell = read("ui/shell.html");
  await Promise.all(
    Object.entries(ROOMS).map(async ([room, page]) => {
      const where = `${room}/page.html`;
      const html = composed(shell, page, Object.values(ROOMS), partsOf(included(read(where), read), where), {
        scripts: graph(pages.metafile, `${room}.js`),
        styles: sheets(page.styles).map(nameOf),
      });
      await writeFile(join(folder, page.file), html);
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2] ?? process.env.TRUNK_STAGING_DIR;
  if (!folder) throw new Error("Name the folder to write to: node www/build.js FOLDER");
  await build(resolve(folder));
}
