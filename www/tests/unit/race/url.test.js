import assert from "node:assert/strict";
import { test } from "node:test";
import { targetAcceptance } from "../../../race/settings.js";
import { address, defaultState, racing } from "../../../race/url.js";

test("an empty address gives the defaults without complaint", () => {
  for (const hash of ["", "#", "#&&"]) {
    assert.deepEqual(address.parse(hash), { state: defaultState(), problems: [] });
  }
});

test("every state survives the way through the address", () => {
  const state = defaultState();
  Object.assign(state, { pace: 20, traced: "pc2", chain: 5 });
  Object.assign(state.config, { model: "flow-ebm-fashion", seed: 4294967295, chains: 64, sampler: "hmc", leapfrog_steps: 3, adapt: false, warmup: 0, target_accept: 0.8, match_temperature: false, start_scale: 2.25 });
  state.config.pixel = { step_size: 0.00012, temperature: 0.5 };
  state.config.latent = { step_size: null, temperature: 3 };
  assert.deepEqual(address.parse(address.format(state)), { state, problems: [] });
});

test("a mangled address keeps what is good and names what is not", () => {
  const { state, problems } = address.parse("#chains=900&seed=12&sampler=gibbs&adapt=maybe&pixel-eps=NaN&nonsense=1&pace=3&model=../../etc&trace=%E0%A4%A");
  assert.equal(state.config.seed, 12);
  const expected = defaultState();
  expected.config.seed = 12;
  assert.deepEqual(state, expected);
  assert.equal(problems.length, 8);
  assert.match(problems[0], /“chains” should be a whole number from 2 to 64, not “900”/);
});

test("names from Object.prototype are no settings", () => {
  assert.equal(address.parse("#constructor=1&__proto__=2").problems.length, 2);
  assert.equal(address.parse("#sampler=toString").problems.length, 1);
});

test("a key given twice counts once", () => {
  const { state, problems } = address.parse("#seed=1&seed=2");
  assert.equal(state.config.seed, 1);
  assert.equal(problems.length, 1);
});

test("the target acceptance is the sampler's own unless it is given", () => {
  assert.equal(address.parse("#sampler=hmc").state.config.target_accept, null);
  assert.equal(address.parse("#accept=auto").state.config.target_accept, null);
  // The numbers are the crate's.
  assert.deepEqual(["ula", "mala", "hmc"].map((name) => targetAcceptance(/** @type {"ula"} */ (name))), [null, 0.574, 0.65]);
  assert.equal(address.parse("#accept=0.6&sampler=hmc").state.config.target_accept, 0.6);
});

test("matched temperatures are equal, whatever the address says", () => {
  const { state } = address.parse("#match=on&pixel-T=5&latent-T=0.5");
  assert.equal(state.config.pixel.temperature, 0.5);
});

test("a followed chain must exist", () => {
  const { state, problems } = address.parse("#chains=8&chain=9");
  assert.equal(state.chain, null);
  assert.deepEqual(problems, ["“chain” is 9, but there are 8 chains"]);
  assert.equal(address.parse("#chains=8&chain=8").state.chain, 7);
});

test("only models with both spaces race", () => {
  const model = (/** @type {string} */ name, /** @type {string[]} */ spaces) => ({ name, title: name, spaces, files: [] });
  const manifest = { version: /** @type {const} */ (1), models: [model("a", ["latent", "pixel"]), model("b", ["pixel"]), model("c", [])] };
  assert.deepEqual(racing(manifest).models.map(({ name }) => name), ["a"]);
});

test("a race needs two files of its model, whatever else there is", () => {
  const files = ["scores.json", "weights.safetensors", "card.json"].map((path) => ({ path, bytes: 1, sha256: "" }));
  const manifest = { version: /** @type {const} */ (1), models: [{ name: "a", title: "a", system: "flow-ebm", spaces: ["latent", "pixel"], files }] };
  assert.deepEqual(racing(manifest).models[0]?.files.map(({ path }) => path), ["weights.safetensors", "card.json"]);
});

test("an address without a pace gives two transitions per frame", () => {
  assert.equal(address.parse("#seed=1").state.pace, 2);
});

test("a traced quantity has a short plain name", () => {
  for (const name of ["e", "pc19", "log_density", "a".repeat(32)]) assert.deepEqual(address.parse(`#trace=${name}`), { state: { ...defaultState(), traced: name }, problems: [] });
  for (const name of ["", "9a", "_a", "E", "a-b", "a".repeat(33)]) assert.equal(address.parse(`#trace=${name}`).problems.length, 1, name);
});
