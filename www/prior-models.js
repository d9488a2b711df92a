// Which models the room Prior offers.

import { bytesOf, isPrior } from "./model-files.js";
import { MORE } from "./studio-models.js";

/** @import { Manifest, ManifestModel } from "./protocol.js" */

/** @param {Manifest} manifest */
export function offered(manifest) {
  return manifest.models.filter(isPrior);
}

/**
 * All that a visit with this model downloads.
 * @param {Manifest} _manifest
 * @param {ManifestModel} model
 */
export function wholeSize(_manifest, model) {
  return bytesOf(model, MORE);
}
