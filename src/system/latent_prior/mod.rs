//! A latent-space EBM prior learned by adaptive multi-stage density-ratio estimation.
//!
//! Xiao & Han, "Adaptive Multi-stage Density Ratio Estimation for Learning Latent Space Energy-based
//! Model", NeurIPS 2022 (arXiv 2209.08739).
//!
//! x = g(z) + σε, and the prior of z is built in stages: p_k(z) ∝ N(z; 0, I) exp(f_1(z) + … + f_k(z)).
//! Each f_j is the logit of a classifier between draws of the previous prior and posterior latents of
//! the data, which estimates the log ratio of the two densities; adding it moves the prior to the
//! latents. As energies, U_j = −f_j: E_k(z) = ‖z‖²/2 + U_1(z) + … + U_k(z).

#[cfg(feature = "native")]
mod checkpoint;
mod density;
#[cfg(feature = "native")]
mod export;
pub mod infer;
#[cfg(feature = "native")]
mod learn;
mod model;
pub mod ratio;
#[cfg(feature = "native")]
mod recipe;
pub mod sir;
mod spaces;
#[cfg(all(test, feature = "native"))]
mod step_reference;
#[cfg(feature = "native")]
mod train;

use super::model::Registration;

pub use density::{PriorEnergy, gaussian_of, tilt_of};
#[cfg(feature = "native")]
pub use learn::{LatentStage, Posterior, PosteriorKind, Step, Training};
pub use model::{Architecture, LatentPrior, Reference, STEPS, open};
#[cfg(feature = "native")]
pub use recipe::{PRESETS, Recipe};
pub use spaces::{JointEnergy, StageEnergy, into_model, of};
#[cfg(feature = "native")]
pub use train::split;

/// This system's name.
pub const NAME: &str = "latent-prior";

/// This system's entry in the registry.
pub const REGISTRATION: Registration = Registration {
    name: NAME,
    title: "multi-stage latent prior",
    load: spaces::load,
    #[cfg(feature = "native")]
    train: train::train,
};
