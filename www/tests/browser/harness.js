// What all browser tests share: the built page behind a server, Chromium, and the few things one
// does with the page. A test drives the page as a visitor would (clicks, keys, the address) and
// reads the numbers through `mixwellTest`, which the page offers with ?test.
//
//   MIXWELL_DIST    the built page; default: dist/ of the repository
//   MIXWELL_SHOTS   where screenshots go; default: shots/ beside this file
//   MIXWELL_NATIVE  report of `mixwell race … --json`, for the parity tests
//   CHROMIUM        the browser; default: chromium or google-chrome, wherever it is

import assert from "node:assert/strict";
import { accessSync, constants, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startServer } from "./server.js";

/** @import { Manifest } from "../../contract/models.js" */
/** @import { Frame } from "../../contract/race.js" */
/** @import { Browser, BrowserContextOptions, Page } from "playwright-core" */

const here = fileURLToPath(new URL(".", import.meta.url));
export const DIST = resolve(process.env.MIXWELL_DIST ?? join(here, "../../../dist"));
const SHOTS = resolve(process.env.MIXWELL_SHOTS ?? join(here, "shots"));

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** No single test may take longer, on the CPU build … */
export const LONGEST_TEST_MS = 240_000;
/** … and on a software WebGPU adapter, where one transition takes up to 20 CPU seconds. */
export const LONGEST_WEBGPU_TEST_MS = 900_000;
/** Until Chromium's GPU process has started. */
export const ADAPTER_MS = 60_000;
/** From the address to the first picture: download, compilation, self-test. */
const READY_MS = 300_000;
/** Until a failure shows, with all the attempts before it. */
const CARD_MS = 100_000;
/** One transition on both sides, the first of which may compile. */
const STEP_MS = 240_000;

/** @type {Manifest} */
export const manifest = readManifest();
/** The model that the page shows unasked. */
export const model = manifest.models.find(({ name }) => name === "flow-ebm-mnist") ?? manifest.models[0];
export const weights = { ...file("weights.safetensors"), path: `/models/${model.name}/weights.safetensors` };

function readManifest() {
  try {
    return JSON.parse(readFileSync(join(DIST, "models/manifest.json"), "utf8"));
  } catch (error) {
    throw new Error(`There is no built page in ${DIST} (MIXWELL_DIST): ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * The scripts of a built page: its own, then what that imports.
 * @param {string} page
 */
export function scriptsOf(page) {
  const html = readFileSync(join(DIST, page), "utf8");
  return [...html.matchAll(/<(?:script type="module" src|link rel="modulepreload" href)="\.\/([^"]+)"/g)].map(([, name]) => `/${name}`);
}

/** @param {string} path */
function file(path) {
  const found = model.files.find((candidate) => candidate.path === path);
  assert.ok(found, `the manifest lists ${path} for ${model.name}`);
  return found;
}

/** @param {string} path */
function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The first of these programs that there is: Debian's, or one on PATH.
 * @param {string[]} names
 */
export function findProgram(names) {
  const folders = ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)];
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(executable);
}

function findChromium() {
  const found = process.env.CHROMIUM || findProgram(["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]);
  if (!found) throw new Error("No Chromium on PATH; set CHROMIUM to its executable.");
  return found;
}

const FLAGS = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** Without these, requestAdapter() gives null on a machine without a GPU. */
const WEBGPU_FLAGS = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/**
 * A server and a browser for one file of tests, and the end of both.
 * @param {{ webgpu?: boolean, headers?: Record<string, string> }} [options] headers: of every answer
 */
export async function startSession({ webgpu = true, headers } = {}) {
  const server = await startServer(DIST, headers);
  const browser = await chromium.launch({ executablePath: findChromium(), args: [...FLAGS, ...(webgpu ? WEBGPU_FLAGS : [])], timeout: 60_000 });
  if (webgpu) await adapterReady(browser, server.url);
  return {
    server,
    browser,
    /** @param {OpenOptions} [options] */
    open: (options) => open(browser, server.url, options),
    /** After each test: no page computes on, no fault stays. */
    async tidy() {
      server.heal();
      server.forget();
      for (const context of browser.contexts()) await context.close();
    },
    async end() {
      await browser.close();
      await server.close();
    },
  };
}

/**
 * On a busy machine Chromium's GPU process may start so late that a first page finds no adapter,
 * with all its asking. What follows is about mixwell, so it waits for the browser.
 * @param {Browser} browser
 * @param {string} url its server; a secure context is all that is needed
 */
async function adapterReady(browser, url) {
  const page = await browser.newPage();
  await page.goto(`${url}models/manifest.json`);
  const until = Date.now() + ADAPTER_MS;
  for (let nulls = 0; ; nulls += 1) {
    if (await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()))) {
      if (nulls > 0) console.log(`# Chromium had no adapter at first: ${nulls} times null`);
      break;
    }
    if (Date.now() > until) throw new Error(`Chromium offers no WebGPU adapter, ${nulls} times asked in ${ADAPTER_MS / 1000} s.`);
    await page.waitForTimeout(500);
  }
  await page.context().close();
}

/**
 * @typedef {object} OpenOptions
 * @property {Record<string, string | number>} [hash] settings in the address
 * @property {string} [rawHash] the same, as it stands
 * @property {boolean} [cpu] ask for the CPU build
 * @property {BrowserContextOptions} [context]
 * @property {boolean} [wait] until the race is ready (default), or not
 * @property {string} [room] the page, if it is not the race
 * @property {"" | "cpu" | "webgpu"} [runtime] of the address; SwiftShader is used only where it is asked for
 * @property {(page: Page) => Promise<unknown>} [prepare] before anything loads
 */

/** A page with everything that it complained about. @typedef {Page & { complaints: string[] }} WatchedPage */

/**
 * A page in a fresh profile.
 * @param {Browser} browser
 * @param {string} url
 * @param {OpenOptions} [options]
 * @returns {Promise<WatchedPage>}
 */
async function open(browser, url, { hash = {}, rawHash, cpu = false, runtime = cpu ? "cpu" : "", context, wait = true, room = "", prepare } = {}) {
  const profile = await browser.newContext({ viewport: { width: 1280, height: 1100 }, ...context });
  const page = Object.assign(await profile.newPage(), { complaints: /** @type {string[]} */ ([]) });
  // Workers inside workers are heard here too; webgpu.test.js proves it.
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  await prepare?.(page);
  await page.goto(`${url}${room}?test${runtime ? `&runtime=${runtime}` : ""}${rawHash ?? hashOf(hash)}`);
  if (wait) await ready(page);
  return page;
}

/** @param {Record<string, string | number>} settings */
export function hashOf(settings) {
  return `#${Object.entries(settings)
    .map(([key, value]) => `${key}=${value}`)
    .join("&")}`;
}

/** The cheapest race: few chains, no warm-up. */
export const SMALL = { chains: 4, warmup: 0, sampler: "ula", seed: 7 };

/**
 * Waits for the race to stand at its start; agrees to a large download; fails with the page's own
 * words when it shows an error card.
 * @param {Page} page
 */
export async function ready(page) {
  const consent = page.locator("#card .ways button", { hasText: /^Download / });
  const outcome = page.locator("html[data-phase=ready], html[data-phase=failed]");
  await consent.or(outcome).first().waitFor({ state: "attached", timeout: READY_MS });
  if (await consent.isVisible()) {
    await consent.click();
    await outcome.waitFor({ state: "attached", timeout: READY_MS });
  }
  assert.equal(await phase(page), "ready", `the page shows: ${await page.locator("#card").innerText()}`);
}

/** @param {Page} page */
export const phase = (page) => page.evaluate(() => document.documentElement.dataset.phase);

/**
 * Waits for the error card of a kind and returns its text.
 * @param {Page} page
 * @param {string} kind
 */
export async function errorCard(page, kind) {
  await page.locator("html[data-phase=failed]").waitFor({ state: "attached", timeout: CARD_MS });
  const card = page.locator("#card");
  assert.ok(await card.isVisible(), "the card can be seen");
  assert.equal(await card.getAttribute("data-kind"), kind, await card.innerText());
  return card.innerText();
}

/** @param {Page} page @param {string} label of one of the card's buttons */
export const chooseWay = (page, label) => page.locator("#card .ways").getByRole("button", { name: label, exact: true }).click();

/**
 * Waits for a notice and returns its text.
 * @param {Page} page
 * @param {string} key
 * @param {number} [timeout] a device that comes back compiles everything anew
 */
export async function noticeText(page, key, timeout = key === "recovered" ? READY_MS : 10_000) {
  const notice = page.locator(`#notices li[data-key="${key}"]`);
  await notice.waitFor({ state: "visible", timeout });
  return notice.innerText();
}

/**
 * A frame as plain numbers, with the bits of its floats.
 * @typedef {object} Seen
 * @property {number} index
 * @property {SeenSide[]} sides
 * @property {string[]} tiles what is on the screen: the chain images as data URLs, both sides
 *
 * @typedef {object} SeenSide
 * @property {string} space
 * @property {number} gradients
 * @property {number} transitions
 * @property {number | null} acceptance
 * @property {number} step_size
 * @property {number} temperature
 * @property {number} broken_chains
 * @property {number[]} images
 * @property {Record<string, number[]>} bits of the traces
 * @property {number[]} clock
 * @property {number[]} energy of each chain after the last draw; empty if there is none
 * @property {string} summaries
 */

/**
 * The last frame, as the page holds it and as it shows it.
 * @param {Page} page
 * @returns {Promise<Seen>}
 */
export function look(page) {
  return page.evaluate(() => {
    /** @type {Frame} */
    const frame = /** @type {any} */ (globalThis).mixwellTest.lastFrame();
    const chains = document.querySelectorAll("#pixel-tiles canvas").length;
    return {
      index: frame.index,
      sides: frame.sides.map((side) => ({
        space: side.space,
        gradients: side.gradients,
        transitions: side.transitions,
        acceptance: side.acceptance,
        step_size: side.step_size,
        temperature: side.temperature,
        broken_chains: side.broken_chains,
        images: [...side.images],
        bits: Object.fromEntries(Object.entries(side.traces).map(([name, values]) => [name, [...new Uint32Array(Float32Array.from(values).buffer)]])),
        clock: [...side.trace_clock],
        energy: [...(side.traces.energy ?? [])].slice(-chains),
        summaries: JSON.stringify(side.summaries),
      })),
      tiles: Array.from(document.querySelectorAll("#pixel-tiles canvas, #latent-tiles canvas"), (canvas) => /** @type {HTMLCanvasElement} */ (canvas).toDataURL()),
    };
  });
}

/**
 * Whether two looks are the same to the last bit. Says where they differ, not how: that would be
 * thousands of numbers.
 * @param {Seen} a
 * @param {Seen} b
 * @param {string} when
 */
export function assertSame(a, b, when) {
  const differing = [];
  const parts = (/** @type {Seen} */ { index, tiles, sides }) => Object.entries({ index, tiles, ...Object.fromEntries(sides.flatMap((side) => Object.entries(side).map(([name, value]) => [`${side.space}.${name}`, value]))) });
  const [left, right] = [parts(a), parts(b)];
  assert.equal(left.length, right.length);
  for (const [i, [name, value]] of left.entries()) if (JSON.stringify(value) !== JSON.stringify(right[i][1])) differing.push(name);
  assert.deepEqual(differing, [], `${when}: these differ`);
}

/**
 * Waits for the frame with this index.
 * @param {Page} page
 * @param {number} index
 */
export async function frame(page, index) {
  await page.waitForFunction((wanted) => /** @type {any} */ (globalThis).mixwellTest.lastFrame().index === wanted || document.documentElement.dataset.phase === "failed", index, { timeout: STEP_MS });
  assert.notEqual(await phase(page), "failed", await page.locator("#card").innerText());
}

/**
 * Takes one transition on each side, by button or by key.
 * @param {Page} page
 * @param {number} [times]
 * @param {string} [key]
 */
export async function step(page, times = 1, key) {
  let { index } = await look(page);
  for (let taken = 0; taken < times; taken += 1) {
    await (key ? page.keyboard.press(key) : page.locator("#step").click());
    await frame(page, (index += 1));
  }
}

/**
 * Does something that starts the race again and waits until it stands at its new start.
 * @param {Page} page
 * @param {() => Promise<unknown>} action
 */
export async function restarted(page, action) {
  await page.evaluate(() => {
    const global = /** @type {any} */ (globalThis);
    global.frameBefore = global.mixwellTest.lastFrame();
  });
  await action();
  await page.waitForFunction(
    () => {
      const global = /** @type {any} */ (globalThis);
      const last = global.mixwellTest.lastFrame();
      const { phase } = document.documentElement.dataset;
      return phase === "failed" || (last !== global.frameBefore && last.index === 0 && phase === "ready");
    },
    undefined,
    { timeout: READY_MS },
  );
  assert.equal(await phase(page), "ready", await page.locator("#card").innerText());
}

/** Another address, as if it were typed. @param {Page} page @param {string} hash */
export const goTo = (page, hash) => page.evaluate((next) => void (location.hash = next), hash);

/** The settings that the page works with. @param {Page} page */
export const stateOf = (page) => page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.state());

/** @param {Page} page */
export const reportOf = (page) => page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.report());

/**
 * The two cells of a row of the comparison, without the small print.
 * @param {Page} page
 * @param {string} label
 */
export async function row(page, label) {
  const line = page.locator("#numbers tr", { has: page.locator("th", { hasText: label }) });
  return line.locator("td .main").allInnerTexts();
}

/** @param {Page} page @param {string} where */
export async function assertAccessible(page, where) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.addScriptTag({ path: AXE });
  const { violations, passes } = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run());
  assert.ok(passes.length > 10, `axe looked at ${passes.length} rules`);
  const told = violations.map((/** @type {any} */ { id, help, nodes }) => `${id}: ${help}: ${nodes.map((/** @type {any} */ node) => node.html.slice(0, 140)).join(" | ")}`);
  assert.deepEqual(told, [], where);
}

/** @param {Page} page @param {string} name @param {boolean} [fullPage] */
export async function shot(page, name, fullPage = false) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage, timeout: 60_000 });
}

/**
 * Has the page itself note, from now on,
 * - how long each pause takes: from the moment the browser received the key or click to the moment
 *   the page, having the worker's answer, says that it is paused;
 * - the clock, index and images of every frame.
 * @param {Page} page
 */
export async function watch(page) {
  await page.evaluate(() => {
    const global = /** @type {any} */ (globalThis);
    const again = global.seen !== undefined;
    const seen = { pauses: /** @type {number[]} */ ([]), frames: /** @type {SeenFrame[]} */ ([]) };
    global.seen = seen;
    if (again) return;
    const root = document.documentElement;
    const status = /** @type {HTMLElement} */ (document.getElementById("status"));
    let asked = 0;
    for (const type of ["keydown", "click"]) {
      addEventListener(
        type,
        (event) => {
          if (root.dataset.phase === "running") asked = event.timeStamp;
        },
        { capture: true },
      );
    }
    new MutationObserver(() => {
      if (status.textContent?.startsWith("Paused.")) global.seen.pauses.push(performance.now() - asked);
    }).observe(status, { childList: true, characterData: true, subtree: true });
    // The attribute is written for every frame, also with the value that it has.
    new MutationObserver((records) => {
      const frame = /** @type {Frame} */ (global.mixwellTest.lastFrame());
      for (const _ of records) global.seen.frames.push({ index: frame.index, clock: Number(root.dataset.clock), images: frame.sides.map((side) => side.images.join()).join("|") });
    }).observe(root, { attributes: true, attributeFilter: ["data-clock"] });
  });
}

/** @typedef {{ index: number, clock: number, images: string }} SeenFrame */

/** @param {Page} page @returns {Promise<{ pauses: number[], frames: SeenFrame[] }>} */
export const seenBy = (page) => page.evaluate(() => /** @type {any} */ (globalThis).seen);

/**
 * Starts the race and waits for so many new frames.
 * @param {Page} page
 * @param {number} frames
 * @param {() => Promise<void>} press
 */
export async function runFor(page, frames, press) {
  const { index } = await look(page);
  await press();
  await frameFrom(page, index + frames);
  assert.equal(await phase(page), "running");
}

/** Pauses, and waits until the page says so. @param {Page} page @param {() => Promise<void>} press */
export async function pauseBy(page, press) {
  const before = (await seenBy(page)).pauses.length;
  await press();
  await page.waitForFunction((least) => /** @type {any} */ (globalThis).seen.pauses.length > least, before);
  assert.equal(await phase(page), "ready");
}

/**
 * The page promises an answer within 100 ms. The median counts: on a machine that computes on all
 * cores the scheduler alone may hold up one of them, but not most.
 * @param {Page} page
 * @param {import("node:test").TestContext} t
 * @param {number} count how many there must be
 */
export async function assertPausedAtOnce(page, t, count) {
  const { pauses } = await seenBy(page);
  t.diagnostic(`pauses took ${pauses.map((ms) => ms.toFixed(1)).join(", ")} ms`);
  assert.equal(pauses.length, count);
  assert.ok(pauses.toSorted((a, b) => a - b)[count >> 1] <= 100, `pauses took ${pauses} ms`);
}

/** Waits for a frame with this index or a later one. @param {Page} page @param {number} index */
export async function frameFrom(page, index) {
  await page.waitForFunction((least) => /** @type {any} */ (globalThis).mixwellTest.lastFrame().index >= least || document.documentElement.dataset.phase === "failed", index, { timeout: STEP_MS });
  assert.notEqual(await phase(page), "failed", await page.locator("#card").innerText());
}

/** What a native run of the same race reports, if there is one. */
export function nativeReport() {
  const path = process.env.MIXWELL_NATIVE;
  return path ? JSON.parse(readFileSync(path, "utf8")) : null;
}

/** How far the energies of a chain may be from the native ones, relative; see `assertAsNative`. */
const EACH_CHAIN = 1e-3;
const MOST_CHAINS = 1e-4;

export const NO_NATIVE = "MIXWELL_NATIVE is not set: write the report of `mixwell race NAME --sampler ula --steps 20 --warmup 0 --chains 4 --seed 7 --start-scale 1.2 --json` to a file and name it there";

/**
 * Runs the race of a native report in the page, step by step, and holds the energies of the last
 * draw against the native ones, relative to max(1, |E|).
 *
 * The tolerance. Both runs compute in f32 from the same counter-based noise; they differ in the
 * order in which matrix products and convolutions add up and in the device's exp and log, about
 * 1e-7 a step, and in nothing else. Where a chain contracts, that is where it stays; where it
 * starts in a place too curved for the (unadjusted, fixed) step size, every step multiplies it.
 * Measured after 20 steps from the default starts: pixel at most 9.9e-7 on the CPU build; from
 * wider starts, one chain in four reached 1.1e-4 in latent space and the others 1e-8.
 *
 * So each chain has to agree to 1e-3 and more than half of them to 1e-4, while the chains travel
 * 5e-2 (pixel) and further (latent). A wrong kernel, step size, seed or number of steps moves all
 * of them by as much as they travel; that this is at least ten times the tolerance is asserted, or
 * the comparison would say nothing.
 * @param {Page} page which stands at the start of `nativeHash(native)`
 * @param {any} native
 * @param {import("node:test").TestContext} t
 */
export async function assertAsNative(page, native, t) {
  const steps = native.sides[0].gradients_per_chain;
  assert.equal(native.config.sampler, "ula", "one gradient is one step");
  assert.ok(steps >= 20, `the native run took ${steps} steps`);
  await step(page);
  const first = await look(page);
  await step(page, steps - 1);
  const last = await look(page);
  assert.equal(last.sides.length, 2);
  for (const [s, side] of last.sides.entries()) {
    const reference = native.sides[s];
    assert.equal(side.space, reference.space);
    assert.equal(side.gradients, reference.gradients_per_chain);
    assert.equal(side.step_size, reference.step_size, "both take the card's step size");
    assert.equal(side.temperature, reference.temperature);
    assert.equal(side.energy.length, native.config.chains);
    assert.equal(reference.last_energy.length, native.config.chains);
    const apart = (/** @type {number[]} */ energies) => energies.map((value, chain) => Math.abs(value - reference.last_energy[chain]) / Math.max(1, Math.abs(reference.last_energy[chain])));
    const distances = apart(side.energy);
    const travelled = Math.max(...apart(first.sides[s].energy));
    t.diagnostic(`${side.space}: energies differ by ${distances.map((value) => value.toExponential(1)).join(", ")}, relative; the chains travelled ${travelled.toExponential(1)}`);
    assert.ok(travelled > 10 * EACH_CHAIN, `${side.space}: the chains moved (${travelled})`);
    assert.ok(distances.every((distance) => distance < EACH_CHAIN), `${side.space}: relative differences ${distances}`);
    assert.ok(distances.filter((distance) => distance < MOST_CHAINS).length > distances.length / 2, `${side.space}: relative differences ${distances}`);
  }
}

/** The address of the race that a native report describes. @param {any} native */
export function nativeHash({ config }) {
  return {
    model: config.model,
    sampler: config.sampler,
    chains: config.chains,
    warmup: config.warmup,
    seed: config.seed,
    start: config.start_scale,
    leapfrog: config.leapfrog_steps,
    adapt: config.adapt ? "on" : "off",
    "pixel-T": config.pixel.temperature,
    "latent-T": config.latent.temperature,
  };
}
