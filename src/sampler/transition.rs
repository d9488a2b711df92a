//! What a sampler is: one transition for a batch of chains, and what the rest of the crate knows of it.

use burn::tensor::Tensor;

use super::{noise::Noise, settings::Settings, tuning::Tuning};
use crate::{
    energy::{Energy, Point},
    error::Result,
    setting::Setting,
};

/// What the rest of the crate knows of a sampler.
pub struct Registration {
    /// Name in configs, URLs and the command line.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// What it does, in one sentence for people.
    pub description: &'static str,
    /// Whether it accepts and rejects (or, as NUTS, draws states by weight), so that its law is
    /// exact; without, the acceptance that is reported is the one it *would* have had.
    pub tested: bool,
    /// The acceptance that warm-up aims at unless told; `None`: no adaptation.
    pub target_accept: Option<f64>,
    /// The sampler whose recommended step sizes suit this one, where it has none of its own.
    pub relative: Option<&'static str>,
    /// The settings that it listens to: common ones, and those that it declares.
    pub settings: &'static [&'static Setting],
    /// Makes the sampler from checked settings.
    pub build: fn(&Settings) -> Box<dyn Sampler>,
}

impl Registration {
    /// Whether the sampler listens to a setting.
    pub fn listens_to(&self, setting: &Setting) -> bool {
        self.settings.iter().any(|s| s.name == setting.name)
    }
}

/// What a transition leaves. B counts rows, see [`Tuning`].
pub struct Transition {
    /// The new states.
    pub point: Point,
    /// What the sampler wants back at its next transition, `[B, D]`: momenta that persist.
    pub memory: Option<Tensor<2>>,
    /// Metropolis acceptance probability of every row, `[B]`: of the test, or of the test that was
    /// not made (shadow Metropolis; see [`Registration::tested`]).
    pub accept: Option<Tensor<1>>,
    /// Hamiltonian at the accepted end of the trajectory, `[B]`, for E-BFMI; HMC and NUTS.
    pub hamiltonian: Option<Tensor<1>>,
    /// Energy-gradient evaluations that each row needed, `[B]`; `None`: the sampler's constant.
    pub gradients: Option<Tensor<1>>,
    /// 1 where the trajectory diverged: its energy error passed [`DIVERGENCE`] or is no number.
    pub divergent: Option<Tensor<1>>,
    /// Share of the gradient's components that a clip cut, `[B]`.
    pub clipped: Option<Tensor<1>>,
    /// 1 where a trajectory was ended by its largest allowed length.
    pub saturated: Option<Tensor<1>>,
}

impl From<Point> for Transition {
    fn from(point: Point) -> Self {
        Self {
            point,
            memory: None,
            accept: None,
            hamiltonian: None,
            gradients: None,
            divergent: None,
            clipped: None,
            saturated: None,
        }
    }
}

/// Energy error in units of T above which a trajectory counts as divergent (Stan's and PyMC's).
pub const DIVERGENCE: f64 = 1000.0;

/// One transition for a batch of chains. Runs on the device from start to end: no read-back.
pub trait Sampler: Send + Sync {
    /// Energy-gradient evaluations that a transition costs each chain, at most. A sampler without
    /// gradients counts its energy evaluations, which cost less: the clock never flatters.
    fn gradients_per_transition(&self) -> usize;

    /// Whether chains differ in what a transition costs them, so that it is known only afterwards.
    fn cost_varies(&self) -> bool {
        false
    }

    /// σ of x ← x − a∇E + σξ at a step size ε and temperature T, with a = ε²/2: what a sampler that is no
    /// Langevin would mean by the two.
    fn noise(&self, step: f64, temperature: f64) -> f64 {
        step * temperature.sqrt()
    }

    /// Rows of the state for each chain. Of more than one, the rows of all chains at the first
    /// temperature come first and are the ones that are recorded.
    fn rows_per_chain(&self) -> usize {
        1
    }

    /// Temperatures of these rows as multiples of T.
    fn ladder(&self) -> Vec<f64> {
        vec![1.0]
    }

    /// Says whether it can sample a target at this temperature at all.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the target lacks something.
    fn check(&self, target: &dyn Energy, temperature: f64) -> Result<()> {
        let _ = (target, temperature);
        Ok(())
    }

    /// Moves every chain once. `memory` is what the last transition left; `None` at the start.
    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition;
}
