//! The recorded draws of a run after warm-up, and their diagnostics.

use serde::{Deserialize, Serialize};

use super::record::Draw;
use crate::{
    diagnostics::{self, Rule, Summary},
    error::Result,
};

/// Counters beside the draws: of the warm-up while it lasts, then of the draws after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    accept_sum: f64,
    accept_count: f64,
    gradients: f64,
    transitions: u64,
    divergences: u64,
    clipped_sum: f64,
    clipped: bool,
    saturated_sum: f64,
    saturated: bool,
}

impl Counters {
    fn add(&mut self, draw: &Draw) {
        self.accept_sum += draw.accept.iter().map(|&a| f64::from(a)).sum::<f64>();
        self.accept_count += draw.accept.len() as f64;
        self.transitions += 1;
        self.divergences += u64::from(draw.divergent);
        self.clipped_sum += draw.clipped.unwrap_or(0.0);
        self.clipped |= draw.clipped.is_some();
        self.saturated_sum +=
            f64::from(draw.saturated.unwrap_or(0)) / draw.energy.len().max(1) as f64;
        self.saturated |= draw.saturated.is_some();
        if !draw.warmup {
            self.gradients += draw.cost;
        }
    }
}

/// The recorded draws of a run after warm-up, with counters and diagnostics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trace {
    names: Vec<String>,
    /// quantity → chain → draw
    values: Vec<Vec<Vec<f32>>>,
    /// chain → draw; empty unless HMC or NUTS
    hamiltonian: Vec<Vec<f32>>,
    counters: Counters,
}

impl Trace {
    /// An empty trace of the energy and `observables`, for `chains` chains.
    pub fn new(observables: Vec<String>, chains: usize) -> Self {
        let names: Vec<String> = std::iter::once("energy".to_owned())
            .chain(observables)
            .collect();
        Self {
            values: vec![vec![Vec::new(); chains]; names.len()],
            names,
            hamiltonian: vec![Vec::new(); chains],
            counters: Counters::default(),
        }
    }

    /// Names of the traced quantities; the first is the energy.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a draw. Warm-up draws are not recorded; they only fill the counters, which are reset at the
    /// first draw after the warm-up.
    pub fn push(&mut self, draw: &Draw) {
        if !draw.warmup && self.draws() == 0 {
            self.counters = Counters::default();
        }
        self.counters.add(draw);
        if draw.warmup {
            return;
        }
        for (quantity, values) in std::iter::once(&draw.energy)
            .chain(&draw.observed)
            .enumerate()
        {
            for (chain, &v) in values.iter().enumerate() {
                self.values[quantity][chain].push(v);
            }
        }
        for (chain, &v) in draw.hamiltonian.iter().enumerate() {
            self.hamiltonian[chain].push(v);
        }
    }

    /// Draws per chain after warm-up.
    pub fn draws(&self) -> usize {
        self.values[0].first().map_or(0, Vec::len)
    }

    /// Energy-gradient evaluations per chain after warm-up; the mean over chains where they differ.
    pub fn gradients(&self) -> f64 {
        self.counters.gradients
    }

    /// Mean acceptance probability, or shadow acceptance (of the draws after warm-up, or of the warm-up
    /// so far); NaN before the first draw and for a sampler that reports none.
    pub fn acceptance(&self) -> f64 {
        self.counters.accept_sum / self.counters.accept_count
    }

    /// Divergent transitions of all chains.
    pub fn divergences(&self) -> u64 {
        self.counters.divergences
    }

    /// Mean share of clipped gradient components; `None` without a clip.
    pub fn clipped(&self) -> Option<f64> {
        self.counters
            .clipped
            .then(|| self.counters.clipped_sum / self.counters.transitions as f64)
    }

    /// Share of trajectories that reached the largest allowed length; `None` unless NUTS.
    pub fn saturated(&self) -> Option<f64> {
        self.counters
            .saturated
            .then(|| self.counters.saturated_sum / self.counters.transitions as f64)
    }

    /// The counters, which [`cut`](Self::cut) can restore.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Truncates to the first `draws` draws of each chain and restores the counters of that moment.
    pub fn cut(&mut self, draws: usize, counters: Counters) {
        for chain in self
            .values
            .iter_mut()
            .flatten()
            .chain(&mut self.hamiltonian)
        {
            chain.truncate(draws);
        }
        self.counters = counters;
    }

    /// The draws of one quantity: chains of values.
    pub fn values(&self, quantity: usize) -> &[Vec<f32>] {
        &self.values[quantity]
    }

    /// The draws of one quantity in f64, for diagnostics.
    pub fn widened(&self, quantity: usize) -> Vec<Vec<f64>> {
        widened(&self.values[quantity])
    }

    /// Diagnostics of every traced quantity.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when there are no chains.
    pub fn summaries(&self, rule: &Rule) -> Result<Vec<Summary>> {
        self.names
            .iter()
            .zip(&self.values)
            .map(|(name, chains)| {
                let chains = widened(chains);
                let draws = diagnostics::Draws::new(&chains)?;
                Ok(diagnostics::summarise(name.clone(), &draws, rule))
            })
            .collect()
    }

    /// The smallest E-BFMI of the chains; `None` unless HMC or NUTS with enough draws.
    pub fn e_bfmi(&self) -> Option<f64> {
        if self.hamiltonian.first().is_none_or(|c| c.len() < 4) {
            return None;
        }
        let chains = widened(&self.hamiltonian);
        let draws = diagnostics::Draws::new(&chains).ok()?;
        diagnostics::e_bfmi(&draws)
            .into_iter()
            .filter(|v| v.is_finite())
            .reduce(f64::min)
    }
}

/// Converts to f64, in which diagnostics are computed.
fn widened(chains: &[Vec<f32>]) -> Vec<Vec<f64>> {
    chains
        .iter()
        .map(|chain| chain.iter().map(|&v| f64::from(v)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(warmup: bool, accept: [f32; 2], cost: f64, energy: f32) -> Draw {
        Draw {
            gradients: 0.0,
            cost,
            warmup,
            energy: vec![energy; 2],
            accept: accept.to_vec(),
            hamiltonian: Vec::new(),
            divergent: 1,
            clipped: None,
            saturated: Some(1),
            observed: Vec::new(),
        }
    }

    /// The counters are those of the warm-up while it lasts, then of the draws after it.
    #[test]
    fn counters_follow_the_draws() {
        let mut trace = Trace::new(Vec::new(), 2);
        assert!(trace.acceptance().is_nan());
        trace.push(&draw(true, [0.5, 0.25], 7.0, 1.0));
        trace.push(&draw(true, [0.0, 0.25], 7.0, 2.0));
        assert_eq!((trace.acceptance(), trace.divergences()), (0.25, 2));
        assert_eq!((trace.gradients(), trace.draws()), (0.0, 0));
        trace.push(&draw(false, [1.0, 0.5], 3.0, 3.0));
        trace.push(&draw(false, [1.0, 0.5], 4.0, 4.0));
        assert_eq!((trace.acceptance(), trace.divergences()), (0.75, 2));
        assert_eq!((trace.gradients(), trace.draws()), (7.0, 2));
        assert_eq!(trace.saturated(), Some(0.5));
        assert_eq!(trace.values(0), [[3.0, 4.0], [3.0, 4.0]]);
    }
}
