//! Targets of the samplers.
//!
//! A target knows its space, its energy for a batch of chains, and how to decode a state to an image.
//! It knows no sampler, backend, command line or page. E is an energy: p(x) ∝ exp(−E(x)/T), low
//! energy is likely.

mod banana;
mod checkerboard;
mod density;
mod donut;
mod eight_schools;
mod funnel;
mod gaussian;
mod inpainting;
mod mixture;
#[cfg(feature = "native")]
pub mod posterior;
mod rings;
#[cfg(feature = "native")]
mod shared;
mod squiggle;

pub(crate) use density::spread;
pub use density::{Density, Grid, Marginal, Plane};
pub use eight_schools::EightSchools;
pub use gaussian::Gaussian;
pub use inpainting::Inpainting;
pub use mixture::{Drawing, Mixture};
#[cfg(feature = "native")]
pub use shared::Shared;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result};

/// Every built-in density, in display order. Tests check the gradient of each with finite differences
/// and compare it with its exact distribution in f64.
pub const REGISTRY: &[Registration] = &[
    gaussian::REGISTRATION,
    banana::REGISTRATION,
    donut::REGISTRATION,
    mixture::TWO_MODES,
    mixture::EIGHT_MODES,
    funnel::REGISTRATION,
    squiggle::REGISTRATION,
    rings::REGISTRATION,
    checkerboard::REGISTRATION,
    eight_schools::REGISTRATION,
];

/// Recommended step sizes, by sampler.
pub type Steps = &'static [(&'static str, f64)];

/// What the rest of the crate knows about a density.
pub struct Registration {
    /// Name in URLs and on the command line.
    pub name: &'static str,
    /// Display name.
    pub title: &'static str,
    /// What it is and what it shows, in one or two sentences.
    pub description: &'static str,
    /// Recommended step size of each sampler that has one.
    pub steps: Steps,
    /// Builds it on a device.
    pub build: fn(&Device) -> Arc<dyn Density>,
}

impl Registration {
    /// The recommended step size of a sampler.
    pub fn step_size(&self, sampler: &str) -> Option<f64> {
        step_size(self.steps, sampler)
    }
}

/// The recommended step size of a sampler, if any.
pub fn step_size(steps: Steps, sampler: &str) -> Option<f64> {
    steps.iter().find(|(s, _)| *s == sampler).map(|s| s.1)
}

/// Finds a registration by name.
///
/// # Errors
/// [`Error::Invalid`] for an unknown density.
pub fn find(name: &str) -> Result<&'static Registration> {
    REGISTRY.iter().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
        Error::invalid("target", names.join(", "), name, "choose one of these")
    })
}

/// The state space of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// "pixel", "latent", "plane", …
    pub name: &'static str,
    /// Dimension D of a state.
    pub dim: usize,
    /// `[channels, height, width]` of the images that states decode to, if they do.
    pub image: Option<[usize; 3]>,
}

/// An energy and the observables computed with it.
pub struct Evaluation {
    /// E, `[B]`.
    pub energy: Tensor<1>,
    /// The target's [observables](Energy::observables), `[B, K]`; `None` where K = 0.
    pub observed: Option<Tensor<2>>,
}

/// A batch of chain states with energies, gradients and observables.
#[derive(Debug, Clone)]
pub struct Point {
    /// States, `[B, D]`.
    pub x: Tensor<2>,
    /// E(x), `[B]`.
    pub energy: Tensor<1>,
    /// ∇E(x), `[B, D]`.
    pub gradient: Tensor<2>,
    /// Observables at x, `[B, K]`.
    pub observed: Option<Tensor<2>>,
}

impl Point {
    /// Takes `other` where `mask` (`[B]`) is true, `self` elsewhere. By selection, not arithmetic, so
    /// that a rejected non-finite proposal has no effect.
    pub fn select(self, other: Self, mask: Tensor<1, burn::tensor::Bool>) -> Self {
        let [batch, dim] = self.x.dims();
        let column = mask.clone().reshape([batch, 1]);
        let wide = column.clone().expand([batch, dim]);
        Self {
            x: self.x.mask_where(wide.clone(), other.x),
            energy: self.energy.mask_where(mask, other.energy),
            gradient: self.gradient.mask_where(wide, other.gradient),
            observed: match (self.observed, other.observed) {
                (Some(a), Some(b)) => {
                    let k = a.dims()[1];
                    Some(a.mask_where(column.expand([batch, k]), b))
                }
                _ => None,
            },
        }
    }
}

/// A target density p(x) ∝ exp(−E(x)/T) over states x ∈ R^D, for a batch of chains at once.
pub trait Energy: Send + Sync {
    /// The state space.
    fn space(&self) -> Space;

    /// Names of the K scalar test functions recorded beside the energy: functions of the decoded state
    /// with the same meaning in every space in which the model can be sampled.
    fn observables(&self) -> Vec<String> {
        Vec::new()
    }

    /// E(x) (differentiable) and the observables (not differentiated) for states `[B, D]`.
    fn evaluate(&self, x: Tensor<2>) -> Evaluation;

    /// E, ∇E and observables at `x` (`[B, D]`, outside autodiff). The default differentiates
    /// [`evaluate`](Self::evaluate); targets with a closed form override it.
    fn point(&self, x: Tensor<2>) -> Point {
        let leaf = x.clone().autodiff().require_grad();
        let Evaluation { energy, observed } = self.evaluate(leaf.clone());
        let mut grads = energy.clone().sum().backward();
        // No gradient entry means that E does not depend on x.
        let gradient = leaf
            .grad_remove(&mut grads)
            .unwrap_or_else(|| x.zeros_like());
        Point {
            x,
            energy: energy.inner(),
            gradient,
            observed: observed.map(Tensor::inner),
        }
    }

    /// The conditional distributions of single coordinates given all others, if known; for Gibbs.
    fn conditionals(&self) -> Option<&dyn Conditionals> {
        None
    }

    /// Decodes states `[B, D]` to images `[B, C, H, W]` with values in about [0, 1].
    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        let _ = x;
        None
    }
}

/// Exact conditional distributions of single coordinates given all the others, at T = 1.
pub trait Conditionals: Send + Sync {
    /// Draws coordinate `i` of every state given the others: x `[B, D]`, a standard normal and a
    /// uniform for each (`[B, 1]`) → the new coordinate, `[B, 1]`.
    fn draw(&self, x: Tensor<2>, i: usize, normal: Tensor<2>, uniform: Tensor<2>) -> Tensor<2>;
}
