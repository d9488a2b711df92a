//! The sampler interface: one transition for a batch of chains, and the registration of a sampler.

use burn::tensor::Tensor;

use super::{noise::Noise, settings::Settings, tuning::Tuning};
use crate::{
    energy::{Energy, Point},
    error::Result,
    setting::Setting,
};

/// What the rest of the crate knows about a sampler.
pub struct Registration {
    /// Name in configs, URLs and the command line.
    pub name: &'static str,
    /// Display name.
    pub title: &'static str,
    /// What it does, in one sentence.
    pub description: &'static str,
    /// Whether it is exact: it accepts and rejects, or draws states by weight (NUTS), or samples
    /// conditionals (Gibbs). If not, the reported acceptance is the one that a test *would* have had.
    pub tested: bool,
    /// Default target acceptance of the warm-up; `None`: no adaptation.
    pub target_accept: Option<f64>,
    /// The sampler whose recommended step sizes to use if there are none for this one.
    pub relative: Option<&'static str>,
    /// The settings that it uses: common ones, and those that it declares.
    pub settings: &'static [&'static Setting],
    /// Makes the sampler from checked settings.
    pub build: fn(&Settings) -> Box<dyn Sampler>,
}

impl Registration {
    /// Whether the sampler uses a setting.
    pub fn uses(&self, setting: &Setting) -> bool {
        self.settings.iter().any(|s| s.name == setting.name)
    }
}

/// Result of a transition. B counts rows, see [`Tuning`].
pub struct Transition {
    /// The new states.
    pub point: Point,
    /// State passed to the next transition, `[B, D]`: persistent momenta.
    pub memory: Option<Tensor<2>>,
    /// Metropolis acceptance probability of every row, `[B]`; for a sampler without a test, the
    /// probability that the test would have had (see [`Registration::tested`]).
    pub accept: Option<Tensor<1>>,
    /// Hamiltonian at the accepted end of the trajectory, `[B]`, for E-BFMI; HMC and NUTS.
    pub hamiltonian: Option<Tensor<1>>,
    /// Energy-gradient evaluations that each row needed, `[B]`; `None`: the sampler's constant.
    pub gradients: Option<Tensor<1>>,
    /// 1 where the trajectory diverged, `[B]`: its energy error is above [`DIVERGENCE`] or NaN.
    pub divergent: Option<Tensor<1>>,
    /// Share of clipped gradient components, `[B]`.
    pub clipped: Option<Tensor<1>>,
    /// 1 where a trajectory reached its largest allowed length, `[B]`.
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
    /// Largest number of energy-gradient evaluations per chain and transition. A sampler without
    /// gradients counts its energy evaluations, which cost less: costs are never understated.
    fn gradients_per_transition(&self) -> usize;

    /// Whether the cost of a transition varies between chains and is known only afterwards.
    fn cost_varies(&self) -> bool {
        false
    }

    /// σ of x ← x − a∇E + σξ at step size ε and temperature T, with a = ε²/2. For a sampler that is not
    /// Langevin: the σ of a Langevin step with the same ε and T.
    fn noise(&self, step: f64, temperature: f64) -> f64 {
        step * temperature.sqrt()
    }

    /// Rows of the state per chain. If there are several, the rows of all chains at the first
    /// temperature come first, and only these are recorded.
    fn rows_per_chain(&self) -> usize {
        1
    }

    /// Temperatures of these rows as multiples of T.
    fn ladder(&self) -> Vec<f64> {
        vec![1.0]
    }

    /// Checks that it can sample a target at this temperature.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when it cannot.
    fn check(&self, target: &dyn Energy, temperature: f64) -> Result<()> {
        let _ = (target, temperature);
        Ok(())
    }

    /// Moves every chain once. `memory` comes from the last transition; `None` at the start.
    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        memory: Option<Tensor<2>>,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition;
}
