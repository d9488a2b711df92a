//! Targets: what a sampler walks on.
//!
//! A target knows its space, its energy for a batch of chains, and how a state becomes an image.
//! It knows no sampler, backend, command line or page. E is an energy: p(x) ∝ exp(−E(x)/T), low
//! energy is likely.

pub mod analytic;

use burn::tensor::Tensor;

/// The space a target lives in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// "pixel", "latent", "plane", …
    pub name: &'static str,
    /// Dimension D of a state.
    pub dim: usize,
    /// `[channels, height, width]` of the images that states decode to, if they do.
    pub image: Option<[usize; 3]>,
}

/// An energy, with whatever else was computed on the way to it.
pub struct Evaluation {
    /// E, `[B]`.
    pub energy: Tensor<1>,
    /// The target's [observables](Energy::observables), `[B, K]`; `None` where K = 0.
    pub observed: Option<Tensor<2>>,
}

/// A batch of chain states with everything that a transition needs and leaves behind.
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
    /// Takes `other` where `mask` (`[B]`) is true, `self` elsewhere. Selection, not arithmetic, so
    /// that a rejected non-finite proposal leaves no trace.
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
    /// Where states live.
    fn space(&self) -> Space;

    /// Names of the K scalar test functions that are recorded beside the energy: quantities of
    /// the decoded state that mean the same in every space the model can be sampled in.
    fn observables(&self) -> Vec<String> {
        Vec::new()
    }

    /// E(x) for states `[B, D]`, differentiable, and the observables (not differentiated).
    fn evaluate(&self, x: Tensor<2>) -> Evaluation;

    /// E, ∇E and observables at `x` (`[B, D]`, outside autodiff). The default differentiates
    /// [`evaluate`](Self::evaluate); targets with a closed form override it.
    fn point(&self, x: Tensor<2>) -> Point {
        let leaf = x.clone().autodiff().require_grad();
        let Evaluation { energy, observed } = self.evaluate(leaf.clone());
        let mut grads = energy.clone().sum().backward();
        // No gradient entry means that E does not depend on x at all.
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

    /// Decodes states `[B, D]` to images `[B, C, H, W]` with values in about [0, 1].
    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        let _ = x;
        None
    }
}
