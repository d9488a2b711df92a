//! Unadjusted Langevin: x ← x − a∇E(x) + σξ with a = ε²/2, σ = ε√T, so T = σ²/(2a).
//!
//! Euler–Maruyama for the overdamped Langevin diffusion (Roberts & Tweedie 1996, "Exponential
//! convergence of Langevin distributions and their discrete approximations"). Without a Metropolis
//! test its stationary distribution has a bias of O(ε²): on N(0, s²) its variance is s²T/(1 − a/(2s²)).
//! The acceptance that the test would have had (the *shadow* acceptance) is reported: it costs nothing
//! extra, and the further it is below 1, the larger the bias.

use burn::tensor::Tensor;

use super::{
    dynamics::{capped, drift_and_noise, langevin},
    noise::Noise,
    settings::{ADAPT_MASS, STEP_SIZE, Settings, TEMPERATURE},
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::energy::{Energy, Point};

pub const REGISTRATION: Registration = Registration {
    name: "ula",
    title: "unadjusted Langevin",
    description: "A gradient step plus noise, always accepted: simple, with a bias that grows as the square of the step size.",
    tested: false,
    target_accept: None,
    relative: None,
    settings: &[&STEP_SIZE, &TEMPERATURE, &ADAPT_MASS],
    build: |_: &Settings| Box::new(Ula),
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
        _memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let done = langevin(
            target,
            &point,
            tuning,
            drift_and_noise(tuning),
            noise,
            |g| g,
            |x| x,
        );
        Transition {
            accept: Some(capped(done.log_alpha).exp()),
            ..done.proposal.into()
        }
    }
}
