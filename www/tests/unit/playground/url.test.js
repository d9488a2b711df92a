import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyGrid, paint } from "../../../playground/grid.js";
import { LESSONS } from "../../../playground/lessons.js";
import { samplerConfig, side } from "../../../playground/settings.js";
import { address, defaultState, presetState } from "../../../playground/url.js";

test("an empty address gives the defaults without complaint", () => {
  for (const hash of ["", "#", "#&&"]) assert.deepEqual(address.parse(hash), { state: defaultState(), problems: [] });
  assert.equal(address.format(defaultState()), "#");
});

test("every state survives the way through the address", () => {
  const state = defaultState();
  const drawn = emptyGrid();
  paint(drawn, 5, 9, 3.1, false);
  Object.assign(state, { pace: 1500, quantity: "energy", chain: 5, embed: true, hide: ["marginals", "numbers"], at: 123.5, drawn });
  Object.assign(state.config, { target: "drawn", seed: 4294967295, chains: 1000, start: "superchains", superchains: 50 });
  state.config.sides = [
    { sampler: { ...samplerConfig("sgld"), step_size: 0.00012, noise: 0.01, clip: 3, warmup: 0, temperature: 0.5, target_accept: 0.6 }, space: "data" },
    { sampler: { ...samplerConfig("hmc"), leapfrog_steps: 30, max_tree_depth: 3, friction: 2, rungs: 4, hottest: 99, adapt_mass: true, no_adapt: true }, space: "latent" },
  ];
  Object.assign(state.learn, { target: "funnel", seed: 9, flow_iterations: 20, tilt_iterations: 30, steps: 2, hidden: 8 });
  assert.deepEqual(address.parse(address.format(state)), { state, problems: [] });
});

test("every lesson survives, as it is and changed", () => {
  LESSONS.forEach((_, index) => {
    const preset = presetState(index + 1);
    assert.equal(address.format(preset), `#lesson=${index + 1}`);
    assert.deepEqual(address.parse(`#lesson=${index + 1}`), { state: preset, problems: [] });
    const changed = structuredClone(preset);
    changed.config.seed = 99;
    changed.config.sides = [side("tempering", { warmup: 100 }), side("ula", { step_size: 0.3 })];
    assert.deepEqual(address.parse(address.format(changed)), { state: changed, problems: [] });
    changed.config.sides.length = 1;
    assert.deepEqual(address.parse(address.format(changed)), { state: changed, problems: [] });
  });
});

test("the order of the keys does not matter", () => {
  const { state, problems } = address.parse("#a-eps=0.3&a=hmc&lesson=2&b=none");
  assert.deepEqual(problems, []);
  assert.equal(state.config.sides.length, 1);
  assert.equal(state.config.sides[0].sampler.step_size, 0.3);
});

test("a mangled address keeps what is good and names what is not", () => {
  const { state, problems } = address.parse("#chains=0&seed=12&a=magic&a-eps=NaN&nonsense=1&pace=3&target=../../etc&show=%E0%A4%A&drawn=!!&hide=everything&lesson=7&embed=maybe&at=-1");
  const expected = defaultState();
  expected.config.seed = 12;
  assert.deepEqual(state, expected);
  assert.equal(problems.length, 12);
  assert.match(problems.join("\n"), /“chains” should be a whole number from 2 to 1,000, not “0”/);
  assert.equal(address.parse("#chains=100000").problems.length, 1);
});

test("names from Object.prototype are no settings", () => {
  assert.equal(address.parse("#constructor=1&__proto__=2").problems.length, 2);
  assert.equal(address.parse("#a=toString").problems.length, 1);
});

test("what does not fit together is told", () => {
  assert.equal(address.parse("#chains=12&superchains=5").state.config.superchains, 1);
  assert.match(address.parse("#chains=12&superchains=5").problems[0], /cannot be divided/);
  assert.equal(address.parse("#chains=8&chain=9").state.chain, null);
  assert.match(address.parse("#target=drawn").problems[0], /drawing/);
  assert.match(address.parse("#b=none&b-eps=1").problems[0], /second side/);
  assert.equal(address.parse("#seed=1&seed=2").problems.length, 1);
});
