// The Studio on WebGPU: the same weights, the same numbers as on the CPU build. A software adapter is
// slow, so this is one page, two images and two steps.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LONGEST_WEBGPU_TEST_MS, manifest, ready, startSession } from "./harness.js";

const timeout = LONGEST_WEBGPU_TEST_MS;
const model = manifest.models.find(({ name }) => name.startsWith("clel-"));
/** Relative, of energies after the same steps: f32 sums in another order, twice through the network. */
const TOLERANCE = 1e-3;

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.end());

/** @param {boolean} cpu */
async function made(cpu) {
  const rawHash = `#generate&model=${model?.name}&count=2&steps=2&rounds=1&seed=5`;
  const page = await session.open({ rawHash, room: "studio.html", runtime: cpu ? "cpu" : "webgpu", wait: false });
  await ready(page);
  await page.locator("#g-main").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.runPhase() === "done" || document.documentElement.dataset.phase === "failed", undefined, { timeout: 400_000 });
  const found = await page.evaluate(() => {
    const { generated, report, model: loaded } = /** @type {any} */ (globalThis).mixwellTest;
    const frame = generated();
    return { runtime: report().runtime, self_test: loaded().self_test, step: frame.step, energies: [...frame.energies], images: [...frame.images], verdict: frame.verdict && [...frame.verdict] };
  });
  assert.deepEqual(page.complaints, []);
  await page.context().close();
  return found;
}

test("energies, images and verdicts are the CPU build's", { timeout, skip: model ? false : "no CLEL model in the manifest" }, async () => {
  const [gpu, cpu] = [await made(false), await made(true)];
  assert.deepEqual([gpu.runtime, cpu.runtime], ["webgpu", "cpu"]);
  assert.ok(gpu.self_test.passed && cpu.self_test.passed, JSON.stringify([gpu.self_test, cpu.self_test]));
  assert.deepEqual([gpu.step, cpu.step], [2, 2]);
  gpu.energies.forEach((e, i) => assert.ok(Math.abs(e - cpu.energies[i]) <= TOLERANCE * Math.abs(cpu.energies[i]), `energy ${i}: ${e} on WebGPU, ${cpu.energies[i]} on the CPU`));
  const worst = Math.max(...gpu.images.map((v, i) => Math.abs(v - cpu.images[i])));
  assert.ok(worst <= 1, `pixels differ by ${worst} of 255`);
  gpu.verdict?.forEach((p, i) => assert.ok(Math.abs(p - cpu.verdict[i]) < 1e-3));
  console.log(`self-test ${gpu.self_test.max_relative_error.toExponential(1)}, pixels ${worst} of 255`);
});
