import assert from "node:assert/strict";
import { test } from "node:test";
import { Address, choice, flag, inRange, MODEL_NAME, number, pattern, rangeOf, real, whole, wording } from "../../../url/address.js";

test("numbers are plain decimals", () => {
  for (const text of ["", " ", "0x10", "1,5", "Infinity", "1e", "--2", "12.5", "65"]) assert.equal(inRange(whole(4, 64), text), undefined, text);
  assert.equal(inRange(whole(4, 64), "64"), 64);
  assert.equal(inRange(real(0, 5), "1e-3"), 0.001);
  assert.equal(inRange(real(0, 5), ".5"), 0.5);
  assert.equal(inRange(real(0, 5), "0"), 0);
  const positive = rangeOf({ name: "step", title: "step", help: "", kind: "number", min: 0, max: 5, open: true, default: null });
  assert.equal(inRange(positive, "0"), undefined);
  assert.equal(inRange(positive, "5"), 5);
  assert.equal(wording(positive), "a number above 0, up to 5");
});

test("a range is worded for people", () => {
  assert.equal(wording(whole(2, 1000)), "a whole number from 2 to 1,000");
  assert.equal(wording(real(0.00001, 5), "auto"), "auto, or a number from 0.00001 to 5");
});

/** @typedef {{ room: "first" | "second", seed: number, step: number | null, way: string, on: boolean, name: string | null }} State */
/** @returns {State} */
const defaults = () => ({ room: "first", seed: 7, step: null, way: "line", on: false, name: null });
/** @type {Record<string, import("../../../url/address.js").Field<State>>} */
const fields = {
  name: pattern(/^[a-z]+$/, "a name", ({ name }) => name, (state, name) => (state.name = name)),
  seed: number(whole(0, 99), ({ seed }) => seed, (state, seed) => (state.seed = seed)),
  step: number(real(0, 1), ({ step }) => step, (state, step) => (state.step = step), "auto"),
  way: choice(["line", "sphere"], ({ way }) => way, (state, way) => (state.way = way)),
  on: flag(({ on }) => on, (state, on) => (state.on = on)),
};
/** @type {Address<State, State["room"]>} */
const address = new Address({ fields, defaults, rooms: ["first", "second"] });

test("what is written is read", () => {
  assert.equal(address.format(defaults()), "#first&seed=7&step=auto&way=line&on=off");
  const state = { ...defaults(), room: /** @type {const} */ ("second"), seed: 12, step: 0.25, way: "sphere", on: true, name: "ada" };
  assert.deepEqual(address.parse(address.format(state)), { state, problems: [] });
});

test("a brief address has only what differs", () => {
  /** @type {Address<State>} */
  const brief = new Address({ fields, defaults, brief: true });
  assert.equal(brief.format(defaults()), "#");
  assert.equal(brief.format({ ...defaults(), seed: 8, step: 0.5 }), "#seed=8&step=0.5");
});

test("problems come in the order of the address, each with what was expected and what was found", () => {
  const { state, problems } = address.parse("#attic&way=round&seed=1000&on=maybe&seed=3&toString=1&name=%E0%A4%A&step=2");
  assert.deepEqual(state, defaults());
  assert.deepEqual(problems, [
    "there is no room “attic”",
    "“way” should be one of line, sphere, not “round”",
    "“seed” should be a whole number from 0 to 99, not “1000”",
    "“on” should be on or off, not “maybe”",
    "“seed” is given twice; the first counts",
    "“toString” is not a setting",
    "“name” should be text that can be decoded, not “%E0%A4%A”",
    "“step” should be auto, or a number from 0 to 1, not “2”",
  ]);
});

test("a room alone is told from a room with settings", () => {
  assert.equal(address.bareRoom("#second"), "second");
  assert.equal(address.bareRoom("#second&seed=1"), null);
  assert.equal(address.bareRoom("#third"), null);
});

test("an unknown word is a missing room only where rooms are named", () => {
  const single = new Address({ fields, defaults, rooms: ["first"] });
  assert.equal(single.format(defaults()), "#first&seed=7&step=auto&way=line&on=off");
  assert.deepEqual(single.parse("#attic").problems, ["there is no room “attic”"]);
  assert.deepEqual(address.parse("#attic=1").problems, ["“attic” is not a setting"]);
  assert.deepEqual(address.parse("#seed=1&attic").problems, ["“attic” is not a setting"]);
  assert.deepEqual(address.parse("#=1").problems, ["“” is not a setting"]);
  assert.deepEqual(new Address({ fields, defaults }).parse("#attic").problems, ["“attic” is not a setting"]);
});

test("long texts are cut where a problem quotes them", () => {
  const [fits, long] = ["abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwxy"];
  assert.deepEqual(address.parse(`#second&${fits}&${long}&way=${long}`).problems, [`“${fits}” is not a setting`, `“${fits}…” is not a setting`, `“way” should be one of line, sphere, not “${fits}…”`]);
});

test("a model's name is a plain folder's name of at most 64 letters", () => {
  for (const name of ["a", "9", "flow-ebm.mnist_09", "a".repeat(64)]) assert.ok(MODEL_NAME.test(name), name);
  for (const name of ["", "a".repeat(65), "-a", ".a", "_a", "A", "a/b", "a b", "..", "é"]) assert.ok(!MODEL_NAME.test(name), name);
});
