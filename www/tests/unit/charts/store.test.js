import assert from "node:assert/strict";
import { test } from "node:test";
import { CAPACITY, median, TraceStore } from "../../../charts/store.js";

/** A frame of `count` draws after `before` draws: chain c of draw d has the value 100 c + d. */
function frame(before, count, chains = 2) {
  const draws = Array.from({ length: count }, (_, i) => before + i + 1);
  return {
    gradients: before + count,
    transitions: before + count,
    trace_clock: Float32Array.from(draws),
    traces: { energy: Float32Array.from(draws.flatMap((draw) => Array.from({ length: chains }, (_, chain) => 100 * chain + draw))) },
  };
}

test("draws are sorted by chain and the end of the warm-up is noted", () => {
  const store = new TraceStore(2, ["energy"], 3);
  store.push(frame(0, 2));
  assert.equal(store.warmupEnd, null);
  store.push(frame(2, 2));
  assert.equal(store.warmupEnd, 3);
  assert.deepEqual(store.clock, [1, 2, 3, 4]);
  assert.deepEqual(store.values.get("energy"), [[1, 2, 3, 4], [101, 102, 103, 104]]);
});

test("the store stays bounded and evenly spaced", () => {
  const store = new TraceStore(2, ["energy"], 0);
  for (let before = 0; before < 10 * CAPACITY; before += 7) store.push(frame(before, 7));
  assert.ok(store.clock.length < CAPACITY);
  assert.ok(store.clock.length >= CAPACITY / 2);
  assert.ok(store.clock.every((clock) => clock % store.stride === 0));
  assert.deepEqual(store.values.get("energy")[0], store.clock);
});

test("a restored frame takes back what came after it", () => {
  const store = new TraceStore(2, ["energy"], 4);
  store.push(frame(0, 5));
  store.push(frame(3, 0));
  assert.deepEqual(store.clock, [1, 2, 3]);
  assert.equal(store.warmupEnd, null);
  store.push(frame(3, 2));
  assert.deepEqual(store.clock, [1, 2, 3, 4, 5]);
  assert.equal(store.warmupEnd, 4);
});

test("the range leaves out the far-off starts, the table does not", () => {
  const store = new TraceStore(1, ["energy"], 0);
  const values = [1000, 5, 6, 7];
  store.push({ gradients: 4, transitions: 4, trace_clock: Float32Array.from([1, 2, 3, 4]), traces: { energy: Float32Array.from(values) } });
  assert.deepEqual(store.range("energy"), [5, 7]);
  assert.deepEqual(store.table("energy", 2).map((row) => row.median), [1000, 7]);
});

test("chains that are not finite are left out of the table", () => {
  const store = new TraceStore(3, ["energy"], 0);
  store.push({ gradients: 1, transitions: 1, trace_clock: Float32Array.from([1]), traces: { energy: Float32Array.from([2, NaN, 4]) } });
  const [row] = store.table("energy", 5);
  assert.deepEqual([row.least, row.median, row.most], [2, 3, 4]);
  assert.equal(median([]), undefined);
});
