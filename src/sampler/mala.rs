//! Metropolis-adjusted Langevin: the ULA proposal, accepted with probability
//! min(1, exp(−(E(x′) − E(x))/T) · q(x|x′)/q(x′|x)), q(x′|x) = N(x′; x − a∇E(x), σ²I).
//!
//! Besag 1994 (comment on Grenander & Miller); Roberts & Rosenthal 1998 for the optimal acceptance
//! of 0.574. Exact at every step size; costs one gradient, since the last one is kept.

use super::{Noise, Registration, Sampler, SamplerConfig, Transition, Tuning, metropolis};
use crate::{
    energy::{Energy, Point},
    rng::Purpose,
};

pub const REGISTRATION: Registration = Registration {
    name: "mala",
    title: "MALA",
    target_accept: Some(0.574),
    build: |_: &SamplerConfig| Box::new(Mala),
};

struct Mala;

impl Sampler for Mala {
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
        let proposal = target.point(
            point.x.clone() - point.gradient.clone() * drift.clone() + xi.clone() * sigma.clone(),
        );
        // In units of σ the way back is ξ′ = (x − x′ + a∇E(x′))/σ = (a∇E(x) + a∇E(x′))/σ − ξ:
        // written so, the small difference of two large states is never taken.
        let back =
            (point.gradient.clone() + proposal.gradient.clone()) * (drift / sigma) - xi.clone();
        let log_ratio = (xi.powi_scalar(2) - back.powi_scalar(2))
            .sum_dim(1)
            .reshape([batch])
            * 0.5;
        let log_alpha =
            (point.energy.clone() - proposal.energy.clone()) / tuning.temperature + log_ratio;
        let (accept, accepted) = metropolis(log_alpha, noise.accept(batch));
        Transition {
            point: point.select(proposal, accepted),
            accept: Some(accept),
            hamiltonian: None,
        }
    }
}
