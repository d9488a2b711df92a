// Which folder may import which, held by reading the import lines. ARROWS is the one place that says so.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path/posix";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ROOMS as PAGES } from "../rooms.js";

const WWW = fileURLToPath(new URL("../", import.meta.url));

/** What each shared folder may import, besides itself. The lower stands first. */
const SHARED = /** @type {Record<string, string[]>} */ ({
  contract: [],
  engine: ["contract"],
  url: ["contract"],
  ui: ["contract", "engine", "url"],
  charts: ["contract", "ui"],
  image: ["contract", "engine", "ui"],
  model: ["contract", "engine", "ui"],
});
/** A room may import every shared folder, and no other room. */
const ROOMS = Object.keys(PAGES);
const ARROWS = { ...SHARED, ...Object.fromEntries(ROOMS.map((room) => [room, Object.keys(SHARED)])) };
/** What comes from npm, and who may use it. */
const PACKAGES = /** @type {Record<string, string[]>} */ ({ uplot: ["charts", "prior"] });
/** Runs in a worker or in Node as well as on a page: it, and all that it imports, must do without a document. */
const WITHOUT_DOCUMENT = ["contract/", "engine/", "url/", "model/files.js", "model/loader.js", "race/worker.js", ...ROOMS.flatMap((room) => [`${room}/page.js`, `${room}/settings.js`, `${room}/url.js`])];
const DOCUMENT = /\b(document|window|HTMLElement|localStorage|requestAnimationFrame|matchMedia)\b/;

/** @typedef {{ path: string, text: string }} File */

/** @param {string} folder @param {RegExp} [kind] @returns {File[]} */
function filesOf(folder, kind = /\.js$|\.d\.ts$/) {
  return readdirSync(join(WWW, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && kind.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((full) => ({ path: full.slice(WWW.length), text: readFileSync(full, "utf8") }));
}

/**
 * What a file names in import lines, JSDoc imports and import() types.
 * @param {string} text
 * @returns {{ name: string, types: boolean }[]} types: nothing of it is there at run time
 */
function importsOf(text) {
  const all = [...text.matchAll(/(\/\*\*[^\n]*@import [^\n]*? from |^import type [^\n]*? from |^(?:import|export) (?:[^\n]*? from )?|\bimport\()"([^"]+)"/gm)];
  return all.map(([, head = "", name = ""]) => ({ name, types: /@import|import type|import\(/.test(head) }));
}

/** @param {File} file @returns {string[]} what is wrong, in words */
function wrongsOf({ path, text }) {
  const from = path.split("/")[0] ?? "";
  const allowed = ARROWS[from] ?? [];
  return importsOf(text).flatMap(({ name, types }) => {
    if (!name.startsWith(".")) return types || PACKAGES[name]?.includes(from) ? [] : [`${path} imports the package ${name}`];
    const to = normalize(join(dirname(path), name)).split("/")[0] ?? "";
    return to === from || allowed.includes(to) ? [] : [`${path} imports ${name}: ${from} may import ${allowed.join(", ") || "nothing"}, and not ${to}`];
  });
}

const files = Object.keys(ARROWS).flatMap((folder) => filesOf(folder));

test("every folder imports only what stands below it, and no room another room", () => {
  assert.ok(files.length > 60, `${files.length} files were read`);
  assert.deepEqual(files.flatMap(wrongsOf), []);
});

test("the page of a room is made of its own files and of shared ones", () => {
  const wrongs = Object.entries(PAGES).flatMap(([room, { styles }]) => {
    const html = filesOf(room, /\.html$/).flatMap(({ text }) => [...text.matchAll(/<!-- include (\S+)/g)].map(([, path = ""]) => path));
    return [...styles, ...html].filter((path) => path.split("/")[0] !== room && !Object.hasOwn(SHARED, path.split("/")[0] ?? "")).map((path) => `${room} takes ${path}`);
  });
  assert.deepEqual(wrongs, []);
});

test("what runs in a worker does without a document, with all that it imports", () => {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  /** @type {string[]} */
  const wrongs = [];
  /** @param {string} path @param {string} by */
  const visit = (path, by) => {
    const text = texts.get(path);
    if (text === undefined || seen.has(path)) return;
    seen.add(path);
    // Comments may speak of it.
    const found = DOCUMENT.exec(text.replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, ""));
    if (found) wrongs.push(`${path}${by} uses ${found[0]}`);
    for (const { name, types } of importsOf(text)) if (!types && name.startsWith(".")) visit(normalize(join(dirname(path), name)), `, imported by ${path}${by},`);
  };
  const seen = new Set();
  for (const { path } of files) if (WITHOUT_DOCUMENT.some((start) => path.startsWith(start))) visit(path, "");
  assert.deepEqual(wrongs, []);
});

test("the check finds what it is there for", () => {
  const wrong = (/** @type {string} */ path, /** @type {string} */ text) => wrongsOf({ path, text }).length;
  assert.equal(wrong("ui/dom.js", 'import { RANGES } from "../race/settings.js";'), 1, "a shared file and a room");
  assert.equal(wrong("prior/main.js", '/** @import { Room } from "../studio/url.js" */'), 1, "a room and another room, types alone");
  assert.equal(wrong("url/address.js", 'export { byId } from "../ui/dom.js";'), 1, "the address and the document's help");
  assert.equal(wrong("model/loader.js", 'const x = await import("../studio/url.js");'), 1, "an import at run time");
  assert.equal(wrong("contract/race.d.ts", 'import type { State } from "../race/url.js";'), 1, "the contract and a room");
  assert.equal(wrong("race/main.js", 'import uPlot from "uplot";'), 1, "a package that is not for it");
  assert.equal(wrong("prior/main.js", 'import { byId } from "../ui/dom.js";\nimport { x } from "./url.js";'), 0);
});
