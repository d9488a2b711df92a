//! Hamiltonian Monte Carlo at temperature T with diagonal mass M = s⁻²: momenta p ~ N(0, T·M), L
//! leapfrog steps of H = E(x) + pᵀM⁻¹p/2, acceptance min(1, exp(−ΔH/T)).
//!
//! Duane et al. 1987; Neal 2011, "MCMC using Hamiltonian dynamics", §5.3.3 for the jitter of the
//! step size (±10 %, drawn independently of the state), which breaks resonances with the period of
//! a near-Gaussian target. Momenta are kept as r = s·p, so that r ~ N(0, T·I).

use burn::tensor::Tensor;

use super::{
    dynamics::{diverged, kinetic, metropolis},
    noise::Noise,
    settings::{ADAPT_MASS, STEP_SIZE, Settings, TEMPERATURE},
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::{
    energy::{Energy, Point},
    rng::Purpose,
    setting::{Kind, Setting},
};

const JITTER: f64 = 0.1;

/// Leapfrog steps per transition.
pub(super) const LEAPFROG_STEPS: Setting = Setting {
    name: "leapfrog_steps",
    title: "leapfrog steps",
    help: "HMC: leapfrog steps per transition.",
    kind: Kind::count(1, 1000, 5),
};

pub const REGISTRATION: Registration = Registration {
    name: "hmc",
    title: "HMC",
    description: "A random momentum, a fixed number of leapfrog steps along the energy, then accept or reject.",
    tested: true,
    // "MCMC Should Mix" tunes to about 0.65, the optimum of Beskos et al. 2013.
    target_accept: Some(0.65),
    relative: None,
    settings: &[&STEP_SIZE, &TEMPERATURE, &LEAPFROG_STEPS, &ADAPT_MASS],
    build: |settings: &Settings| {
        Box::new(Hmc {
            leapfrog_steps: settings.count(&LEAPFROG_STEPS),
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
        _memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let [rows, dim] = point.x.dims();
        let u = noise.uniforms(Purpose::Jitter, rows, 1);
        let step = tuning.step.clone() * (u * (2.0 * JITTER) + (1.0 - JITTER));
        let start = noise.normals(Purpose::Proposal, rows, dim) * tuning.root_temperature();
        let half = step.clone() * 0.5;
        let mut momentum = start.clone() - tuning.scaled(point.gradient.clone()) * half.clone();
        let mut end = point.clone();
        for leap in 1..=self.leapfrog_steps {
            end = target.point(end.x + tuning.scaled(momentum.clone() * step.clone()));
            let kick = if leap == self.leapfrog_steps {
                half.clone()
            } else {
                step.clone()
            };
            momentum = momentum - tuning.scaled(end.gradient.clone()) * kick;
        }
        let before = point.energy.clone() + kinetic(start);
        let after = end.energy.clone() + kinetic(momentum);
        let log_alpha = (before.clone() - after.clone()) / tuning.temperatures();
        let divergent = diverged(log_alpha.clone().neg());
        let (accept, accepted) = metropolis(log_alpha, noise.accept(rows));
        Transition {
            accept: Some(accept),
            hamiltonian: Some(before.mask_where(accepted.clone(), after)),
            divergent: Some(divergent),
            ..point.select(end, accepted).into()
        }
    }
}
