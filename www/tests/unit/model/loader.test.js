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
      if (full) throw new DOMException("no room", "QuotaExceededError");
      store.set(url, response);
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
  assert.deepEqual(told.progressed.at(-1), ["weights.safetensors", 515, 515]);
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

test("an answer that is too long is refused", async () => {
  const { fetch } = serverOf(good, (path) => (path === "card.json" ? new Response("x".repeat(99)) : undefined));
  await assert.rejects(new Loader({ base, fetch, caches: memoryCaches(), sleep }).model(good.model, hooks()), { kind: "checksum" });
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

test("a full disk is a note, not a failure", async () => {
  const { fetch } = serverOf(good);
  const told = hooks();
  const loaded = await new Loader({ base, fetch, caches: memoryCaches({ full: true }), sleep }).model(good.model, told);
  assert.equal(loaded.cached, false);
  assert.ok(told.notes.length > 0 && told.notes.every(({ kind }) => kind === "quota"));
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

test("a server that ignores the range starts over, and a short answer is no success", async () => {
  const text = good.contents["weights.safetensors"];
  const { fetch, asked } = serverOf(good, (path, count) => (path === "weights.safetensors" && count === 2 ? new Response(text.slice(0, 100)) : undefined));
  const loaded = await new Loader({ base, fetch, caches: memoryCaches(), sleep }).model(good.model, hooks());
  assert.equal(new TextDecoder().decode(loaded.weights), text);
  assert.equal(asked.at(-1), "weights.safetensors bytes=100-");
});

test("a missing file fails at once, an overloaded server is asked four times, and neither is stored", async () => {
  for (const [status, attempts] of [[404, 1], [503, 4]]) {
    const caches = memoryCaches();
    const { fetch, asked } = serverOf(good, () => new Response("sorry", { status }));
    await assert.rejects(new Loader({ base, fetch, caches, sleep }).model(good.model, hooks()), (error) => error.kind === "network" && error.message.includes(String(status)));
    assert.equal(asked.length, attempts);
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
  for (const version of [good, other, next]) await new Loader({ base, fetch: serverOf(version).fetch, caches, sleep }).model(version.model, hooks());
  const urls = () => [...caches.cache.store.keys()].map((url) => new URL(url).pathname);
  assert.equal(urls().filter((path) => path.endsWith("tiny/weights.safetensors")).length, 1);
  await new Loader({ base, fetch: serverOf(next).fetch, caches, sleep }).forget("tiny");
  assert.deepEqual(urls(), ["/app/models/other/card.json", "/app/models/other/weights.safetensors"]);
});

test("manifests are checked before they are believed", async () => {
  const manifest = { version: 1, models: [good.model] };
  assert.equal(checkedManifest(manifest, "m"), manifest);
  for (const bad of [null, {}, { version: 2, models: [good.model] }, { version: 1, models: [] }, { version: 1, models: [{ ...good.model, name: "../x" }] }, { version: 1, models: [{ ...good.model, files: [{ path: "a", bytes: -1, sha256: "" }] }] }]) {
    assert.throws(() => checkedManifest(bad, "m"), { kind: "bad-model" });
  }
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
