//! Model cards: everything about a model except its tensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A model card. Its numbers were measured by the command that wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Card {
    /// Version of this layout: 1.
    pub format: u32,
    /// Folder name, e.g. "flow-ebm-mnist".
    pub name: String,
    /// Display name.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// Name in the registry of systems.
    pub system: String,
    /// Training data.
    pub data: DataCard,
    /// The system's architecture config.
    #[cfg_attr(feature = "native", ts(type = "unknown"))]
    pub architecture: serde_json::Value,
    /// Recipe, seed, commit, device and cost of the training run.
    #[cfg_attr(feature = "native", ts(type = "unknown"))]
    pub training: serde_json::Value,
    /// Measured quality, and what it was measured on.
    #[cfg_attr(feature = "native", ts(type = "Record<string, unknown>"))]
    pub metrics: BTreeMap<String, serde_json::Value>,
    /// Recommended step sizes: space → sampler → step size ε, from warm-up adaptation.
    pub step_sizes: BTreeMap<String, BTreeMap<String, f64>>,
    /// Energies that every device must reproduce.
    pub known_answer: KnownAnswer,
    /// Licence of the weights.
    pub licence: String,
    /// Known failures.
    pub known_failures: Vec<String>,
}

/// The training data on a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
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
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct KnownAnswer {
    /// Seed of the starts.
    pub seed: u64,
    /// Scale of the starts.
    pub start_scale: f64,
    /// Space → energies, one per chain.
    pub energies: BTreeMap<String, Vec<f32>>,
    /// Largest relative difference that a device may show.
    pub tolerance: f64,
}

/// Outcome of the known-answer test on a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct SelfTest {
    /// Whether every energy agrees.
    pub passed: bool,
    /// Largest |E − E_card| / max(1, |E_card|).
    pub max_relative_error: f64,
    /// Largest accepted error.
    pub tolerance: f64,
}

impl Card {
    /// Parses a card.
    ///
    /// # Errors
    /// [`Error::Model`] when it is not a card of this format.
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

    /// The recommended step size of a sampler in a space, if the card has one.
    pub fn step_size(&self, space: &str, sampler: &str) -> Option<f64> {
        self.step_sizes.get(space)?.get(sampler).copied()
    }
}

impl KnownAnswer {
    /// Compares a device's energies with these: space → one energy per chain.
    pub fn compare(&self, found: &BTreeMap<String, Vec<f32>>) -> SelfTest {
        let mut worst = 0.0f64;
        for (space, expected) in &self.energies {
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
        SelfTest {
            passed: worst <= self.tolerance,
            max_relative_error: worst,
            tolerance: self.tolerance,
        }
    }
}
