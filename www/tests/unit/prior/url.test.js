// Prior's address, and which models it offers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isPrior } from "../../../model/files.js";
import { offered, wholeSize } from "../../../prior/models.js";
import { address, defaultState } from "../../../prior/url.js";
import { offered as studioOffered } from "../../../studio/models.js";

test("an empty address gives the defaults, a room's name the room", () => {
  for (const hash of ["", "#", "#&"]) assert.deepEqual(address.parse(hash), { state: defaultState(), problems: [] });
  assert.equal(address.parse("#anomaly").state.room, "anomaly");
  assert.equal(address.bareRoom("#reconstruct"), "reconstruct");
  assert.equal(address.bareRoom("#reconstruct&seed=1"), null);
  assert.equal(address.bareRoom("#score"), null, "the Studio's rooms are not here");
});

test("every state survives the way through the address", () => {
  const state = defaultState();
  Object.assign(state, { room: "reconstruct", model: "latent-prior-mnist", steps: 120, frames: 32, way: "sphere" });
  state.settings = { stage: 3, sampler: "sir", count: 256, seed: 4294967295, step_size: null, warmup: 0, temperature: 0.05, start_scale: 3, proposals: 100000 };
  assert.deepEqual(address.parse(address.format(state)), { state, problems: [] });
  assert.match(address.format(state), /^#reconstruct&model=latent-prior-mnist&sampler=sir&stage=3&.*step_size=auto.*&steps=120&frames=32&way=sphere$/);
  state.settings.step_size = 0.125;
  assert.deepEqual(address.parse(address.format(state)).state, state);
  assert.deepEqual(address.parse(address.format(defaultState())), { state: defaultState(), problems: [] });
});

test("a mangled address keeps what is good and names what is not", () => {
  const { state, problems } = address.parse("#attic&stage=-1&stage=2&sampler=nuts&count=3&seed=12&step_size=none&temperature=0&start_scale=NaN&model=../etc&way=round&frames=1&steps=auto&nonsense=1&toString=1&proposals=1e9&warmup=1.5");
  const expected = defaultState();
  expected.settings.seed = 12;
  assert.deepEqual(state, expected);
  assert.equal(problems.length, 16, problems.join("\n"));
  assert.match(problems[0], /there is no room “attic”/);
  assert.match(problems[1], /“stage” should be a whole number from 0 to 64, not “-1”/);
  assert.match(problems[2], /“stage” is given twice/);
  assert.match(problems.join("\n"), /“step_size” should be auto, or a number above 0/);
  assert.match(problems.join("\n"), /“sampler” should be ula, mala, hmc, sir, not “nuts”/);
});

const file = (/** @type {string} */ path, /** @type {number} */ bytes) => ({ path, bytes, sha256: "0".repeat(64) });
const files = [file("card.json", 10), file("weights.safetensors", 1000)];

test("Prior offers latent priors, and the Studio all others that can be sampled", () => {
  const manifest = {
    version: /** @type {const} */ (1),
    models: [
      { name: "latent-prior-mnist", title: "a", system: "latent-prior", spaces: ["latent"], files: [...files, file("scores.json", 5)] },
      { name: "mine", title: "b", system: "latent-prior", spaces: ["latent"], files },
      { name: "latent-prior-old", title: "c", spaces: ["latent"], files },
      { name: "latent-prior-by-name-only", title: "d", system: "clel", spaces: ["pixel"], files },
      { name: "flow-ebm-mnist", title: "e", spaces: ["latent", "pixel"], files },
      { name: "classifier-mnist", title: "f", system: "classifier", spaces: [], files },
    ],
  };
  assert.deepEqual(offered(manifest).map(({ name }) => name), ["latent-prior-mnist", "mine", "latent-prior-old"]);
  assert.deepEqual(studioOffered(manifest).map(({ name }) => name), ["latent-prior-by-name-only", "flow-ebm-mnist"]);
  assert.equal(isPrior(manifest.models[4]), false);
  assert.equal(wholeSize(manifest, manifest.models[0]), 1015, "the reference scores come along");
});
