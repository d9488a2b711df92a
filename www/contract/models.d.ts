// The files under models/: the manifest, and cards. Generated from the crate.

export type { Card, Manifest, ManifestFile, ManifestModel, SelfTest } from "./generated/types.js";
