// Which models the Studio offers, and what belongs to each: its classifier, its reference scores.

import { bytesOf, isPrior, MORE } from "../model/files.js";

/** @import { Manifest, ManifestModel } from "../contract/models.js" */

/**
 * What can be sampled. A classifier has no spaces, and a prior over latents has a room of its own.
 * @param {Manifest} manifest
 */
export function offered(manifest) {
  return manifest.models.filter((model) => model.spaces.length > 0 && !isPrior(model));
}

/**
 * The model of a newcomer: the first CLEL, for it can do everything here.
 * @param {ManifestModel[]} models
 */
export function firstChoice(models) {
  return models.find(({ name }) => name.startsWith("clel-")) ?? models[0];
}

/**
 * The classifier of a data set.
 * @param {Manifest} manifest
 * @param {string} data
 */
export function classifierFor(manifest, data) {
  return manifest.models.find(({ name }) => name === `classifier-${data}`);
}

/**
 * The classifier that goes with a model, as far as the manifest's names tell before the card is here:
 * the data's name ends the model's.
 * @param {Manifest} manifest
 * @param {ManifestModel} model
 */
export function likelyClassifier(manifest, model) {
  const ending = manifest.models.filter(({ name }) => name.startsWith("classifier-") && model.name.endsWith(`-${name.slice("classifier-".length)}`));
  // "fashion-mnist" ends with "mnist" too: the longest name is the right one.
  return ending.sort((a, b) => b.name.length - a.name.length)[0];
}

/**
 * All that a visit with this model downloads.
 * @param {Manifest} manifest
 * @param {ManifestModel} model
 */
export function wholeSize(manifest, model) {
  const classifier = likelyClassifier(manifest, model);
  return bytesOf(model, MORE) + (classifier ? bytesOf(classifier) : 0);
}
