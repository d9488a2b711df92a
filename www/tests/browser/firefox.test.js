// The page in Firefox, whose compilers of WebAssembly and of shaders are not Chromium's: the race in both
// builds, every other room on the CPU, and the numbers against Chromium's.
//
//   FIREFOX    the browser; if it is set, a missing one fails. Else Debian's firefox-esr, or nothing here
//              is run: a Firefox in a snap cannot be driven, since it sees no profile in /tmp.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import puppeteer from "puppeteer-core";
import { ADAPTER_MS, DIST, findProgram, hashOf, LONGEST_TEST_MS, look, SMALL, startSession, step } from "./harness.js";
import { startServer } from "./server.js";

/** @import { Browser, Page } from "puppeteer-core" */
/** @import { Frame } from "../../contract/race.js" */

const timeout = LONGEST_TEST_MS;
const executablePath = process.env.FIREFOX || findProgram(["firefox-esr"]);
const skip = executablePath ? false : "there is no firefox-esr (FIREFOX names another Firefox)";
/** A frame's energies may differ by so much between a GPU and a CPU, relative to the energy. */
const TOLERANCE = 1e-4;

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
before(async () => {
  server = await startServer(DIST);
});
after(() => server?.close());

/** @param {boolean} webgpu */
async function start(webgpu) {
  // Off by default where drivers are not trusted yet; a software adapter counts as such.
  const prefs = { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true };
  // The window has the size, not a viewport set later: that asks for a screen orientation too, which an older
  // Firefox (140) does not know.
  const size = { defaultViewport: null, args: ["--width=1280", "--height=1100"] };
  return puppeteer.launch({ browser: "firefox", executablePath: executablePath ?? "", headless: true, ...size, extraPrefsFirefox: webgpu ? prefs : { "dom.webgpu.enabled": false } });
}

/**
 * A page, ready, with everything that it complained about.
 * @param {Browser} browser
 * @param {string} address
 */
async function open(browser, address) {
  const page = await browser.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
  page.on("pageerror", (error) => void complaints.push(String(error)));
  await page.goto(`${server.url}${address}`);
  const outcome = await page.waitForFunction(
    () => {
      for (const way of document.querySelectorAll("#card .ways button")) if (way instanceof HTMLElement && /^Download /.test(way.innerText)) way.click();
      const { phase } = document.documentElement.dataset;
      return phase === "ready" || phase === "failed" ? phase : false;
    },
    { timeout, polling: 200 },
  );
  assert.equal(await outcome.jsonValue(), "ready", await page.$eval("#card", (card) => card.textContent ?? ""));
  return { page, complaints };
}

/**
 * Energies of each side after so many transitions.
 * @param {Page} page
 * @param {number} count
 */
async function energiesAfter(page, count) {
  for (let taken = 1; taken <= count; taken += 1) {
    await page.click("#step");
    await page.waitForFunction((wanted) => /** @type {any} */ (globalThis).mixwellTest.lastFrame().index >= wanted, { timeout, polling: 200 }, taken);
  }
  const energies = await page.evaluate((chains) => {
    /** @type {Frame} */
    const frame = /** @type {any} */ (globalThis).mixwellTest.lastFrame();
    return frame.sides.map(({ traces }) => [...(traces.energy ?? [])].slice(-chains));
  }, SMALL.chains);
  assert.deepEqual(energies.map((side) => side.filter(Number.isFinite).length), [SMALL.chains, SMALL.chains]);
  return energies;
}

describe("the CPU build in Firefox", { skip }, () => {
  /** @type {Browser} */
  let browser;
  before(async () => {
    browser = await start(false);
  });
  afterEach(async () => {
    for (const page of await browser.pages()) await page.goto("about:blank");
  });
  after(() => browser?.close());

  test("walks as in Chromium, to the last bit", { timeout }, async () => {
    const { page, complaints } = await open(browser, `?test${hashOf(SMALL)}`);
    const report = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.report());
    assert.deepEqual([report.runtime, report.reason_kind], ["cpu", "no-webgpu"]);
    const found = await energiesAfter(page, 3);
    assert.deepEqual(complaints, []);
    const session = await startSession({ webgpu: false });
    try {
      const chromium = await session.open({ hash: SMALL, cpu: true });
      await step(chromium, 3);
      const expected = (await look(chromium)).sides.map(({ energy }) => energy);
      assert.deepEqual(found, expected);
    } finally {
      await session.end();
    }
  });

  for (const [room, hash, button, moved] of [
    ["playground.html", "#chains=4&a-warmup=5&b=none", "#step", "lastFrame().sides[0].transitions"],
    ["studio.html", "#generate&count=4&steps=6&rounds=1&seed=7", "#g-main", "generated()?.step"],
    ["prior.html", "#stages&count=4&warmup=4&seed=7&stage=1&sampler=mala", "#p-step", "frame()?.transitions"],
  ]) {
    test(`${room} opens and moves`, { timeout }, async () => {
      const { page, complaints } = await open(browser, `${room}?test&runtime=cpu${hash}`);
      await page.click(button);
      await page.waitForFunction(`globalThis.mixwellTest.${moved} >= 1`, { timeout, polling: 200 });
      assert.deepEqual(complaints, []);
    });
  }
});

describe("the WebGPU build in Firefox", { skip }, () => {
  /** @type {Browser} */
  let browser;
  before(async () => {
    browser = await start(true);
  });
  after(() => browser?.close());

  // Firefox 140 has no WebGPU on Linux, and some machines have no adapter that Firefox accepts. Firefox itself is
  // asked, so that a page that overlooks its adapter still fails. On a busy machine the GPU process starts late.
  test("passes its self-test, and moves as the CPU build does", { timeout: 2 * timeout }, async (t) => {
    const blank = await browser.newPage();
    await blank.goto(`${server.url}404`);
    const missing = await blank.evaluate(async (patience) => {
      if (!navigator.gpu) return "no WebGPU";
      for (const until = Date.now() + patience; Date.now() < until; await new Promise((wake) => void setTimeout(wake, 1000))) {
        if (await navigator.gpu.requestAdapter()) return "";
      }
      return "no adapter";
    }, ADAPTER_MS);
    await blank.close();
    if (missing) {
      const why = `${await browser.version()} has ${missing} here`;
      process.stderr.write(`SKIPPED the WebGPU build in Firefox: ${why}\n`);
      t.skip(why);
      return;
    }
    const walk = async (/** @type {string} */ query) => {
      const { page, complaints } = await open(browser, `?test${query}${hashOf(SMALL)}`);
      const report = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.report());
      const energies = await energiesAfter(page, 2);
      assert.deepEqual(complaints, []);
      await page.close();
      return { report, energies: energies.flat() };
    };
    const [gpu, cpu] = [await walk("&runtime=webgpu"), await walk("&runtime=cpu")];
    assert.deepEqual([gpu.report.runtime, cpu.report.runtime], ["webgpu", "cpu"], JSON.stringify(gpu.report));
    assert.equal(gpu.energies.length, cpu.energies.length);
    for (const [i, energy] of gpu.energies.entries()) {
      assert.ok(Math.abs(energy - cpu.energies[i]) <= TOLERANCE * Math.abs(cpu.energies[i]), `chain ${i}: ${energy} on WebGPU, ${cpu.energies[i]} on the CPU`);
    }
  });
});
