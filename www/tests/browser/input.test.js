// Settings, good and bad, by form and by address. The CPU build does for all of it.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { assertSame, goTo, hashOf, LONGEST_TEST_MS, look, noticeText, phase, ready, restarted, row, shot, SMALL, startSession, stateOf, step } from "./harness.js";

const timeout = LONGEST_TEST_MS;
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
afterEach(() => session.tidy());
after(() => session?.end());

test("the address holds every setting, and reloading it restores them", { timeout }, async () => {
  const page = await session.open({ hash: SMALL, cpu: true });
  await page.locator("#settings summary").click();
  await restarted(page, () => page.locator("#f-sampler").selectOption("hmc"));
  /** @type {[string, string][]} */
  const entries = [["#f-leapfrog", "3"], ["#f-chains", "5"], ["#f-seed", "123"], ["#f-start", "1.25"], ["#f-warmup", "2"], ["#f-accept", "0.7"], ["#f-latent-eps", "0.05"]];
  for (const [field, value] of entries) {
    await restarted(page, async () => {
      await page.locator(field).fill(value);
      await page.locator(field).press("Tab");
    });
  }
  await restarted(page, () => page.locator("#f-match").uncheck());
  await restarted(page, async () => {
    await page.locator("#f-pixel-T").fill("0.5");
    await page.locator("#f-pixel-T").press("Tab");
  });
  await page.locator("#pace").selectOption("5");
  await page.locator("#traced").selectOption({ index: 1 });
  await page.locator("#latent-tiles canvas").nth(2).click();

  const state = await stateOf(page);
  const { config } = state;
  assert.deepEqual(
    [config.sampler, config.leapfrog_steps, config.chains, config.seed, config.start_scale, config.warmup, config.target_accept, config.latent.step_size, config.match_temperature, config.pixel.temperature, config.latent.temperature, state.pace, state.chain],
    ["hmc", 3, 5, 123, 1.25, 2, 0.7, 0.05, false, 0.5, 1, 5, 2],
  );
  assert.notEqual(state.traced, "energy");
  const shown = () => page.locator("#form input:not([type=range]), #form select, #pace, #traced, #follow").evaluateAll((fields) => fields.map((field) => [field.id, field instanceof HTMLInputElement && field.type === "checkbox" ? field.checked : /** @type {HTMLInputElement} */ (field).value]));
  const [address, fields, start] = [page.url(), await shown(), await look(page)];
  assert.equal(start.sides[0].images.length, start.sides[1].images.length);
  assert.equal(start.tiles.length, 10);
  await shot(page, "settings");

  await page.reload();
  await ready(page);
  assert.equal(page.url(), address);
  assert.deepEqual(await stateOf(page), state);
  assert.deepEqual(await shown(), fields);
  assertSame(await look(page), start, "the same start after a reload");
  await step(page, 1);
  const stepped = await look(page);
  assert.deepEqual(stepped.sides.map(({ gradients }) => gradients), [3, 3], "three leapfrog steps are three gradients");
  assert.deepEqual(await row(page, "Temperature T"), ["0.5", "1"]);
  assert.deepEqual(page.complaints, []);
});

test("the skip link goes to the race and leaves the address and its settings alone", { timeout }, async () => {
  const page = await session.open({ hash: { ...SMALL, chains: 6 }, cpu: true });
  const before = page.url();
  await page.locator("a.skip").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "race");
  assert.equal(page.url(), before);
  assert.equal((await stateOf(page)).config.chains, 6);
  assert.equal(await page.locator('#notices li[data-key="address"]').count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("an address that makes no sense is told plainly, and the rest of it is used", { timeout }, async () => {
  /** @type {[string, RegExp][]} the address, and what the notice says */
  const bad = [
    ["#chains=0", /“chains” should be a whole number from 2 to 64, not “0”/],
    ["#chains=100000", /“chains” should be a whole number from 2 to 64, not “100000”/],
    ["#pixel-eps=0", /“pixel-eps” should be auto, or a number above 0.*, not “0”/],
    ["#latent-eps=NaN", /“latent-eps” should be auto, or a number above 0.*, not “NaN”/],
    ["#latent-eps=1e9", /“latent-eps” should be auto, or a number above 0.*, not “1e9”/],
    ["#pixel-eps=-1&sampler=gibbs", /“pixel-eps” .*“sampler” should be ula, mala or hmc, not “gibbs”/],
    ["#%%%&=&seed=1&seed=2&%E0%A4%A=7&chains=%E0%A4%A", /is not a setting/],
  ];
  // The first is typed into a fresh tab, the others into the open page.
  const page = await session.open({ rawHash: `${bad[0][0]}&seed=41&warmup=0`, cpu: true });
  for (const [count, [address, words]] of bad.entries()) {
    const seed = 41 + count;
    if (count > 0) await restarted(page, () => goTo(page, `${address}&seed=${seed}&warmup=0`));
    const notice = await noticeText(page, "address");
    assert.match(notice, /Part of the address could not be read\./);
    assert.match(notice, words);
    const { config } = await stateOf(page);
    assert.ok(config.chains >= 4 && config.chains <= 64);
    assert.equal(config.pixel.step_size, null, "the model's own");
    assert.equal(config.latent.step_size, null, "the model's own");
    // "seed=1&seed=2&seed=47": the first counts.
    assert.equal(config.seed, address.includes("seed=") ? 1 : seed, "what makes sense is used");
    if (count === 0) await shot(page, "bad-address");
  }
  await restarted(page, () => goTo(page, hashOf({ ...SMALL, model: "no-such-model" })));
  assert.match(await noticeText(page, "model"), /“no-such-model” is not in the list/);
  assert.equal(await page.locator('#notices li[data-key="address"]').count(), 0, "the old complaint is gone");
  await step(page, 1);
  assert.equal(await phase(page), "ready");
  assert.deepEqual(page.complaints, []);
});

test("a number out of range is refused in the form, with words, and changes nothing", { timeout }, async () => {
  const page = await session.open({ hash: SMALL, cpu: true });
  await page.locator("#settings summary").click();
  const [before, address] = [await stateOf(page), page.url()];
  const fields = /** @type {const} */ ([
    ["#f-chains", "5", ["0", "100000", "4.5", ""]],
    ["#f-latent-eps", "0.01", ["0", "1e9", "-1"]],
    ["#f-pixel-eps", "0.001", ["0"]],
    ["#f-latent-T", "2", ["0", "1e9"]],
  ]);
  for (const [field, good, values] of fields) {
    for (const value of values) {
      const input = page.locator(field);
      await input.fill(value);
      await input.press("Tab");
      const told = await input.evaluate((element) => /** @type {HTMLInputElement} */ (element).validationMessage);
      assert.match(told, /^Enter a (whole )?number (from .* to|above .*, up to) .*\.$/, `${field} ${value}`);
      // Longer than a change waits before it takes effect.
      if (value === "0" && field === "#f-chains") {
        await page.waitForTimeout(600);
        await shot(page, "bad-number");
      }
    }
    // A good value takes the complaint away.
    await restarted(page, async () => {
      await page.locator(field).fill(good);
      await page.locator(field).press("Tab");
    });
    assert.equal(await page.locator(field).evaluate((element) => /** @type {HTMLInputElement} */ (element).validationMessage), "");
    await restarted(page, () => goTo(page, address.slice(address.indexOf("#"))));
    assert.deepEqual(await stateOf(page), before);
  }
  await step(page, 1);
  assert.deepEqual(page.complaints, []);
});

test("a step size at the upper end breaks chains in the open, and the page goes on", { timeout }, async () => {
  const page = await session.open({ hash: { ...SMALL, "pixel-eps": 5, "latent-eps": 5 }, cpu: true });
  await step(page, 12);
  const { sides } = await look(page);
  const shown = await row(page, "Broken chains");
  for (const [s, side] of sides.entries()) {
    assert.equal(side.broken_chains, side.energy.filter((value) => !Number.isFinite(value)).length);
    assert.equal(shown[s], String(side.broken_chains));
  }
  assert.equal(sides[0].broken_chains, SMALL.chains, "a thousand times too far in pixel space");
  assert.match(await page.locator("#pixel-verdict").innerText(), /4 chains have broken/);
  await shot(page, "broken-chains");
  await restarted(page, () => goTo(page, hashOf(SMALL)));
  await step(page, 1);
  assert.ok((await look(page)).sides.every((side) => side.broken_chains === 0 && side.energy.every(Number.isFinite)));
  assert.deepEqual(page.complaints, []);
});
