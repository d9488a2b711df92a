//! One side of the Playground: chains that can be rewound, and what they show.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::super::arrays::{Bytes, Floats};
use crate::{
    device::read,
    diagnostics::{self, Draws, Rule, Summary},
    energy::{Density, Energy},
    error::{Error, Result},
    rng::Rng,
    sampler::{Counters, Run, SamplerConfig, SavedRun, Trace},
};

/// Transitions between two states that are kept, to replay from.
const SNAPSHOT_EVERY: usize = 64;

/// Draws that a Stein discrepancy is computed of.
const STEIN_DRAWS: usize = 400;

/// What the draws after warm-up say. `None` is undefined.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlayStatistics"))]
pub struct Statistics {
    /// One for each traced quantity.
    pub summaries: Vec<Summary>,
    /// Largest R-hat.
    pub rhat_max: Option<f64>,
    /// Smallest bulk ESS.
    pub ess_bulk_min: Option<f64>,
    /// The same per 1000 gradient evaluations of all chains together.
    pub ess_per_1000_gradients: Option<f64>,
    /// The same per second of computing.
    pub ess_per_second: Option<f64>,
    /// Largest nested R-hat.
    pub nested_rhat: Option<f64>,
    /// Kernelised Stein discrepancy of some draws.
    pub ksd: Option<f64>,
    /// That of as many exact draws.
    pub ksd_exact: Option<f64>,
    /// Mean acceptance, or its shadow.
    pub acceptance: Option<f64>,
    /// Divergent transitions.
    pub divergences: u64,
    /// Share of gradient components that a clip cut.
    pub clipped: Option<f64>,
    /// Share of trajectories that the largest length ended.
    pub saturated: Option<f64>,
    /// Smallest E-BFMI.
    pub e_bfmi: Option<f64>,
    /// Chains whose energy is not finite.
    pub broken_chains: usize,
}

/// What one side shows.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlaySideFrame"))]
pub struct SideFrame {
    /// Mean gradient evaluations of each chain so far.
    pub clock: f64,
    /// Transitions so far.
    pub transitions: u32,
    /// Whether the next transition belongs to the warm-up.
    pub warming_up: bool,
    /// In the plane, chains × 2.
    pub positions: Floats,
    /// E of every chain.
    pub energies: Floats,
    /// Draws in the buffers below.
    pub draws: usize,
    /// Clock of each.
    pub clocks: Floats,
    /// 1 where it belongs to the warm-up.
    pub warmup: Bytes,
    /// Quantity → draw-major values.
    pub values: BTreeMap<String, Floats>,
    /// ε.
    pub step_size: f64,
    /// a of x ← x − a∇E + σξ.
    pub drift: f64,
    /// σ of the same.
    pub noise: f64,
    /// T = σ²/(2a).
    pub temperature: f64,
    /// On request.
    pub statistics: Option<Statistics>,
}

struct Snapshot {
    saved: SavedRun,
    transitions: usize,
    draws: usize,
    counters: Counters,
}

/// `n` draws of so many chains: every chain in turn, while the draw goes from the first to the last,
/// so that no chain is left out, whatever the numbers. (draw, chain)
fn spread_over(chains: usize, draws: usize, n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).map(move |k| (k * draws / n, k % chains))
}

/// Chains of one sampler, with all that they have drawn.
pub(super) struct Side {
    run: Run,
    trace: Trace,
    /// The model's density in the coordinates that are traced: for the Stein discrepancy.
    judge: Arc<dyn Energy>,
    /// Groups of chains that began at one point each; 1 if they did not.
    superchains: usize,
    snapshots: Vec<Snapshot>,
    /// Clock and kind of every draw, warm-up included.
    clocks: Vec<f64>,
    warmup: Vec<u8>,
    /// quantity → draw-major values, warm-up included.
    history: Vec<Vec<f32>>,
    /// Draws that were shown already.
    shown: usize,
    /// The Stein discrepancy of so many exact draws, computed once.
    exact: Option<(usize, Option<f64>)>,
    now: fn() -> f64,
    /// Milliseconds of computing after warm-up, by the clock; of the draws in the trace.
    spent: f64,
}

impl Side {
    pub(super) async fn new(
        target: Arc<dyn Energy>,
        judge: Arc<dyn Energy>,
        config: &SamplerConfig,
        rng: Rng,
        x: Tensor<2>,
        superchains: usize,
        now: fn() -> f64,
    ) -> Result<Self> {
        let chains = x.dims()[0];
        let trace = Trace::new(target.observables(), chains);
        let run = Run::new(target, config, rng, x)?;
        let mut this = Self {
            history: vec![Vec::new(); trace.names().len()],
            judge,
            superchains,
            snapshots: Vec::new(),
            clocks: Vec::new(),
            warmup: Vec::new(),
            shown: 0,
            exact: None,
            now,
            spent: 0.0,
            trace,
            run,
        };
        this.keep().await?;
        Ok(this)
    }

    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) fn gradients(&self) -> f64 {
        self.run.gradients()
    }

    async fn keep(&mut self) -> Result<()> {
        self.snapshots.push(Snapshot {
            saved: self.run.save().await?,
            transitions: self.clocks.len(),
            draws: self.trace.draws(),
            counters: self.trace.counters(),
        });
        Ok(())
    }

    /// Makes transitions until the clock is at least `clock`, one at least.
    pub(super) async fn advance_to(&mut self, clock: f64, most_values: usize) -> Result<()> {
        loop {
            if self.history.iter().map(Vec::len).sum::<usize>() > most_values {
                return Err(Error::invalid(
                    "this run",
                    format!("at most {most_values} values, so that it can be rewound"),
                    "a longer one",
                    "reset, or use fewer chains",
                ));
            }
            let behind = clock - self.run.gradients();
            // What a transition costs is known beforehand unless trajectories end by themselves.
            let n = if self.run.cost_varies() {
                1
            } else {
                (behind / self.run.gradients_per_transition() as f64).ceil() as usize
            };
            // In parts, so that the length is looked at now and then.
            self.make(n.clamp(1, 1000)).await?;
            if self.run.gradients() >= clock {
                return Ok(());
            }
        }
    }

    /// Makes `n` transitions and takes their draws in.
    async fn make(&mut self, n: usize) -> Result<()> {
        let mut left = n;
        while left > 0 {
            let done = self.clocks.len();
            let part = left.min(SNAPSHOT_EVERY - done % SNAPSHOT_EVERY);
            let began = (self.now)();
            let draws = self.run.advance(part).await?;
            let took = (self.now)() - began;
            let counted = draws.iter().filter(|d| !d.warmup).count();
            self.spent += took * counted as f64 / part as f64;
            for draw in &draws {
                self.trace.push(draw);
                self.clocks.push(draw.gradients);
                self.warmup.push(u8::from(draw.warmup));
                for (to, from) in self
                    .history
                    .iter_mut()
                    .zip(std::iter::once(&draw.energy).chain(&draw.observed))
                {
                    to.extend(from);
                }
            }
            if self.clocks.len().is_multiple_of(SNAPSHOT_EVERY) {
                self.keep().await?;
            }
            left -= part;
        }
        Ok(())
    }

    /// Goes back (or stays) at the last transition whose clock is not beyond `clock`: restores the
    /// state kept before it, and makes the transitions since then again.
    pub(super) async fn seek(&mut self, clock: f64) -> Result<()> {
        let wanted = self.clocks.partition_point(|&c| c <= clock + 1e-6);
        if wanted == self.clocks.len() {
            return Ok(());
        }
        // Strictly before the wanted one, so that it can be shown step by step.
        let from = self
            .snapshots
            .iter()
            .rposition(|s| s.transitions < wanted)
            .unwrap_or(0);
        self.snapshots.truncate(from + 1);
        let Some(snapshot) = self.snapshots.last() else {
            return Ok(());
        };
        let kept = snapshot.transitions;
        let all = self.trace.draws();
        self.run.restore(snapshot.saved.clone())?;
        self.trace.cut(snapshot.draws, snapshot.counters);
        self.spent *= snapshot.draws as f64 / all.max(1) as f64;
        self.clocks.truncate(kept);
        // Should the replay below fail, the next frame must not ask for draws that are gone.
        self.shown = self.shown.min(kept);
        self.warmup.truncate(kept);
        let chains = self.run.chains();
        for values in &mut self.history {
            values.truncate(kept * chains);
        }
        self.make(wanted - kept).await
    }

    pub(super) async fn frame(
        &mut self,
        statistics: bool,
        replayed: bool,
        exact: Option<&dyn Density>,
    ) -> Result<SideFrame> {
        let from = if replayed { 0 } else { self.shown };
        let chains = self.run.chains();
        let point = self.run.point();
        let observed = match &point.observed {
            Some(observed) => {
                let width = observed.dims()[1];
                let values: Vec<f32> = read(observed.clone().narrow(0, 0, chains)).await?;
                values.chunks(width).flat_map(|r| [r[0], r[1]]).collect()
            }
            None => Vec::new(),
        };
        let energies: Vec<f32> = read(point.energy.clone().narrow(0, 0, chains)).await?;
        let (drift, noise) = self.run.drift_and_noise();
        let statistics = if statistics {
            let broken = energies.iter().filter(|e| !e.is_finite()).count();
            Some(self.statistics(broken, exact).await?)
        } else {
            None
        };
        self.shown = self.clocks.len();
        Ok(SideFrame {
            clock: self.run.gradients(),
            transitions: self.run.transitions(),
            warming_up: self.run.warming_up(),
            positions: observed.into(),
            energies: energies.into(),
            draws: self.clocks.len() - from,
            clocks: self.clocks[from..].to_vec().into(),
            warmup: Bytes(self.warmup[from..].to_vec()),
            values: self
                .trace
                .names()
                .iter()
                .zip(&self.history)
                .map(|(name, values)| (name.clone(), values[from * chains..].to_vec().into()))
                .collect(),
            step_size: self.run.step_sizes()[0],
            drift,
            noise,
            temperature: self.run.temperature(),
            statistics,
        })
    }

    async fn statistics(
        &mut self,
        broken_chains: usize,
        exact: Option<&dyn Density>,
    ) -> Result<Statistics> {
        let summaries = self.trace.summaries(&Rule::default())?;
        let ess_bulk_min = diagnostics::smallest_ess(&summaries);
        let work = self.trace.gradients() * self.run.chains() as f64;
        let per = |of: f64, scale: f64| ess_bulk_min.filter(|_| of > 0.0).map(|e| e / of * scale);
        let (ksd, ksd_exact) = self.stein(exact).await?;
        Ok(Statistics {
            rhat_max: diagnostics::largest_rhat(&summaries),
            ess_bulk_min,
            ess_per_1000_gradients: per(work, 1000.0),
            ess_per_second: per(self.spent, 1000.0),
            nested_rhat: self.nested()?,
            ksd,
            ksd_exact,
            acceptance: Some(self.trace.acceptance()).filter(|a| a.is_finite()),
            divergences: self.trace.divergences(),
            clipped: self.trace.clipped(),
            saturated: self.trace.saturated(),
            e_bfmi: self.trace.e_bfmi(),
            broken_chains,
            summaries,
        })
    }

    fn nested(&self) -> Result<Option<f64>> {
        if self.superchains < 2 || self.trace.draws() == 0 {
            return Ok(None);
        }
        let mut worst = None::<f64>;
        for quantity in 0..self.trace.names().len() {
            let chains = self.trace.widened(quantity);
            let value = diagnostics::nested_rhat(&Draws::new(&chains)?, self.superchains)?;
            if !value.is_finite() {
                return Ok(None);
            }
            worst = Some(worst.map_or(value, |w| w.max(value)));
        }
        Ok(worst)
    }

    /// The Stein discrepancy of draws spread evenly over chains and time, by the score of the model
    /// in the traced coordinates; and that of as many exact draws.
    async fn stein(&mut self, exact: Option<&dyn Density>) -> Result<(Option<f64>, Option<f64>)> {
        let coordinates = self.trace.names().len() - 1;
        let (chains, draws) = (self.run.chains(), self.trace.draws());
        if self.run.config().temperature != 1.0
            || coordinates != self.judge.space().dim
            || draws < 2
        {
            return Ok((None, None));
        }
        let n = STEIN_DRAWS.min(chains * draws);
        let mut x = Vec::with_capacity(n * coordinates);
        for (draw, chain) in spread_over(chains, draws, n) {
            x.extend((0..coordinates).map(|q| self.trace.values(q + 1)[chain][draw]));
        }
        let found = self.discrepancy(x, coordinates).await?;
        let reference = match (exact, self.exact) {
            (Some(_), Some((of, value))) if of == n => value,
            (Some(density), _) => {
                let draws = density.draws(&Rng::new(0x57E1), 0, n);
                let value = self.discrepancy(draws.concat(), 2).await?;
                self.exact = Some((n, value));
                value
            }
            (None, _) => None,
        };
        Ok((found, reference))
    }

    async fn discrepancy(&self, x: Vec<f32>, dim: usize) -> Result<Option<f64>> {
        if x.iter().any(|v| !v.is_finite()) {
            return Ok(None);
        }
        let device = self.run.point().x.device();
        let n = x.len() / dim;
        let states = Tensor::from_data(TensorData::new(x.clone(), [n, dim]), &device);
        let score: Vec<f64> = read(self.judge.point(states).gradient.neg()).await?;
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        let value = diagnostics::ksd(&x, &score, dim, 1.0)?;
        Ok(Some(value).filter(|v| v.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::spread_over;

    #[test]
    fn a_selection_of_draws_leaves_no_chain_out() {
        for chains in [2, 3, 4, 8, 16, 32, 100, 1000] {
            for draws in [2, 7, 100, 200, 400, 800, 1000] {
                let n = 400.min(chains * draws);
                let picked: Vec<_> = spread_over(chains, draws, n).collect();
                let of = |c: usize| picked.iter().filter(|p| p.1 == c).count();
                assert!(
                    (0..chains.min(n)).all(|c| of(c) >= n / chains),
                    "{chains} × {draws}"
                );
                assert!(picked.iter().all(|p| p.0 < draws));
                let mut distinct = picked.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), n, "{chains} × {draws}");
            }
        }
    }
}
