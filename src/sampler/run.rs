//! A run: a batch of chains of one sampler on one target, from warm-up to draws.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{
    config::SamplerConfig,
    dynamics::metropolis,
    noise::Noise,
    record::{self, Clock, Draw, Parts},
    settings::{ADAPT_MASS, STEP_SIZE},
    transition::Sampler,
    tuning::{Adaptation, Beginning, Tuning},
};
use crate::{
    device::shards,
    energy::{Energy, Point},
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// The state before the last transition, for replay.
pub(super) struct Before {
    pub(super) point: Point,
    pub(super) memory: Option<Tensor<2>>,
    pub(super) tuning: Tuning,
    pub(super) transition: u32,
}

/// A running batch of chains.
pub struct Run {
    pub(super) target: Arc<dyn Energy>,
    pub(super) sampler: Box<dyn Sampler>,
    config: SamplerConfig,
    pub(super) rng: Rng,
    pub(super) device: Device,
    pub(super) chains: usize,
    pub(super) first: u32,
    pub(super) point: Point,
    pub(super) memory: Option<Tensor<2>>,
    pub(super) before: Option<Before>,
    pub(super) transitions: u32,
    pub(super) gradients: f64,
    pub(super) adaptation: Adaptation,
}

impl Run {
    /// Starts chains at `x` (`[B, D]`, on a device without autodiff).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting outside its domain, a missing step size, states of the wrong
    /// dimension, fewer chains than groups, or a target that the sampler cannot sample.
    pub fn new(
        target: Arc<dyn Energy>,
        config: &SamplerConfig,
        rng: Rng,
        x: Tensor<2>,
    ) -> Result<Self> {
        let sampler = config.build()?;
        sampler.check(&*target, config.temperature)?;
        let registration = config.registration()?;
        // Gibbs has no step size and needs none.
        let tuned = registration.uses(&STEP_SIZE);
        let step = config
            .step_size
            .or((!tuned).then_some(1.0))
            .ok_or_else(|| {
                Error::invalid(
                    "step size",
                    "a number",
                    "none",
                    "give --step-size, or use a model whose card recommends one",
                )
            })?;
        let [chains, dim] = x.dims();
        if dim != target.space().dim || chains < config.groups {
            return Err(Error::invalid(
                "start states",
                format!("[at least {}, {}]", config.groups, target.space().dim),
                format!("[{chains}, {dim}]"),
                "start one state of the target's dimension per chain",
            ));
        }
        // Only a sampler with a Metropolis test has an acceptance to adapt to.
        let accept = registration
            .target_accept
            .filter(|_| !config.no_adapt)
            .map(|default| config.target_accept.unwrap_or(default));
        let device = x.device();
        let learns_mass = config.adapt_mass && registration.uses(&ADAPT_MASS);
        let begin = Beginning {
            step,
            groups: config.groups,
            accept,
            learning: learns_mass.then_some(config.warmup),
            temperature: config.temperature,
            ladder: sampler.ladder(),
            shape: [chains, dim],
        };
        let x = match sampler.rows_per_chain() {
            1 => x,
            rows => x.repeat_dim(0, rows),
        };
        Ok(Self {
            point: target.point(x),
            memory: None,
            before: None,
            target,
            sampler,
            rng,
            chains,
            first: 0,
            transitions: 0,
            gradients: 0.0,
            adaptation: Adaptation::new(begin, &device),
            device,
            config: config.clone(),
        })
    }

    /// Numbers the chains from `first` instead of 0, so that a part of a batch that runs separately uses
    /// the random numbers that it would have in the whole batch.
    pub fn numbered_from(self, first: u32) -> Self {
        Self { first, ..self }
    }

    /// Number of chains B.
    pub fn chains(&self) -> usize {
        self.chains
    }

    /// Transitions so far, including warm-up.
    pub fn transitions(&self) -> u32 {
        self.transitions
    }

    /// Energy-gradient evaluations per chain so far, on average (excluding the one at the start, which
    /// is the same for every sampler).
    pub fn gradients(&self) -> f64 {
        self.gradients
    }

    /// Whether the sampler has a Metropolis test, i.e. its acceptance is not a shadow acceptance.
    pub fn has_test(&self) -> bool {
        self.config.registration().is_ok_and(|r| r.tested)
    }

    /// Largest number of energy-gradient evaluations per transition.
    pub fn gradients_per_transition(&self) -> usize {
        self.sampler.gradients_per_transition()
    }

    /// Whether the cost of a transition is known only afterwards (NUTS).
    pub fn cost_varies(&self) -> bool {
        self.sampler.cost_varies()
    }

    /// Whether the next transition belongs to the warm-up.
    pub fn warming_up(&self) -> bool {
        (self.transitions as usize) < self.config.warmup
    }

    /// Step size ε of every group.
    pub fn step_sizes(&self) -> &[f64] {
        &self.adaptation.steps
    }

    /// Drift a and noise σ of x ← x − a∇E + σξ at the first group's step size. For a sampler that is not
    /// Langevin: those of a Langevin step with the same step size and temperature. The effective
    /// temperature is T = σ²/(2a).
    pub fn drift_and_noise(&self) -> (f64, f64) {
        let step = self.adaptation.steps[0];
        let noise = self.sampler.noise(step, self.config.temperature);
        (step * step / 2.0, noise)
    }

    /// Effective temperature T = σ²/(2a), from [`drift_and_noise`](Self::drift_and_noise).
    pub fn temperature(&self) -> f64 {
        let (drift, noise) = self.drift_and_noise();
        noise * noise / (2.0 * drift)
    }

    /// The settings.
    pub fn config(&self) -> &SamplerConfig {
        &self.config
    }

    /// The target.
    pub fn target(&self) -> &Arc<dyn Energy> {
        &self.target
    }

    /// The chains' current states, energies and gradients. A sampler with several
    /// [rows per chain](Sampler::rows_per_chain) has more rows, the first of which are the chains.
    pub fn point(&self) -> &Point {
        &self.point
    }

    /// The chains' current states, `[B, D]`.
    pub fn states(&self) -> Tensor<2> {
        self.point.x.clone().narrow(0, 0, self.chains)
    }

    /// Makes `n` transitions and reads their draws. After the warm-up nothing is read back until all are
    /// done; during adaptation every transition is read, since its acceptance sets the next step size.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn advance(&mut self, n: usize) -> Result<Vec<Draw>> {
        let mut draws = Vec::with_capacity(n);
        let mut pending: Vec<Tensor<2>> = Vec::new();
        let mut parts = Parts::default();
        for _ in 0..n {
            let adapting = self.warming_up() && !self.adaptation.adapters.is_empty();
            let (record, has) = self.transition();
            pending.push(record);
            parts = has;
            if adapting {
                draws.extend(self.read(std::mem::take(&mut pending), parts).await?);
                let last = !self.warming_up();
                self.adaptation.adapt(&draws[draws.len() - 1].accept, last);
            }
            let (x, chains) = (&self.point.x, self.chains);
            let states = || x.clone().narrow(0, 0, chains);
            self.adaptation
                .learn_mass(self.transitions as usize, states);
        }
        if !pending.is_empty() {
            draws.extend(self.read(pending, parts).await?);
        }
        Ok(draws)
    }

    /// One transition, and its record.
    fn transition(&mut self) -> (Tensor<2>, Parts) {
        let noise = Noise {
            rng: &self.rng,
            step: self.transitions,
            device: &self.device,
            first_chain: self.first,
            blocks: self.sampler.rows_per_chain(),
        };
        let done = self.sampler.transition(
            &*self.target,
            self.point.clone(),
            self.memory.clone(),
            &self.adaptation.tuning,
            &noise,
        );
        let record = record::columns(&done, self.chains);
        let before = Before {
            point: std::mem::replace(&mut self.point, done.point),
            memory: std::mem::replace(&mut self.memory, done.memory),
            tuning: self.adaptation.tuning.clone(),
            transition: self.transitions,
        };
        self.before = Some(before);
        self.transitions += 1;
        record
    }

    /// Reads the records of the last transitions and updates the gradient counter.
    async fn read(&mut self, records: Vec<Tensor<2>>, parts: Parts) -> Result<Vec<Draw>> {
        let clock = Clock {
            transitions: u64::from(self.transitions) - records.len() as u64,
            gradients: self.gradients,
            per_transition: self.sampler.gradients_per_transition() as f64,
            warmup: self.config.warmup,
        };
        let draws = record::draws(records, parts, self.chains, clock).await?;
        if let Some(last) = draws.last() {
            self.gradients = last.gradients;
        }
        Ok(draws)
    }

    /// Continues with another target of the same space: energies and gradients of the current states are
    /// recomputed. For training, where the energy changes under persistent chains.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the space differs.
    pub fn retarget(&mut self, target: Arc<dyn Energy>) -> Result<()> {
        if target.space() != self.target.space() {
            return Err(Error::invalid(
                "target",
                format!("{:?}", self.target.space()),
                format!("{:?}", target.space()),
                "start a new run for another space",
            ));
        }
        self.point = target.point(self.point.x.clone());
        self.target = target;
        Ok(())
    }

    /// Continues with another random generator.
    pub fn reseed(&mut self, rng: Rng) {
        self.rng = rng;
        self.before = None;
    }

    /// Multiplies every step size by `factor`, outside warm-up adaptation.
    pub fn scale_steps(&mut self, factor: f64) {
        self.adaptation.scale_steps(factor);
    }

    /// One independence-Metropolis move: the proposals are the rows of `x` (`[B, D]`), drawn from a
    /// known density. `log_ratio` (`[B]`) is that density's log at the current states minus its log at
    /// `x`. The move is exact for the target and can connect modes that local moves cannot (Tierney
    /// 1994; with flows: Gabrié, Rotskoff, Vanden-Eijnden 2022). `step` numbers the jump.
    pub fn jump(&mut self, x: Tensor<2>, log_ratio: Tensor<1>, step: u32) {
        let proposal = self.target.point(x);
        let log_alpha = (self.point.energy.clone() - proposal.energy.clone())
            / self.config.temperature
            + log_ratio;
        let u = self
            .rng
            .uniform_rows(
                Purpose::Jump,
                step,
                self.first,
                self.chains,
                1,
                &self.device,
            )
            .reshape([self.chains]);
        let (_, accepted) = metropolis(log_alpha, u);
        self.point = self.point.clone().select(proposal, accepted);
    }
}

/// Runs chains from `rows[0]` (`[B, D]`) for `steps` transitions, split over several devices (see
/// `shards::map`); each part uses the random numbers that it would have on one device. Returns the
/// last states (`[B, D]`) and the mean acceptance. `target` builds the energy of a part from its rows
/// of `rows[1..]` on the given device.
///
/// # Errors
/// As [`Run::new`] and [`Run::advance`].
pub async fn walk(
    (config, rng): (&SamplerConfig, Rng),
    steps: usize,
    rows: Vec<Tensor<2>>,
    others: &[Device],
    target: impl Fn(Vec<Tensor<2>>, &Device) -> Arc<dyn Energy> + Sync,
) -> Result<(Tensor<2>, f64)> {
    let ([chains, _], home) = (rows[0].dims(), rows[0].device());
    let parts = shards::map(rows, others, async |first, mut rows| {
        let start: Tensor<2> = rows.remove(0);
        let target = target(rows, &start.device());
        let mut run = Run::new(target, config, rng, start)?.numbered_from(first as u32);
        let draws = run.advance(steps).await?;
        let accept = draws.iter().flat_map(|d| &d.accept);
        let accept: f64 = accept.map(|&a| f64::from(a)).sum();
        Ok((run.states().to_device(&home), accept))
    })
    .await;
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    let (ends, accept): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let tests = (chains * steps).max(1) as f64;
    Ok((shards::together(ends), accept.iter().sum::<f64>() / tests))
}
