import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { checkedManifest, Loader } from "../../../model/loader.js";

const base = new URL("https://example.test/app/models/");

/** @param {string} name @param {Record<string, string>} contents */
function modelOf(name, contents) {
  const files = Object.entries(contents).map(([path, text]) => ({ path, bytes: Buffer.byteLength(text), sha256: createHash("sha256").update(text).digest("hex") }));
  return { model: { name, title: name, spaces: ["pixel", "latent"], files }, contents };
}
const good = modelOf("tiny", { "card.json": '{"name":"tiny"}', "weights.safetensors": "0123456789".repeat(50) });

/** A Cache API in memory; `full` makes put() fail as a full disk does. */
function memoryCaches({ full = false } = {}) {
  const store = new Map();
  const cache = {
    store,
    match: async (url) => store.get(url)?.clone(),
    put: async (url, response) => {
      store.set(url, response);
      // Some browsers leave an empty entry behind.
      if (full) throw new DOMException("no room", "QuotaExceededError");
    },
    delete: async (request) => store.delete(request.url ?? request),
    keys: async () => [...store.keys()].map((url) => ({ url })),
  };
  return { cache, open: async () => cache };
}

/** A server with the model's files; `answer` may replace an answer. */
function serverOf({ contents }, answer = () => undefined) {
  const asked = [];
  const fetch = async (url, init = {}) => {
    if (init.signal?.aborted) throw new DOMException("aborted", "AbortError");
    const path = url.pathname.split("/").at(-1);
    const range = init.headers?.range;
    asked.push(range ? `${path} ${range}` : path);
    return (await answer(path, asked.length, range)) ?? new Response(contents[path]);
  };
  return { fetch, asked };
}

function hooks() {
  const notes = [];
  const progress = [];
  const abort = new AbortController();
  return { notes, progressed: progress, abort, signal: abort.signal, progress: (...args) => progress.push(args), note: (kind, message) => notes.push({ kind, message }) };
}
const sleep = async () => {};

test("a first load is verified, stored, and the second needs no network", async () => {
  const caches = memoryCaches();
  const { fetch, asked } = serverOf(good);
  const loader = new Loader({ base, fetch, caches, sleep });
  const told = hooks();
  const first = await loader.model(good.model, told);
  assert.equal(first.card.name, "tiny");
  assert.equal(new TextDecoder().decode(first.weights), good.contents["weights.safetensors"]);
  assert.deepEqual([first.from_cache, first.cached], [false, true]);
  assert.deepEqual(told.progressed, [
    ["card.json", 0, 515],
    ["card.json", 15, 515],
    ["card.json", 15, 515],
    ["weights.safetensors", 15, 515],
    ["weights.safetensors", 515, 515],
    ["weights.safetensors", 515, 515],
  ]);
  const second = await loader.model(good.model, hooks());
  assert.deepEqual([second.from_cache, second.cached], [true, true]);
  assert.equal(asked.length, 2);
  assert.deepEqual(await loader.cached({ version: 1, models: [good.model] }), ["tiny"]);
});

test("a damaged download is refused and not stored", async () => {
  const caches = memoryCaches();
  const bad = "9123456789".repeat(50);
  let broken = true;
  const { fetch } = serverOf(good, (path) => (broken && path === "weights.safetensors" ? new Response(bad) : undefined));
  const loader = new Loader({ base, fetch, caches, sleep });
  await assert.rejects(loader.model(good.model, hooks()), { kind: "checksum" });
  assert.ok([...caches.cache.store.keys()].every((url) => !url.includes("weights")));
  broken = false;
  assert.equal((await loader.model(good.model, hooks())).weights.byteLength, 500);
});

test("an answer that is too long is refused, and none of it is used later", async () => {
  // The first chunk fits, the second does not.
  const long = () => new Response(new ReadableStream({
    start(controller) {
      for (const part of ['{"na', "x".repeat(99)]) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  }));
  const { fetch, asked } = serverOf(good, (path, count) => (count === 1 ? long() : undefined));
  const loader = new Loader({ base, fetch, caches: memoryCaches(), sleep });
  await assert.rejects(loader.model(good.model, hooks()), { kind: "checksum" });
  assert.equal((await loader.model(good.model, hooks())).card.name, "tiny");
  assert.deepEqual(asked.slice(0, 2), ["card.json", "card.json"], "no range of a file that was refused");
});

test("a damaged cached copy is deleted and fetched anew, with a note", async () => {
  const caches = memoryCaches();
  const { fetch, asked } = serverOf(good);
  const loader = new Loader({ base, fetch, caches, sleep });
  await loader.model(good.model, hooks());
  const key = [...caches.cache.store.keys()].find((url) => url.includes("weights"));
  caches.cache.store.set(key, new Response("rotten"));
  const told = hooks();
  const loaded = await loader.model(good.model, told);
  assert.equal(loaded.weights.byteLength, 500);
  assert.equal(loaded.from_cache, false);
  assert.deepEqual(told.notes.map(({ kind }) => kind), ["checksum"]);
  assert.equal(asked.length, 3);
  assert.equal((await caches.cache.match(key).then((response) => response.arrayBuffer())).byteLength, 500);
});

test("a cached copy is hashed, not only measured", async () => {
  const caches = memoryCaches();
  const { fetch, asked } = serverOf(good);
  const loader = new Loader({ base, fetch, caches, sleep });
  await loader.model(good.model, hooks());
  const key = [...caches.cache.store.keys()].find((url) => url.includes("weights"));
  caches.cache.store.set(key, new Response("9123456789".repeat(50)));
  const told = hooks();
  const loaded = await loader.model(good.model, told);
  assert.equal(new TextDecoder().decode(loaded.weights), good.contents["weights.safetensors"]);
  assert.deepEqual(told.notes.map(({ kind }) => kind), ["checksum"]);
  assert.equal(asked.at(-1), "weights.safetensors");
});

test("a damaged cached copy does not stay, even when no other can be stored", async () => {
  const caches = memoryCaches();
  const { fetch } = serverOf(good);
  const loader = new Loader({ base, fetch, caches, sleep });
  await loader.model(good.model, hooks());
  const key = [...caches.cache.store.keys()].find((url) => url.includes("weights"));
  caches.cache.store.set(key, new Response("rotten"));
  const offline = new Loader({ base, fetch: async () => { throw new TypeError("offline"); }, caches, sleep });
  await assert.rejects(offline.model(good.model, hooks()), { kind: "network" });
  assert.equal(caches.cache.store.has(key), false);
  assert.deepEqual(await loader.cached({ version: 1, models: [good.model] }), []);
});

test("a full disk is a note, not a failure", async () => {
  const { fetch } = serverOf(good);
  const told = hooks();
  const caches = memoryCaches({ full: true });
  const loaded = await new Loader({ base, fetch, caches, sleep }).model(good.model, told);
  assert.equal(loaded.cached, false);
  assert.ok(told.notes.length > 0 && told.notes.every(({ kind }) => kind === "quota"));
  assert.equal(caches.cache.store.size, 0, "nothing half-written stays");
});

test("no Cache API at all is a note too", async () => {
  const { fetch } = serverOf(good);
  const told = hooks();
  const refused = { open: async () => { throw new DOMException("denied", "SecurityError"); } };
  const loaded = await new Loader({ base, fetch, caches: refused, sleep }).model(good.model, told);
  assert.deepEqual([loaded.cached, told.notes[0].kind], [false, "quota"]);
});

test("a broken connection goes on where it stopped", async () => {
  const text = good.contents["weights.safetensors"];
  const { fetch, asked } = serverOf(good, (path, _, range) => {
    if (path !== "weights.safetensors") return undefined;
    if (!range) {
      let sent = false;
      const body = new ReadableStream({
        pull(controller) {
          if (sent) controller.error(new TypeError("network error"));
          else controller.enqueue(new TextEncoder().encode(text.slice(0, 200)));
          sent = true;
        },
      }, { highWaterMark: 0 });
      return new Response(body);
    }
    return new Response(text.slice(200), { status: 206, headers: { "content-range": "bytes 200-499/500" } });
  });
  const loaded = await new Loader({ base, fetch, caches: memoryCaches(), sleep }).model(good.model, hooks());
  assert.equal(new TextDecoder().decode(loaded.weights), text);
  assert.deepEqual(asked, ["card.json", "weights.safetensors", "weights.safetensors bytes=200-"]);
});

test("an answer with another range than the one asked for is not used", async () => {
  const text = good.contents["weights.safetensors"];
  // Every range is one that a confused cache or proxy might send; all 500 bytes would be there, in the wrong places.
  for (const [header, body] of [
    ["bytes 100-499/500", text.slice(100)],
    ["bytes 200-499/900", text.slice(200)],
    ["bytes 2000-2299/5000", text.slice(200)],
    ["bytes 200-999/1000", text.slice(200)],
    [undefined, text.slice(200)],
  ]) {
    const { fetch, asked } = serverOf(good, (path, count, range) => {
      if (path !== "weights.safetensors") return undefined;
      if (count === 2) return new Response(text.slice(0, 200));
      return range ? new Response(body, { status: 206, headers: header ? { "content-range": header } : {} }) : undefined;
    });
    const loaded = await new Loader({ base, fetch, caches: memoryCaches(), sleep }).model(good.model, hooks());
    assert.equal(new TextDecoder().decode(loaded.weights), text, header);
    assert.deepEqual(asked.slice(2), ["weights.safetensors bytes=200-", "weights.safetensors"], header);
  }
});

test("a server that ignores the range starts over, and a short answer is no success", async () => {
  const text = good.contents["weights.safetensors"];
  const { fetch, asked } = serverOf(good, (path, count) => (path === "weights.safetensors" && count === 2 ? new Response(text.slice(0, 100)) : undefined));
  const loaded = await new Loader({ base, fetch, caches: memoryCaches(), sleep }).model(good.model, hooks());
  assert.equal(new TextDecoder().decode(loaded.weights), text);
  assert.equal(asked.at(-1), "weights.safetensors bytes=100-");
});

test("a missing file fails at once, an overloaded server is asked four times, and neither is stored", async () => {
  for (const [status, attempts] of [[404, 1], [403, 1], [428, 1], [429, 4], [500, 4], [503, 4]]) {
    const caches = memoryCaches();
    const { fetch, asked } = serverOf(good, () => new Response("sorry", { status }));
    /** @type {number[]} */
    const pauses = [];
    const loader = new Loader({ base, fetch, caches, sleep: async (ms) => void pauses.push(ms) });
    await assert.rejects(loader.model(good.model, hooks()), (error) => error.kind === "network" && error.message.includes(String(status)));
    assert.equal(asked.length, attempts);
    assert.deepEqual(pauses, [500, 1000, 2000].slice(0, attempts - 1), "each pause is twice the last");
    assert.equal(caches.cache.store.size, 0);
  }
});

test("abort stops, and the next attempt asks only for the rest", async () => {
  const text = good.contents["weights.safetensors"];
  const told = hooks();
  let first = true;
  const { fetch, asked } = serverOf(good, (path, _, range) => {
    if (path !== "weights.safetensors") return undefined;
    if (range) return new Response(text.slice(300), { status: 206, headers: { "content-range": "bytes 300-499/500" } });
    if (!first) return undefined;
    first = false;
    let sent = false;
    return new Response(new ReadableStream({
      pull(controller) {
        if (sent) {
          told.abort.abort();
          controller.error(new DOMException("aborted", "AbortError"));
        } else controller.enqueue(new TextEncoder().encode(text.slice(0, 300)));
        sent = true;
      },
    }, { highWaterMark: 0 }));
  });
  const loader = new Loader({ base, fetch, caches: memoryCaches(), sleep });
  await assert.rejects(loader.model(good.model, told), { kind: "aborted" });
  const loaded = await loader.model(good.model, hooks());
  assert.equal(new TextDecoder().decode(loaded.weights), text);
  assert.equal(asked.at(-1), "weights.safetensors bytes=300-");
});

test("a new version replaces the old one, and forget leaves other models alone", async () => {
  const caches = memoryCaches();
  const other = modelOf("other", good.contents);
  const next = modelOf("tiny", { ...good.contents, "weights.safetensors": "new" });
  const old = new Loader({ base, fetch: serverOf(good).fetch, caches, sleep });
  await old.model(good.model, hooks());
  assert.deepEqual(await old.cached({ version: 1, models: [next.model] }), [], "a copy of another version is none");
  for (const version of [other, next]) await new Loader({ base, fetch: serverOf(version).fetch, caches, sleep }).model(version.model, hooks());
  const urls = () => [...caches.cache.store.keys()].map((url) => new URL(url).pathname);
  assert.equal(urls().filter((path) => path.endsWith("tiny/weights.safetensors")).length, 1);
  await new Loader({ base, fetch: serverOf(next).fetch, caches, sleep }).forget("tiny");
  assert.deepEqual(urls(), ["/app/models/other/card.json", "/app/models/other/weights.safetensors"]);
});

test("manifests are checked before they are believed", async () => {
  const manifest = { version: 1, models: [good.model] };
  assert.equal(checkedManifest(manifest, "m"), manifest);
  const sha256 = "0".repeat(64);
  /** @param {object} change of a good file entry */
  const withFile = (change) => ({ version: 1, models: [{ ...good.model, files: [{ path: "a", bytes: 1, sha256, ...change }] }] });
  assert.ok(checkedManifest(withFile({}), "m"));
  const bad = [
    ...[null, {}, [], "manifest", { version: 1 }],
    { version: 2, models: [good.model] },
    { version: 1, models: [] },
    // One bad model, one bad file, among good ones.
    { version: 1, models: [good.model, { ...good.model, name: "../x" }] },
    { version: 1, models: [{ ...good.model, files: [...good.model.files, { path: "a", bytes: 1, sha256: "" }] }] },
    ...[{ name: "../x" }, { name: "" }, { title: 1 }, { spaces: "pixel" }, { files: {} }].map((change) => ({ version: 1, models: [{ ...good.model, ...change }] })),
    // One wrong field at a time, so that no check hides behind another.
    ...[{ path: 1 }, { bytes: -1 }, { bytes: 1.5 }, { bytes: "1" }, { bytes: 2 ** 60 }].map(withFile),
    ...["", "0".repeat(63), "0".repeat(65), "G".repeat(64), "A".repeat(64), undefined].map((value) => withFile({ sha256: value })),
  ];
  for (const manifest of bad) assert.throws(() => checkedManifest(manifest, "m"), { kind: "bad-model" }, JSON.stringify(manifest));
  const served = new Loader({ base, fetch: async () => Response.json(manifest), caches: undefined, sleep });
  assert.deepEqual(await served.manifest(), manifest);
  const html = new Loader({ base, fetch: async () => new Response("<!doctype html>"), caches: undefined, sleep });
  await assert.rejects(html.manifest(), { kind: "bad-model" });
});

test("further files are loaded and verified where a model has them", async () => {
  const richer = modelOf("rich", { "card.json": '{"name":"rich"}', "weights.safetensors": "w".repeat(40), "scores.json": '{"sets":[]}', "race-mala.json": "{}" });
  const caches = memoryCaches();
  const { fetch, asked } = serverOf(richer);
  const loader = new Loader({ base, fetch, caches, sleep });
  const plain = await loader.model(richer.model, hooks());
  assert.deepEqual([...plain.files.keys()], ["card.json", "weights.safetensors"]);
  assert.deepEqual(await loader.cached({ version: 1, models: [richer.model] }), ["rich"]);
  assert.deepEqual(await loader.cached({ version: 1, models: [richer.model] }, ["scores.json"]), [], "not all of it is here yet");
  const told = hooks();
  const loaded = await loader.model(richer.model, told, ["scores.json"]);
  assert.equal(new TextDecoder().decode(loaded.files.get("scores.json")), '{"sets":[]}');
  assert.deepEqual(asked, ["card.json", "weights.safetensors", "scores.json"], "nothing twice, and nothing else");
  assert.deepEqual(told.progressed.at(-1), ["scores.json", 66, 66]);
  const bad = modelOf("rich", { ...richer.contents, "scores.json": '{"sets":[1]}' });
  const { fetch: broken } = serverOf({ contents: richer.contents }, (path) => (path === "scores.json" ? new Response('{"sets":[2]}') : undefined));
  await assert.rejects(new Loader({ base, fetch: broken, caches: memoryCaches(), sleep }).model(bad.model, hooks(), ["scores.json"]), { kind: "checksum" });
});
