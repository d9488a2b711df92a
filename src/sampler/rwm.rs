//! Random-walk Metropolis: x′ = x + ε√T·s·ξ, accepted with probability min(1, exp(−(E(x′) − E(x))/T)).
//!
//! Metropolis et al. 1953; Roberts, Gelman & Gilks 1997 for the optimal acceptance of 0.234 in many
//! dimensions (0.44 in one). Needs no gradient; its energy evaluations are counted instead.

use burn::tensor::Tensor;

use super::{
    dynamics::metropolis,
    noise::Noise,
    settings::{ADAPT_MASS, STEP_SIZE, Settings, TEMPERATURE},
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::{
    energy::{Energy, Evaluation, Point},
    rng::Purpose,
};

pub const REGISTRATION: Registration = Registration {
    name: "rwm",
    title: "random-walk Metropolis",
    description: "A random step, accepted or rejected: needs no gradient, but explores slowly.",
    tested: true,
    target_accept: Some(0.234),
    relative: Some("mala"),
    settings: &[&STEP_SIZE, &TEMPERATURE, &ADAPT_MASS],
    build: |_: &Settings| Box::new(RandomWalk),
};

struct RandomWalk;

impl Sampler for RandomWalk {
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
        let [rows, dim] = point.x.dims();
        let xi = noise.normals(Purpose::Proposal, rows, dim);
        let step = tuning.step.clone() * tuning.root_temperature();
        let x = point.x.clone() + tuning.scaled(xi * step);
        let Evaluation { energy, observed } = target.evaluate(x.clone());
        let log_alpha = (point.energy.clone() - energy.clone()) / tuning.temperatures();
        let proposal = Point {
            // Never read; zero, so that no stale gradient is kept.
            gradient: x.zeros_like(),
            x,
            energy,
            observed,
        };
        let (accept, accepted) = metropolis(log_alpha, noise.accept(rows));
        Transition {
            accept: Some(accept),
            ..point.select(proposal, accepted).into()
        }
    }
}
