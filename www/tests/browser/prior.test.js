// Prior as a visitor meets it, on the CPU build.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { offered } from "../../prior/models.js";
import { assertAccessible, chooseWay, errorCard, goTo, LONGEST_TEST_MS, manifest, noticeText, phase, ready, shot, startSession, stateOf } from "./harness.js";
import { chunk, file, header, hugeJpeg, hugePng, png } from "./images.js";

/** @import { Page } from "playwright-core" */

const models = offered(manifest);
const [model] = models;
const scores = model?.files.some(({ path }) => path === "scores.json") ?? false;
const skip = model ? false : "no latent prior in the manifest";
const options = { timeout: LONGEST_TEST_MS, skip };
/** The cheapest run that is one. */
const SMALL = "&count=4&warmup=4&seed=7&stage=1&sampler=mala";

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession({ webgpu: false });
});
afterEach(() => session.tidy());
after(() => session?.end());

/** @param {string} [hash] room and settings @param {object} [more] */
const open = (hash = `#stages${SMALL}`, more = {}) => session.open({ rawHash: hash, room: "prior.html", cpu: true, ...more });

/**
 * Waits until the run has moved so far, or stands in a phase.
 * @param {Page} page @param {{ phase?: string, transitions?: number, stage?: number }} wanted
 */
async function run(page, wanted) {
  await page.waitForFunction(
    ({ phase: name, transitions, stage }) => {
      const { frame, runPhase } = /** @type {any} */ (globalThis).mixwellTest;
      const now = frame();
      const there = now && (name === undefined || runPhase() === name) && (transitions === undefined || now.transitions >= transitions) && (stage === undefined || now.stage === stage);
      return there || document.documentElement.dataset.phase === "failed";
    },
    wanted,
    { timeout: 200_000 },
  );
  assert.notEqual(await phase(page), "failed", await page.locator("#card").innerText());
}

/** Takes so many transitions, one by one, from where the run stands. @param {Page} page @param {number} count */
async function steps(page, count) {
  for (let taken = 0; taken < count; taken += 1) {
    const { transitions } = await look(page);
    await page.locator("#p-step").click();
    await run(page, { transitions: transitions + 1 });
  }
}

/** The frame, and what the grid shows. @param {Page} page */
function look(page) {
  return page.evaluate(() => {
    const frame = /** @type {any} */ (globalThis).mixwellTest.frame();
    return {
      stage: frame.stage,
      transitions: frame.transitions,
      images: [...frame.images],
      energies: [...frame.energies],
      plane: [...frame.plane],
      sir: frame.sir,
      tiles: Array.from(document.querySelectorAll("#p-grid canvas"), (canvas) => /** @type {HTMLCanvasElement} */ (canvas).toDataURL()),
    };
  });
}

/** What a room sees now. @param {Page} page @param {"reconstructed" | "scored"} [which] */
const seen = (page, which = "reconstructed") =>
  page.evaluate((name) => {
    const current = /** @type {any} */ (globalThis).mixwellTest[name]();
    return current && { name: current.given.name, changes: current.given.changes, pixels: [...current.pixels], image: [...current.result.image], score: current.result.score, mse: current.result.mse, latent: [...current.result.latent], percentiles: current.result.percentiles, trace: current.result.trace.length };
  }, which);

/** Does something that puts an image under the model's eyes. @param {Page} page @param {() => Promise<unknown>} action */
async function seeing(page, action) {
  const count = await page.evaluate(() => document.documentElement.dataset.seen ?? "0");
  await action();
  await page.waitForFunction((last) => (document.documentElement.dataset.seen ?? "0") !== last || document.documentElement.dataset.phase === "failed" || document.getElementById("r-problem")?.textContent || document.getElementById("a-problem")?.textContent, count, { timeout: 120_000 });
  assert.equal(await page.locator("#r-problem").textContent(), "");
  assert.equal(await page.locator("#a-problem").textContent(), "");
  assert.notEqual(await phase(page), "failed", await page.locator("#card").innerText());
}

/** @param {Page} page */
const openAll = async (page) => {
  for (const details of await page.locator("details").all()) await details.evaluate((element) => void (/** @type {HTMLDetailsElement} */ (element).open = true));
};

test("the rooms are accessible in light, in dark and on a phone, with everything open", options, async () => {
  const page = await open();
  await run(page, { phase: "paused" });
  await steps(page, 2);
  await page.locator("#p-grid [role=option]").nth(1).click();
  await seeing(page, () => page.locator("#p-reconstruct").click());
  await page.locator("#r-keep-a").click();
  await seeing(page, () => page.locator("#r-tests [data-test=checks]").click());
  await page.locator("#r-keep-b").click();
  await page.locator("#r-go").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.way());
  await page.locator("#r-draw-open").click();
  await seeing(page, () => page.locator("#r-to-anomaly").click());
  await openAll(page);
  for (const room of ["stages", "reconstruct", "anomaly"]) {
    await page.locator(`nav.parts a[data-room=${room}]`).click();
    assert.deepEqual(await page.locator("nav [aria-current]").allInnerTexts(), ["Prior", room[0].toUpperCase() + room.slice(1)]);
    for (const [name, colorScheme, width] of /** @type {const} */ ([["light", "light", 1280], ["dark", "dark", 1280], ["tablet", "light", 900], ["phone", "light", 390], ["phone-dark", "dark", 390]])) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: width < 500 ? 844 : 1000 });
      await page.waitForTimeout(150);
      await assertAccessible(page, `${room}, ${name}`);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${room}, ${name}: nothing sticks out to the side`);
      await shot(page, `prior-${room}-${name}`, true);
    }
    const small = await page.locator(`#room-${room} button:visible`).evaluateAll((buttons) => buttons.filter((button) => button.getBoundingClientRect().height < 43.5).map((button) => button.id || button.textContent));
    assert.deepEqual(small, [], `${room}: a finger can hit every button`);
    assert.doesNotMatch(await page.locator("body").innerText(), /\[object|undefined|\bNaN\b|\bnull\b/, "every value has words");
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.getByRole("button", { name: /Keys/ }).click();
  await page.getByRole("dialog").waitFor();
  await assertAccessible(page, "help");
  assert.deepEqual(page.complaints, []);
});

test("the slider begins each stage anew with the same seed, goes on if it ran, and the stages are compared", options, async () => {
  const page = await open();
  await run(page, { phase: "paused" });
  const last = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().stages.length - 1);
  assert.equal((await look(page)).transitions, 0, "the starts are there unasked");
  assert.match(await page.locator("#p-verdict").innerText(), /These are the starts/);
  assert.match(await page.locator("#p-visits").innerText(), /Every stage whose chains you run/);
  const starts = await look(page);
  await page.locator("#p-stage").focus();
  assert.equal(await page.locator("#p-stage").getAttribute("aria-valuetext"), "stage 1: after 1 ratio");
  await page.keyboard.press("ArrowLeft");
  await run(page, { phase: "paused", stage: 0 });
  assert.equal(await page.locator("#p-stage").getAttribute("aria-valuetext"), "stage 0: N(0, I)");
  assert.match(await page.locator("#p-stage-text").innerText(), /^Stage 0: N\(0, I\)$/);
  assert.match(page.url(), /[#&]stage=0(&|$)/);
  assert.deepEqual((await look(page)).plane, starts.plane, "the same starts");
  assert.match(await page.locator("#p-ratio-text").innerText(), /Stage 0 is N\(0, I\) itself/);
  assert.ok(await page.locator("#p-ratio").isHidden());
  await page.locator("#p-main").click();
  await run(page, { phase: "running", transitions: 3 });
  await page.locator("#p-stage").focus();
  await page.keyboard.press("ArrowRight");
  await run(page, { phase: "running", stage: 1, transitions: 14 });
  assert.equal(await page.locator("#p-main").innerText(), "Pause");
  await page.locator("#p-main").click();
  await run(page, { phase: "paused" });
  assert.match(await page.locator("#p-ratio-text").innerText(), /overlap by \d+ %/);
  assert.match(await page.locator("#p-numbers").innerText(), /Worst R-hat.*Smallest ESS.*Mean energy.*cceptance.*T = σ²\/\(2a\).*Gradients/s);
  assert.match(await page.locator("#p-loss-text").innerText(), /Stage 1: .*held-out loss/);
  await openAll(page);
  const rows = await page.locator("#p-visits tbody th").allInnerTexts();
  assert.deepEqual(rows, ["0, MALA", "1, MALA"]);
  assert.ok((await page.locator("#p-diagnostics tbody tr").count()) >= 2, "R-hat and ESS of each quantity");
  assert.ok((await page.locator("#p-plane-table tbody tr").count()) >= 3, "the plane has a table");
  assert.ok((await page.locator("#p-ratio-table tbody tr").count()) >= 2, "the histogram has a table");
  assert.ok((await page.locator("#p-loss-table tbody tr").count()) >= 1, "the losses have a table");
  // Faster than the engine: the newest wish wins.
  await page.locator("h1").click();
  for (let presses = 0; presses < last + 2; presses += 1) await page.keyboard.press("ArrowRight");
  await run(page, { phase: "paused", stage: last });
  assert.equal((await look(page)).transitions, 0, "what rested rests");
  assert.match(await page.locator("#p-stage-text").innerText(), /the finished prior/);
  await page.locator("#p-legend button").first().click();
  assert.equal(await page.locator("#p-legend [aria-pressed=true]").count(), 1);
  await page.locator("#p-legend button").first().click();
  assert.equal(await page.locator("#p-legend [aria-pressed=true]").count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("the same seed makes the same chains, again, after a reset and from a link; and the grid is saved", options, async () => {
  const page = await open();
  await run(page, { phase: "paused" });
  const starts = await look(page);
  await steps(page, 6);
  const first = await look(page);
  assert.notDeepEqual(first.plane, starts.plane, "the chains moved");
  await page.locator("#p-reset").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.frame().transitions === 0);
  assert.deepEqual(await look(page), starts);
  await steps(page, 6);
  assert.deepEqual(await look(page), first);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#p-save").click()]);
  assert.equal(download.suggestedFilename(), `${model.name}-stage1-mala-seed7-step6.png`);
  const [, , width] = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().shape);
  const scale = readFileSync(await download.path()).readUInt32BE(16) / (2 * width + 3);
  assert.ok(Number.isInteger(scale) && scale >= 2, `two images and three gaps, ${scale} times enlarged`);
  const address = page.url();
  await page.locator("#p-new").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.config()?.seed !== 7);
  await run(page, { phase: "paused" });
  assert.notDeepEqual((await look(page)).plane, starts.plane);
  assert.match(page.url(), new RegExp(`[#&]seed=${(await stateOf(page)).settings.seed}(&|$)`));
  const other = await open(new URL(address).hash);
  await run(other, { phase: "paused" });
  await steps(other, 6);
  assert.deepEqual(await look(other), first, "a link replays the run");
  assert.deepEqual(page.complaints, []);
});

test("importance resampling draws at once and tells what its weights are worth", options, async () => {
  const page = await open("#stages&count=4&seed=7&stage=1&sampler=sir&proposals=64");
  await run(page, { phase: "done" });
  const frame = await look(page);
  assert.equal(frame.sir.proposals, 64);
  assert.ok(frame.sir.ess >= 1 && frame.sir.ess <= 64.01);
  assert.match(await page.locator("#p-verdict").innerText(), /weights of 64 proposals/);
  assert.match(await page.locator("#p-visits").innerText(), /1, SIR.*of 64/s);
  assert.equal(await page.locator("#p-main").innerText(), "Draw again");
  await page.locator("#p-settings > summary").click();
  assert.ok(await page.locator("#p-warmup").isHidden(), "no chain, no warm-up");
  assert.ok(await page.locator("#p-proposals").isVisible());
  // Bad together: the engine says so, and what was there stays.
  await page.locator("#p-count").fill("200");
  await page.locator("#p-count").press("Tab");
  await page.waitForFunction(() => document.getElementById("p-problem")?.textContent);
  assert.equal(await phase(page), "ready");
  assert.deepEqual(await look(page), frame);
  await page.locator("#p-count").fill("1e9");
  await page.locator("#p-count").press("Tab");
  assert.match(await page.locator("#p-count-problem").innerText(), /“1e9” is not valid: enter a whole number from 4 to 256/);
  await page.locator("#p-defaults").click();
  await run(page, { phase: "paused" });
  assert.equal(await page.locator("#p-problem").textContent(), "");
  assert.deepEqual(page.complaints, []);
});

test("everything from a keyboard: run, choose, reconstruct, keep, interpolate, draw, score", options, async () => {
  const page = await open();
  await run(page, { phase: "paused" });
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to the room");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "p-stage", "the first thing in the room is its slider");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await run(page, { phase: "running", transitions: 2 });
  await page.keyboard.press("Enter");
  await run(page, { phase: "paused" });
  for (let tabs = 0; tabs < 12 && !(await page.evaluate(() => document.activeElement?.getAttribute("role") === "option")); tabs += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#p-details-title").innerText(), "Chain 4");
  assert.ok(await page.evaluate(() => document.activeElement?.matches(":focus-visible")));
  const chain = (await look(page)).images.slice(-((await look(page)).images.length / 4));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "p-reconstruct");
  await seeing(page, () => page.keyboard.press("Enter"));
  assert.deepEqual((await seen(page))?.pixels, chain);
  assert.match(page.url(), /#reconstruct&/);
  for (const id of ["r-keep-a", "r-keep-b", "r-go"]) {
    await page.locator(`#${id}`).focus();
    await page.keyboard.press("Enter");
  }
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.way());
  await page.locator("h1").click();
  await page.keyboard.press("3");
  assert.equal(await page.locator("h1").innerText(), "Anomaly");
  await page.locator("#a-draw-canvas").focus();
  for (const key of [" ", "ArrowDown", "ArrowDown", " ", "ArrowDown", " "]) await page.keyboard.press(key);
  await page.locator("#a-draw-use").focus();
  await seeing(page, () => page.keyboard.press("Enter"));
  assert.ok(((await seen(page, "scored"))?.pixels ?? []).filter((value) => value === 255).length >= 9, "the strokes are in it");
  await page.locator("h1").click();
  await page.keyboard.press("1");
  assert.match(page.url(), /#stages&/);
  await page.keyboard.press(".");
  await page.keyboard.press("r");
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.frame().transitions === 0);
  await page.goBack();
  await page.waitForFunction(() => location.hash.startsWith("#anomaly"));
  assert.equal(await page.locator("h1").innerText(), "Anomaly");
  assert.deepEqual(page.complaints, []);
});

test("Reconstruct shows image, reconstruction and difference, and goes from A to B", options, async () => {
  const page = await open(`#reconstruct${SMALL}&frames=5`);
  const [channels, height, width] = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().shape);
  const [w, h] = [3 * width, 2 * height];
  assert.ok(await page.locator("#r-go").isDisabled());
  await seeing(page, () => page.locator("#r-file-input").setInputFiles(file("two.png", png(w, h, (_, column) => (column < w / 2 ? [240, 120, 20, 255] : [20, 60, 200, 0])))));
  const first = await seen(page);
  assert.ok(first);
  const orange = channels === 1 ? Math.round(0.299 * 240 + 0.587 * 120 + 0.114 * 20) : 240;
  for (const [column, value] of [[1, orange], [width - 2, 0]]) assert.equal(first.pixels[3 * width + column], value);
  assert.match(await page.locator("#r-changes").innerText(), /transparent parts on black/);
  assert.ok(first.mse > 0 && Number.isFinite(first.score));
  const mse = first.pixels.reduce((sum, value, i) => sum + ((value - first.image[i]) / 255) ** 2, 0) / first.pixels.length;
  // The engine has the reconstruction before it is rounded to bytes.
  assert.ok(Math.abs(mse - first.mse) < 0.01, `${mse} of the picture, ${first.mse} of the engine`);
  assert.match(await page.locator("#r-difference-hint").innerText(), /Largest difference of a pixel/);
  const parts = await page.locator("#r-parts .part-row").count();
  const last = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().stages.length - 1);
  assert.equal(parts, 2 + last + 1, "misfit, distance, a ratio for each stage, and the sum");
  assert.equal(first.trace, (await stateOf(page)).steps);
  await page.locator("#r-steps").fill("3");
  await seeing(page, () => page.locator("#r-steps").press("Tab"));
  assert.equal((await seen(page))?.trace, 3);
  assert.match(page.url(), /steps=3/);
  await page.locator("#r-keep-a").click();
  await seeing(page, () => page.locator("#r-invert").check());
  assert.deepEqual((await seen(page))?.pixels, first.pixels.map((value) => 255 - value));
  await page.locator("#r-keep-b").click();
  await page.locator("#r-go").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.way()?.energies.length === 5);
  assert.equal(await page.locator("#r-strip figure").count(), 5);
  assert.match(await page.locator("#r-way-text").innerText(), /Prior energy from .* at A to .* at B/);
  await openAll(page);
  assert.ok((await page.locator("#r-energies-table tbody tr").count()) === 5);
  assert.match(await page.locator("#r-plane-table").innerText(), /x.*A.*B.*way, frame 1/s);
  const straight = await page.evaluate(() => [.../** @type {any} */ (globalThis).mixwellTest.way().plane]);
  await page.locator("#r-kind").selectOption("sphere");
  await page.waitForFunction((before) => JSON.stringify([.../** @type {any} */ (globalThis).mixwellTest.way().plane]) !== before, JSON.stringify(straight));
  assert.match(page.url(), /way=sphere/);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#r-save").click()]);
  assert.equal(download.suggestedFilename(), `${model.name}-way-sphere.png`);
  const saved = readFileSync(await download.path());
  const scale = saved.readUInt32BE(20) / (height + 2);
  assert.equal(saved.readUInt32BE(16), scale * (5 * (width + 1) + 1), "one row of five");
  await page.locator("#r-swap").click();
  assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.way()), null, "another way is not this way");
  assert.deepEqual(page.complaints, []);
});

test("Anomaly tells how unlike the data a drawing is, with intervals and in words", options, async () => {
  const page = await open(`#anomaly${SMALL}`);
  const box = await page.locator("#a-draw-canvas").boundingBox();
  assert.ok(box, "the pad is open from the start");
  await page.mouse.move(box.x + 0.3 * box.width, box.y + 0.2 * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.7 * box.width, box.y + 0.2 * box.height, { steps: 8 });
  await page.mouse.move(box.x + 0.45 * box.width, box.y + 0.85 * box.height, { steps: 8 });
  await page.mouse.up();
  await seeing(page, () => page.locator("#a-draw-use").click());
  const drawn = await seen(page, "scored");
  assert.equal(drawn?.name, "the drawing");
  assert.match(await page.locator("#a-numbers").innerText(), /Score.*Misfit.*Latent terms.*Mean squared error/s);
  assert.match(await page.locator("#a-result").innerText(), /A high score means that the image is unlike the training data/);
  if (scores) {
    assert.match(await page.locator("#a-conclusion").innerText(), /% of the [\d,]+ images of .* score lower: .*typical/);
    const sets = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().sets.length);
    assert.equal(await page.locator("#a-bars .bar-row").count(), sets);
    await openAll(page);
    assert.equal(await page.locator("#a-table tbody tr").count(), sets);
    assert.match(await page.locator("#a-table").innerText(), /%.*\(.* to .*\)/);
  }
  await seeing(page, () => page.locator("#a-tests [data-test=noise]").click());
  assert.ok(((await seen(page, "scored"))?.score ?? 0) > (drawn?.score ?? Infinity), "noise is less like the data than a drawing");
  await seeing(page, () => page.locator("#a-to-reconstruct").click());
  assert.equal(await page.locator("h1").innerText(), "Reconstruct");
  assert.equal((await seen(page))?.name, "Noise");
  assert.deepEqual(page.complaints, []);
});

test("what cannot be used is refused, undecoded, and the last image stays; drop and paste come in", options, async () => {
  const page = await open(`#reconstruct${SMALL}`);
  await seeing(page, () => page.locator("#r-tests [data-test=grey]").click());
  const before = await seen(page);
  for (const [given, message] of /** @type {const} */ ([
    [hugePng, /“huge.png” is a PNG of 10,000 × 10,000 pixels, 100 megapixels/],
    [hugeJpeg, /“huge.jpg” is a JPEG of 10,000 × 10,000 pixels/],
    [file("notes.png", Buffer.from("these are my notes, not a picture")), /“notes.png” is not an image.*Expected PNG, JPEG.*text/],
    [file("broken.png", Buffer.concat([header(20, 20), chunk("IDAT", Buffer.from("nonsense"))])), /could not decode it/],
  ])) {
    await page.locator("#r-file-input").setInputFiles(given);
    await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("r-problem")?.textContent ?? ""), message.source);
    assert.deepEqual(await seen(page), before, `${given.name}: the last image stays`);
    assert.ok(await page.locator("#r-waiting").isHidden());
  }
  assert.equal(await phase(page), "ready");
  const bytes = [...png(40, 40, (row) => (row < 20 ? [200, 200, 200, 255] : [0, 0, 0, 255]))];
  const hand = (/** @type {"drop" | "paste"} */ type) =>
    page.evaluate(
      ([kind, content]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(/** @type {number[]} */ (content))], `${kind}.png`, { type: "image/png" }));
        document.body.dispatchEvent(kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }) : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
      },
      /** @type {const} */ ([type, bytes]),
    );
  await page.locator("#r-problem").evaluate((place) => (place.textContent = ""));
  await seeing(page, () => hand("drop"));
  assert.equal((await seen(page))?.name, "drop.png");
  await page.locator("nav.parts a[data-room=anomaly]").click();
  await seeing(page, () => hand("paste"));
  assert.equal((await seen(page, "scored"))?.name, "paste.png");
  assert.deepEqual(page.complaints, []);
});

test("a wait can be stopped, and what was there stays", options, async () => {
  const page = await open(`#reconstruct${SMALL}&steps=300`);
  await seeing(page, () => page.locator("#r-tests [data-test=grey]").click());
  const before = await seen(page);
  await page.locator("#r-tests [data-test=checks]").click();
  await page.locator("#r-stop").click();
  assert.ok(await page.locator("#r-waiting").isHidden());
  await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()));
  assert.deepEqual(await seen(page), before);
  assert.equal(await page.locator("#status").innerText(), "Stopped. The last result is kept.");
});

test("a lost device is replaced; settings and images stay, the run is the same, and a question is asked again", options, async () => {
  const straight = await open();
  await run(straight, { phase: "paused" });
  await steps(straight, 7);
  const whole = await look(straight);
  await straight.close();
  const page = await open();
  await run(page, { phase: "paused" });
  await steps(page, 6);
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  assert.match(await noticeText(page, "recovered"), /restarted.*model was reloaded/s);
  await steps(page, 1);
  assert.deepEqual(await look(page), whole, "a run that was interrupted is the run");
  await page.locator("#notices [data-key=recovered] button").click();
  await page.locator("#p-main").click();
  await run(page, { phase: "running", transitions: 8 });
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  assert.match(await noticeText(page, "recovered"), /replayed and continues/);
  const { transitions } = await look(page);
  await run(page, { phase: "running", transitions: transitions + 1 });
  await page.locator("#p-main").click();
  await run(page, { phase: "paused" });
  await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()));
  const replayed = await look(page);
  await goTo(page, "#reconstruct");
  await seeing(page, async () => {
    await page.locator("#r-tests [data-test=checks]").click();
    await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  });
  await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()) && document.documentElement.dataset.phase === "ready");
  assert.equal((await seen(page))?.name, "Checkerboard");
  await goTo(page, "#stages");
  assert.deepEqual((await look(page)).tiles, replayed.tiles, "the images stay");
});

test("a strange address is told, and what is good in it is kept", options, async () => {
  const page = await open("#stages&model=nothing-like-it&count=5&warmup=many&stage=64&nonsense=1");
  assert.match(await noticeText(page, "address"), /“warmup” should be a whole number.*“nonsense” is not a setting/);
  assert.match(await noticeText(page, "model"), /“nothing-like-it” is not in the list/);
  assert.match(await noticeText(page, "stage"), /This stage does not exist.*the address named 64/s);
  await run(page, { phase: "paused" });
  const state = await stateOf(page);
  assert.equal(state.model, model.name);
  assert.equal(state.settings.count, 5);
  await goTo(page, "#anomaly");
  assert.equal(await page.locator("h1").innerText(), "Anomaly");
  assert.equal((await stateOf(page)).settings.count, 5, "a room's name changes the room only");
  assert.deepEqual(await page.locator("#model option").evaluateAll((list) => list.map((option) => /** @type {HTMLOptionElement} */ (option).value)), models.map(({ name }) => name));
  const other = models[1];
  if (other) {
    await page.locator("#model").selectOption(other.name);
    await page.waitForFunction((name) => document.documentElement.dataset.model === name && document.documentElement.dataset.phase === "ready", other.name, { timeout: 200_000 });
    assert.equal((await stateOf(page)).settings.count, 5);
    await goTo(page, "#stages");
    await run(page, { phase: "paused" });
  }
  assert.deepEqual(page.complaints, []);
});

test("without its files the model says so, and tries again", options, async () => {
  session.server.fault(`/models/${model?.name}/weights.safetensors`, { kind: "missing" });
  const page = await open(undefined, { wait: false });
  assert.match(await errorCard(page, "network"), /The download failed/);
  session.server.heal();
  await chooseWay(page, "Try again");
  await ready(page);
  await run(page, { phase: "paused" });
  assert.equal((await look(page)).tiles.length, 4);
});

test("where there is no latent prior, the page says so", { timeout: LONGEST_TEST_MS, skip: model ? "there is one" : false }, async () => {
  const page = await open(undefined, { wait: false });
  assert.match(await errorCard(page, "bad-model"), /None of the available models has a latent prior/);
});
