//! What the room Prior is told and what it shows.

use serde::{Deserialize, Serialize};

use super::super::arrays::{Bytes, Floats};
use crate::{
    artifact::{
        SelfTest,
        scores::{Interval, Percentile},
    },
    system::latent_prior,
};

/// What a sampling of a prior depends on, beside the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct PriorConfig {
    /// Seed of starts and noise.
    pub seed: u64,
    /// Which prior: 0 to the number of stages.
    pub stage: usize,
    /// A sampler's name, or "sir".
    pub sampler: String,
    /// Chains.
    pub count: usize,
    /// Step size; `None`: the card's.
    pub step_size: Option<f64>,
    /// Transitions that adapt the step size.
    pub warmup: usize,
    /// Scale of the starts.
    pub start_scale: f64,
    /// Temperature.
    pub temperature: f64,
    /// Proposals of "sir".
    pub proposals: usize,
}

/// The samplers that are offered, "sir" beside them.
pub const SAMPLERS: [&str; 3] = ["ula", "mala", "hmc"];

/// What the page needs to know of a loaded model.
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
    /// Stage 0, then one for each ratio.
    pub stages: Vec<StageInfo>,
    pub(super) posterior: PosteriorInfo,
    pub(super) explained: [f32; 2],
    /// Sets that scores are placed in.
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

/// A stage and the evidence that ended it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct StageInfo {
    pub(super) stage: usize,
    /// Iterations of its training.
    pub iterations: u64,
    /// Why it ended.
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

/// A set that scores are placed in.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct ScoreSet {
    pub(super) name: String,
    /// Name for people.
    pub title: String,
    pub(super) images: usize,
    pub(super) auroc: Option<Interval>,
}

/// Where a sampling stands.
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
    /// Of the draws after the warm-up.
    pub diagnostics: Vec<PriorDiagnostic>,
    /// Whether all of them pass.
    pub converged: bool,
    /// How the stage's classifier tells the chains from the posterior.
    pub ratio: Option<RatioHistogram>,
    /// Mean acceptance.
    pub acceptance: Option<f64>,
    pub(super) tested: bool,
    pub(super) step_size: f64,
    pub(super) drift: f64,
    pub(super) noise: f64,
    pub(super) temperature: f64,
    /// Gradient evaluations of each chain.
    pub gradients: f64,
    /// Of "sir".
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
    /// The quantity.
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
    /// Under the chains.
    pub prior: Floats,
    /// Under the training images' posteriors.
    pub posterior: Floats,
}

/// What importance weights were worth.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "ImportanceWeights"))]
pub struct Weights {
    /// (Σw)²/Σw².
    pub ess: f64,
    /// Of so many proposals.
    pub proposals: usize,
    /// Different ones that were drawn.
    pub distinct: usize,
}

/// An image, inferred.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Reconstruction {
    /// z.
    pub latent: Floats,
    pub(super) plane: Floats,
    pub(super) image: Bytes,
    /// Mean squared difference a value, in [0, 1].
    pub mse: f64,
    /// The anomaly score.
    pub score: f64,
    pub(super) terms: ScoreTerms,
    /// Where it stands in each set.
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

/// The way between two latents.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Interpolation {
    pub(super) images: Bytes,
    /// E_K along it.
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
