// Writes the site with the mock in place of the two wasm builds and with made-up model files, for
// browser tests against the mock:
//   node mock/dist.js /tmp/mixwell-mock && MIXWELL_DIST=/tmp/mixwell-mock node --test tests/browser/playground.test.js
import { build as bundle } from "esbuild";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "../build.js";
import { files, manifest } from "./models.js";

/** An empty wasm module: magic number and version. */
const WASM = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const RUNTIMES = ["webgpu", "cpu"];

/** @param {string} folder */
export async function writeMock(folder) {
  await build(folder);
  await bundle({
    entryPoints: RUNTIMES.map((runtime) => ({ in: fileURLToPath(new URL("mixwell.js", import.meta.url)), out: `mixwell-${runtime}` })),
    outdir: folder,
    bundle: true,
    format: "esm",
    logLevel: "warning",
  });
  for (const runtime of RUNTIMES) await writeFile(join(folder, `mixwell-${runtime}_bg.wasm`), WASM);
  for (const [path, content] of [...files, ["manifest.json", JSON.stringify(manifest)]]) {
    const to = join(folder, "models", path);
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, content);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const name = process.argv[2];
  if (!name) throw new Error("Name the folder to write to: node mock/dist.js FOLDER");
  await writeMock(resolve(name));
}
