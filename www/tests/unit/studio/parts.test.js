// The Studio's address and its words; which models it offers and which files they need.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, filesOf, MORE } from "../../../model/files.js";
import { classifierFor, firstChoice, likelyClassifier, offered, wholeSize } from "../../../studio/models.js";
import { outline } from "../../../image/image.js";
import { MOST_CONDITIONS } from "../../../studio/settings.js";
import { address, configOf, defaultState } from "../../../studio/url.js";
import { aurocText, byEnergy, energyRange, mean, percentileText, perPixel, shareText, typicality } from "../../../image/words.js";
import { blockMeans, conflictSummary, conflictWord, gradientSummary, shareOfClass, sheetName, temperatureWord, verdictOf } from "../../../studio/words.js";

test("an empty address gives the defaults, a room's name the room", () => {
  for (const hash of ["", "#", "#&"]) assert.deepEqual(address.parse(hash), { state: defaultState(), problems: [] });
  assert.equal(address.parse("#score").state.room, "score");
  assert.equal(address.bareRoom("#compose"), "compose");
  assert.equal(address.bareRoom("#compose&seed=1"), null);
  assert.equal(address.bareRoom("#nowhere"), null);
});

test("every state survives the way through the address", () => {
  const state = defaultState();
  Object.assign(state, { room: "compose", model: "clel-fashion-mnist" });
  Object.assign(state.settings, { seed: 4294967295, count: 256, steps: 2000, rounds: 50, temperature: 0.01, truncation: 0.01, beta: 12.5 });
  state.classes = [{ class: 3, role: "all", weight: 1 }, { class: 0, role: "none", weight: 0.25 }, { class: 9, role: "any", weight: 10 }];
  assert.deepEqual(address.parse(address.format(state)), { state, problems: [] });
  assert.match(address.format(state), /^#compose&model=clel-fashion-mnist&.*&classes=3-all-1_0-none-0\.25_9-any-10$/);
});

test("a mangled address keeps what is good and names what is not", () => {
  const { state, problems } = address.parse("#attic&count=0&seed=12&steps=1e9&temperature=NaN&truncation=3&beta=-1&model=../../etc&classes=3-xor-1&nonsense=1&seed=13&rounds=2.5&constructor=1&count=%E0%A4%A");
  const expected = defaultState();
  expected.settings.seed = 12;
  assert.deepEqual(state, expected);
  assert.equal(problems.length, 13, problems.join("\n"));
  assert.match(problems[0], /there is no room “attic”/);
  assert.match(problems[1], /“count” should be a whole number from 1 to 256, not “0”/);
  assert.equal(address.parse(`#classes=${Array.from({ length: MOST_CONDITIONS + 1 }, () => "1-all-1").join("_")}`).problems.length, 1);
  for (const bad of ["1-all-0", "1-all-11", "1-all", "-1-all-1", "1-all-1.2.3", "1-toString-1", "_"]) assert.equal(address.parse(`#classes=${bad}`).problems.length, 1, bad);
});

test("the engine is asked for the settings, and for the model's own where there are none", () => {
  const defaults = { seed: 7, count: 64, steps: 60, rounds: 10, temperature: 1, truncation: 1, beta: 20, conditions: [], inpaint: null };
  const state = defaultState();
  Object.assign(state.settings, { seed: 0, beta: 0, truncation: 0 });
  assert.deepEqual(configOf(state, defaults), { ...defaults, seed: 0, beta: 0, truncation: 0 });
});

test("shares near none and near all keep what tells them apart", () => {
  assert.deepEqual([0, 0.0004, 0.004, 0.03, 0.5, 0.987, 0.9996, 1].map(shareText), ["0 %", "< 0.1 %", "0.4 %", "3 %", "50 %", "98.7 %", "> 99.9 %", "100 %"]);
  assert.equal(percentileText({ below: 0.93, low: 0.925, high: 0.9349 }), "93 % (93 % to 93 %)");
  assert.equal(typicality({ below: 0.001, low: 0, high: 0.004 }), "more typical than nearly all of them");
  assert.equal(typicality({ below: 0.05, low: 0.04, high: 0.06 }), "more typical than most of them");
  assert.equal(typicality({ below: 0.6, low: 0.5, high: 0.7 }), "as typical as they are");
  assert.equal(typicality({ below: 0.97, low: 0.96, high: 0.98 }), "less typical than most of them");
  assert.equal(typicality({ below: 1, low: 0.9996, high: 1 }), "less typical than nearly all of them");
  assert.equal(aurocText({ value: 0.9312, low: 0.926, high: 0.936 }), "0.931 (0.926 to 0.936)");
  assert.equal(aurocText(null), "–");
});

test("conflicts are words, not only colours", () => {
  assert.deepEqual([NaN, -0.9, -0.3, 0, 0.3, 0.9].map(conflictWord), ["no gradient", "oppose", "disagree", "unrelated", "agree", "agree strongly"]);
  const terms = /** @type {any[]} */ ([{ name: "model" }, { name: "class 1: Trouser" }, { name: "image" }]);
  assert.match(conflictSummary(terms, Float32Array.from([1, 0.2, NaN, 0.2, 1, -0.75, NaN, -0.75, 1])), /“class 1: Trouser” and “image” disagree most.*−0\.75/);
  assert.match(conflictSummary(terms, new Float32Array(9).fill(NaN)), /no two gradients to compare/);
  assert.match(conflictSummary(terms, new Float32Array(9).fill(0.4)), /No two terms disagree/);
});

test("verdicts are sorted, counted and told apart", () => {
  const classes = ["a", "b", "c"];
  const verdict = Float32Array.from([0.1, 0.7, 0.2, 0.5, 0.25, 0.25, 0.1, 0.8, 0.1]);
  assert.deepEqual(verdictOf(verdict, 0, classes).map(({ name }) => name), ["b", "c", "a"]);
  assert.deepEqual(shareOfClass(verdict, classes, 1), { hits: 2, images: 3 });
  assert.deepEqual(shareOfClass(verdict, classes, 2), { hits: 0, images: 3 });
});

test("the lowest energy comes first, and what is no number last", () => {
  assert.deepEqual(byEnergy(Float32Array.from([3, NaN, -5, 3, -Infinity])), [2, 0, 3, 1, 4]);
  assert.equal(mean(Float32Array.from([1, NaN, 3])), 2);
  assert.equal(mean(Float32Array.from([NaN])), null);
  assert.deepEqual(energyRange([0, 100]), [-8, 108]);
  assert.deepEqual(energyRange([]), [0, 1]);
  assert.ok(energyRange([1e6, ...Array.from({ length: 99 }, (_, i) => i)])[1] < 200, "the first step does not flatten the others");
  assert.ok(energyRange([5, 5])[0] < 5, "a constant has an axis too");
  assert.equal(temperatureWord(0.001), "colder than the model’s distribution");
  assert.equal(temperatureWord(1), "the model’s distribution");
  assert.equal(sheetName("clel-x", 7, 1, 60), "clel-x-seed7-step60.png");
  assert.equal(sheetName("clel-x", 7, 0.5, 60), "clel-x-seed7-T0.5-step60.png");
});

test("a gradient has words and a table", () => {
  const gradient = new Float32Array(32);
  gradient[5] = -2;
  gradient[21] = -1;
  const pixels = perPixel(gradient, [2, 4, 4]);
  assert.equal(pixels[5], -3, "channels are summed");
  assert.match(gradientSummary(pixels, 4, 4), /row 2, column 2: −3.00, so a brighter pixel there would lower the energy most.*upper half carries 100 %/);
  assert.equal(gradientSummary(new Float32Array(16), 4, 4), "The gradient is 0 everywhere.");
  assert.deepEqual(blockMeans(pixels, 4, 4, 2), [[-0.75, 0], [0, 0]]);
  assert.equal(blockMeans(pixels, 4, 4, 7).length, 4, "no more blocks than pixels");
});

test("the outline runs between kept and other pixels", () => {
  assert.deepEqual(outline(Uint8Array.from([1, 1, 0, 0]), 2, 2), [[0, 1, 1, 1], [1, 1, 2, 1]]);
  assert.deepEqual(outline(new Uint8Array(4), 2, 2), []);
});

const file = (/** @type {string} */ path, /** @type {number} */ bytes) => ({ path, bytes, sha256: "0".repeat(64) });
const model = (/** @type {string} */ name, /** @type {string[]} */ spaces, /** @type {any[]} */ more = []) => ({ name, title: name, spaces, files: [file("card.json", 10), file("weights.safetensors", 1000), ...more] });
const manifest = { version: /** @type {const} */ (1), models: [model("flow-ebm-mnist", ["latent", "pixel"], [file("race-mala.json", 5)]), model("clel-fashion-mnist", ["pixel"], [file("scores.json", 100)]), model("classifier-mnist", []), model("classifier-fashion-mnist", [])] };

test("classifiers are not offered, and belong to their data", () => {
  const models = offered(manifest);
  assert.deepEqual(models.map(({ name }) => name), ["flow-ebm-mnist", "clel-fashion-mnist"]);
  assert.equal(firstChoice(models)?.name, "clel-fashion-mnist");
  assert.equal(firstChoice([manifest.models[0]])?.name, "flow-ebm-mnist");
  assert.equal(classifierFor(manifest, "fashion-mnist")?.name, "classifier-fashion-mnist");
  assert.equal(classifierFor(manifest, "svhn"), undefined);
  assert.equal(likelyClassifier(manifest, manifest.models[1])?.name, "classifier-fashion-mnist");
  assert.equal(likelyClassifier(manifest, manifest.models[0])?.name, "classifier-mnist");
});

test("sizes are those of the files that are downloaded", () => {
  const [flow, clel] = manifest.models;
  assert.equal(bytesOf(flow), 1010);
  assert.deepEqual(filesOf(clel, MORE).map(({ path }) => path), ["card.json", "weights.safetensors", "scores.json"]);
  assert.equal(bytesOf(flow, MORE), 1010, "what a model lacks is not needed");
  assert.equal(wholeSize(manifest, clel), 1110 + 1010);
  assert.throws(() => filesOf({ ...flow, files: [] }), { kind: "bad-model" });
});
