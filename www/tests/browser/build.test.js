// The built files themselves.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DIST } from "./harness.js";

for (const build of ["mixwell-webgpu", "mixwell-cpu"]) {
  test(`${build} runs its constructors once, not at every call`, () => {
    const script = readFileSync(join(DIST, `${build}.js`), "utf8");
    assert.match(script, /export/, "the script is one");
    // The linker wraps each export in a "command" that re-runs thousands of constructors (250 µs a
    // call) unless one export calls them itself.
    assert.doesNotMatch(script, /command_export/);
    const wasm = readFileSync(join(DIST, `${build}_bg.wasm`));
    assert.equal(wasm.subarray(0, 4).toString("latin1"), "\0asm");
    assert.equal(wasm.indexOf("command_export"), -1);
  });
}

test("every file that the page names is there", () => {
  const html = readFileSync(join(DIST, "index.html"), "utf8");
  const names = [...html.matchAll(/(?:src|href)="\.?\/?([^":#?]+\.(?:js|css))"/g)].map(([, name]) => name);
  assert.ok(names.includes("main.js"), `${names}`);
  const scripts = new Set([...names, "worker.js", "engine.js"]);
  for (const name of scripts) {
    assert.ok(statSync(join(DIST, name)).size > 0, name);
    if (!name.endsWith(".js") || name.startsWith("vendor/")) continue;
    const code = readFileSync(join(DIST, name), "utf8").replace(/\/\*.*?\*\//gs, "");
    for (const [, next] of code.matchAll(/(?:^import|from|new URL\() ?"\.\/([^"]+\.js)"/gm)) scripts.add(next);
  }
  assert.ok(scripts.size > 10, `${[...scripts]}`);
});
