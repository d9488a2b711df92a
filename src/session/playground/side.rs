//! One side of the Playground: chains that can be rewound, and their frames.

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

/// Transitions between two snapshots, from which to replay.
const SNAPSHOT_EVERY: usize = 64;

/// Draws used for a Stein discrepancy.
const STEIN_DRAWS: usize = 400;

/// Statistics of the draws after warm-up. `None` means undefined.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlayStatistics"))]
pub struct Statistics {
    /// One summary per traced quantity.
    pub summaries: Vec<Summary>,
    /// Largest R-hat.
    pub rhat_max: Option<f64>,
    /// Smallest bulk ESS.
    pub ess_bulk_min: Option<f64>,
    /// Smallest bulk ESS per 1000 gradient evaluations of all chains together.
    pub ess_per_1000_gradients: Option<f64>,
    /// Smallest bulk ESS per second of computing.
    pub ess_per_second: Option<f64>,
    /// Largest nested R-hat.
    pub nested_rhat: Option<f64>,
    /// Kernel Stein discrepancy of a selection of draws.
    pub ksd: Option<f64>,
    /// Kernel Stein discrepancy of as many exact draws.
    pub ksd_exact: Option<f64>,
    /// Mean acceptance, or shadow acceptance.
    pub acceptance: Option<f64>,
    /// Divergent transitions.
    pub divergences: u64,
    /// Share of clipped gradient components.
    pub clipped: Option<f64>,
    /// Share of trajectories that reached the largest length.
    pub saturated: Option<f64>,
    /// Smallest E-BFMI.
    pub e_bfmi: Option<f64>,
    /// Chains whose energy is not finite.
    pub broken_chains: usize,
}

/// State of one side.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlaySideFrame"))]
pub struct SideFrame {
    /// Mean gradient evaluations per chain so far.
    pub clock: f64,
    /// Transitions so far.
    pub transitions: u32,
    /// Whether the next transition belongs to the warm-up.
    pub warming_up: bool,
    /// Positions in the plane, chains × 2.
    pub positions: Floats,
    /// E of every chain.
    pub energies: Floats,
    /// Draws in the buffers below.
    pub draws: usize,
    /// Clock of each draw.
    pub clocks: Floats,
    /// 1 where the draw belongs to the warm-up.
    pub warmup: Bytes,
    /// Quantity → draw-major values.
    pub values: BTreeMap<String, Floats>,
    /// Step size ε.
    pub step_size: f64,
    /// a of x ← x − a∇E + σξ.
    pub drift: f64,
    /// σ of x ← x − a∇E + σξ.
    pub noise: f64,
    /// T = σ²/(2a).
    pub temperature: f64,
    /// Statistics, on request.
    pub statistics: Option<Statistics>,
}

struct Snapshot {
    saved: SavedRun,
    transitions: usize,
    draws: usize,
    counters: Counters,
}

/// Selects `n` pairs (draw, chain): the chain cycles while the draw goes from first to last, so that no
/// chain is left out.
fn spread_over(chains: usize, draws: usize, n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).map(move |k| (k * draws / n, k % chains))
}

/// Chains of one sampler, with all their draws.
pub(super) struct Side {
    run: Run,
    trace: Trace,
    /// The target in the traced coordinates, whose score the Stein discrepancy needs.
    score_target: Arc<dyn Energy>,
    /// Number of groups of chains that share a start; 1 if the chains do not.
    superchains: usize,
    snapshots: Vec<Snapshot>,
    /// Clock of every draw, including warm-up.
    clocks: Vec<f64>,
    /// 1 where the draw belongs to the warm-up.
    warmup: Vec<u8>,
    /// quantity → draw-major values, including warm-up.
    history: Vec<Vec<f32>>,
    /// Draws already sent in a frame.
    shown: usize,
    /// Number of exact draws and their Stein discrepancy, cached.
    exact: Option<(usize, Option<f64>)>,
    now: fn() -> f64,
    /// Milliseconds of computing for the draws in the trace (after warm-up).
    spent: f64,
}

impl Side {
    pub(super) async fn new(
        target: Arc<dyn Energy>,
        score_target: Arc<dyn Energy>,
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
            score_target,
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

    /// Makes transitions until the clock is at least `clock`, but at least one.
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
            // The cost of a transition is known in advance, except for NUTS.
            let n = if self.run.cost_varies() {
                1
            } else {
                (behind / self.run.gradients_per_transition() as f64).ceil() as usize
            };
            // In parts, so that the size limit above is checked regularly.
            self.make(n.clamp(1, 1000)).await?;
            if self.run.gradients() >= clock {
                return Ok(());
            }
        }
    }

    /// Makes `n` transitions and stores their draws.
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

    /// Rewinds to the last transition whose clock is at most `clock`: restores the snapshot before it
    /// and repeats the transitions since then. Does nothing if no draw lies beyond `clock`.
    pub(super) async fn seek(&mut self, clock: f64) -> Result<()> {
        let wanted = self.clocks.partition_point(|&c| c <= clock + 1e-6);
        if wanted == self.clocks.len() {
            return Ok(());
        }
        // Strictly before the wanted transition, so that `path` can replay it.
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
        // If the replay below fails, the next frame must not read truncated draws.
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

    /// The Stein discrepancy of draws spread evenly over chains and time, with the target's score in the
    /// traced coordinates; and that of as many exact draws.
    async fn stein(&mut self, exact: Option<&dyn Density>) -> Result<(Option<f64>, Option<f64>)> {
        let coordinates = self.trace.names().len() - 1;
        let (chains, draws) = (self.run.chains(), self.trace.draws());
        if self.run.config().temperature != 1.0
            || coordinates != self.score_target.space().dim
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
        let score: Vec<f64> = read(self.score_target.point(states).gradient.neg()).await?;
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        let value = diagnostics::ksd(&x, &score, dim, 1.0)?;
        Ok(Some(value).filter(|v| v.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::spread_over;

    #[test]
    fn selected_draws_cover_every_chain() {
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
