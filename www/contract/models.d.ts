// The files under models/ as the page reads them: the manifest, and the part of a card that it uses.

/** models/NAME/card.json, the part the page uses. */
export interface Card {
  name: string;
  title: string;
  description: string;
  system: string;
  data: { name: string; classes: string[]; shape: [number, number, number] };
  licence: string;
  metrics: Record<string, number | string>;
  known_failures: string[];
  [more: string]: unknown;
}

/** One file of a model. `path` is relative to models/NAME/; `sha256` is 64 lower-case hex digits. */
export interface ManifestFile {
  path: string;
  bytes: number;
  sha256: string;
}

export interface ManifestModel {
  name: string;
  title: string;
  /** "flow-ebm", "clel", "latent-prior", "classifier": a room offers the systems that it knows. Missing in manifests older than Prior. */
  system?: string;
  /** Spaces that it can be sampled in, e.g. "pixel" and "latent"; empty: it is no energy-based model but a classifier. */
  spaces: string[];
  /** Holds at least "card.json" and "weights.safetensors"; the Race downloads these two only, the Studio and Prior "scores.json" too. */
  files: ManifestFile[];
}

/** models/manifest.json: every file of every model with its length and SHA-256. */
export interface Manifest {
  version: 1;
  models: ManifestModel[];
}

/** Energies of known states on this device against the card's. */
export interface SelfTest {
  passed: boolean;
  max_relative_error: number;
  tolerance: number;
}
