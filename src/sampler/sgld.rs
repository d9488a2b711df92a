//! Langevin dynamics as commonly used for energy-based models: x ← x − a·clip(∇E(x)) + σξ with drift
//! a = ε²/2 and an independently chosen noise σ, which is usually very small.
//!
//! Welling & Teh 2011 for the name; Du & Mordatch 2019 (IGEBM), Nijkamp et al. 2019 and Grathwohl et
//! al. 2020 (JEM) for the practice. Such a chain does not sample p but p at the temperature
//! T = σ²/(2a), which is far below 1 for common settings (JEM: a = 1, σ = 0.01, T = 5·10⁻⁵).
//! States may be clamped to [0, 1], the range of images, as in CLEL and IGEBM. The sampler reports the
//! share of clipped gradient components and the acceptance that a Metropolis test at that T would have.

use burn::tensor::Tensor;

use super::{
    dynamics::{capped, langevin},
    noise::Noise,
    settings::{STEP_SIZE, Settings},
    transition::{Registration, Sampler, Transition},
    tuning::Tuning,
};
use crate::{
    energy::{Energy, Point},
    setting::{Kind, Setting},
};

/// Standard deviation σ of the noise.
pub(super) const NOISE: Setting = Setting {
    name: "noise",
    title: "noise",
    help: "SGLD: standard deviation σ of the noise, independent of the drift. Default: ε/100. The chain \
           samples at T = σ²/(2a).",
    kind: Kind::positive(100.0, None),
};

/// Bound on the gradient's components.
pub(super) const CLIP: Setting = Setting {
    name: "clip",
    title: "clip",
    help: "SGLD: bound on each component of ∇E. Default: no clip.",
    kind: Kind::positive(1e9, None),
};

/// Whether states stay within [0, 1].
pub(super) const CLAMP: Setting = Setting {
    name: "clamp",
    title: "clamp to [0, 1]",
    help: "SGLD: keep states within [0, 1], the range of images.",
    kind: Kind::Flag,
};

pub const REGISTRATION: Registration = Registration {
    name: "sgld",
    title: "SGLD as practised",
    description: "Langevin with a clipped gradient and independently chosen, usually tiny noise: it samples at a low effective temperature.",
    tested: false,
    target_accept: None,
    relative: Some("ula"),
    settings: &[&STEP_SIZE, &NOISE, &CLIP, &CLAMP],
    build: |settings: &Settings| {
        Box::new(Sgld {
            noise: settings.number(&NOISE),
            clip: settings.number(&CLIP),
            clamp: settings.flag(&CLAMP),
        })
    },
};

/// σ/ε if no noise is given.
const HABITUAL_NOISE: f64 = 0.01;

struct Sgld {
    noise: Option<f64>,
    clip: Option<f64>,
    clamp: bool,
}

impl Sampler for Sgld {
    fn noise(&self, step: f64, _temperature: f64) -> f64 {
        self.noise.unwrap_or(step * HABITUAL_NOISE)
    }

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
        let drift = tuning.step.clone().powi_scalar(2) * 0.5;
        let sigma = match self.noise {
            Some(sigma) => tuning.step.zeros_like() + sigma,
            None => tuning.step.clone() * HABITUAL_NOISE,
        };
        let clip = |g: Tensor<2>| match self.clip {
            Some(bound) => g.clamp(-bound, bound),
            None => g,
        };
        let clipped = self.clip.map(|bound| {
            point
                .gradient
                .clone()
                .abs()
                .greater_elem(bound)
                .float()
                .mean_dim(1)
                .reshape([rows])
        });
        let done = langevin(target, &point, tuning, (drift, sigma), noise, clip, |x| {
            if self.clamp { x.clamp(0.0, 1.0) } else { x }
        });
        Transition {
            accept: Some(capped(done.log_alpha).exp()),
            clipped,
            ..done.proposal.into()
        }
    }
}
