//! Unadjusted Langevin: x ← x − a∇E(x) + σξ with a = ε²/2, σ = ε√T, so T = σ²/(2a).
//!
//! Euler–Maruyama for the overdamped Langevin diffusion (Roberts & Tweedie 1996, "Exponential
//! convergence of Langevin distributions and their discrete approximations"). Without a Metropolis
//! test its stationary law is biased by O(ε²): on N(0, s²) its variance is s²T/(1 − a/(2s²)).

use super::{Noise, Registration, Sampler, SamplerConfig, Transition, Tuning};
use crate::{
    energy::{Energy, Point},
    rng::Purpose,
};

pub const REGISTRATION: Registration = Registration {
    name: "ula",
    title: "unadjusted Langevin",
    target_accept: None,
    build: |_: &SamplerConfig| Box::new(Ula),
};

struct Ula;

impl Sampler for Ula {
    fn gradients_per_transition(&self) -> usize {
        1
    }

    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let [batch, dim] = point.x.dims();
        let xi = noise
            .rng
            .normal_tensor(Purpose::Proposal, noise.step, batch, dim, noise.device);
        let drift = tuning.step.clone().powi_scalar(2) * 0.5;
        let sigma = tuning.step.clone() * tuning.temperature.sqrt();
        Transition {
            point: target.point(point.x - point.gradient * drift + xi * sigma),
            accept: None,
            hamiltonian: None,
        }
    }
}
