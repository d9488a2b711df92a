// The site under a strict Content-Security-Policy: nothing that a page or a worker does may be refused.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { LONGEST_TEST_MS, manifest, SMALL, startSession, step } from "./harness.js";
import { STRICT_POLICY } from "./server.js";
import { offered as offeredPriors } from "../../prior/models.js";

/** @import { WatchedPage } from "./harness.js" */

const timeout = LONGEST_TEST_MS;

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession({ headers: { "content-security-policy": STRICT_POLICY } });
});
afterEach(() => session.tidy());
after(() => session?.end());

/**
 * A page that notes down what its policy refuses.
 * @param {Parameters<typeof session.open>[0]} options
 */
function open(options) {
  return session.open({
    cpu: true,
    ...options,
    prepare: (page) =>
      page.addInitScript(() => {
        const refused = /** @type {string[]} */ ([]);
        Object.assign(globalThis, { refused });
        document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile, lineNumber, sample }) => refused.push(`${effectiveDirective}: ${blockedURI} ${sample} (${sourceFile}:${lineNumber})`));
      }),
  });
}

/** @param {WatchedPage} page */
async function assertClean(page) {
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (globalThis).refused), []);
  // Workers complain to the console alone.
  assert.deepEqual(page.complaints, []);
}

/** Opens whatever can be opened, in both colours: charts and tables are made then. @param {WatchedPage} page */
async function lookAround(page) {
  await page.locator("#theme").selectOption("dark");
  await page.evaluate(() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  await page.locator("#help-open").click();
  await page.keyboard.press("Escape");
  await page.locator("#theme").selectOption("light");
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForTimeout(300);
}

test("the policy refuses, and the test hears of it", { timeout }, async () => {
  const page = await open({ hash: SMALL });
  await page.evaluate(() => document.body.setAttribute("style", "color: red"));
  await page.waitForFunction(() => /** @type {any} */ (globalThis).refused.length > 0);
  assert.match((await page.evaluate(() => /** @type {any} */ (globalThis).refused)).join(), /style-src-attr/);
});

test("the Race", { timeout }, async () => {
  const page = await open({ hash: SMALL });
  await step(page, 2);
  await page.locator("#pixel-tiles canvas").first().click();
  await lookAround(page);
  await step(page, 1);
  await assertClean(page);
});

test("the Playground", { timeout }, async () => {
  const page = await open({ room: "playground.html", hash: { chains: 4, "a-warmup": 0, "b-warmup": 0 } });
  await page.locator("#step").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.lastFrame()?.sides[0].transitions > 0);
  await page.locator("#path-all").click();
  await lookAround(page);
  for (let more = 0; more < 6; more += 1) {
    await page.locator("#step").click();
    await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()));
  }
  const saved = page.waitForEvent("download");
  await page.locator("#check-csv").click();
  await saved;
  await assertClean(page);
});

for (const room of ["generate", "compose", "score"]) {
  test(`the Studio: ${room}`, { timeout }, async () => {
    const page = await open({ room: "studio.html", rawHash: `#${room}&count=4&steps=6&rounds=1&seed=7&classes=1-all-1` });
    if (room === "score") {
      await page.locator("#s-tests button").first().click();
      await page.locator("#s-result").waitFor({ state: "visible" });
    } else {
      await page.locator(room === "generate" ? "#g-main" : "#c-main").click();
      await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.runPhase() === "done", null, { timeout: 60_000 });
      const saved = page.waitForEvent("download");
      await page.locator(room === "generate" ? "#g-save" : "#c-save").click();
      await saved;
    }
    await lookAround(page);
    await assertClean(page);
  });
}

for (const part of ["stages", "reconstruct", "anomaly"]) {
  test(`Prior: ${part}`, { timeout, skip: offeredPriors(manifest).length === 0 && "there is no latent prior" }, async () => {
    const page = await open({ room: "prior.html", rawHash: `#${part}&count=4&warmup=4&seed=7&stage=1` });
    if (part === "stages") {
      await page.locator("#p-step").click();
      await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.frame()?.transitions > 0);
    } else {
      const prefix = part === "reconstruct" ? "r" : "a";
      await page.locator(`#${prefix}-tests button`).first().click();
      await page.locator(`#${prefix}-result`).waitFor({ state: "visible", timeout: 60_000 });
    }
    await lookAround(page);
    await assertClean(page);
  });
}
