//! A run: a batch of chains of one sampler on one target, from warm-up to draws.

use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{
    DualAveraging, Noise, Sampler, SamplerConfig, Transition, Tuning,
    mass::{self, Moments, SavedMoments},
    metropolis, sgld,
};
use crate::{
    device::read,
    energy::{Conditionals, Energy, Evaluation, Point, Space},
    error::{Error, Result},
    nn::shards,
    rng::{Purpose, Rng},
};

/// One transition as the host sees it.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Energy-gradient evaluations of each chain up to and with this draw; their mean, where chains
    /// differ (NUTS).
    pub gradients: f64,
    /// Energy-gradient evaluations that this draw cost each chain, on average.
    pub cost: f64,
    /// Whether it belongs to the warm-up.
    pub warmup: bool,
    /// E of every chain.
    pub energy: Vec<f32>,
    /// Acceptance probability of every chain, or its shadow (see [`Transition::accept`]); empty
    /// where the sampler has neither.
    pub accept: Vec<f32>,
    /// Hamiltonian of every chain; empty unless HMC or NUTS.
    pub hamiltonian: Vec<f32>,
    /// Divergent transitions among the chains.
    pub divergent: u32,
    /// Mean share of the gradient components that a clip cut; `None` without a clip.
    pub clipped: Option<f64>,
    /// Chains whose trajectory reached the largest allowed length; `None` unless NUTS.
    pub saturated: Option<u32>,
    /// Observables: K vectors of one value per chain.
    pub observed: Vec<Vec<f32>>,
}

/// What a record holds of a transition, besides the energy and the observables.
#[derive(Clone, Copy, Default)]
struct Parts {
    accept: bool,
    hamiltonian: bool,
    gradients: bool,
    divergent: bool,
    clipped: bool,
    saturated: bool,
}

/// The state before the last transition, so that the transition can be made again.
struct Before {
    point: Point,
    memory: Option<Tensor<2>>,
    tuning: Tuning,
    transition: u32,
}

/// A batch of chains under way.
pub struct Run {
    target: Arc<dyn Energy>,
    sampler: Box<dyn Sampler>,
    config: SamplerConfig,
    rng: Rng,
    device: Device,
    chains: usize,
    first: u32,
    point: Point,
    memory: Option<Tensor<2>>,
    before: Option<Before>,
    transitions: u32,
    gradients: f64,
    steps: Vec<f64>,
    adapters: Vec<DualAveraging>,
    moments: Moments,
    tuning: Tuning,
}

impl Run {
    /// Starts chains at `x` (`[B, D]`, on a device without autodiff).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a config out of its domain, a step size that is neither given nor
    /// recommended, states of the wrong dimension, fewer chains than groups, or a target that the
    /// sampler cannot walk on.
    pub fn new(
        target: Arc<dyn Energy>,
        config: &SamplerConfig,
        rng: Rng,
        x: Tensor<2>,
    ) -> Result<Self> {
        let sampler = config.build()?;
        sampler.check(&*target)?;
        let registration = config.registration()?;
        // A sampler that has no step size needs none.
        let tuned = registration.settings.contains(&"step_size");
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
        let rungs = sampler.rows_per_chain();
        let temperatures: Vec<f32> = sampler
            .ladder()
            .iter()
            .flat_map(|t| std::iter::repeat_n((t * config.temperature) as f32, chains))
            .collect();
        let rows = temperatures.len();
        let tuning = Tuning {
            step: Tensor::zeros([1, 1], &device),
            temperature: Tensor::from_data(TensorData::new(temperatures, [rows, 1]), &device),
            scale: None,
        };
        let x = if rungs == 1 {
            x
        } else {
            x.repeat_dim(0, rungs)
        };
        let mut run = Self {
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
            adapters: accept
                .map(|a| vec![DualAveraging::new(step, a); config.groups])
                .unwrap_or_default(),
            moments: Moments::new(dim, &device),
            tuning,
            steps: vec![step; config.groups],
            device,
            config: config.clone(),
        };
        run.upload_steps();
        Ok(run)
    }

    /// Numbers the chains from `first` on instead of 0: a part of a batch, walked apart from the
    /// others, draws the numbers that it would have drawn among them.
    pub fn numbered_from(self, first: u32) -> Self {
        Self { first, ..self }
    }

    /// Number of chains B.
    pub fn chains(&self) -> usize {
        self.chains
    }

    /// Transitions so far, warm-up included.
    pub fn transitions(&self) -> u32 {
        self.transitions
    }

    /// Energy-gradient evaluations of each chain so far, on average (the one at the start is not
    /// counted: it is the same for every sampler).
    pub fn gradients(&self) -> f64 {
        self.gradients
    }

    /// Whether the sampler accepts and rejects, so that its acceptance is no shadow.
    pub fn has_test(&self) -> bool {
        self.config.registration().is_ok_and(|r| r.tested)
    }

    /// Energy-gradient evaluations of one transition, at most.
    pub fn gradients_per_transition(&self) -> usize {
        self.sampler.gradients_per_transition()
    }

    /// Whether the next transition belongs to the warm-up.
    pub fn warming_up(&self) -> bool {
        (self.transitions as usize) < self.config.warmup
    }

    /// Step size ε of every group.
    pub fn step_sizes(&self) -> &[f64] {
        &self.steps
    }

    /// Drift a and noise σ of x ← x − a∇E + σξ at the first group's step size: for samplers that
    /// are no Langevin, the pair that their step size and temperature would mean. The effective
    /// temperature is T = σ²/(2a).
    pub fn drift_and_noise(&self) -> (f64, f64) {
        let step = self.steps[0];
        let noise = if self.config.sampler == "sgld" {
            self.config.noise.unwrap_or(step * sgld::HABITUAL_NOISE)
        } else {
            step * self.config.temperature.sqrt()
        };
        (step * step / 2.0, noise)
    }

    /// Effective temperature T = σ²/(2a) of [these](Self::drift_and_noise).
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

    /// The chains' present states, energies and gradients; more rows than chains for a sampler that
    /// [needs them](Sampler::rows_per_chain), of which the first are the chains.
    pub fn point(&self) -> &Point {
        &self.point
    }

    /// The chains' present states, `[B, D]`.
    pub fn states(&self) -> Tensor<2> {
        self.point.x.clone().narrow(0, 0, self.chains)
    }

    fn group_of(&self, chain: usize) -> usize {
        chain * self.config.groups / self.chains
    }

    fn upload_steps(&mut self) {
        let rows = self.chains * self.sampler.rows_per_chain();
        let values: Vec<f32> = (0..rows)
            .map(|row| self.steps[self.group_of(row % self.chains)] as f32)
            .collect();
        self.tuning.step = Tensor::from_data(TensorData::new(values, [rows, 1]), &self.device);
    }

    /// Makes `n` transitions and reads their draws. After the warm-up nothing is read back until
    /// all are done; during it, the acceptances are, since they set the next step size.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn advance(&mut self, n: usize) -> Result<Vec<Draw>> {
        let mut draws = Vec::with_capacity(n);
        let mut pending: Vec<Tensor<2>> = Vec::new();
        let mut parts = Parts::default();
        for _ in 0..n {
            let adapting = self.warming_up() && !self.adapters.is_empty();
            let (record, has) = self.transition();
            pending.push(record);
            parts = has;
            if adapting {
                draws.extend(self.read(std::mem::take(&mut pending), parts).await?);
                self.adapt(&draws[draws.len() - 1].accept);
            }
            self.learn_mass();
        }
        if !pending.is_empty() {
            draws.extend(self.read(pending, parts).await?);
        }
        Ok(draws)
    }

    /// One transition; its record is `[B, 1 + parts + K]`: energy, the parts that the sampler
    /// reports, observables.
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
            &self.tuning,
            &noise,
        );
        let before = Before {
            point: std::mem::replace(&mut self.point, done.point),
            memory: std::mem::replace(&mut self.memory, done.memory),
            tuning: self.tuning.clone(),
            transition: self.transitions,
        };
        self.before = Some(before);
        self.transitions += 1;
        let parts = Parts {
            accept: done.accept.is_some(),
            hamiltonian: done.hamiltonian.is_some(),
            gradients: done.gradients.is_some(),
            divergent: done.divergent.is_some(),
            clipped: done.clipped.is_some(),
            saturated: done.saturated.is_some(),
        };
        let chains = self.chains;
        let column = |t: Tensor<1>| t.narrow(0, 0, chains).reshape([chains, 1]);
        let mut columns = vec![column(self.point.energy.clone())];
        columns.extend(
            [
                done.accept,
                done.hamiltonian,
                done.gradients,
                done.divergent,
                done.clipped,
                done.saturated,
            ]
            .into_iter()
            .flatten()
            .map(column),
        );
        columns.extend(self.point.observed.clone().map(|o| o.narrow(0, 0, chains)));
        (Tensor::cat(columns, 1), parts)
    }

    async fn read(&mut self, records: Vec<Tensor<2>>, parts: Parts) -> Result<Vec<Draw>> {
        let count = records.len();
        let values: Vec<f32> = read(Tensor::cat(records, 0)).await?;
        let chains = self.chains;
        let width = values.len() / (count * chains);
        let per = self.sampler.gradients_per_transition() as f64;
        let first = u64::from(self.transitions) - count as u64;
        let mean = |v: Vec<f32>| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
        let total = |v: Vec<f32>| v.iter().filter(|&&v| v != 0.0).count() as u32;
        Ok((0..count)
            .map(|i| {
                let column = |k: usize| -> Vec<f32> {
                    (0..chains)
                        .map(|c| values[(i * chains + c) * width + k])
                        .collect()
                };
                let mut next = 1;
                let mut part = |there: bool| {
                    there.then(|| {
                        next += 1;
                        column(next - 1)
                    })
                };
                let accept = part(parts.accept).unwrap_or_default();
                let hamiltonian = part(parts.hamiltonian).unwrap_or_default();
                let cost = part(parts.gradients).map_or(per, mean);
                let divergent = part(parts.divergent).map_or(0, total);
                let clipped = part(parts.clipped).map(mean);
                let saturated = part(parts.saturated).map(total);
                self.gradients += cost;
                Draw {
                    gradients: self.gradients,
                    cost,
                    warmup: ((first + i as u64) as usize) < self.config.warmup,
                    energy: column(0),
                    accept,
                    hamiltonian,
                    divergent,
                    clipped,
                    saturated,
                    observed: (next..width).map(column).collect(),
                }
            })
            .collect())
    }

    fn adapt(&mut self, accept: &[f32]) {
        let last = !self.warming_up();
        for group in 0..self.config.groups {
            let members: Vec<f64> = (0..self.chains)
                .filter(|&c| self.group_of(c) == group)
                .map(|c| f64::from(accept[c]))
                .collect();
            let mean = members.iter().sum::<f64>() / members.len() as f64;
            let next = self.adapters[group].update(mean);
            self.steps[group] = if last {
                self.adapters[group].frozen()
            } else {
                next
            };
        }
        self.upload_steps();
    }

    /// Whether this run learns a mass: asked for, of use to the sampler, and time enough for it.
    fn learns_mass(&self) -> bool {
        self.config.adapt_mass
            && self.config.warmup >= mass::SHORTEST
            && self
                .config
                .registration()
                .is_ok_and(|r| r.settings.contains(&"adapt_mass"))
    }

    /// After a transition of the warm-up: collects it for the mass, and sets the mass at the end of
    /// a window. From then on ε is in units of the learned scales; where it adapts it begins anew.
    fn learn_mass(&mut self) {
        if !self.learns_mass() || self.transitions as usize > self.config.warmup {
            return;
        }
        let now = self.transitions as usize - 1;
        for window in mass::windows(self.config.warmup) {
            if window.contains(&now) {
                self.moments.update(self.states());
                if now + 1 == window.end && window.len() > 1 {
                    let dim = self.target.space().dim;
                    self.tuning.scale = Some(self.moments.scale(self.config.temperature));
                    self.moments = Moments::new(dim, &self.device);
                    for (step, adapter) in self.steps.iter_mut().zip(&mut self.adapters) {
                        // In units of the target's own scales a first step of 0.5 is right within
                        // a factor of a few in any dimension that is met here.
                        *step = 0.5;
                        *adapter = DualAveraging::new(*step, adapter.target());
                    }
                    self.upload_steps();
                }
            }
        }
    }
}

/// Chains that walk for `steps` transitions from `rows[0]` (`[B, D]`) and are then forgotten, in parts on
/// several devices (see [`shards::map`]), each with the random numbers that it would have had alone: where
/// they end, and their mean acceptance. `target` makes the energy of a part from the rows after the first,
/// on the device that it is told.
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

/// The last transition of one chain, made again with every evaluated state written down.
pub struct Path {
    /// Evaluated states in order, `[n, D]`; the first is where the chain stood.
    pub states: Tensor<2>,
    /// Their energies, `[n]`.
    pub energies: Tensor<1>,
    /// What came of it, for this chain alone.
    pub outcome: Transition,
    /// Number of the transition, from 0.
    pub transition: u32,
}

/// A target that writes down where it was asked.
struct Recorder {
    target: Arc<dyn Energy>,
    seen: Mutex<Vec<(Tensor<2>, Tensor<1>)>>,
}

impl Recorder {
    fn note(&self, x: Tensor<2>, energy: Tensor<1>) {
        // A poisoned lock would mean a panic elsewhere; the path is then of no use to anybody.
        if let Ok(mut seen) = self.seen.lock() {
            seen.push((x, energy));
        }
    }
}

impl Energy for Recorder {
    fn space(&self) -> Space {
        self.target.space()
    }

    fn observables(&self) -> Vec<String> {
        self.target.observables()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let done = self.target.evaluate(x.clone());
        self.note(x, done.energy.clone());
        done
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let done = self.target.point(x);
        self.note(done.x.clone(), done.energy.clone());
        done
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        self.target.conditionals()
    }
}

impl Run {
    /// Makes the last transition of a chain again, alone: its random numbers are its own. `None`
    /// before the first transition.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a chain that is not there, [`Error::Device`] when the device cannot be
    /// read.
    pub async fn path(&self, chain: usize) -> Result<Option<Path>> {
        if chain >= self.chains {
            return Err(Error::invalid(
                "chain",
                format!("0 to {}", self.chains - 1),
                chain,
                "choose one of the chains",
            ));
        }
        let Some(before) = &self.before else {
            return Ok(None);
        };
        let rungs = self.sampler.rows_per_chain();
        // This chain's rows, one for each temperature.
        let rows = |t: Tensor<2>| {
            let all = (0..rungs).map(|k| t.clone().narrow(0, k * self.chains + chain, 1));
            Tensor::cat(all.collect(), 0)
        };
        let values = |t: Tensor<1>| {
            let n = t.dims()[0];
            rows(t.reshape([n, 1])).reshape([rungs])
        };
        let point = Point {
            x: rows(before.point.x.clone()),
            energy: values(before.point.energy.clone()),
            gradient: rows(before.point.gradient.clone()),
            observed: before.point.observed.clone().map(rows),
        };
        let recorder = Recorder {
            target: self.target.clone(),
            seen: Mutex::new(vec![(point.x.clone(), point.energy.clone())]),
        };
        let tuning = Tuning {
            step: rows(before.tuning.step.clone()),
            temperature: rows(before.tuning.temperature.clone()),
            scale: before.tuning.scale.clone(),
        };
        let noise = Noise {
            rng: &self.rng,
            step: before.transition,
            device: &self.device,
            first_chain: self.first + chain as u32,
            blocks: rungs,
        };
        let memory = before.memory.clone().map(rows);
        let outcome = self
            .sampler
            .transition(&recorder, point, memory, &tuning, &noise);
        let seen = recorder.seen.into_inner().unwrap_or_default();
        // A trajectory that ends by itself is computed to its largest length where that cannot be
        // known without waiting: what was needed of it comes first.
        let needed = match &outcome.gradients {
            Some(gradients) => {
                let count: Vec<f32> = read(gradients.clone()).await?;
                1 + count.first().map_or(0, |&c| c as usize)
            }
            None => seen.len(),
        };
        let seen = &seen[..needed.min(seen.len())];
        // The chain itself is the first row; companions at other temperatures are not drawn.
        let states = seen.iter().map(|(x, _)| x.clone().narrow(0, 0, 1));
        let energies = seen.iter().map(|(_, e)| e.clone().narrow(0, 0, 1));
        Ok(Some(Path {
            states: Tensor::cat(states.collect(), 0),
            energies: Tensor::cat(energies.collect(), 0),
            outcome,
            transition: before.transition,
        }))
    }
}

impl Run {
    /// Goes on with another target of the same space: energies and gradients of the present states
    /// are computed anew. For learning, where the energy changes under persistent chains.
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

    /// Goes on with the random numbers of another source.
    pub fn reseed(&mut self, rng: Rng) {
        self.rng = rng;
        self.before = None;
    }

    /// Multiplies every step size by `factor`, outside warm-up adaptation.
    pub fn scale_steps(&mut self, factor: f64) {
        for step in &mut self.steps {
            *step *= factor;
        }
        self.upload_steps();
    }

    /// One independence-Metropolis move: every chain may jump to its row of `x` (`[B, D]`), drawn
    /// from a known density. `log_ratio` (`[B]`) is that density's log at the present states less
    /// its log at `x`. Exact for the target, and the way between modes where local moves find none
    /// (Tierney 1994; with flows: Gabrié, Rotskoff, Vanden-Eijnden 2022). `step` numbers the jump.
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

    /// Everything that the future of the chains depends on, beside target, config and seed.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn save(&self) -> Result<SavedRun> {
        let memory = match &self.memory {
            Some(memory) => Some(read(memory.clone()).await?),
            None => None,
        };
        let scale = match &self.tuning.scale {
            Some(scale) => Some(read(scale.clone()).await?),
            None => None,
        };
        // Empty moments need no reading: the common case, and called for every frame of the page.
        let moments = if self.learns_mass() && self.warming_up() {
            Some(self.moments.save().await?)
        } else {
            None
        };
        Ok(SavedRun {
            x: read(self.point.x.clone()).await?,
            memory,
            transitions: self.transitions,
            gradients: self.gradients,
            steps: self.steps.clone(),
            adapters: self.adapters.clone(),
            scale,
            moments,
        })
    }

    /// Continues from what [`save`](Self::save) gave, on a run made with the same config and seed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the sizes do not fit.
    pub fn restore(&mut self, saved: SavedRun) -> Result<()> {
        let [rows, dim] = self.point.x.dims();
        let fits = saved.x.len() == rows * dim
            && saved.memory.as_ref().is_none_or(|m| m.len() == rows * dim)
            && saved.scale.as_ref().is_none_or(|s| s.len() == dim)
            && saved.steps.len() == self.steps.len()
            && saved.adapters.len() == self.adapters.len();
        if !fits {
            return Err(Error::invalid(
                "saved chains",
                format!("{rows} × {dim} values, {} step sizes", self.steps.len()),
                format!("{} values, {} step sizes", saved.x.len(), saved.steps.len()),
                "restore with the config the chains were saved with",
            ));
        }
        let states = |values| Tensor::from_data(TensorData::new(values, [rows, dim]), &self.device);
        self.point = self.target.point(states(saved.x));
        self.memory = saved.memory.map(states);
        self.before = None;
        self.transitions = saved.transitions;
        self.gradients = saved.gradients;
        self.steps = saved.steps;
        self.adapters = saved.adapters;
        self.tuning.scale = saved.scale.map(|s| mass::row(s, &self.device));
        self.moments = match &saved.moments {
            Some(moments) => Moments::restore(moments, &self.device),
            None => Moments::new(dim, &self.device),
        };
        self.upload_steps();
        Ok(())
    }
}

/// The state of a [`Run`] on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// States, rows × D, row-major.
    pub x: Vec<f32>,
    /// What the sampler keeps between transitions, rows × D.
    #[serde(default)]
    pub memory: Option<Vec<f32>>,
    /// Transitions so far.
    pub transitions: u32,
    /// Energy-gradient evaluations of each chain so far.
    #[serde(default)]
    pub gradients: f64,
    /// Step size of every group.
    pub steps: Vec<f64>,
    /// Step-size adaptation of every group.
    pub adapters: Vec<DualAveraging>,
    /// Learned length scale of every coordinate.
    #[serde(default)]
    pub scale: Option<Vec<f32>>,
    /// What the next scale is learned from; during warm-up only.
    #[serde(default)]
    pub moments: Option<SavedMoments>,
}
