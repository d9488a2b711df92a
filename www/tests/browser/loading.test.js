// Downloads that fail, and the cache. The CPU build does for all of it, and starts faster.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { chooseWay, errorCard, hashOf, LONGEST_TEST_MS, model, noticeText, ready, scriptsOf, shot, SMALL, startSession, step, weights } from "./harness.js";

/** @import { Page } from "playwright-core" */

const timeout = LONGEST_TEST_MS;
const MANIFEST = "/models/manifest.json";
const hash = { ...SMALL, model: model.name };
/** A script that the Race shares with other rooms. */
const shared = scriptsOf("index.html")[1] ?? "";

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
afterEach(() => session.tidy());
after(() => session?.end());

test("what broke the page is still told when the time is up", { timeout }, async () => {
  const { server, browser } = session;
  server.fault(shared, { kind: "preface", script: 'throw new RangeError("planted");' });
  const page = await (await browser.newContext()).newPage();
  await page.clock.install();
  await page.goto(`${server.url}?test&runtime=cpu`);
  const message = page.locator("#fallback-message");
  await message.filter({ hasText: "planted" }).waitFor({ timeout: 20_000 });
  await page.clock.fastForward(30_000);
  assert.match(await message.innerText(), /RangeError: planted .*shared-\w+\.js/);
});

test("a system whose language is none gets the page in English", { timeout }, async () => {
  const { server, browser } = session;
  const page = await (await browser.newContext()).newPage();
  // WebKit on a Linux without a locale says this; no number can be formatted for it.
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "language", { get: () => "C", configurable: true }));
  await page.goto(`${server.url}?test&runtime=cpu${hashOf(hash)}`);
  await ready(page);
  assert.equal(await page.evaluate(() => navigator.language), "en");
});

/**
 * SHA-256 of everything in the page's caches, by file name.
 * @param {Page} page
 * @returns {Promise<Record<string, string>>}
 */
async function cached(page) {
  const files = await page.evaluate(async () => {
    /** @type {[string, number[]][]} */
    const found = [];
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const request of await cache.keys()) {
        const response = await cache.match(request);
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", (await response?.arrayBuffer()) ?? new ArrayBuffer(0)));
        found.push([new URL(request.url).pathname.split("/").at(-1) ?? "", [...digest]]);
      }
    }
    return found;
  });
  return Object.fromEntries(files.map(([name, digest]) => [name, Buffer.from(digest).toString("hex")]));
}

/** @param {Page} page */
async function assertKept(page) {
  const kept = await cached(page);
  for (const path of ["card.json", "weights.safetensors"]) assert.equal(kept[path], model.files.find((file) => file.path === path)?.sha256, path);
}

test("a corrupted file is refused, not kept, and a good one mends it", { timeout }, async () => {
  const { server, open } = session;
  server.fault(weights.path, { kind: "corrupt" });
  const page = await open({ hash, cpu: true, wait: false });
  const text = await errorCard(page, "checksum");
  assert.match(text, /The model’s file is damaged/);
  assert.ok(text.includes(weights.sha256.slice(0, 12)), `the card names the hash: ${text}`);
  assert.equal((await cached(page))["weights.safetensors"], undefined, "nothing damaged is kept");
  await shot(page, "checksum");

  // As long as the server is ill, trying again does not help, and does no harm.
  const before = server.count(weights.path);
  await chooseWay(page, "Try again");
  await page.waitForFunction(() => document.documentElement.dataset.phase === "loading");
  await errorCard(page, "checksum");
  assert.equal(server.count(weights.path), before + 1, "it was downloaded again, once");
  assert.equal((await cached(page))["weights.safetensors"], undefined);

  server.heal();
  await chooseWay(page, "Try again");
  await page.waitForFunction(() => document.documentElement.dataset.phase === "loading");
  await ready(page);
  await assertKept(page);
  await step(page, 1);
  await shot(page, "checksum-recovered");
});

test("a second visit loads from the cache, and a cached copy that rotted is replaced", { timeout }, async () => {
  const { server, open } = session;
  const page = await open({ hash, cpu: true });
  await assertKept(page);
  assert.ok(server.count(weights.path) > 0, "the first visit downloads");
  server.forget();
  await page.reload();
  await ready(page);
  assert.equal(server.count(MANIFEST), 1);
  assert.equal(server.count(weights.path), 0, "the second does not");
  assert.match((await page.locator("#f-model option:checked").textContent()) ?? "", /, stored$/);
  assert.match(await page.locator("#model-info").innerText(), /Stored in this browser/);
  await step(page, 1);
  await shot(page, "from-cache");

  await page.evaluate(async () => {
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const request of await cache.keys()) if (request.url.includes("weights.safetensors")) await cache.put(request, new Response("rotten"));
    }
  });
  server.forget();
  await page.reload();
  await ready(page);
  assert.match(await noticeText(page, "checksum"), /cached copy of weights\.safetensors was damaged/);
  assert.equal(server.count(weights.path), 1);
  await assertKept(page);

  // The visitor may delete it, too.
  await page.getByRole("button", { name: "Delete the stored copy" }).click();
  await page.locator("#model-info", { hasText: "In memory only" }).waitFor();
  assert.deepEqual(await cached(page), {});
});

test("an interrupted download keeps nothing, then goes on where it stopped", { timeout }, async () => {
  const { server, open } = session;
  // Four attempts of a tenth each do not get there.
  const tenth = Math.floor(weights.bytes / 10);
  server.fault(weights.path, { kind: "cut", bytes: tenth });
  const page = await open({ hash, cpu: true, wait: false });
  const text = await errorCard(page, "network");
  assert.match(text, /4 attempts/);
  assert.equal((await cached(page))["weights.safetensors"], undefined);
  const asked = server.requests.filter(({ path }) => path === weights.path);
  assert.equal(asked.length, 4);
  assert.equal(asked[0].range, null);
  assert.ok(asked.slice(1).every(({ status }) => status === 206), "later attempts ask for the rest only");
  await shot(page, "interrupted");

  server.heal();
  await chooseWay(page, "Try again");
  await ready(page);
  const last = server.requests.filter(({ path }) => path === weights.path).at(-1);
  const from = (/** @type {string | null | undefined} */ range) => Number(/\d+/.exec(range ?? "")?.[0] ?? 0);
  assert.ok(from(last?.range) >= from(asked[3].range) && from(last?.range) > 0, `what had arrived is not asked for again: ${last?.range} after ${asked[3].range}`);
  await assertKept(page);
  await step(page, 1);
});

test("a visitor may stop the download and start it again", { timeout }, async () => {
  const { server, open } = session;
  const half = weights.bytes >> 1;
  server.fault(weights.path, { kind: "hold", bytes: half });
  const page = await open({ hash, cpu: true, wait: false });
  await page.waitForFunction((least) => Number(document.querySelector("#card progress")?.getAttribute("value")) >= least, half);
  assert.match(await page.locator("#card .bytes").innerText(), /weights\.safetensors/);
  await chooseWay(page, "Stop the download");
  assert.match(await errorCard(page, "aborted"), /The download was stopped/);
  assert.equal((await cached(page))["weights.safetensors"], undefined);
  await shot(page, "stopped");
  server.heal();
  await chooseWay(page, "Try again");
  await ready(page);
  await assertKept(page);
});

test("missing files are named, not kept, and found when they are back", { timeout }, async () => {
  const { server, open } = session;
  server.fault(MANIFEST, { kind: "missing" });
  server.fault(weights.path, { kind: "missing" });
  const page = await open({ hash, cpu: true, wait: false });
  const text = await errorCard(page, "network");
  assert.match(text, /manifest\.json: the server answered 404/);
  assert.ok(await page.locator("h1").isVisible(), "the page is still there");
  await shot(page, "manifest-404");

  server.heal();
  server.fault(weights.path, { kind: "missing" });
  await chooseWay(page, "Try again");
  await page.waitForFunction(() => document.documentElement.dataset.phase === "loading");
  assert.match(await errorCard(page, "network"), /weights\.safetensors.*404/);
  assert.equal((await cached(page))["weights.safetensors"], undefined, "a 404 is not kept");

  server.heal();
  await chooseWay(page, "Try again");
  await page.waitForFunction(() => document.documentElement.dataset.phase === "loading");
  await ready(page);
  await assertKept(page);
});

test("a script that does not load is told, never a blank page", { timeout }, async () => {
  const { server, open } = session;
  for (const [script, way] of /** @type {const} */ ([["/race.js", "Reload the page"], [shared, "Reload the page"], ["/worker.js", "Try again"], ["/engine.js", "Try again"], ["/mixwell-cpu.js", "Try again"]])) {
    server.fault(script, { kind: "missing" });
    const page = await open({ hash, cpu: true, wait: false });
    const card = page.locator("#fallback:visible, #card.bad:visible");
    await card.waitFor({ timeout: 40_000 });
    assert.match(await card.innerText(), /did not load/, script);
    await shot(page, `missing${script.replace("/", "-").replace(".js", "")}`);
    server.heal();
    // The way forward leads forward.
    await card.getByRole("button", { name: way, exact: true }).click();
    await page.waitForFunction(() => ["loading", "ready"].includes(document.documentElement.dataset.phase ?? ""));
    await ready(page);
    await session.tidy();
  }
});
