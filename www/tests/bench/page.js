// `npm run bench`: what a transition of the built page costs on WebGPU: dispatches, submissions, buffers,
// readbacks and time, counted in the engine's worker. Writes docs/bench/page.json. On a software adapter the
// counts are those of every GPU; the milliseconds only compare builds on the same machine.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { manifest, ready, startSession } from "../browser/harness.js";

/** @import { Page } from "playwright-core" */

const FILE = new URL("../../../docs/bench/page.json", import.meta.url);

/** Before the engine's script: counts what it asks of WebGPU. */
const COUNTING = `
globalThis.mixwellCounts = { dispatches: 0, submits: 0, buffers: 0, bind_groups: 0, map_async: 0, passes: 0 };
for (const [type, method, name] of [
  ["GPUComputePassEncoder", "dispatchWorkgroups", "dispatches"],
  ["GPUQueue", "submit", "submits"],
  ["GPUDevice", "createBuffer", "buffers"],
  ["GPUDevice", "createBindGroup", "bind_groups"],
  ["GPUBuffer", "mapAsync", "map_async"],
  ["GPUCommandEncoder", "beginComputePass", "passes"],
]) {
  const { prototype } = globalThis[type];
  const before = prototype[method];
  prototype[method] = function (...args) {
    globalThis.mixwellCounts[name] += 1;
    return before.apply(this, args);
  };
}
`;

const session = await startSession();
session.server.fault("/engine.js", { kind: "preface", script: COUNTING });

/** @param {Page} page */
async function counts(page) {
  const engine = page.workers().find((worker) => worker.url().endsWith("/engine.js"));
  if (!engine) throw new Error("The engine's worker is not there.");
  return { .../** @type {Record<string, number>} */ (await engine.evaluate(() => /** @type {any} */ (globalThis).mixwellCounts)), now: performance.now() };
}

/**
 * A page on WebGPU, ready, and the seconds until then.
 * @param {string} room
 * @param {string} rawHash
 */
async function open(room, rawHash) {
  const began = performance.now();
  const page = await session.open({ room, rawHash, runtime: "webgpu", wait: false });
  await ready(page);
  return { page, seconds_to_ready: (performance.now() - began) / 1000 };
}

/** What one of so many steps costs, between two counts. @param {Record<string, number>} from @param {Record<string, number>} to @param {number} steps */
function each(from, to, steps) {
  return Object.fromEntries(Object.entries(to).map(([name, value]) => [name === "now" ? "ms_per_step" : `${name}_per_step`, (value - from[name]) / steps]));
}

const model = manifest.models.find(({ name }) => name.startsWith("clel-"))?.name;

/** Steps 3 to 8 of a generation. @param {number} count chains */
async function generate(count) {
  const { page, seconds_to_ready } = await open("studio.html", `#generate&model=${model}&count=${count}&steps=40&rounds=1&seed=7`);
  await page.locator("#g-main").click();
  const reached = async (/** @type {number} */ step) => {
    await page.waitForFunction((wanted) => /** @type {any} */ (globalThis).mixwellTest.generated()?.step >= wanted, step, { timeout: 600_000, polling: 20 });
    return { ...(await counts(page)), step: await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.generated().step) };
  };
  const [from, to] = [await reached(3), await reached(12)];
  const { step_per_step: _, ...found } = each(from, to, to.step - from.step);
  await page.context().close();
  return { chains: count, steps: to.step - from.step, seconds_to_ready, ...found };
}

/** Transitions of the Race, one by one. */
async function race() {
  const { page, seconds_to_ready } = await open("", "#chains=4&warmup=0&sampler=mala&seed=7");
  const step = async (/** @type {number} */ wanted) => {
    await page.click("#step");
    await page.waitForFunction((index) => /** @type {any} */ (globalThis).mixwellTest.lastFrame().index >= index, wanted, { timeout: 600_000, polling: 20 });
    return counts(page);
  };
  const from = await step(1);
  const to = await step(2);
  await page.context().close();
  const { ms_per_step, ...found } = each(from, to, 1);
  return { seconds_to_ready, ms_per_transition: ms_per_step, ...Object.fromEntries(Object.entries(found).map(([name, value]) => [name.replace("per_step", "per_transition"), value])) };
}

try {
  const report = {
    date: new Date().toISOString().slice(0, 10),
    commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim(),
    machine: `${cpus().length} × ${cpus()[0].model}`,
    browser: `Chromium ${session.browser.version()}, SwiftShader`,
    generate: await generate(4),
    generate_64: process.argv.includes("--quick") ? null : await generate(64),
    race: process.argv.includes("--no-race") ? null : await race(),
  };
  const before = JSON.parse(readFileSync(FILE, { encoding: "utf8", flag: "a+" }) || "{}");
  const merged = { ...before, ...Object.fromEntries(Object.entries(report).filter(([, value]) => value !== null)) };
  writeFileSync(FILE, `${JSON.stringify(merged, null, 2)}\n`);
  console.log(JSON.stringify(report, null, 2));
} finally {
  await session.end();
}
