// The models that the room Prior offers.

import { bytesOf, isPrior, MORE } from "../model/files.js";

/** @import { Manifest, ManifestModel } from "../contract/models.js" */

/** @param {Manifest} manifest */
export function offered(manifest) {
  return manifest.models.filter(isPrior);
}

/**
 * Total download size for this model.
 * @param {Manifest} _manifest
 * @param {ManifestModel} model
 */
export function wholeSize(_manifest, model) {
  return bytesOf(model, MORE);
}
