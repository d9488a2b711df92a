//! What the Studio is told and what it shows.

use serde::{Deserialize, Serialize};

use super::super::arrays::{Bytes, Floats};
use crate::{
    artifact::{
        SelfTest,
        scores::{Interval, Percentile},
    },
    system::clel::compose::Role,
};

/// What a condition is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "ConditionSource"))]
pub enum Of {
    /// A class's mean latent.
    Class(usize),
    /// The latent of an image, bytes `[C, H, W]`.
    Image(#[cfg_attr(feature = "native", ts(type = "Uint8Array"))] Vec<u8>),
}

/// One condition of a composition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "Condition"))]
pub struct ConditionConfig {
    /// What it is made of.
    pub of: Of,
    /// Its part.
    pub role: Role,
    /// What β is multiplied by.
    pub weight: f64,
}

/// Pixels to keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct InpaintConfig {
    /// Bytes `[C, H, W]`.
    #[cfg_attr(feature = "native", ts(type = "Uint8Array"))]
    pub image: Vec<u8>,
    /// 1 where the pixel is kept, `[H, W]`.
    #[cfg_attr(feature = "native", ts(type = "Uint8Array"))]
    pub known: Vec<u8>,
}

/// Everything that a generation depends on, beside the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioConfig {
    /// Seed of starts, noise and augmentations.
    pub seed: u64,
    /// Images.
    pub count: usize,
    /// Transitions of a round.
    pub steps: usize,
    /// Rounds, each of which but the first begins by augmenting; 1: no augmentation.
    pub rounds: usize,
    /// Multiple of the model's own temperature.
    pub temperature: f64,
    /// Scale of the start noise.
    pub truncation: f64,
    /// β of the conditions.
    pub beta: f64,
    /// Conditions; needs a model with latents.
    pub conditions: Vec<ConditionConfig>,
    /// Pixels to keep; needs a model that walks in pixel space.
    pub inpaint: Option<InpaintConfig>,
}

/// What the page needs to know of a loaded model.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioModel {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) system: String,
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    pub(super) parameters: usize,
    /// Names of the data's classes.
    pub classes: Vec<String>,
    pub(super) latents: bool,
    pub(super) classifier: Option<ClassifierInfo>,
    /// Sets that scores are placed in.
    pub sets: Vec<ReferenceSet>,
    /// Default settings.
    pub defaults: StudioConfig,
    pub(super) augments: bool,
    pub(super) method: String,
    pub(super) self_test: SelfTest,
    pub(super) known_failures: Vec<String>,
    pub(super) licence: String,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
/// The classifier that judges what conditions made.
pub struct ClassifierInfo {
    pub(super) title: String,
    pub(super) accuracy: f64,
}

/// A set that scores are placed in.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct ReferenceSet {
    pub(super) name: String,
    /// Name for people.
    pub title: String,
    pub(super) images: usize,
    pub(super) auroc: Option<Interval>,
    pub(super) auroc_energy: Option<Interval>,
}

/// Where a generation stands.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioFrame {
    /// Transitions so far, of [`of`](Self::of).
    pub step: usize,
    /// Transitions in all.
    pub of: usize,
    /// Round of the last transition, from 1.
    pub round: usize,
    /// `[count, C, H, W]`
    pub images: Bytes,
    /// E of the model alone.
    pub energies: Floats,
    /// The parts of what the chains walk on.
    pub terms: Vec<StudioTerm>,
    /// Mean cosine between the gradients of two terms, terms × terms.
    pub conflict: Floats,
    /// Probabilities, count × classes.
    pub verdict: Option<Floats>,
    /// a of x ← x − a∇E + σξ.
    pub drift: f64,
    /// σ.
    pub noise: f64,
    /// σ²/(2a).
    pub temperature: f64,
    /// Mean over chains and the last transitions.
    pub acceptance: Option<f64>,
    /// Whether the sampler has the test.
    pub tested: bool,
    /// Root mean square change of a pixel since the last frame.
    pub displacement: f64,
}

/// One term.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioTerm {
    /// "model", "class 3: dress", "image".
    pub name: String,
    /// "model" or the condition's role.
    #[cfg_attr(feature = "native", ts(type = "Role | \"model\""))]
    pub role: &'static str,
    /// Mean over the images.
    pub energy: f64,
    /// Mean cosine; `None` for the model.
    pub cosine: Option<f64>,
}

/// An image under the model's eyes.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Score {
    /// E.
    pub energy: f64,
    /// The out-of-distribution score.
    pub ood: Option<f64>,
    /// Where both stand in every reference set.
    pub percentiles: Vec<Percentiles>,
    /// ∇E, `[C, H, W]`.
    pub gradient: Floats,
    /// cos with every class mean.
    pub class_cosines: Option<Floats>,
    /// Probabilities of the classes.
    pub verdict: Option<Floats>,
}

/// Both scores in one set.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Percentiles {
    /// By E.
    pub energy: Percentile,
    /// By the out-of-distribution score.
    pub ood: Option<Percentile>,
}

/// A walk downhill.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Descent {
    /// Steps so far.
    pub step: usize,
    /// Bytes `[C, H, W]`.
    pub image: Bytes,
    /// E there.
    pub energy: f64,
    /// Root mean square of ∇E there.
    pub gradient: f64,
}
