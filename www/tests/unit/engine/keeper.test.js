// Losses of the device, counted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Losses } from "../../../engine/keeper.js";

test("three losses within a minute are borne, the fourth is not", (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const losses = new Losses();
  for (let loss = 1; loss <= 3; loss += 1) {
    losses.add();
    assert.equal(losses.tooMany(), null, `loss ${loss}`);
    now += 1000;
  }
  losses.add();
  const told = losses.tooMany("The driver went away.", "reason: unknown");
  assert.equal(told?.kind, "device-lost");
  assert.equal(told?.message, "The device was lost 4 times within a minute. The driver went away.");
  assert.equal(told?.detail, "reason: unknown");
  now += 61_000;
  losses.add();
  assert.equal(losses.tooMany(), null, "what lies a minute back is forgotten");
});
