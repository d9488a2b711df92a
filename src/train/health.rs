//! Health checks: how well the chains of the negatives mix during training.
//!
//! At intervals, with the model fixed, a few chains run on, half of them from the negatives and half
//! from fresh starts, long enough for R-hat and ESS. The training's own chains and random numbers are
//! not affected.

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

/// Interval and length of the health checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Iterations between two checks; 0 disables them.
    pub every: u64,
    /// Number of chains.
    pub chains: usize,
    /// Transitions per chain.
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
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer chains or transitions than R-hat needs.
    pub fn check(&self) -> Result<()> {
        Error::unless_within("health.chains", self.chains, 4, 1024)?;
        Error::unless_within("health.transitions", self.transitions, 8, 100_000)
    }
}

/// The negatives of a system: target, sampler and states of their chains.
pub struct Negatives {
    /// The current energy.
    pub target: Arc<dyn Energy>,
    /// The sampler, with its step size.
    pub sampler: SamplerConfig,
    /// Current states of the chains, `[n, D]`.
    pub states: Tensor<2>,
    /// Fresh starts, `[n, D]`.
    pub starts: Tensor<2>,
}

/// Metrics of one health check, by name, and the chains' last states `[chains, D]`.
pub struct Look {
    /// `chain_rhat`: the largest rank-normalised R-hat over energy and observables; `chain_ess`: the
    /// smallest bulk ESS of all draws; `chain_temperature`: T = σ²/(2a); `chain_acceptance`;
    /// `long_run_energy_change`: for the chains that start at the negatives, mean E at the end minus
    /// mean E at the start; `long_run_displacement`: their root mean square displacement per
    /// coordinate.
    pub values: BTreeMap<String, f64>,
    /// Last states of the chains.
    pub ends: Tensor<2>,
}

impl Negatives {
    /// Persistent MALA chains in a latent space, with over-dispersed fresh starts N(0, 1.5²) drawn with
    /// `seed`.
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

    /// Runs the chains and computes the metrics.
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
        // Chains that do not move have no R-hat, and diverged ones no distance: omit non-finite values.
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

#[cfg(all(test, feature = "native"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::energy::Mixture;

    /// Two modes that no chain connects, and negatives that all sit in one of them. Chains from the
    /// negatives alone agree with each other; the fresh starts find the other mode, and R-hat shows it.
    #[test]
    fn fresh_starts_reveal_a_mode_that_the_negatives_never_visit() {
        let device = Device::flex();
        let at = |mean: f64| {
            let noise = Rng::new(3).normal_tensor(Purpose::Start, 0, 16, 2, &device);
            noise * 0.3 + Tensor::<2>::from_floats([[mean, 0.0]], &device)
        };
        let look = |starts: f64| {
            let negatives = Negatives {
                target: Arc::new(Mixture::new(&[[-4.0, 0.0], [4.0, 0.0]], 0.3, &device)),
                sampler: SamplerConfig {
                    step_size: Some(0.3),
                    warmup: 0,
                    ..SamplerConfig::new("mala")
                },
                states: at(-4.0),
                starts: at(starts),
            };
            let config = HealthConfig {
                transitions: 200,
                ..HealthConfig::default()
            };
            negatives.look(&config, Rng::new(1)).unwrap()
        };
        let (one, both) = (look(-4.0), look(4.0));
        let rhat = |look: &Look| look.values["chain_rhat"];
        assert!(rhat(&one) < 1.1, "{:?}", one.values);
        assert!(rhat(&both) > 1.5, "{:?}", both.values);
        // Half of the chains each.
        let ends: Vec<f64> = both.ends.into_data().iter::<f64>().collect();
        let right = ends.iter().step_by(2).filter(|&&x| x > 0.0).count();
        assert_eq!((ends.len(), right), (2 * 16, 8));
        // Displacement and energy change are those of the chains from the negatives alone.
        let moved = both.values["long_run_displacement"];
        assert!((0.2..1.0).contains(&moved), "{moved}");
    }

    /// The fresh starts of latent chains are over-dispersed, and the chains keep their step size.
    #[test]
    fn starts_of_latent_chains_are_over_dispersed() {
        let device = Device::flex();
        let target = Arc::new(crate::energy::Gaussian::new(&[0.0; 4], &[1.0; 4], &device));
        let config = SamplerConfig {
            step_size: Some(0.3),
            ..SamplerConfig::new("mala")
        };
        let x = Tensor::zeros([1000, 4], &device);
        let run = Run::new(target.clone(), &config, Rng::new(1), x).unwrap();
        let found = Negatives::of_latent_chains(&run, target, 2);
        assert_eq!(found.sampler.step_size, Some(0.3));
        let starts: Vec<f64> = found.starts.into_data().iter::<f64>().collect();
        let sd = (starts.iter().map(|v| v * v).sum::<f64>() / starts.len() as f64).sqrt();
        // Five standard errors, σ/√(2n).
        assert!(
            (sd / 1.5 - 1.0).abs() < 5.0 / (2.0 * starts.len() as f64).sqrt(),
            "{sd}"
        );
        let states: Vec<f64> = found.states.into_data().iter::<f64>().collect();
        assert!(states.len() == 4000 && states.iter().all(|&v| v == 0.0));
    }
}
