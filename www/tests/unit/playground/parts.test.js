// The pure parts of the Playground: drawing, contour lines, store, export.

import assert from "node:assert/strict";
import { test } from "node:test";
import { contour } from "../../../playground/contour.js";
import { fileName, toArviz, toCsv } from "../../../playground/export.js";
import { decodeGrid, emptyGrid, encodeGrid, isEmpty, paint, shade, SIDE } from "../../../playground/grid.js";
import { BINS, SideStore, TRAIL } from "../../../playground/store.js";

test("a drawing survives the way through the address", () => {
  const grid = emptyGrid();
  assert.ok(isEmpty(grid));
  paint(grid, 0, 0, 3.1, false);
  paint(grid, 31, 16, 0.6, false);
  paint(grid, 31, 31, 1.6, false);
  assert.ok(!isEmpty(grid));
  assert.deepEqual(decodeGrid(encodeGrid(grid)), grid);
  assert.ok(encodeGrid(grid).length < 200);
  const worst = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => shade((i * 97) % 256));
  assert.deepEqual(decodeGrid(encodeGrid(worst)), worst);
  paint(grid, 0, 0, 50, true);
  assert.ok(isEmpty(grid));
});

test("what is no drawing is refused", () => {
  for (const text of ["", "AAAA", "!!", "A".repeat(2000), encodeGrid(emptyGrid()), `${encodeGrid(Uint8Array.from({ length: 1024 }, () => 255))}AA`]) assert.equal(decodeGrid(text), null, text.slice(0, 20));
});

test("contour lines of a paraboloid are circles", () => {
  const size = 65;
  const energy = Float32Array.from({ length: size * size }, (_, i) => ((i % size) - 32) ** 2 + (Math.floor(i / size) - 32) ** 2);
  const lines = contour({ width: size, height: size, energy }, 400);
  assert.ok(lines.length > 4 * 100);
  assert.equal(lines.length % 4, 0);
  for (let i = 0; i < lines.length; i += 2) assert.ok(Math.abs(Math.hypot(lines[i] - 32, lines[i + 1] - 32) - 20) < 0.05);
  assert.deepEqual(contour({ width: size, height: size, energy: energy.fill(NaN) }, 1), []);
});

/** @param {number} draws @param {number} from */
function frame(draws, from) {
  const chains = 3;
  const values = (/** @type {number} */ scale) => Float32Array.from({ length: draws * chains }, (_, i) => scale * (from + Math.floor(i / chains)) + (i % chains));
  return /** @type {any} */ ({ positions: new Float32Array(6), draws, clocks: Float32Array.from({ length: draws }, (_, i) => 2 * (from + i + 1)), warmup: Uint8Array.from({ length: draws }, (_, i) => Number(from + i < 5)), values: { energy: values(1), x: values(0.1), y: values(-0.1) } });
}

test("the store keeps all draws, and a replay begins anew", () => {
  const store = new SideStore(3, ["energy", "x", "y"], [0, 10, -10, 0]);
  store.push(frame(0, 0), false);
  assert.equal(store.trail.length, 1);
  assert.equal(store.histogram(0), null);
  store.push(frame(4, 0), false);
  store.push(frame(36, 4), false);
  assert.deepEqual([store.draws, store.kept, store.warmup, store.trail.length, store.size], [40, 35, 5, TRAIL, 360]);
  assert.deepEqual(store.matrix("energy")[2].slice(0, 3), [7, 8, 9]);
  assert.deepEqual([store.before(2), store.before(3), store.before(80), store.before(1e9)], [0, 2, 78, 80]);
  const sum = store.histogram(0)?.reduce((a, b) => a + b, 0) ?? 0;
  assert.ok(Math.abs((sum * 10) / BINS - 1) < 1e-9, `the bars integrate to 1: ${sum}`);
  const flat = store.matrix("x").flat();
  const mean = flat.reduce((a, b) => a + b, 0) / flat.length;
  assert.ok(Math.abs((store.moments(0)?.mean ?? 0) - mean) < 1e-9);
  store.push(frame(10, 0), true);
  assert.deepEqual([store.draws, store.clocks.length, store.matrix("y")[0].length], [10, 10, 5]);
});

test("the export holds exactly the draws and our numbers", () => {
  const draws = { energy: [[1, 2], [3, 0.10000000149011612]], x: [[0.5, -0.5], [1e-20, 7]] };
  const config = { target: "banana", seed: 3, chains: 2, start: "dispersed", superchains: 1, sides: [{ sampler: { sampler: "mala", temperature: 2 }, space: "data" }] };
  const summary = { name: "x", chains: 2, draws: 2, mean: 1, sd: 2, mcse_mean: 3, rhat: 1.5, ess_bulk: 4, ess_tail: 5, status: { kind: "not_converged" } };
  const run = /** @type {any} */ ({ config, side: 0, device: "cpu", clock: 12, names: ["energy", "x"], draws: (/** @type {"energy" | "x"} */ name) => draws[name], statistics: { summaries: [summary] } });
  const read = JSON.parse(toArviz(run));
  assert.deepEqual(read.posterior, draws);
  assert.deepEqual(read.sample_stats.lp, [[-0.5, -1], [-1.5, -0.05000000074505806]]);
  assert.deepEqual(JSON.parse(read.attrs.config), config);
  assert.deepEqual(JSON.parse(read.attrs.numbers), { x: { mean: 1, sd: 2, mcse_mean: 3, rhat: 1.5, ess_bulk: 4, ess_tail: 5 } });
  assert.ok(Object.values(read.attrs).every((value) => typeof value === "string"), "attributes that netCDF takes");
  assert.equal(toCsv(run), "chain,draw,energy,x\n1,1,1,0.5\n1,2,2,-0.5\n2,1,3,1e-20\n2,2,0.10000000149011612,7\n");
  assert.equal(fileName(run, "csv"), "mixwell-banana-mala-3.csv");
});
