//! Finished models as files: a folder with card, weights and reference scores, and a manifest of all
//! models. Pure data: nothing here knows a system.
//!
//! `models/NAME/card.json` describes a model; `models/NAME/weights.safetensors` holds its tensors;
//! `models/NAME/scores.json` holds the reference scores that `eval` measured; `models/manifest.json`
//! lists every file with its length and SHA-256 for the page.

mod card;
#[cfg(feature = "native")]
mod folder;
pub mod scores;

pub use card::{Card, DataCard, KnownAnswer, SelfTest};
#[cfg(feature = "native")]
pub use folder::{
    Manifest, ManifestFile, ManifestModel, SCORES, SYSTEMS, find_model, read_card, read_files,
    write_atomically, write_manifest, write_model, write_pretty,
};
