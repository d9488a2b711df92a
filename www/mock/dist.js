// Writes what serve.js serves into a folder, for the browser tests against the mock:
//   node mock/dist.js /tmp/mixwell-mock && MIXWELL_DIST=/tmp/mixwell-mock node --test tests/browser/playground.test.js
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { find, manifest } from "./serve.js";

const www = new URL("../", import.meta.url);
const folder = process.argv[2];
if (!folder) throw new Error("Name the folder to write to.");
const own = (await readdir(www)).filter((name) => /\.(html|js|css)$/.test(name));
const paths = [
  ...own,
  ...(await readdir(new URL("mock/", www))).map((name) => `mock/${name}`),
  ...(await readdir(new URL("takeout/", www))).map((name) => `takeout/${name}`),
  ...["uPlot.esm.js", "uPlot.min.css"].map((name) => `vendor/${name}`),
  ...["webgpu", "cpu"].map((name) => `mixwell-${name}.js`),
  "models/manifest.json",
  ...manifest.models.flatMap(({ name, files }) => files.map(({ path }) => `models/${name}/${path}`)),
];
for (const path of paths) {
  const content = await find(`/${path}`);
  if (!content) throw new Error(`${path} is not served.`);
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}
