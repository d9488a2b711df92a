//! Underdamped (kinetic) Langevin, Metropolised: momenta persist and decay at the rate γ.
//!
//! dx = M⁻¹p dt, dp = −∇E dt − γp dt + √(2γTM) dW, split as O B A B O (Bussi & Parrinello 2007):
//! half a refresh p ← e^{−γε/2} p + √(1 − e^{−γε})·√T·ξ, one leapfrog step, half a refresh. The
//! leapfrog step is accepted with probability min(1, exp(−ΔH/T)); on rejection the momentum is reversed,
//! which keeps the sampler exact: Horowitz 1991, "A generalized guided Monte Carlo algorithm".
//! A reversal destroys the persistence, so the warm-up targets a high acceptance.

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

/// Friction γ.
pub(super) const FRICTION: Setting = Setting {
    name: "friction",
    title: "friction",
    help: "Underdamped Langevin: friction γ. Momenta decay by exp(−γε) per transition.",
    kind: Kind::positive(1000.0, Some(1.0)),
};

pub const REGISTRATION: Registration = Registration {
    name: "underdamped",
    title: "underdamped Langevin",
    description: "Langevin with inertia: momenta persist and decay slowly, so a chain keeps its direction for a while.",
    tested: true,
    target_accept: Some(0.9),
    relative: Some("hmc"),
    settings: &[&STEP_SIZE, &TEMPERATURE, &FRICTION, &ADAPT_MASS],
    build: |settings: &Settings| {
        Box::new(Underdamped {
            friction: settings.number(&FRICTION).unwrap_or(1.0),
        })
    },
};

struct Underdamped {
    friction: f64,
}

impl Underdamped {
    /// Half a momentum refresh: an exact Ornstein–Uhlenbeck step of length ε/2.
    fn refresh(&self, momentum: Tensor<2>, tuning: &Tuning, xi: Tensor<2>) -> Tensor<2> {
        let keep = (tuning.step.clone() * (-0.5 * self.friction)).exp();
        let fresh = (keep.clone().powi_scalar(2).neg() + 1.0).sqrt() * tuning.root_temperature();
        momentum * keep + xi * fresh
    }
}

impl Sampler for Underdamped {
    fn gradients_per_transition(&self) -> usize {
        1
    }

    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition {
        let [rows, dim] = point.x.dims();
        let momentum = memory.unwrap_or_else(|| {
            noise.normals(Purpose::Momentum, rows, dim) * tuning.root_temperature()
        });
        let xi = noise.normals(Purpose::Proposal, rows, dim);
        let start = self.refresh(momentum, tuning, xi);
        let half = tuning.step.clone() * 0.5;
        let kicked = start.clone() - tuning.scaled(point.gradient.clone()) * half.clone();
        let end =
            target.point(point.x.clone() + tuning.scaled(kicked.clone() * tuning.step.clone()));
        let kicked = kicked - tuning.scaled(end.gradient.clone()) * half;
        let change = (end.energy.clone() + kinetic(kicked.clone()))
            - (point.energy.clone() + kinetic(start.clone()));
        let log_alpha = change.neg() / tuning.temperatures();
        let divergent = diverged(log_alpha.clone().neg());
        let (accept, accepted) = metropolis(log_alpha, noise.accept(rows));
        let wide = accepted.clone().reshape([rows, 1]).expand([rows, dim]);
        let momentum = start.neg().mask_where(wide, kicked);
        let xi = noise.normals(Purpose::Refresh, rows, dim);
        Transition {
            accept: Some(accept),
            memory: Some(self.refresh(momentum, tuning, xi)),
            divergent: Some(divergent),
            ..point.select(end, accepted).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Half a refresh keeps e^(−γε/2) of the momentum, and its noise has the variance T(1 − e^(−γε)).
    #[test]
    fn half_a_refresh_is_an_ornstein_uhlenbeck_step() {
        let device = Device::flex();
        let full = |v: f64| Tensor::<2>::ones([1, 1], &device) * v;
        let (step, friction, temperature) = (0.4, 1.5, 2.0);
        let tuning = Tuning {
            step: full(step),
            temperature: full(temperature),
            scale: None,
        };
        let sampler = Underdamped { friction };
        let refresh = |momentum: f64, xi: f64| {
            let done = sampler.refresh(full(momentum), &tuning, full(xi));
            done.into_data().iter::<f64>().next().unwrap()
        };
        let keep = (-friction * step / 2.0).exp();
        assert!((refresh(1.0, 0.0) - keep).abs() < 1e-6);
        let noise = (temperature * (1.0 - keep * keep)).sqrt();
        assert!((refresh(0.0, 1.0) - noise).abs() < 1e-6);
    }
}
