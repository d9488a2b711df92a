// The room Prior on WebGPU: the same weights walk the same chains as on the CPU build. A software
// adapter is slow, so this is one page, four chains and three transitions.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { offered } from "../../prior/models.js";
import { LONGEST_WEBGPU_TEST_MS, manifest, ready, startSession } from "./harness.js";

const timeout = LONGEST_WEBGPU_TEST_MS;
const [model] = offered(manifest);
/** Relative, of energies after the same transitions. */
const TOLERANCE = 1e-3;
const TRANSITIONS = 3;

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.end());

/** @param {boolean} cpu */
async function walked(cpu) {
  const rawHash = `#stages&model=${model?.name}&count=4&warmup=0&seed=5&stage=1&sampler=mala`;
  const page = await session.open({ rawHash, room: "prior.html", runtime: cpu ? "cpu" : "webgpu", wait: false });
  await ready(page);
  for (let step = 1; step <= TRANSITIONS; step += 1) {
    await page.locator("#p-step").click();
    await page.waitForFunction((least) => (/** @type {any} */ (globalThis).mixwellTest.frame()?.transitions ?? 0) >= least || document.documentElement.dataset.phase === "failed", step, { timeout: 400_000 });
  }
  const found = await page.evaluate(() => {
    const { frame, report, model: loaded } = /** @type {any} */ (globalThis).mixwellTest;
    const now = frame();
    return { runtime: report().runtime, self_test: loaded().self_test, transitions: now.transitions, energies: [...now.energies], images: [...now.images] };
  });
  assert.deepEqual(page.complaints, []);
  await page.context().close();
  return found;
}

test("chains, energies and images are the CPU build's", { timeout, skip: model ? false : "no latent prior in the manifest" }, async () => {
  const [gpu, cpu] = [await walked(false), await walked(true)];
  assert.deepEqual([gpu.runtime, cpu.runtime], ["webgpu", "cpu"]);
  assert.ok(gpu.self_test.passed && cpu.self_test.passed, JSON.stringify([gpu.self_test, cpu.self_test]));
  assert.deepEqual([gpu.transitions, cpu.transitions], [TRANSITIONS, TRANSITIONS]);
  gpu.energies.forEach((e, i) => assert.ok(Math.abs(e - cpu.energies[i]) <= TOLERANCE * Math.max(1, Math.abs(cpu.energies[i])), `energy ${i}: ${e} on WebGPU, ${cpu.energies[i]} on the CPU`));
  const worst = Math.max(...gpu.images.map((v, i) => Math.abs(v - cpu.images[i])));
  assert.ok(worst <= 1, `pixels differ by ${worst} of 255`);
  console.log(`self-test ${gpu.self_test.max_relative_error.toExponential(1)}, pixels ${worst} of 255`);
});
