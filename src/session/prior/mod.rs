//! The room Prior: samples of a latent prior at every stage, inferred latents of images, paths between
//! two latents, and anomaly scores.

mod inference;
mod info;
mod sampling;
pub mod settings;

pub use info::{
    Interpolation, PathInfo, PosteriorInfo, PriorConfig, PriorDiagnostic, PriorFrame, PriorModel,
    RatioHistogram, Reconstruction, SAMPLERS, ScoreSet, ScoreTerms, StageInfo, Weights,
};
pub use sampling::Prior;
