//! The room Prior: a latent prior stage by stage, images inferred into it, the path between two, and how
//! unlike the data an image is.

mod inference;
mod info;
mod sampling;
pub mod settings;

pub use info::{
    Interpolation, PathInfo, PosteriorInfo, PriorConfig, PriorDiagnostic, PriorFrame, PriorModel,
    RatioHistogram, Reconstruction, SAMPLERS, ScoreSet, ScoreTerms, StageInfo, Weights,
};
pub use sampling::Prior;
