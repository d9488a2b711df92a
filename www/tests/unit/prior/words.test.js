// Prior's numbers in words, and in the shapes that its charts want.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anomalyText, CHANCE, classMark, cloud, endedText, gridName, lossLines, lossRange, overlap, planeBounds, ratioText, scoreParts, sirText, stageName, worst } from "../../../prior/words.js";

const near = (/** @type {number} */ a, /** @type {number} */ b) => assert.ok(Math.abs(a - b) < 1e-6, `${a} is not ${b}`);

test("stages have names, and their ends have reasons", () => {
  assert.deepEqual([0, 1, 4].map(stageName), ["stage 0: N(0, I)", "stage 1: after 1 ratio", "stage 4: after 4 ratios"]);
  const info = (/** @type {string} */ ended, iterations = 3000) => endedText({ stage: 1, iterations, ended, checks: [] });
  assert.match(info("at chance"), /3,000 iterations; ended because the classifier could no longer distinguish/);
  assert.match(info("plateau"), /no longer fell/);
  assert.match(info("something new"), /something new/);
  assert.match(info(""), /does not give/);
  assert.equal(info("", 0), "nothing was learned for it");
});

test("a run is judged by its worst quantity, and an unknown one is not passed over", () => {
  const one = { name: "energy", rhat: 1.02, bulk_ess: 300, tail_ess: 150 };
  assert.deepEqual(worst([one, { name: "pc1", rhat: 1.3, bulk_ess: 40, tail_ess: 400 }]), { rhat: 1.3, bulk: 40, tail: 150 });
  assert.deepEqual(worst([one, { name: "pc1", rhat: null, bulk_ess: 400, tail_ess: null }]), { rhat: null, bulk: 300, tail: null });
  assert.deepEqual(worst([]), { rhat: null, bulk: null, tail: null });
});

test("few effective weights are told as what they are", () => {
  assert.match(sirText({ ess: 3.2, proposals: 4096, distinct: 5 }, 64), /4,096 proposals.*effective sample size of 3\.20.*5 different proposals\. This is too small: a few proposals carry/);
  assert.match(sirText({ ess: 1, proposals: 100, distinct: 1 }, 4), /1 different proposal\./);
  assert.match(sirText({ ess: 900, proposals: 4096, distinct: 64 }, 64), /enough for this many samples/);
});

test("two histograms have an overlap and a verdict", () => {
  const ratio = (/** @type {number[]} */ prior, /** @type {number[]} */ posterior) => ({ edges: Float32Array.from({ length: prior.length + 1 }, (_, i) => i), prior: Float32Array.from(prior), posterior: Float32Array.from(posterior) });
  near(overlap(ratio([0.5, 0.5], [0.5, 0.5])), 1);
  near(overlap(ratio([1, 0], [0, 1])), 0);
  near(overlap(ratio([0.75, 0.25], [0.25, 0.75])), 0.5);
  assert.match(ratioText(ratio([0.5, 0.5], [0.5, 0.5]), 2, "chains"), /overlap by 100 %: the chains already look like the data to classifier 2/);
  assert.match(ratioText(ratio([1, 0], [0, 1]), 1, "samples"), /classifier 1 still separates the samples/);
  assert.match(ratioText(null, 0, "chains"), /it has no classifier/);
});

test("the losses of all stages lie one after the other", () => {
  const check = (/** @type {number} */ iteration, /** @type {number} */ loss) => ({ iteration, loss, accuracy: 0.6 });
  const stages = [
    { stage: 0, iterations: 0, ended: "", checks: [] },
    { stage: 1, iterations: 250, ended: "plateau", checks: [check(100, 0.5), check(200, 0.4)] },
    { stage: 2, iterations: 100, ended: "at chance", checks: [check(100, 0.69)] },
  ];
  const { x, lines, spans } = lossLines(stages);
  assert.deepEqual(x, [100, 200, 350]);
  assert.deepEqual(lines, [{ stage: 1, values: [0.5, 0.4, null] }, { stage: 2, values: [null, null, 0.69] }]);
  assert.deepEqual(spans, [{ stage: 1, from: 0, to: 250 }, { stage: 2, from: 250, to: 350 }]);
  assert.deepEqual(lossLines([]), { x: [], lines: [], spans: [] });
  for (const values of [[0.1], [0.9], [], [CHANCE]]) {
    const [least, most] = lossRange(values);
    assert.ok(least < CHANCE && most > CHANCE, `chance is in sight of ${values}`);
  }
});

test("the plane has room for the latents and for N(0, I), in one unit", () => {
  const bounds = planeBounds(Float32Array.from([0, 0, 1, 1, -1, 0.5]));
  assert.ok(bounds[0] < -3 && bounds[1] > 3 && bounds[2] < -3 && bounds[3] > 3);
  const [x0, x1, y0, y1] = planeBounds(Float32Array.from([-9, 0, 9, 1, NaN, 4]));
  assert.ok(x0 < -9 && x1 > 9);
  near(x1 - x0, y1 - y0);
  assert.ok(planeBounds(new Float32Array()).every(Number.isFinite));
  const { n, x, y, sx, sy } = cloud(Float32Array.from([0, 0, 2, 0, NaN, 1, 50, 50]), (i) => i < 3);
  assert.deepEqual([n, x, y, sx, sy], [2, 1, 0, 1, 0]);
  assert.equal(classMark(["0", "1"], 1), "1");
  assert.equal(classMark(["T-shirt", "Trouser"], 1), "1");
  assert.equal(classMark([], 3), "3");
});

/** @returns {import("../../../contract/prior.js").Reconstruction} */
const result = () => ({ latent: new Float32Array(2), plane: [0, 0], image: new Uint8Array(4), mse: 0.01, score: 12, terms: { reconstruction: 10, gaussian: 3, ratios: Float32Array.from([2, -1]) }, percentiles: [{ below: 0.98, low: 0.975, high: 0.984 }], trace: new Float32Array(), elapsed_ms: 1 });

test("the parts of a score add up to it", () => {
  const parts = scoreParts(result());
  assert.deepEqual(parts.map(({ value }) => value), [10, 3, -2, 1]);
  assert.equal(parts.reduce((sum, { value }) => sum + value, 0), 12);
  assert.match(parts[2].name, /Ratio 1: −f₁/);
  assert.match(parts[2].meaning, /lowers the score/);
  assert.match(parts[3].meaning, /raises the score/);
});

test("an anomaly is told in a sentence, also without reference sets", () => {
  const sets = [{ name: "mnist", title: "MNIST test", images: 10000, auroc: null }];
  assert.equal(anomalyText(result(), sets), "98 % of the 10,000 images of MNIST test score lower: less typical than most of them.");
  assert.match(anomalyText({ ...result(), percentiles: [] }, []), /Its score is 12\.00\. This model has no reference scores/);
});

test("a saved grid tells where it came from", () => {
  const frame = (/** @type {object} */ more) => /** @type {import("../../../contract/prior.js").PriorFrame} */ ({ stage: 2, sampler: "mala", transitions: 400, ...more });
  assert.equal(gridName("latent-prior-mnist", frame({}), 7), "latent-prior-mnist-stage2-mala-seed7-step400.png");
  assert.equal(gridName("latent-prior-mnist", frame({ sampler: "sir", transitions: 0 }), 7), "latent-prior-mnist-stage2-sir-seed7.png");
});
