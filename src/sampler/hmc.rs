//! Hamiltonian Monte Carlo with identity mass at temperature T: momenta p ~ N(0, T·I), L leapfrog
//! steps of H = E(x) + ‖p‖²/2, acceptance min(1, exp(−ΔH/T)).
//!
//! Duane et al. 1987; Neal 2011, "MCMC using Hamiltonian dynamics", §5.3.3 for the jitter of the
//! step size (±10 %, drawn independently of the state), which breaks resonances with the period of
//! a near-Gaussian target.

use super::{Noise, Registration, Sampler, SamplerConfig, Transition, Tuning, metropolis};
use crate::{
    energy::{Energy, Point},
    rng::Purpose,
};

const JITTER: f64 = 0.1;

pub const REGISTRATION: Registration = Registration {
    name: "hmc",
    title: "HMC",
    // "MCMC Should Mix" tunes to about 0.65, the optimum of Beskos et al. 2013.
    target_accept: Some(0.65),
    build: |config: &SamplerConfig| {
        Box::new(Hmc {
            leapfrog_steps: config.leapfrog_steps,
        })
    },
};

struct Hmc {
    leapfrog_steps: usize,
}

impl Sampler for Hmc {
    fn gradients_per_transition(&self) -> usize {
        self.leapfrog_steps
    }

    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let [batch, dim] = point.x.dims();
        let u = noise
            .rng
            .uniform_tensor(Purpose::Jitter, noise.step, batch, noise.device);
        let step = tuning.step.clone() * (u * (2.0 * JITTER) + (1.0 - JITTER)).reshape([batch, 1]);
        let start =
            noise
                .rng
                .normal_tensor(Purpose::Proposal, noise.step, batch, dim, noise.device)
                * tuning.temperature.sqrt();
        let half = step.clone() * 0.5;
        let mut momentum = start.clone() - point.gradient.clone() * half.clone();
        let mut end = point.clone();
        for leap in 1..=self.leapfrog_steps {
            end = target.point(end.x + momentum.clone() * step.clone());
            let kick = if leap == self.leapfrog_steps {
                half.clone()
            } else {
                step.clone()
            };
            momentum = momentum - end.gradient.clone() * kick;
        }
        let kinetic =
            |p: burn::tensor::Tensor<2>| p.powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5;
        let before = point.energy.clone() + kinetic(start);
        let after = end.energy.clone() + kinetic(momentum);
        let log_alpha = (before.clone() - after.clone()) / tuning.temperature;
        let (accept, accepted) = metropolis(log_alpha, noise.accept(batch));
        Transition {
            point: point.select(end, accepted.clone()),
            accept: Some(accept),
            hamiltonian: Some(before.mask_where(accepted, after)),
        }
    }
}
