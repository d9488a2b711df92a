//! Neural-transport EBM: the exponential tilting of a flow, sampled by MCMC in its latent space.
//!
//! Nijkamp, Gao, Sountsov, Vasudevan, Pang, Zhu, Wu, "MCMC Should Mix: Learning Energy-Based Model
//! with Neural Transport Latent Space MCMC", ICLR 2022 (arXiv 2006.06897).
//!
//! With a flow x = g(z), z ~ N(0, I), of density q(x), the model is p(x) ∝ exp(−U(x)) q(x). Since
//! q(x)dx = N(z; 0, I)dz, the same distribution in latent space is p(z) ∝ exp(−U(g(z)) − ‖z‖²/2):
//! both spaces below carry the same model exactly (at T = 1; at other temperatures the Jacobian is
//! tempered in pixel space and not in latent space, so the two differ).

#[cfg(feature = "native")]
mod checkpoint;
#[cfg(feature = "native")]
mod export;
mod learn;
mod model;
#[cfg(feature = "native")]
mod recipe;
#[cfg(all(test, feature = "native"))]
mod step_reference;
#[cfg(feature = "native")]
mod train;

use super::model::Registration;

pub use learn::{FlowStage, FlowStep, FlowTraining, TiltStage, TiltStep, TiltTraining};
pub use model::{Architecture, FlowEbm, LatentEnergy, PixelEnergy, into_model};
#[cfg(feature = "native")]
pub use recipe::{PRESETS, Recipe};
#[cfg(feature = "native")]
pub use train::{train_flow, train_tilt};

/// This system's name.
pub const NAME: &str = "flow-ebm";

/// This system's entry in the registry.
pub const REGISTRATION: Registration = Registration {
    name: NAME,
    title: "neural-transport EBM",
    load: model::load,
    #[cfg(feature = "native")]
    train: train::train,
};
