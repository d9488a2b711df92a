// Model files: manifest, download, verification, cache. Nothing is used or kept before its
// SHA-256 agrees with the manifest, and a cached copy is verified again whenever it is read.

import { Failure, toError } from "../engine/failure.js";
import { filesOf } from "./files.js";

/** @import { ErrorKind } from "../contract/errors.js" */
/** @import { Card, Manifest, ManifestFile, ManifestModel } from "../contract/models.js" */

const CACHE_NAME = "mixwell-models-v1";
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** A connection without data for this long is aborted and retried. */
const STALL_MS = 20_000;

/**
 * @typedef {object} Hooks
 * @property {AbortSignal} signal
 * @property {(file: string, loaded: number, total: number) => void} progress
 * @property {(kind: ErrorKind, message: string) => void} note
 */

/**
 * @typedef {object} LoadedModel
 * @property {Card} card
 * @property {Uint8Array<ArrayBuffer>} weights
 * @property {Map<string, Uint8Array<ArrayBuffer>>} files all loaded files, by path
 * @property {boolean} from_cache nothing was downloaded
 * @property {boolean} cached everything is stored for the next visit
 */

/** Downloads through browser services, which the tests replace. */
export class Loader {
  /**
   * @param {object} world
   * @param {URL} world.base the models/ folder
   * @param {(url: URL, init: RequestInit) => Promise<Response>} [world.fetch]
   * @param {CacheStorage | undefined} [world.caches] undefined where the browser refuses it
   * @param {(ms: number) => Promise<void>} [world.sleep]
   */
  constructor({ base, fetch = (url, init) => globalThis.fetch(url, init), caches = globalThis.caches, sleep = wait }) {
    this.base = base;
    this.fetch = fetch;
    this.caches = caches;
    this.sleep = sleep;
  }

  /**
   * Bytes of stopped downloads, by hash, so that another attempt requests only the rest.
   * @type {Map<string, { content: Uint8Array<ArrayBuffer>, loaded: number }>}
   */
  #partial = new Map();

  /** @returns {Promise<Manifest>} */
  async manifest() {
    const url = new URL("manifest.json", this.base);
    const response = await this.#get(url, { cache: "no-cache" });
    /** @type {unknown} */
    let json;
    try {
      json = await response.json();
    } catch (error) {
      throw new Failure("bad-model", `${url.pathname} is not JSON.`, toError(error).detail);
    }
    return checkedManifest(json, url.pathname);
  }

  /**
   * Names of the models that can be loaded without the network.
   * @param {Manifest} manifest
   * @param {readonly string[]} [more] files besides card and weights, where a model has them
   */
  async cached(manifest, more) {
    const cache = await this.#open();
    if (!cache) return [];
    const urls = new Set((await cache.keys()).map((request) => request.url));
    return manifest.models
      .filter((model) => filesOf(model, more).every((file) => urls.has(this.#key(model, file))))
      .map((model) => model.name);
  }

  /**
   * @param {ManifestModel} model
   * @param {Hooks} hooks
   * @param {readonly string[]} [more] files besides card and weights, where the model has them
   * @returns {Promise<LoadedModel>}
   */
  async model(model, hooks, more) {
    const files = filesOf(model, more);
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    const cache = await this.#open();
    if (!cache) hooks.note("quota", "This browser offers no storage here, so the model is kept in memory only and downloaded again next time.");
    let before = 0;
    let downloaded = 0;
    let kept = cache !== null;
    /** @type {Map<string, Uint8Array<ArrayBuffer>>} */
    const bytes = new Map();
    for (const file of files) {
      /** @param {number} loaded */
      const progress = (loaded) => hooks.progress(file.path, before + loaded, total);
      progress(0);
      let content = cache && (await this.#fromCache(cache, model, file, hooks));
      if (!content) {
        content = await this.#download(model, file, hooks.signal, progress);
        await verify(content, file);
        downloaded += 1;
        // A failure to store the file does not fail the load: the bytes are verified.
        if (cache) kept = (await this.#keep(cache, model, file, content, hooks)) && kept;
      }
      bytes.set(file.path, content);
      before += file.bytes;
      progress(0);
    }
    return {
      card: parseCard(part(bytes, "card.json"), model),
      weights: part(bytes, "weights.safetensors"),
      files: bytes,
      from_cache: downloaded === 0,
      cached: kept,
    };
  }

  /**
   * Deletes every cached file of a model, older versions included.
   * @param {string} name
   */
  async forget(name) {
    const cache = await this.#open();
    if (!cache) return;
    const folder = new URL(`${name}/`, this.base).href;
    for (const request of await cache.keys()) {
      if (request.url.startsWith(folder)) await cache.delete(request);
    }
  }

  /** In private windows and insecure origins the Cache API may be absent or throw. */
  async #open() {
    try {
      return (await this.caches?.open(CACHE_NAME)) ?? null;
    } catch {
      return null;
    }
  }

  /**
   * The cache key of a file. It contains the hash, so a new version never matches an old copy.
   * @param {ManifestModel} model
   * @param {ManifestFile} file
   */
  #key(model, file) {
    const url = new URL(`${model.name}/${file.path}`, this.base);
    url.searchParams.set("sha256", file.sha256);
    return url.href;
  }

  /**
   * @param {Cache} cache
   * @param {ManifestModel} model
   * @param {ManifestFile} file
   * @param {Hooks} hooks
   */
  async #fromCache(cache, model, file, hooks) {
    const key = this.#key(model, file);
    try {
      const response = await cache.match(key);
      if (!response) return null;
      const content = new Uint8Array(await response.arrayBuffer());
      await verify(content, file);
      return content;
    } catch (error) {
      await cache.delete(key).catch(() => false);
      hooks.note("checksum", `The cached copy of ${file.path} was damaged (${toError(error).message}) It was deleted and is being downloaded again.`);
      return null;
    }
  }

  /**
   * @param {Cache} cache
   * @param {ManifestModel} model
   * @param {ManifestFile} file
   * @param {Uint8Array<ArrayBuffer>} content
   * @param {Hooks} hooks
   */
  async #keep(cache, model, file, content, hooks) {
    const key = this.#key(model, file);
    try {
      const headers = { "content-type": "application/octet-stream", "content-length": String(content.byteLength) };
      await cache.put(key, new Response(content, { headers }));
      const bare = key.slice(0, key.indexOf("?"));
      for (const request of await cache.keys()) {
        if (request.url !== key && request.url.split("?")[0] === bare) await cache.delete(request);
      }
      return true;
    } catch (error) {
      await cache.delete(key).catch(() => false);
      hooks.note("quota", `The browser would not store ${file.path} (${formatMegabytes(file.bytes)}): ${toError(error).message}`);
      return false;
    }
  }

  /**
   * Downloads one file; a broken download is resumed if the server supports it.
   * @param {ManifestModel} model
   * @param {ManifestFile} file
   * @param {AbortSignal} signal
   * @param {(loaded: number) => void} progress
   */
  async #download(model, file, signal, progress) {
    const url = new URL(`${model.name}/${file.path}`, this.base);
    const partial = this.#partial.get(file.sha256);
    const content = partial?.content ?? new Uint8Array(file.bytes);
    let loaded = partial?.loaded ?? 0;
    this.#partial.delete(file.sha256);
    if (loaded === file.bytes) return content;
    for (let attempt = 1; ; attempt += 1) {
      try {
        loaded = await this.#receive(url, content, loaded, signal, progress);
        return content;
      } catch (error) {
        if (error instanceof Partial) loaded = error.loaded;
        const cause = error instanceof Partial ? error.cause : error;
        if (toError(cause).kind !== "checksum") this.#partial.set(file.sha256, { content, loaded });
        if (signal.aborted) throw new Failure("aborted", `The download stopped at ${formatMegabytes(loaded)} of ${formatMegabytes(file.bytes)}.`);
        if (cause instanceof Failure && cause.kind !== "network") throw cause;
        if (cause instanceof Final || attempt === ATTEMPTS) {
          throw new Failure("network", `${file.path}: ${toError(cause).message} (${attempt} ${attempt === 1 ? "attempt" : "attempts"}, ${formatMegabytes(loaded)} of ${formatMegabytes(file.bytes)} received)`, `${url.href}\n${toError(cause).detail}`);
        }
        await this.sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1));
        this.#partial.delete(file.sha256);
      }
    }
  }

  /**
   * One attempt. Resolves with the length once the file is complete, else throws Partial.
   * @param {URL} url
   * @param {Uint8Array} content
   * @param {number} from bytes already downloaded
   * @param {AbortSignal} signal
   * @param {(loaded: number) => void} progress
   */
  async #receive(url, content, from, signal, progress) {
    let loaded = from;
    const stall = new AbortController();
    let timer = setTimeout(() => stall.abort(), STALL_MS);
    try {
      // "reload" bypasses the HTTP cache, which may hold the copy that failed its checksum.
      /** @type {RequestInit} */
      const init = { cache: "reload", signal: AbortSignal.any([signal, stall.signal]) };
      if (from > 0) init.headers = { range: `bytes=${from}-` };
      const response = await this.#get(url, init);
      if (response.status === 206) {
        if (!continuesAt(response, from, content.byteLength)) {
          await response.body?.cancel();
          loaded = 0;
          throw new Failure("network", `the server sent the range ${response.headers.get("content-range") ?? "(none)"} instead of bytes ${from}-${content.byteLength - 1}`);
        }
      } else {
        // The server ignored the range and sends the whole file.
        loaded = 0;
      }
      if (!response.body) throw new Failure("network", "the answer has no body");
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => stall.abort(), STALL_MS);
        if (loaded + value.byteLength > content.byteLength) {
          await reader.cancel();
          throw new Failure("checksum", `${url.pathname} is longer than the ${content.byteLength} bytes that the manifest states.`);
        }
        content.set(value, loaded);
        loaded += value.byteLength;
        progress(loaded);
      }
      if (loaded < content.byteLength) throw new Failure("network", "the connection ended early");
      return loaded;
    } catch (error) {
      const cause = stall.signal.aborted ? new Failure("network", `no data arrived for ${STALL_MS / 1000} s`) : error;
      throw new Partial(loaded, cause);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * @param {URL} url
   * @param {RequestInit} init
   */
  async #get(url, init) {
    /** @type {Response} */
    let response;
    try {
      response = await this.fetch(url, init);
    } catch (error) {
      const { kind, message, detail } = toError(error, "network");
      throw new Failure(kind === "aborted" ? "aborted" : "network", `${url.pathname}: ${message}`, detail);
    }
    if (response.ok) return response;
    const text = `${url.pathname}: the server answered ${response.status} ${response.statusText}`.trim();
    // A retry helps with an overloaded server, not with a missing file.
    throw response.status >= 500 || response.status === 429 ? new Failure("network", text) : new Final(text);
  }
}

/** A download that ended early. */
class Partial extends Error {
  /**
   * @param {number} loaded
   * @param {unknown} cause
   */
  constructor(loaded, cause) {
    super("partial download", { cause });
    this.loaded = loaded;
  }
}

/** A network failure that a retry cannot fix. */
class Final extends Failure {
  /** @param {string} message */
  constructor(message) {
    super("network", message);
  }
}

/**
 * True if a 206 response starts where the download stopped, within a file of this size.
 * @param {Response} response
 * @param {number} from
 * @param {number} size
 */
function continuesAt(response, from, size) {
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  if (!range) return false;
  const [start = NaN, end = NaN, total = NaN] = range.slice(1).map(Number);
  return start === from && end < size && (range[3] === "*" || total === size);
}

/**
 * Throws a checksum failure unless length and SHA-256 agree with the manifest.
 * @param {Uint8Array<ArrayBuffer>} content
 * @param {ManifestFile} file
 */
export async function verify(content, file) {
  if (content.byteLength !== file.bytes) {
    throw new Failure("checksum", `${file.path} has ${content.byteLength} bytes, but the manifest states ${file.bytes}.`);
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== file.sha256) {
    throw new Failure("checksum", `${file.path} has SHA-256 ${hex.slice(0, 12)}…, but the manifest states ${file.sha256.slice(0, 12)}….`, `found    ${hex}\nexpected ${file.sha256}`);
  }
}

/**
 * @param {unknown} json
 * @param {string} where
 * @returns {Manifest}
 */
export function checkedManifest(json, where) {
  const manifest = /** @type {Manifest | null} */ (json);
  const good =
    manifest?.version === 1 &&
    Array.isArray(manifest.models) &&
    manifest.models.length > 0 &&
    manifest.models.every(
      (model) =>
        /^[a-z0-9][a-z0-9._-]*$/.test(model?.name) &&
        typeof model.title === "string" &&
        Array.isArray(model.spaces) &&
        Array.isArray(model.files) &&
        model.files.every(
          (file) => typeof file?.path === "string" && Number.isSafeInteger(file.bytes) && file.bytes >= 0 && /^[0-9a-f]{64}$/.test(file.sha256),
        ),
    );
  if (!good) throw new Failure("bad-model", `${where} is not a version 1 manifest with at least one model.`);
  return manifest;
}

/**
 * @param {Uint8Array} content
 * @param {ManifestModel} model
 * @returns {Card}
 */
function parseCard(content, model) {
  try {
    return JSON.parse(new TextDecoder().decode(content));
  } catch (error) {
    throw new Failure("bad-model", `The card of ${model.name} is not JSON.`, toError(error).detail);
  }
}

/**
 * @param {Map<string, Uint8Array<ArrayBuffer>>} bytes
 * @param {string} path
 */
function part(bytes, path) {
  const content = bytes.get(path);
  if (!content) throw new Failure("bad-model", `${path} is missing.`);
  return content;
}

/** @param {number} bytes */
function formatMegabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * @param {number} ms
 * @returns {Promise<void>}
 */
function wait(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
