import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyGrid, paint } from "../play-grid.js";
import { LESSONS } from "../play-lessons.js";
import { defaultState, formatState, inRange, parseState, presetState, samplerConfig, side } from "../play-url.js";

test("an empty address gives the defaults without complaint", () => {
  for (const hash of ["", "#", "#&&"]) assert.deepEqual(parseState(hash), { state: defaultState(), problems: [] });
  assert.equal(formatState(defaultState()), "#");
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
  assert.deepEqual(parseState(formatState(state)), { state, problems: [] });
});

test("every lesson survives, as it is and changed", () => {
  LESSONS.forEach((_, index) => {
    const preset = presetState(index + 1);
    assert.equal(formatState(preset), `#lesson=${index + 1}`);
    assert.deepEqual(parseState(`#lesson=${index + 1}`), { state: preset, problems: [] });
    const changed = structuredClone(preset);
    changed.config.seed = 99;
    changed.config.sides = [side("tempering", { warmup: 100 }), side("ula", { step_size: 0.3 })];
    assert.deepEqual(parseState(formatState(changed)), { state: changed, problems: [] });
    changed.config.sides.length = 1;
    assert.deepEqual(parseState(formatState(changed)), { state: changed, problems: [] });
  });
});

test("the order of the keys does not matter", () => {
  const { state, problems } = parseState("#a-eps=0.3&a=hmc&lesson=2&b=none");
  assert.deepEqual(problems, []);
  assert.equal(state.config.sides.length, 1);
  assert.equal(state.config.sides[0].sampler.step_size, 0.3);
});

test("a mangled address keeps what is good and names what is not", () => {
  const { state, problems } = parseState("#chains=0&seed=12&a=magic&a-eps=NaN&nonsense=1&pace=3&target=../../etc&show=%E0%A4%A&drawn=!!&hide=everything&lesson=7&embed=maybe&at=-1");
  const expected = defaultState();
  expected.config.seed = 12;
  assert.deepEqual(state, expected);
  assert.equal(problems.length, 12);
  assert.match(problems.join("\n"), /“chains” should be a whole number from 2 to 1,000, not “0”/);
  assert.equal(parseState("#chains=100000").problems.length, 1);
});

test("names from Object.prototype are no settings", () => {
  assert.equal(parseState("#constructor=1&__proto__=2").problems.length, 2);
  assert.equal(parseState("#a=toString").problems.length, 1);
});

test("what does not fit together is told", () => {
  assert.equal(parseState("#chains=12&superchains=5").state.config.superchains, 1);
  assert.match(parseState("#chains=12&superchains=5").problems[0], /cannot be divided/);
  assert.equal(parseState("#chains=8&chain=9").state.chain, null);
  assert.match(parseState("#target=drawn").problems[0], /drawing/);
  assert.match(parseState("#b=none&b-eps=1").problems[0], /second side/);
  assert.equal(parseState("#seed=1&seed=2").problems.length, 1);
});

test("numbers are plain decimals", () => {
  for (const text of ["", " ", "0x10", "1,5", "Infinity", "1e", "--2", "12.5"]) assert.equal(inRange("chains", true, text), undefined);
  assert.equal(inRange("eps", false, "1e-3"), 0.001);
});
