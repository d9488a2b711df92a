// The models that the Studio offers, each with its classifier and reference scores.

import { bytesOf, isPrior, MORE } from "../model/files.js";

/** @import { Manifest, ManifestModel } from "../contract/models.js" */

/**
 * Models that can be sampled. Classifiers have no spaces, and latent priors have their own room.
 * @param {Manifest} manifest
 */
export function offered(manifest) {
  return manifest.models.filter((model) => model.spaces.length > 0 && !isPrior(model));
}

/**
 * The default model: the first CLEL, because it supports every room here.
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
 * A model's classifier, inferred from the names in the manifest before the card is loaded: the model's
 * name ends with the name of its data.
 * @param {Manifest} manifest
 * @param {ManifestModel} model
 */
export function likelyClassifier(manifest, model) {
  const ending = manifest.models.filter(({ name }) => name.startsWith("classifier-") && model.name.endsWith(`-${name.slice("classifier-".length)}`));
  // "fashion-mnist" ends with "mnist" too: the longest match is the right one.
  return ending.sort((a, b) => b.name.length - a.name.length)[0];
}

/**
 * Total download size for this model.
 * @param {Manifest} manifest
 * @param {ManifestModel} model
 */
export function wholeSize(manifest, model) {
  const classifier = likelyClassifier(manifest, model);
  return bytesOf(model, MORE) + (classifier ? bytesOf(classifier) : 0);
}
