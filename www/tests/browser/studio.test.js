// The Studio as a visitor meets it, on the CPU build.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { offered as offeredModels } from "../../studio/models.js";
import { assertAccessible, chooseWay, errorCard, goTo, LONGEST_TEST_MS, manifest, noticeText, phase, ready, shot, startSession, stateOf } from "./harness.js";
import { chunk, file, header, hugeJpeg, hugePng, png } from "./images.js";

/** @import { Page } from "playwright-core" */

const timeout = LONGEST_TEST_MS;
/** As the page chooses: the first CLEL, else the first that can be sampled. */
const offered = offeredModels(manifest);
const model = offered.find(({ name }) => name.startsWith("clel-")) ?? offered[0];
const latents = model.name.startsWith("clel-");
const classifier = manifest.models.some(({ name }) => name.startsWith("classifier-") && model.name.endsWith(name.slice("classifier-".length)));
const scores = model.files.some(({ path }) => path === "scores.json");
const needsLatents = latents ? false : "no model in the manifest has latents (clel-…)";
/** The cheapest run that is one. */
const SMALL = "&count=4&steps=6&rounds=1&seed=7";

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession({ webgpu: false });
});
afterEach(() => session.tidy());
after(() => session?.end());

/** @param {string} [hash] room and settings @param {object} [more] */
const open = (hash = `#generate${SMALL}`, more = {}) => session.open({ rawHash: hash, room: "studio.html", cpu: true, ...more });

/** @param {Page} page @param {"done" | "paused" | "stopped" | "running"} wanted */
async function run(page, wanted) {
  await page.waitForFunction((name) => /** @type {any} */ (globalThis).mixwellTest.runPhase() === name || document.documentElement.dataset.phase === "failed", wanted, { timeout: 200_000 });
  assert.notEqual(await phase(page), "failed", await page.locator("#card").innerText());
}

/** The frame of a room, and what its grid shows. @param {Page} page @param {"generated" | "composed"} which */
function look(page, which = "generated") {
  return page.evaluate((name) => {
    const frame = /** @type {any} */ (globalThis).mixwellTest[name]();
    const grid = document.getElementById(name === "generated" ? "g-grid" : "c-grid");
    return {
      step: frame.step,
      of: frame.of,
      images: [...frame.images],
      energies: [...frame.energies],
      verdict: frame.verdict && [...frame.verdict],
      terms: frame.terms,
      conflict: [...frame.conflict],
      tiles: Array.from(grid?.querySelectorAll("canvas") ?? [], (canvas) => canvas.toDataURL()),
    };
  }, which);
}

/** @param {Page} page */
async function generate(page) {
  await page.locator("#g-main").click();
  await run(page, "done");
  return look(page);
}

/** What is scored now. @param {Page} page */
const scored = (page) =>
  page.evaluate(() => {
    const current = /** @type {any} */ (globalThis).mixwellTest.scored();
    return current && { name: current.intake.name, changes: current.intake.changes, pixels: [...current.pixels], energy: current.score.energy, percentiles: current.score.percentiles, gradient: current.score.gradient.length };
  });

/** Does something that scores an image. @param {Page} page @param {() => Promise<unknown>} action */
async function scoring(page, action) {
  const before = await page.evaluate(() => document.documentElement.dataset.scored ?? "0");
  await action();
  await page.waitForFunction((count) => (document.documentElement.dataset.scored ?? "0") !== count || document.documentElement.dataset.phase === "failed" || document.getElementById("s-problem")?.textContent, before, { timeout: 120_000 });
  assert.equal(await page.locator("#s-problem").innerText(), "");
  assert.notEqual(await phase(page), "failed", await page.locator("#card").innerText());
}

test("the three rooms are accessible in light, in dark and on a phone, with everything open", { timeout }, async () => {
  const page = await open();
  await generate(page);
  await page.locator("#g-grid [role=option]").nth(1).click();
  if (latents) {
    await page.locator("#g-use").click();
    await page.locator("#c-classes button").nth(1).click();
    await page.locator("#c-main").click();
    await run(page, "done");
    await page.locator("#c-grid [role=option]").nth(0).click();
    await page.locator("#c-draw-open").click();
  }
  await page.locator("nav.rooms").getByRole("link", { name: "Score" }).click();
  await scoring(page, () => page.locator("[data-test=checks]").click());
  await page.locator("#s-walk").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.descents().length > 3);
  await page.locator("#s-walk").click();
  await page.locator("#s-draw-open").click();
  for (const details of await page.locator("details").all()) await details.evaluate((element) => void (/** @type {HTMLDetailsElement} */ (element).open = true));
  for (const room of ["generate", "compose", "score"]) {
    await page.locator(`nav.rooms a[data-room=${room}]`).click();
    assert.deepEqual(await page.locator("nav.rooms [aria-current]").allInnerTexts(), [room[0].toUpperCase() + room.slice(1)]);
    for (const [name, colorScheme, width] of /** @type {const} */ ([["light", "light", 1280], ["dark", "dark", 1280], ["phone", "light", 390], ["phone-dark", "dark", 390]])) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: width < 500 ? 844 : 1000 });
      await page.waitForTimeout(150);
      await assertAccessible(page, `${room}, ${name}`);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${room}, ${name}: nothing sticks out to the side`);
      await shot(page, `studio-${room}-${name}`, true);
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

test("Generate makes a grid step by step, and saves it as a PNG", { timeout }, async () => {
  const page = await open();
  assert.match(await page.locator("#g-empty").innerText(), /Press Generate/);
  const frame = await generate(page);
  assert.equal(frame.step, frame.of);
  assert.equal(frame.tiles.length, 4);
  assert.equal(new Set(frame.tiles).size, 4, "four different images");
  assert.ok(frame.energies.every(Number.isFinite));
  assert.equal(await page.locator("#g-grid canvas").first().evaluate((canvas) => getComputedStyle(canvas).imageRendering), "pixelated");
  assert.match(await page.locator("#g-numbers").innerText(), /T = σ²\/\(2a\).*Drift a.*Noise σ.*cceptance.*Displacement/s);
  assert.match((await page.locator("#g-chart").getAttribute("aria-label")) ?? "", /Mean energy over 6 steps/);
  await page.locator("#g-chart-table").evaluate((table) => void (/** @type {HTMLDetailsElement} */ (table.closest("details")).open = true));
  assert.ok((await page.locator("#g-chart-table tbody tr").count()) >= 2, "the chart has a table");
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#g-save").click()]);
  assert.equal(download.suggestedFilename(), `${model.name}-seed7-step6.png`);
  const saved = readFileSync(await download.path());
  const [, height, width] = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().shape);
  const scale = (saved.readUInt32BE(16) / (2 * width + 3));
  assert.ok(Number.isInteger(scale) && scale >= 2, `two images and three gaps, ${scale} times enlarged`);
  assert.equal(saved.readUInt32BE(20), scale * (2 * height + 3));

  await page.locator("#g-sort").check();
  const labels = await page.locator("#g-grid [role=option]").evaluateAll((tiles) => tiles.map((tile) => Number(/Sample (\d+)/.exec(tile.getAttribute("aria-label") ?? "")?.[1]) - 1));
  const sorted = [0, 1, 2, 3].sort((a, b) => frame.energies[a] - frame.energies[b]);
  assert.deepEqual(labels, sorted, "the lowest energy first");
  await page.locator("#g-grid [role=option]").first().click();
  assert.equal(await page.locator("#g-details-title").innerText(), `Sample ${sorted[0] + 1}`);
  assert.match(await page.locator("#g-details-text").innerText(), /Energy .*the lowest of 4/);
  if (classifier) assert.match(await page.locator("#g-details-text").innerText(), /Classifier: .* %/);
  assert.deepEqual(page.complaints, []);
});

test("the same seed makes the same pixels, again and from a link; another seed does not", { timeout }, async () => {
  const page = await open();
  const first = await generate(page);
  const again = await generate(page);
  assert.deepEqual(again, first);
  const address = page.url();
  await page.locator("#g-new").click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.config()?.seed !== 7);
  await run(page, "done");
  assert.notDeepEqual((await look(page)).images, first.images);
  assert.match(page.url(), new RegExp(`[#&]seed=${(await stateOf(page)).settings.seed}(&|$)`));
  const other = await open(new URL(address).hash);
  assert.deepEqual(await generate(other), first, "a link replays the run");
  assert.deepEqual(page.complaints, []);
});

test("pause, step, continue and stop; other settings end the run and keep its images", { timeout }, async () => {
  const hash = "#generate&count=2&steps=120&rounds=1&seed=3";
  const page = await open(hash);
  await page.locator("#g-main").click();
  await page.waitForFunction(() => (/** @type {any} */ (globalThis).mixwellTest.generated()?.step ?? 0) > 2);
  await page.locator("#g-main").click();
  await run(page, "paused");
  await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()));
  const paused = await look(page);
  assert.ok(paused.step < 120);
  await page.waitForTimeout(300);
  assert.equal((await look(page)).step, paused.step, "a pause is a pause");
  assert.equal(await page.locator("#g-main").innerText(), "Continue");
  await page.locator("#g-step").click();
  await page.waitForFunction((step) => /** @type {any} */ (globalThis).mixwellTest.generated().step === step, paused.step + 1);
  // The engine does something else meanwhile; the run is replayed, and is the same.
  if (latents) {
    await goTo(page, "#compose");
    await page.locator("#c-classes button").first().click();
    await page.locator("#c-step").click();
    await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.composed()?.step === 1);
    await goTo(page, "#generate");
  }
  await page.locator("#g-main").click();
  await run(page, "done");
  const straight = await open(hash);
  assert.deepEqual(await generate(straight), await look(page), "a run that was interrupted is the run");
  await straight.close();

  await page.locator("#g-main").click();
  await page.waitForFunction(() => (/** @type {any} */ (globalThis).mixwellTest.generated()?.step ?? 120) < 120 && /** @type {any} */ (globalThis).mixwellTest.generated().step > 0);
  await page.locator("#g-stop").click();
  await run(page, "stopped");
  const stopped = await look(page);
  assert.ok(stopped.step < 120);
  assert.equal(await page.locator("#g-main").innerText(), "Generate");
  assert.equal(stopped.tiles.length, 2, "the images stay");
  await page.locator("#g-step").click();
  await run(page, "paused");
  await page.locator("#g-temperature").fill("0.5");
  await page.locator("#g-temperature").press("Tab");
  await run(page, "stopped");
  assert.match(page.url(), /temperature=0\.5/);
  await page.locator("#g-count").fill("1e9");
  await page.locator("#g-count").press("Tab");
  assert.match(await page.locator("#g-count-problem").innerText(), /“1e9” is not valid: enter a whole number from 1 to 256/);
  assert.match(page.url(), /count=2(&|$)/, "nothing was changed");
  assert.deepEqual(page.complaints, []);
});

test("everything from a keyboard: generate, choose, score, walk", { timeout }, async () => {
  const page = await open();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to the room");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "g-main", "the first thing in the room is its button");
  await page.keyboard.press("Enter");
  await run(page, "done");
  for (let tabs = 0; tabs < 12 && !(await page.evaluate(() => document.activeElement?.getAttribute("role") === "option")); tabs += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#g-details-title").innerText(), "Sample 4");
  assert.ok(await page.evaluate(() => document.activeElement?.matches(":focus-visible")));
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#g-details").isHidden());
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  for (let tabs = 0; tabs < 12 && (await page.evaluate(() => document.activeElement?.id)) !== "g-score"; tabs += 1) await page.keyboard.press("Tab");
  const first = await look(page);
  await scoring(page, () => page.keyboard.press("Enter"));
  assert.deepEqual((await scored(page))?.pixels, first.images.slice(0, first.images.length / 4));
  assert.match(page.url(), /#score&/);
  await page.locator("h1").click();
  await page.keyboard.press(" ");
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.descents().length > 2);
  await page.keyboard.press(" ");
  await page.keyboard.press("1");
  assert.match(page.url(), /#generate&/);
  await page.goBack();
  await page.waitForFunction(() => location.hash.startsWith("#score"));
  assert.equal(await page.locator("h1").innerText(), "Score");
  assert.deepEqual(page.complaints, []);
});

test("Compose with a class: terms, conflicts, an independent verdict, and the address", { timeout, skip: needsLatents }, async () => {
  const page = await open(`#compose${SMALL}`);
  await page.locator("#c-main").click();
  assert.match(await page.locator("#c-problem").innerText(), /nothing to compose yet/);
  const names = await page.locator("#c-classes button").allInnerTexts();
  await page.locator("#c-classes button").nth(1).click();
  await page.locator("#c-classes button").nth(3).click();
  await page.locator("#c-list select").nth(1).selectOption("none");
  await page.locator("#c-list input").nth(1).fill("0.5");
  await page.locator("#c-list input").nth(1).press("Tab");
  assert.match(page.url(), /classes=1-all-1_3-none-0\.5/);
  await page.locator("#c-main").click();
  await run(page, "done");
  const frame = await look(page, "composed");
  assert.deepEqual(frame.terms.map((/** @type {any} */ { role }) => role), ["model", "all", "none"]);
  assert.equal(frame.conflict.length, 9);
  assert.match(await page.locator("#c-list .live").first().innerText(), /mean energy .* cosine/);
  assert.match(await page.locator("#c-conflict-table").innerText(), /oppose|disagree|unrelated|agree|agree strongly/);
  if (classifier) {
    assert.match(await page.locator("#c-verdict-text").innerText(), /Independent classifier \(accuracy .* %.*not part of the energy/);
    assert.match(await page.locator("#c-verdict-table").innerText(), new RegExp(`${names[1].replace(/[/]/g, ".")}.*of 4`, "s"));
    assert.match((await page.locator("#c-grid .tile-caption").first().textContent()) ?? "", /.+ \d.* %/);
  }
  await shot(page, "studio-compose-classes", true);
  const other = await open(new URL(page.url()).hash);
  await other.locator("#c-main").click();
  await run(other, "done");
  assert.deepEqual(await look(other, "composed"), frame, "a link replays the run");

  await page.locator("#c-file-input").setInputFiles(file("half.png", png(56, 56, (row) => (row < 28 ? [255, 255, 255, 255] : [0, 0, 0, 255]))));
  await page.locator("#c-list li").nth(2).waitFor();
  assert.match(await page.locator("#c-address").innerText(), /a link does not include them/);
  await page.locator("#c-list").getByRole("button", { name: /Remove half.png/ }).click();
  assert.equal(await page.locator("#c-list li").count(), 2);
  await page.locator("#c-file-input").setInputFiles(file("notes.png", Buffer.from("these are my notes")));
  await page.waitForFunction(() => document.getElementById("c-image-problem")?.textContent);
  assert.match(await page.locator("#c-image-problem").innerText(), /“notes.png” is not an image.*text/);
  assert.equal(await page.locator("#c-list li").count(), 2, "the conditions stay");
  assert.equal((await look(page, "composed")).tiles.length, 4, "the results stay");
  assert.deepEqual(page.complaints, []);
});

test("in-painting keeps what is kept, exactly", { timeout, skip: needsLatents }, async () => {
  const page = await open(`#compose${SMALL}`);
  await page.locator("#c-inpaint > summary").click();
  const [channels, height, width] = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().shape);
  await page.locator("#c-inpaint-input").setInputFiles(file("ramp.png", png(width, height, (row, column) => [(row * 9) % 256, (row * 9) % 256, (row * 9) % 256, 255].map((value, channel) => (channel < 3 ? (value + column) % 256 : 255)))));
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.inpaint().image.some((/** @type {number} */ value) => value > 0));
  assert.ok(await page.locator("#c-inpaint-on").isChecked());
  await page.locator("[data-preset=left]").click();
  // One pixel more, by the keyboard.
  await page.locator("#c-inpaint-tool").selectOption("keep");
  await page.locator("#c-inpaint-brush").selectOption({ label: "1 pixel" });
  await page.locator("#c-inpaint-canvas").focus();
  for (let moves = 0; moves < 3; moves += 1) await page.keyboard.press("ArrowRight");
  await page.keyboard.press(" ");
  assert.match(await page.locator("#c-inpaint .pad-told").innerText(), /kept/);
  const { image, known } = await page.evaluate(() => {
    const { image, known } = /** @type {any} */ (globalThis).mixwellTest.inpaint();
    return { image: [...image], known: [...known] };
  });
  assert.equal(known.reduce((sum, value) => sum + value, 0), height * Math.floor(width / 2) + 1);
  await page.locator("#c-main").click();
  await run(page, "done");
  const { images } = await look(page, "composed");
  const size = channels * height * width;
  let filled = 0;
  for (let i = 0; i < images.length; i += 1) {
    const at = i % size;
    if (known[at % (height * width)] === 1) assert.equal(images[i], image[at], `value ${i} is kept`);
    else if (images[i] !== image[at]) filled += 1;
  }
  assert.ok(filled > 50, `${filled} values were filled`);
  await page.locator("[data-preset=all]").click();
  await page.locator("#c-main").click();
  await page.waitForFunction(() => document.getElementById("c-problem")?.textContent);
  assert.match(await page.locator("#c-problem").innerText(), /no pixel is marked to be filled/);
  assert.deepEqual(page.complaints, []);
});

test("Score shows what the model sees of a colour PNG with alpha, and says what was changed", { timeout }, async () => {
  const page = await open("#score");
  const [channels, height, width] = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().shape);
  // Wider than high; opaque orange left of the middle, half transparent blue right of it.
  const [w, h] = [3 * width, 2 * height];
  const picture = png(w, h, (_, column) => (column < w / 2 ? [240, 120, 20, 255] : [20, 60, 200, 0]));
  await scoring(page, () => page.locator("#s-file-input").setInputFiles(file("two.png", picture)));
  const seen = await scored(page);
  const orange = channels === 1 ? [Math.round(0.299 * 240 + 0.587 * 120 + 0.114 * 20)] : [240, 120, 20];
  for (let channel = 0; channel < channels; channel += 1) {
    for (const [column, value] of [[1, orange[channel]], [width - 2, 0]]) assert.equal(seen?.pixels[(channel * height + 3) * width + column], value, `channel ${channel}, column ${column}`);
  }
  const words = await page.locator("#s-changes").innerText();
  assert.match(words, /transparent parts on black/);
  assert.match(words, new RegExp(`${w}×${h} cut to its middle square and scaled to ${width}×${height}`));
  if (channels === 1) assert.match(words, /colour to grey/);
  assert.equal(seen?.gradient, channels * height * width);
  assert.match(await page.locator("#s-heat-text").innerText(), /Largest in row \d+, column \d+/);
  if (scores) {
    assert.ok((await page.locator("#s-bars .reference").count()) >= 2);
    assert.match(await page.locator("#s-conclusion").innerText(), /typical/);
    await page.locator("#s-table").evaluate((table) => void (/** @type {HTMLDetailsElement} */ (table.closest("details")).open = true));
    assert.match(await page.locator("#s-table").innerText(), /%.*\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)/s);
  }
  await scoring(page, () => page.locator("#s-invert").check());
  assert.deepEqual((await scored(page))?.pixels, seen?.pixels.map((value) => 255 - value));
  assert.match(await page.locator("#s-changes").innerText(), /inverted/);
  // An image of the model's own size goes through untouched.
  await scoring(page, () => page.locator("#s-file-input").setInputFiles(file("own.png", png(width, height, (row, column) => [row, row, row, 255].map((value, channel) => (channel < 3 ? (value * 5 + column) % 256 : 255))))));
  assert.deepEqual((await scored(page))?.pixels.slice(0, width), Array.from({ length: width }, (_, column) => column));
  assert.deepEqual(page.complaints, []);
});

test("what cannot be used is refused, undecoded, and the last image stays", { timeout }, async () => {
  const page = await open("#score", { wait: false });
  await ready(page);
  await page.evaluate(() => {
    const global = /** @type {any} */ (globalThis);
    const decode = global.createImageBitmap;
    global.decoded = 0;
    global.createImageBitmap = (/** @type {any[]} */ ...args) => {
      global.decoded += 1;
      return decode(...args);
    };
  });
  await scoring(page, () => page.locator("[data-test=grey]").click());
  const before = await scored(page);
  for (const [given, message] of /** @type {const} */ ([
    [hugePng, /“huge.png” is a PNG of 10,000 × 10,000 pixels, 100 megapixels/],
    [hugeJpeg, /“huge.jpg” is a JPEG of 10,000 × 10,000 pixels/],
    [file("notes.png", Buffer.from("these are my notes, not a picture")), /“notes.png” is not an image.*Expected PNG, JPEG.*text/],
    [file("empty.png", Buffer.alloc(0)), /“empty.png” is empty/],
    [file("flat.png", header(0, 10)), /0 × 10 pixels/],
  ])) {
    await page.locator("#s-file-input").setInputFiles(given);
    await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("s-problem")?.textContent ?? ""), message.source);
    assert.deepEqual(await scored(page), before, `${given.name}: the last score stays`);
    assert.ok(await page.locator("#s-result").isVisible());
  }
  assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).decoded), 0, "nothing of it was decoded");
  await page.locator("#s-file-input").setInputFiles(file("broken.png", Buffer.concat([header(20, 20), chunk("IDAT", Buffer.from("nonsense"))])));
  await page.waitForFunction(() => /could not decode it/.test(document.getElementById("s-problem")?.textContent ?? ""));
  assert.equal(await phase(page), "ready");
  assert.deepEqual(page.complaints, []);
});

test("images come by drop, by paste and by drawing", { timeout }, async () => {
  const page = await open("#score");
  const bytes = [...png(40, 40, (row) => (row < 20 ? [200, 200, 200, 255] : [0, 0, 0, 255]))];
  const hand = (/** @type {"drop" | "paste"} */ type) =>
    page.evaluate(
      ([type, content]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(/** @type {number[]} */ (content))], `${type}.png`, { type: "image/png" }));
        const target = document.getElementById("s-drop") ?? document.body;
        target.dispatchEvent(type === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }) : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
      },
      /** @type {const} */ ([type, bytes]),
    );
  await scoring(page, () => hand("drop"));
  assert.equal((await scored(page))?.name, "drop.png");
  await scoring(page, () => hand("paste"));
  assert.equal((await scored(page))?.name, "paste.png");
  await page.locator("#s-draw-open").click();
  assert.equal(await page.evaluate(() => document.activeElement?.id), "s-draw-canvas");
  for (const key of [" ", "ArrowRight", "ArrowRight", " ", "ArrowDown", " "]) await page.keyboard.press(key);
  await scoring(page, () => page.locator("#s-draw-use").click());
  assert.ok(((await scored(page))?.pixels ?? []).filter((value) => value === 255).length >= 9, "the strokes are in it");
  const box = await page.locator("#s-draw-canvas").boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + 10, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 10, box.y + 10, { steps: 4 });
  await page.mouse.up();
  await scoring(page, () => page.locator("#s-draw-use").click());
  const [, , width] = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.model().shape);
  assert.ok(((await scored(page))?.pixels.slice(0, width) ?? []).filter((value) => value === 255).length > width / 2, "a line along the first row");
  assert.deepEqual(page.complaints, []);
});

test("a lost device is replaced; settings, images and conditions stay, and the run is the same", { timeout }, async () => {
  const page = await open("#generate&count=4&steps=300&rounds=1&seed=7");
  const whole = await generate(page);
  await page.locator("#g-main").click();
  await page.waitForFunction(() => (/** @type {any} */ (globalThis).mixwellTest.generated()?.step ?? 999) < 300 && /** @type {any} */ (globalThis).mixwellTest.generated()?.step > 1);
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  assert.match(await noticeText(page, "recovered"), /restarted.*model was reloaded/s);
  await run(page, "done");
  assert.deepEqual(await look(page), whole);
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()) && document.documentElement.dataset.phase === "ready");
  assert.deepEqual((await look(page)).tiles, whole.tiles, "the images stay");
});

test("a strange address is told, and what is good in it is kept", { timeout }, async () => {
  const page = await open("#generate&model=nothing-like-it&count=3&steps=many&nonsense=1");
  assert.match(await noticeText(page, "address"), /“steps” should be a whole number.*“nonsense” is not a setting/);
  assert.match(await noticeText(page, "model"), /“nothing-like-it” is not in the list/);
  const state = await stateOf(page);
  assert.equal(state.model, model.name);
  assert.equal(state.settings.count, 3);
  assert.ok(state.settings.steps >= 1, "the model's own");
  assert.ok((await page.locator("#model option").allInnerTexts()).every((text) => !/classifier/i.test(text)), "a classifier is no model to sample");
  await goTo(page, "#compose");
  assert.equal(await page.locator("h1").innerText(), "Compose");
  assert.equal((await stateOf(page)).settings.count, 3, "a room's name changes the room only");
  const other = offered.find(({ name }) => name !== model.name);
  if (other) {
    await page.locator("#model").selectOption(other.name);
    await page.waitForFunction((name) => document.documentElement.dataset.model === name && document.documentElement.dataset.phase === "ready", other.name, { timeout: 200_000 });
    assert.equal((await stateOf(page)).settings.count, 3);
  }
  assert.deepEqual(page.complaints, []);
});

test("without its files the model says so, and tries again", { timeout }, async () => {
  session.server.fault(`/models/${model.name}/weights.safetensors`, { kind: "missing" });
  const page = await open(`#generate${SMALL}`, { wait: false });
  assert.match(await errorCard(page, "network"), /The download failed/);
  session.server.heal();
  await chooseWay(page, "Try again");
  await ready(page);
  assert.equal((await generate(page)).tiles.length, 4);
});
