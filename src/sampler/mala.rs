//! Metropolis-adjusted Langevin: the ULA proposal, accepted with probability
//! min(1, exp(−(E(x′) − E(x))/T) · q(x|x′)/q(x′|x)), q(x′|x) = N(x′; x − a∇E(x), σ²I).
//!
//! Besag 1994 (comment on Grenander & Miller); Roberts & Rosenthal 1998 for the optimal acceptance
//! of 0.574. Exact at every step size. One gradient per transition: the last one is reused. With a
//! learned scale s the proposal is N(x − a s²∇E, σ²s²): preconditioned Langevin (Girolami &
//! Calderhead 2011, eq. 8, with a constant diagonal metric).

use burn::tensor::Tensor;

use super::{
    dynamics::{drift_and_noise, langevin, metropolis},
    noise::Noise,
    settings::{ADAPT_MASS, STEP_SIZE, Settings, TEMPERATURE},
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::energy::{Energy, Point};

pub const REGISTRATION: Registration = Registration {
    name: "mala",
    title: "MALA",
    description: "A Langevin proposal with a Metropolis test, which removes the bias.",
    tested: true,
    target_accept: Some(0.574),
    relative: None,
    settings: &[&STEP_SIZE, &TEMPERATURE, &ADAPT_MASS],
    build: |_: &Settings| Box::new(Mala),
};

pub(super) struct Mala;

impl Sampler for Mala {
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
        let [rows, _] = point.x.dims();
        let done = langevin(
            target,
            &point,
            tuning,
            drift_and_noise(tuning),
            noise,
            |g| g,
            |x| x,
        );
        let (accept, accepted) = metropolis(done.log_alpha, noise.accept(rows));
        Transition {
            accept: Some(accept),
            ..point.select(done.proposal, accepted).into()
        }
    }
}
