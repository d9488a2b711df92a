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

for (const page of ["index.html", "playground.html", "studio.html", "prior.html"]) {
  test(`every file that ${page} names is there, and nothing of it is written into the page`, () => {
    const html = readFileSync(join(DIST, page), "utf8");
    const names = [...html.matchAll(/(?:src|href)="\.\/([^"#?]+\.(?:js|css|py|R))"/g)].map(([, name]) => name);
    assert.ok(names.filter((name) => name.endsWith(".js")).length >= 3, `${names}`);
    for (const name of [...names, "worker.js", "engine.js"]) assert.ok(statSync(join(DIST, name)).size > 0, name);
    // What scripts import is among the files that the page asks for at once.
    for (const name of names.filter((each) => each.endsWith(".js"))) {
      const code = readFileSync(join(DIST, name), "utf8");
      for (const [, next] of code.matchAll(/(?:from|import)"\.\/([^"]+\.js)"/g)) assert.ok(names.includes(next), `${name} imports ${next}`);
    }
    // A strict Content-Security-Policy refuses both.
    assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|javascript:|data-trunk/i);
    assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)/i);
  });
}
