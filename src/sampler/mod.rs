//! Samplers: one transition for a batch of chains.
//!
//! A sampler knows no target beyond the [`Energy`] trait, no backend, no command line and no page.
//! To add one: write its file with a `REGISTRATION`, and add a line to [`REGISTRY`].

mod adapt;
mod hmc;
mod mala;
mod run;
mod ula;

pub use adapt::DualAveraging;
pub use run::{Draw, Run, SavedRun, Trace};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    energy::{Energy, Point},
    error::{Error, Result},
    rng::Rng,
};

/// Every sampler there is, in the order in which they are offered.
pub const REGISTRY: &[Registration] = &[ula::REGISTRATION, mala::REGISTRATION, hmc::REGISTRATION];

/// What the rest of the crate knows of a sampler.
pub struct Registration {
    /// Name in configs, URLs and the command line.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// The acceptance that warm-up aims at unless told; `None`: no Metropolis test, no adaptation.
    pub target_accept: Option<f64>,
    /// Makes the sampler, or says what is wrong with the config.
    pub build: fn(&SamplerConfig) -> Box<dyn Sampler>,
}

/// Settings of a sampler: the same struct for the command line, TOML, the page and model cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// Sampler: "ula" (unadjusted Langevin), "mala" (Metropolis-adjusted Langevin) or "hmc".
    #[cfg_attr(feature = "native", arg(long, default_value = "mala",
        value_parser = clap::builder::PossibleValuesParser::new(REGISTRY.iter().map(|r| r.name))))]
    pub sampler: String,
    /// Step size ε: Langevin drifts by a = ε²/2 and adds noise σ = ε√T; HMC leaps by ε. Left out:
    /// the model card's recommendation for this sampler and space.
    #[cfg_attr(feature = "native", arg(long))]
    pub step_size: Option<f64>,
    /// Temperature T of the target p ∝ exp(−E/T).
    #[cfg_attr(feature = "native", arg(long, default_value_t = 1.0))]
    pub temperature: f64,
    /// Leapfrog steps of an HMC transition.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 5))]
    pub leapfrog_steps: usize,
    /// Warm-up transitions: they adapt the step size, and no statistic counts them.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 100))]
    pub warmup: usize,
    /// Keep the step size as given during warm-up.
    #[cfg_attr(feature = "native", arg(long))]
    pub no_adapt: bool,
    /// Acceptance that warm-up adapts to (default: 0.574 for MALA, 0.65 for HMC).
    #[cfg_attr(feature = "native", arg(long))]
    pub target_accept: Option<f64>,
    /// Groups of chains; each adapts a step size of its own.
    #[cfg_attr(feature = "native", arg(long, default_value_t = 1))]
    pub groups: usize,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            sampler: "mala".into(),
            step_size: None,
            temperature: 1.0,
            leapfrog_steps: 5,
            warmup: 100,
            no_adapt: false,
            target_accept: None,
            groups: 1,
        }
    }
}

impl SamplerConfig {
    /// This sampler's registration.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no sampler has.
    pub fn registration(&self) -> Result<&'static Registration> {
        REGISTRY
            .iter()
            .find(|r| r.name == self.sampler)
            .ok_or_else(|| {
                let names: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
                Error::invalid(
                    "sampler",
                    names.join(", "),
                    &self.sampler,
                    "choose one of these",
                )
            })
    }

    /// Checks every number and builds the sampler.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting that is out of its domain.
    pub fn build(&self) -> Result<Box<dyn Sampler>> {
        let registration = self.registration()?;
        let positive = |what: &str, v: f64, max: f64| {
            if v.is_finite() && v > 0.0 && v <= max {
                Ok(())
            } else {
                Err(Error::invalid(
                    what,
                    format!("a number in (0, {max}]"),
                    v,
                    "give a value in that range",
                ))
            }
        };
        if let Some(step) = self.step_size {
            positive("step size", step, 100.0)?;
        }
        positive("temperature", self.temperature, 1000.0)?;
        if let Some(accept) = self.target_accept {
            positive("target acceptance", accept, 0.999)?;
        }
        for (what, value, max) in [
            ("leapfrog steps", self.leapfrog_steps, 1000),
            ("groups", self.groups, 1024),
        ] {
            if value == 0 || value > max {
                return Err(Error::invalid(
                    what,
                    format!("1 to {max}"),
                    value,
                    "give a value in that range",
                ));
            }
        }
        Ok((registration.build)(self))
    }
}

/// Step sizes and temperature in force for one transition.
pub struct Tuning {
    /// ε of every chain, `[B, 1]`.
    pub step: Tensor<2>,
    /// Temperature T.
    pub temperature: f64,
}

/// The random numbers of one transition.
pub struct Noise<'a> {
    /// The run's source.
    pub rng: &'a Rng,
    /// Transition number since the start of the run.
    pub step: u32,
    /// Where tensors are to live.
    pub device: &'a Device,
}

/// What a transition leaves.
pub struct Transition {
    /// The new states.
    pub point: Point,
    /// Metropolis acceptance probability of every chain, `[B]`; `None` without a test.
    pub accept: Option<Tensor<1>>,
    /// Hamiltonian at the accepted end of the trajectory, `[B]`, for E-BFMI; HMC only.
    pub hamiltonian: Option<Tensor<1>>,
}

/// One transition for a batch of chains. Runs on the device from start to end: no read-back.
pub trait Sampler: Send + Sync {
    /// Energy-gradient evaluations that a transition costs each chain.
    fn gradients_per_transition(&self) -> usize;
    /// Moves every chain once.
    fn transition(
        &self,
        target: &dyn Energy,
        point: Point,
        tuning: &Tuning,
        noise: &Noise<'_>,
    ) -> Transition;
}

/// Metropolis: `exp(min(0, log α))` and whether each chain's uniform `u` (`[B]`) falls below it. A
/// log ratio that is not a number counts as −∞: a proposal without an energy is never accepted.
fn metropolis(log_alpha: Tensor<1>, u: Tensor<1>) -> (Tensor<1>, Tensor<1, burn::tensor::Bool>) {
    let broken = log_alpha.clone().is_nan();
    let log_alpha = log_alpha.mask_fill(broken, -1e30).clamp(-1e30, 0.0);
    let accepted = u.log().lower(log_alpha.clone());
    (log_alpha.exp(), accepted)
}

impl Noise<'_> {
    /// The uniforms of this transition's Metropolis test, `[chains]`.
    fn accept(&self, chains: usize) -> Tensor<1> {
        self.rng
            .uniform_tensor(crate::rng::Purpose::Accept, self.step, chains, self.device)
    }
}
