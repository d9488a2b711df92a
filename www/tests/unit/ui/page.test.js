// Composing a page from the shell and what a room has of its own.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ROOMS } from "../../../rooms.js";
import { composed, included, partsOf } from "../../../ui/page.js";

const read = (/** @type {string} */ path) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const shell = read("ui/shell.html");
const all = Object.values(ROOMS);

/** @param {keyof typeof ROOMS} room */
const pageOf = (room) => composed(shell, ROOMS[room], all, partsOf(included(read(`${room}/page.html`), read), room), { scripts: [`${room}.js`, "shared-1.js"], styles: ["style.css"] });

test("an include is filled and indented as it stands", () => {
  const files = /** @type {Record<string, string>} */ ({ "a.html": '<p id="{{id}}">\n  {{text}}\n</p>\n' });
  const html = included('<div>\n  <!-- include a.html id="x" text="Yes & no" -->\n</div>\n', (path) => files[path] ?? "");
  assert.equal(html, '<div>\n  <p id="x">\n    Yes & no\n  </p>\n</div>\n');
  assert.throws(() => included('<!-- include a.html id="x" -->', (path) => files[path] ?? ""), /a\.html has a slot \{\{text\}\} that nothing fills/);
  assert.throws(() => included('<!-- include a.html id="x" text="" more="1" -->', (path) => files[path] ?? ""), /a\.html has no slot for more/);
});

test("a part that the shell does not know is told", () => {
  assert.deepEqual(partsOf("<!-- stage -->\n<p>A</p>\n", "page.html"), { intro: "", stage: "<p>A</p>", after: "", dialogs: "" });
  assert.throws(() => partsOf("<p>A</p>", "page.html"), /should begin with a part/);
  assert.throws(() => partsOf("<!-- sidebar -->\n", "page.html"), /a part “sidebar”/);
});

for (const room of /** @type {(keyof typeof ROOMS)[]} */ (Object.keys(ROOMS))) {
  test(`the page of ${room} has every id once, and what its own parts refer to`, () => {
    const html = pageOf(room);
    const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
    assert.deepEqual(ids.filter((id, at) => ids.indexOf(id) !== at), [], "ids that are there twice");
    const wanted = [...html.matchAll(/\s(?:for|aria-labelledby|aria-describedby|aria-controls)="([^"]+)"|href="#([\w-]+)"/g)].flatMap(([, list, one]) => (list ?? one ?? "").split(" "));
    assert.deepEqual(wanted.filter((id) => !ids.includes(id)), [], "ids that are missing");
    assert.doesNotMatch(html, /\{\{|<!-- include/);
    assert.equal([...html.matchAll(/<nav class="rooms"[^]*?<\/nav>/g)][0]?.[0].match(/aria-current="page"/g)?.length, 1, "one link is this page");
  });
}
