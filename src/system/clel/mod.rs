//! Contrastive-latent guided EBMs (CLEL): Lee, Jeong, Park, Shin, "Guiding Energy-based Models via
//! Contrastive Latent Variables", ICLR 2023 (arXiv 2303.03023).
//!
//! E(x, z) = ½‖f(x)‖² − β cos(g(f(x)), z), with z on the unit sphere: the latent of a contrastive
//! encoder. Integrating z out leaves a factor ∫ exp(β μᵀz) dz that is the same for every unit vector
//! μ = g/‖g‖ (the normaliser of a von Mises–Fisher distribution), so the marginal is exactly
//! p(x) ∝ exp(−½‖f(x)‖²) for every g. Chains therefore sample x alone; z guides the training of f and
//! conditions samples.

pub mod buffer;
#[cfg(feature = "native")]
mod checkpoint;
pub mod compose;
mod energy;
#[cfg(feature = "native")]
mod export;
pub mod learn;
mod model;
pub mod objective;
#[cfg(feature = "native")]
mod recipe;
#[cfg(all(test, feature = "native"))]
mod step_reference;
#[cfg(feature = "native")]
mod train;

use super::model::Registration;

pub use energy::MarginalEnergy;
pub use model::{Architecture, Clel, OOD_BETA};
#[cfg(feature = "native")]
pub use recipe::{PRESETS, Recipe};

/// This system's name.
pub const NAME: &str = "clel";

/// This system's entry in the registry.
pub const REGISTRATION: Registration = Registration {
    name: NAME,
    title: "contrastive-latent guided EBM",
    load: model::load,
    #[cfg(feature = "native")]
    train: train::train,
};
