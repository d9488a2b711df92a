// The files of a model that a room needs, and their sizes. Pure functions.

import { Failure } from "../engine/failure.js";

/** @import { ManifestFile, ManifestModel } from "../contract/models.js" */
/** @import { LoadedModel } from "./loader.js" */

/** Files that every model must have. */
export const NEEDED = /** @type {const} */ (["card.json", "weights.safetensors"]);

/** Reference scores for percentiles and AUROC; optional. */
export const MORE = /** @type {const} */ (["scores.json"]);

/**
 * The files that every room needs, plus those of `more` that the manifest lists.
 * @param {ManifestModel} model
 * @param {readonly string[]} [more] files that a model may have, e.g. "scores.json"
 * @returns {ManifestFile[]}
 */
export function filesOf(model, more = []) {
  const needed = NEEDED.map((path) => {
    const file = model.files.find((candidate) => candidate.path === path);
    if (!file) throw new Failure("bad-model", `The manifest lists no ${path} for the model ${model.name}.`);
    return file;
  });
  return [...needed, ...model.files.filter(({ path }) => more.includes(path))];
}

/**
 * Bytes to download.
 * @param {ManifestModel} model
 * @param {readonly string[]} [more]
 */
export function bytesOf(model, more) {
  return filesOf(model, more).reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Whether the model is a generator with a staged prior, for the room Prior.
 * @param {ManifestModel} model
 */
export function isPrior({ name, system }) {
  return system === undefined ? name.startsWith("latent-prior") : system === "latent-prior";
}

/** @param {LoadedModel} loaded @param {string} path */
export function textOf(loaded, path) {
  const bytes = loaded.files.get(path);
  return bytes ? new TextDecoder().decode(bytes) : null;
}
