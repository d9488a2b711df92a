//! Inputs and outputs of the Studio.

use serde::{Deserialize, Serialize};

use super::super::arrays::{Bytes, Floats};
use crate::{
    artifact::{
        SelfTest,
        scores::{Interval, Percentile},
    },
    system::clel::compose::Role,
};

/// The source of a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub enum ConditionSource {
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
    /// Source of its latent.
    pub of: ConditionSource,
    /// Its role: AND, OR or NOT.
    pub role: Role,
    /// Factor on β.
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

/// Everything a generation depends on, besides the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioConfig {
    /// Seed of starts, noise and augmentations.
    pub seed: u64,
    /// Number of images.
    pub count: usize,
    /// Transitions per round.
    pub steps: usize,
    /// Rounds; with more than one, each starts by augmenting the images (CLEL).
    pub rounds: usize,
    /// Multiple of the model's own temperature.
    pub temperature: f64,
    /// Scale of the initial noise.
    pub truncation: f64,
    /// β of the conditions.
    pub beta: f64,
    /// Conditions; needs a model with latents.
    pub conditions: Vec<ConditionConfig>,
    /// Pixels to keep; needs a model sampled in pixel space.
    pub inpaint: Option<InpaintConfig>,
}

/// A loaded model, described for the page.
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
    /// Reference sets for the percentiles of scores.
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
/// The independent classifier of the generated images.
pub struct ClassifierInfo {
    pub(super) title: String,
    pub(super) accuracy: f64,
}

/// A reference set for the percentiles of scores.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct ReferenceSet {
    pub(super) name: String,
    /// Display name.
    pub title: String,
    pub(super) images: usize,
    pub(super) auroc: Option<Interval>,
    pub(super) auroc_energy: Option<Interval>,
}

/// State of a generation.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioFrame {
    /// Transitions so far.
    pub step: usize,
    /// Total transitions.
    pub of: usize,
    /// Round of the last transition, from 1.
    pub round: usize,
    /// `[count, C, H, W]`
    pub images: Bytes,
    /// E of the model without conditions.
    pub energies: Floats,
    /// The terms of the sampled energy.
    pub terms: Vec<StudioTerm>,
    /// Mean cosine between the gradients of two terms, terms × terms.
    pub conflict: Floats,
    /// Class probabilities, count × classes.
    pub verdict: Option<Floats>,
    /// a of x ← x − a∇E + σξ.
    pub drift: f64,
    /// σ of x ← x − a∇E + σξ.
    pub noise: f64,
    /// T = σ²/(2a).
    pub temperature: f64,
    /// Mean acceptance over the chains and the last transitions.
    pub acceptance: Option<f64>,
    /// Whether the sampler has a Metropolis test.
    pub tested: bool,
    /// Root mean square change of a pixel since the last frame.
    pub displacement: f64,
}

/// One term of the sampled energy.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StudioTerm {
    /// "model", "class 3: dress", "image".
    pub name: String,
    /// "model" or the condition's role.
    #[cfg_attr(feature = "native", ts(type = "Role | \"model\""))]
    pub role: &'static str,
    /// Mean energy over the images.
    pub energy: f64,
    /// Mean cosine between the image's latent and the condition's; `None` for the model.
    pub cosine: Option<f64>,
}

/// The scores of one image.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Score {
    /// E.
    pub energy: f64,
    /// The out-of-distribution score.
    pub ood: Option<f64>,
    /// Percentiles of both scores in every reference set.
    pub percentiles: Vec<Percentiles>,
    /// ∇E, `[C, H, W]`.
    pub gradient: Floats,
    /// Cosine with every class's mean latent.
    pub class_cosines: Option<Floats>,
    /// Class probabilities.
    pub verdict: Option<Floats>,
}

/// Percentiles of both scores in one set.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Percentiles {
    /// Percentile of E.
    pub energy: Percentile,
    /// Percentile of the out-of-distribution score.
    pub ood: Option<Percentile>,
}

/// State of a gradient descent on E.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Descent {
    /// Steps so far.
    pub step: usize,
    /// Bytes `[C, H, W]`.
    pub image: Bytes,
    /// E of the image.
    pub energy: f64,
    /// Root mean square of ∇E.
    pub gradient: f64,
}
