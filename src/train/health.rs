//! How the chains that make negatives mix, looked at while a model trains.
//!
//! At intervals the model stands still and a few chains walk on from the negatives, half of them from
//! fresh starts, for as many transitions as R-hat and ESS need to say something. The training's own
//! chains and random numbers are left as they are.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostics::{Rule, largest_rhat, smallest_ess},
    energy::Energy,
    error::{Error, Result},
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig, Trace},
};

/// When to look, and how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Iterations between two looks; 0 never looks.
    pub every: u64,
    /// Chains.
    pub chains: usize,
    /// Their transitions.
    pub transitions: usize,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            every: 250,
            chains: 16,
            transitions: 100,
        }
    }
}

impl HealthConfig {
    /// # Errors
    /// [`Error::Invalid`] for fewer chains or transitions than R-hat needs.
    pub fn check(&self) -> Result<()> {
        Error::unless_within("health.chains", self.chains, 4, 1024)?;
        Error::unless_within("health.transitions", self.transitions, 8, 100_000)
    }
}

/// Negatives as a system has them: what they walk on, how, and from where.
pub struct Negatives {
    /// The energy as it is now.
    pub target: Arc<dyn Energy>,
    /// The sampler, with its step size.
    pub sampler: SamplerConfig,
    /// Present states of the chains, `[n, D]`.
    pub states: Tensor<2>,
    /// Fresh starts, `[n, D]`.
    pub starts: Tensor<2>,
}

/// Numbers of one look, by the names that metrics have, and the chains' last states `[chains, D]`.
pub struct Look {
    /// `chain_rhat`: the largest rank-normalised R-hat over energy and observables; `chain_ess`: the
    /// smallest bulk ESS of all draws; `chain_temperature`: T = σ²/(2a); `chain_acceptance`;
    /// `long_run_energy_change`: mean E at the end less mean E at the negatives, of the chains that began
    /// there; `long_run_displacement`: root mean square distance they went, a coordinate.
    pub values: BTreeMap<String, f64>,
    /// Where the chains ended.
    pub ends: Tensor<2>,
}

impl Negatives {
    /// Persistent MALA chains of a latent space, and over-dispersed fresh starts, N(0, 1.5²); `seed` is
    /// that of the starts.
    pub fn of_latent_chains(chains: &Run, target: Arc<dyn Energy>, seed: u64) -> Self {
        let states = chains.states();
        let [n, dim] = states.dims();
        let device = states.device();
        let starts = Rng::new(seed).normal_tensor(Purpose::Health, 0, n, dim, &device);
        Self {
            target,
            sampler: SamplerConfig {
                sampler: "mala".into(),
                step_size: chains.step_sizes().first().copied(),
                warmup: 0,
                ..SamplerConfig::default()
            },
            states,
            starts: starts * 1.5,
        }
    }

    /// Lets chains walk on and measures.
    ///
    /// # Errors
    /// Whatever the chains report.
    pub fn look(&self, config: &HealthConfig, rng: Rng) -> Result<Look> {
        let half = |x: &Tensor<2>, n: usize| x.clone().narrow(0, 0, n.min(x.dims()[0]));
        let old = half(&self.states, config.chains.div_ceil(2));
        let x = Tensor::cat(vec![old.clone(), half(&self.starts, config.chains / 2)], 0);
        let [chains, _] = x.dims();
        let [from_old, _] = old.dims();
        let mut run = Run::new(self.target.clone(), &self.sampler, rng, x)?;
        let energy = |run: &Run| {
            let e = run.point().energy.clone().narrow(0, 0, from_old).mean();
            pollster::block_on(crate::device::scalar(e))
        };
        let before = energy(&run)?;
        let mut trace = Trace::new(self.target.observables(), chains);
        for draw in pollster::block_on(run.advance(config.transitions))? {
            trace.push(&draw);
        }
        let summaries = trace.summaries(&Rule::default())?;
        let moved = (run.states().narrow(0, 0, from_old) - old).powi_scalar(2);
        let moved = pollster::block_on(crate::device::scalar(moved.mean().sqrt()))?;
        let numbers = [
            ("chain_rhat", largest_rhat(&summaries)),
            ("chain_ess", smallest_ess(&summaries)),
            ("chain_acceptance", Some(trace.acceptance())),
            ("chain_temperature", Some(run.temperature())),
            ("long_run_energy_change", Some(energy(&run)? - before)),
            ("long_run_displacement", Some(moved)),
        ];
        // Chains that stand still have no R-hat, and those that flew away no distance: no number is
        // better than a wrong one.
        let finite = |(name, value): (&str, Option<f64>)| {
            let value = value.filter(|v| v.is_finite())?;
            Some((name.to_owned(), value))
        };
        let values = numbers.into_iter().filter_map(finite).collect();
        Ok(Look {
            values,
            ends: run.states(),
        })
    }
}
