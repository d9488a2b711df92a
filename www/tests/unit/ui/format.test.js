import assert from "node:assert/strict";
import { test } from "node:test";
import { axisLabel, compact, integer, megabytes, percent, rhat, tidy } from "../../../ui/format.js";

test("undefined statistics are a dash, never NaN", () => {
  for (const value of [null, undefined, NaN, Infinity]) {
    assert.equal(compact(value), "–");
    assert.equal(rhat(value), "–");
  }
  assert.equal(percent(null), "–");
});

test("compact numbers keep three digits", () => {
  assert.deepEqual([0, 1, 0.012, 41.66, 322.4, 12345.6, -3.14159, 2e7, 3e-7].map((value) => compact(value)), ["0", "1.00", "0.0120", "41.7", "322", "12,346", "−3.14", "2.00e7", "3.00e−7"]);
});

test("settings show no zeros of their own", () => {
  assert.deepEqual([1, 0.008, 0.420001, 3.2e-7, -2, null].map(tidy), ["1", "0.008", "0.42", "3.2e−7", "−2", "–"]);
});

test("the others", () => {
  assert.deepEqual([1.0049, 1.0138, 2.346, 28.14, 150].map(rhat), ["1.005", "1.014", "2.35", "28.1", "> 99"]);
  assert.equal(integer(-1234), "−1,234");
  assert.equal(percent(0.567), "57 %");
  assert.deepEqual([512, 5_432_100].map(megabytes), ["0.5 kB", "5.4 MB"]);
});

test("axis labels show what tells neighbouring ticks apart", () => {
  assert.deepEqual([0, 2.5, 5].map((tick) => axisLabel(tick, 2.5)), ["0.0", "2.5", "5.0"]);
  assert.deepEqual([-0.25, 0].map((tick) => axisLabel(tick, 0.25)), ["−0.25", "0.00"]);
  assert.equal(axisLabel(1200, 200), "1,200");
  assert.equal(axisLabel(0.3, 0.1), "0.3");
  assert.equal(axisLabel(0.00002, 0.00002), "0.00002");
});
