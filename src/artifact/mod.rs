//! Finished models: a folder with a card and weights, and the manifest of all of them.
//!
//! `models/NAME/card.json` says everything about a model; `models/NAME/weights.safetensors` holds
//! its tensors; `models/manifest.json` lists every file with length and SHA-256 for the page.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    rng::Rng,
    system::{self, Model},
};

/// A model card. Numbers in it were measured by the command that wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Version of this layout: 1.
    pub format: u32,
    /// Folder name, e.g. "flow-ebm-mnist".
    pub name: String,
    /// Name for people.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// Name in the registry of systems.
    pub system: String,
    /// What it was trained on.
    pub data: DataCard,
    /// The system's own architecture config.
    pub architecture: serde_json::Value,
    /// Recipe, seed, commit, device and cost of the training run.
    pub training: serde_json::Value,
    /// Measured quality, each with what it was measured on.
    pub metrics: BTreeMap<String, serde_json::Value>,
    /// Recommended step sizes: space → sampler → step size ε, from warm-up adaptation.
    pub step_sizes: BTreeMap<String, BTreeMap<String, f64>>,
    /// Energies that every device must reproduce.
    pub known_answer: KnownAnswer,
    /// Licence of the weights.
    pub licence: String,
    /// What it is known to do badly.
    pub known_failures: Vec<String>,
}

/// The data of a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataCard {
    /// Data set, e.g. "mnist".
    pub name: String,
    /// Names of its classes.
    pub classes: Vec<String>,
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    /// Preprocessing, in words.
    pub preprocessing: String,
}

/// Energies of the start states of one seed, measured on the CPU at export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownAnswer {
    /// Seed of the starts.
    pub seed: u64,
    /// Scale of the starts.
    pub start_scale: f64,
    /// Space → energies, one for each chain.
    pub energies: BTreeMap<String, Vec<f32>>,
    /// Largest relative difference that a device may show.
    pub tolerance: f64,
}

/// Outcome of the known-answer test on a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Whether every energy agrees.
    pub passed: bool,
    /// Largest |E − E_card| / max(1, |E_card|).
    pub max_relative_error: f64,
    /// What was allowed.
    pub tolerance: f64,
}

impl Card {
    /// Parses a card.
    ///
    /// # Errors
    /// [`Error::Model`] when it is no card of this format.
    pub fn parse(bytes: &[u8], model: &str) -> Result<Self> {
        let problem = |problem: String| {
            Error::model(
                model,
                problem,
                "use a model exported by this version of mixwell",
            )
        };
        let card: Self = serde_json::from_slice(bytes)
            .map_err(|e| problem(format!("card.json is not a model card: {e}")))?;
        if card.format != 1 {
            return Err(problem(format!(
                "expected card format 1, found {}",
                card.format
            )));
        }
        Ok(card)
    }

    /// Makes the model that this card describes.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Invalid`] when card and weights do not fit together.
    pub fn load(&self, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
        (system::find(&self.system)?.load)(self, weights, device)
    }

    /// The recommended step size of a sampler in a space, if the card has one.
    pub fn step_size(&self, space: &str, sampler: &str) -> Option<f64> {
        self.step_sizes.get(space)?.get(sampler).copied()
    }
}

/// Energies of `chains` starts of a seed in every space of a model.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub async fn start_energies(
    model: &dyn Model,
    seed: u64,
    scale: f64,
    chains: usize,
) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut out = BTreeMap::new();
    for space in model.spaces() {
        let starts = model.starts(space, &Rng::new(seed), chains, scale)?;
        let energy = model.target(space)?.evaluate(starts).energy;
        let data = energy.into_data_async().await.map_err(|e| Error::Device {
            problem: format!("reading energies back failed: {e}"),
            fix: "reload, or use the CPU".into(),
        })?;
        out.insert(space.to_owned(), data.iter::<f32>().collect());
    }
    Ok(out)
}

/// Compares this device's energies with the card's: garbage from a bad driver is seen before use.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub async fn self_test(model: &dyn Model, known: &KnownAnswer) -> Result<SelfTest> {
    let chains = known.energies.values().map(Vec::len).max().unwrap_or(0);
    let found = start_energies(model, known.seed, known.start_scale, chains).await?;
    let mut worst = 0.0f64;
    for (space, expected) in &known.energies {
        let got = found.get(space).map_or(&[][..], Vec::as_slice);
        for (i, &e) in expected.iter().enumerate() {
            let e = f64::from(e);
            let difference = got.get(i).map_or(f64::INFINITY, |&g| {
                (f64::from(g) - e).abs() / e.abs().max(1.0)
            });
            // max() would drop a NaN.
            worst = if difference.is_nan() {
                f64::INFINITY
            } else {
                worst.max(difference)
            };
        }
    }
    Ok(SelfTest {
        passed: worst <= known.tolerance,
        max_relative_error: worst,
        tolerance: known.tolerance,
    })
}

#[cfg(feature = "native")]
mod folder;
#[cfg(feature = "native")]
pub use folder::{
    SCORES, find_model, read_card, read_files, read_model, write_atomically, write_manifest,
    write_model, write_pretty,
};
