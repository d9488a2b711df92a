//! Inputs and outputs of the room Prior.

use serde::{Deserialize, Serialize};

use super::super::arrays::{Bytes, Floats};
use crate::{
    artifact::{
        SelfTest,
        scores::{Interval, Percentile},
    },
    system::latent_prior,
};

/// Everything a sampling run depends on, besides the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PriorConfig {
    /// Seed of starts and noise.
    pub seed: u64,
    /// Stage of the prior: 0 to the number of ratios.
    pub stage: usize,
    /// A sampler's name, or "sir".
    pub sampler: String,
    /// Number of chains.
    pub count: usize,
    /// Step size; `None`: the card's.
    pub step_size: Option<f64>,
    /// Transitions that adapt the step size.
    pub warmup: usize,
    /// Standard deviation of the starts.
    pub start_scale: f64,
    /// Temperature.
    pub temperature: f64,
    /// Number of proposals for "sir".
    pub proposals: usize,
}

/// The samplers offered, besides "sir".
pub const SAMPLERS: [&str; 3] = ["ula", "mala", "hmc"];

/// A loaded model, described for the page.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PriorModel {
    pub(super) name: String,
    pub(super) title: String,
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    /// Dimension of z.
    pub latent: usize,
    pub(super) sigma: f64,
    pub(super) parameters: usize,
    pub(super) classes: Vec<String>,
    /// Stage 0, then one per ratio.
    pub stages: Vec<StageInfo>,
    pub(super) posterior: PosteriorInfo,
    pub(super) explained: [f32; 2],
    /// Reference sets for the percentiles of scores.
    pub sets: Vec<ScoreSet>,
    /// Default settings.
    pub defaults: PriorConfig,
    /// Gradient steps of a reconstruction.
    pub steps: usize,
    pub(super) method: String,
    pub(super) self_test: SelfTest,
    pub(super) known_failures: Vec<String>,
    pub(super) licence: String,
}

/// A stage and why its training ended.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StageInfo {
    pub(super) stage: usize,
    /// Training iterations.
    pub iterations: u64,
    /// Why the training ended.
    pub ended: String,
    /// Held-out losses.
    pub checks: Vec<latent_prior::ratio::Check>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PriorPosterior"))]
/// The training images' latents, in the plane.
pub struct PosteriorInfo {
    pub(super) plane: Floats,
    pub(super) labels: Bytes,
}

/// A reference set for the percentiles of scores.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct ScoreSet {
    pub(super) name: String,
    /// Display name.
    pub title: String,
    pub(super) images: usize,
    pub(super) auroc: Option<Interval>,
}

/// State of a sampling run.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PriorFrame {
    pub(super) stage: usize,
    pub(super) sampler: String,
    /// Transitions so far.
    pub transitions: u32,
    pub(super) warmup: bool,
    /// `[count, C, H, W]`
    pub images: Bytes,
    pub(super) plane: Floats,
    pub(super) path: PathInfo,
    pub(super) energies: Floats,
    /// Diagnostics of the draws after the warm-up.
    pub diagnostics: Vec<PriorDiagnostic>,
    /// Whether every diagnostic meets the convergence rule.
    pub converged: bool,
    /// Log ratios of the stage's classifier for the chains and for the posterior latents.
    pub ratio: Option<RatioHistogram>,
    /// Mean acceptance.
    pub acceptance: Option<f64>,
    pub(super) tested: bool,
    pub(super) step_size: f64,
    pub(super) drift: f64,
    pub(super) noise: f64,
    pub(super) temperature: f64,
    /// Gradient evaluations per chain.
    pub gradients: f64,
    /// Importance weights of "sir".
    pub sir: Option<Weights>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PriorPath"))]
/// Paths of the first chains, in the plane.
pub struct PathInfo {
    pub(super) chains: usize,
    pub(super) points: Floats,
}

/// R-hat and ESS of one quantity.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PriorDiagnostic {
    /// Name of the quantity.
    pub name: String,
    /// R-hat.
    pub rhat: Option<f64>,
    /// Bulk ESS.
    pub bulk_ess: Option<f64>,
    /// Tail ESS.
    pub tail_ess: Option<f64>,
}

/// Shares of two sets in bins of a log ratio.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct RatioHistogram {
    pub(super) edges: Floats,
    /// Shares of the chains.
    pub prior: Floats,
    /// Shares of the training images' posterior latents.
    pub posterior: Floats,
}

/// Quality of the importance weights.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "ImportanceWeights"))]
pub struct Weights {
    /// Effective sample size (Σw)²/Σw².
    pub ess: f64,
    /// Number of proposals.
    pub proposals: usize,
    /// Number of distinct proposals drawn.
    pub distinct: usize,
}

/// The inferred latent of an image, and its reconstruction and score.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Reconstruction {
    /// The inferred z.
    pub latent: Floats,
    pub(super) plane: [f32; 2],
    pub(super) image: Bytes,
    /// Mean squared difference per value, with values in [0, 1].
    pub mse: f64,
    /// The anomaly score.
    pub score: f64,
    pub(super) terms: ScoreTerms,
    /// Percentile of the score in each reference set.
    pub percentiles: Vec<Percentile>,
    pub(super) trace: Floats,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
/// The parts of an anomaly score.
pub struct ScoreTerms {
    pub(super) reconstruction: f64,
    pub(super) gaussian: f64,
    pub(super) ratios: Floats,
}

/// The path between two latents.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Interpolation {
    pub(super) images: Bytes,
    /// E_K along the path.
    pub energies: Floats,
    pub(super) plane: Floats,
}

impl PriorFrame {
    pub(super) fn blank(config: &PriorConfig) -> Self {
        Self {
            stage: config.stage,
            sampler: config.sampler.clone(),
            transitions: 0,
            warmup: false,
            images: Bytes::default(),
            plane: Floats::default(),
            path: PathInfo {
                chains: 0,
                points: Floats::default(),
            },
            energies: Floats::default(),
            diagnostics: Vec::new(),
            converged: false,
            ratio: None,
            acceptance: None,
            tested: false,
            step_size: 0.0,
            drift: 0.0,
            noise: 0.0,
            temperature: config.temperature,
            gradients: 0.0,
            sir: None,
        }
    }
}
