//! A run: a batch of chains of one sampler on one target, from warm-up to draws.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{DualAveraging, Noise, Sampler, SamplerConfig, Tuning, metropolis};
use crate::{
    diagnostics::{self, Rule, Summary},
    energy::{Energy, Point},
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// One transition as the host sees it.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Energy-gradient evaluations of each chain up to and with this draw.
    pub gradients: u64,
    /// Energy-gradient evaluations that this draw cost each chain.
    pub gradients_per_transition: u64,
    /// Whether it belongs to the warm-up.
    pub warmup: bool,
    /// E of every chain.
    pub energy: Vec<f32>,
    /// Acceptance probability of every chain (1 without a Metropolis test).
    pub accept: Vec<f32>,
    /// Hamiltonian of every chain; empty unless HMC.
    pub hamiltonian: Vec<f32>,
    /// Observables: K vectors of one value per chain.
    pub observed: Vec<Vec<f32>>,
}

/// A batch of chains under way.
pub struct Run {
    target: Arc<dyn Energy>,
    sampler: Box<dyn Sampler>,
    config: SamplerConfig,
    rng: Rng,
    device: Device,
    point: Point,
    transitions: u32,
    steps: Vec<f64>,
    adapters: Vec<DualAveraging>,
    step_tensor: Tensor<2>,
}

impl Run {
    /// Starts chains at `x` (`[B, D]`, on a device without autodiff).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a config out of its domain, a step size that is neither given nor
    /// recommended, states of the wrong dimension, or fewer chains than groups.
    pub fn new(
        target: Arc<dyn Energy>,
        config: &SamplerConfig,
        rng: Rng,
        x: Tensor<2>,
    ) -> Result<Self> {
        let sampler = config.build()?;
        let step = config.step_size.ok_or_else(|| {
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
        let accept = config
            .registration()?
            .target_accept
            .filter(|_| !config.no_adapt)
            .map(|default| config.target_accept.unwrap_or(default));
        let device = x.device();
        let steps = vec![step; config.groups];
        let mut run = Self {
            point: target.point(x),
            target,
            sampler,
            rng,
            transitions: 0,
            adapters: accept
                .map(|a| vec![DualAveraging::new(step, a); config.groups])
                .unwrap_or_default(),
            step_tensor: Tensor::zeros([1, 1], &device),
            steps,
            device,
            config: config.clone(),
        };
        run.upload_steps();
        Ok(run)
    }

    /// Number of chains B.
    pub fn chains(&self) -> usize {
        self.point.x.dims()[0]
    }

    /// Transitions so far, warm-up included.
    pub fn transitions(&self) -> u32 {
        self.transitions
    }

    /// Energy-gradient evaluations of each chain so far (the one at the start is not counted: it
    /// is the same for every sampler).
    pub fn gradients(&self) -> u64 {
        u64::from(self.transitions) * self.sampler.gradients_per_transition() as u64
    }

    /// Whether the sampler has a Metropolis test, and so an acceptance.
    pub fn has_test(&self) -> bool {
        self.config
            .registration()
            .is_ok_and(|r| r.target_accept.is_some())
    }

    /// Energy-gradient evaluations of one transition.
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

    /// The settings.
    pub fn config(&self) -> &SamplerConfig {
        &self.config
    }

    /// The target.
    pub fn target(&self) -> &Arc<dyn Energy> {
        &self.target
    }

    /// The chains' present states, energies and gradients.
    pub fn point(&self) -> &Point {
        &self.point
    }

    fn group_of(&self, chain: usize) -> usize {
        chain * self.config.groups / self.chains()
    }

    fn upload_steps(&mut self) {
        let chains = self.chains();
        let values: Vec<f32> = (0..chains)
            .map(|c| self.steps[self.group_of(c)] as f32)
            .collect();
        self.step_tensor = Tensor::from_data(TensorData::new(values, [chains, 1]), &self.device);
    }

    /// Makes `n` transitions and reads their draws. After the warm-up nothing is read back until
    /// all are done; during it, the acceptances are, since they set the next step size.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn advance(&mut self, n: usize) -> Result<Vec<Draw>> {
        let mut draws = Vec::with_capacity(n);
        let mut pending: Vec<Tensor<2>> = Vec::new();
        for _ in 0..n {
            let adapting = self.warming_up() && !self.adapters.is_empty();
            pending.push(self.transition());
            if adapting {
                draws.extend(self.read(std::mem::take(&mut pending)).await?);
                self.adapt(&draws[draws.len() - 1].accept);
            }
        }
        if !pending.is_empty() {
            draws.extend(self.read(pending).await?);
        }
        Ok(draws)
    }

    /// One transition; its record is `[B, 3 + K]`: energy, acceptance, Hamiltonian, observables.
    fn transition(&mut self) -> Tensor<2> {
        let tuning = Tuning {
            step: self.step_tensor.clone(),
            temperature: self.config.temperature,
        };
        let noise = Noise {
            rng: &self.rng,
            step: self.transitions,
            device: &self.device,
        };
        let done = self
            .sampler
            .transition(&*self.target, self.point.clone(), &tuning, &noise);
        self.transitions += 1;
        self.point = done.point;
        let chains = self.chains();
        let column = |t: Tensor<1>| t.reshape([chains, 1]);
        let energy = column(self.point.energy.clone());
        let mut columns = vec![
            energy.clone(),
            done.accept.map_or_else(|| energy.ones_like(), column),
            done.hamiltonian.map_or_else(|| energy.zeros_like(), column),
        ];
        columns.extend(self.point.observed.clone());
        Tensor::cat(columns, 1)
    }

    async fn read(&self, records: Vec<Tensor<2>>) -> Result<Vec<Draw>> {
        let count = records.len();
        let data = Tensor::cat(records, 0)
            .into_data_async()
            .await
            .map_err(|e| Error::Device {
                problem: format!("reading {count} draws back failed: {e}"),
                fix: "reload, or use fewer chains".into(),
            })?;
        let values = data.iter::<f32>().collect::<Vec<_>>();
        let chains = self.chains();
        let width = values.len() / (count * chains);
        let per = self.sampler.gradients_per_transition() as u64;
        let first = u64::from(self.transitions) - count as u64;
        let is_hmc = self.config.sampler == "hmc";
        Ok((0..count)
            .map(|i| {
                let column = |k: usize| -> Vec<f32> {
                    (0..chains)
                        .map(|c| values[(i * chains + c) * width + k])
                        .collect()
                };
                let number = first + i as u64;
                Draw {
                    gradients: (number + 1) * per,
                    gradients_per_transition: per,
                    warmup: (number as usize) < self.config.warmup,
                    energy: column(0),
                    accept: column(1),
                    hamiltonian: if is_hmc { column(2) } else { Vec::new() },
                    observed: (3..width).map(column).collect(),
                }
            })
            .collect())
    }

    fn adapt(&mut self, accept: &[f32]) {
        let last = !self.warming_up();
        for group in 0..self.config.groups {
            let members: Vec<f64> = (0..self.chains())
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
            .uniform_tensor(Purpose::Jump, step, self.chains(), &self.device);
        let (_, accepted) = metropolis(log_alpha, u);
        self.point = self.point.clone().select(proposal, accepted);
    }

    /// Everything that the future of the chains depends on, beside target, config and seed.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn save(&self) -> Result<SavedRun> {
        let data = self
            .point
            .x
            .clone()
            .into_data_async()
            .await
            .map_err(|e| Error::Device {
                problem: format!("reading the chains back failed: {e}"),
                fix: "reset the run".into(),
            })?;
        Ok(SavedRun {
            x: data.iter::<f32>().collect(),
            transitions: self.transitions,
            steps: self.steps.clone(),
            adapters: self.adapters.clone(),
        })
    }

    /// Continues from what [`save`](Self::save) gave, on a run made with the same config and seed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the sizes do not fit.
    pub fn restore(&mut self, saved: SavedRun) -> Result<()> {
        let [chains, dim] = self.point.x.dims();
        let fits = saved.x.len() == chains * dim
            && saved.steps.len() == self.steps.len()
            && saved.adapters.len() == self.adapters.len();
        if !fits {
            return Err(Error::invalid(
                "saved chains",
                format!("{chains} × {dim} values, {} step sizes", self.steps.len()),
                format!("{} values, {} step sizes", saved.x.len(), saved.steps.len()),
                "restore with the config the chains were saved with",
            ));
        }
        let x = Tensor::from_data(TensorData::new(saved.x, [chains, dim]), &self.device);
        self.point = self.target.point(x);
        self.transitions = saved.transitions;
        self.steps = saved.steps;
        self.adapters = saved.adapters;
        self.upload_steps();
        Ok(())
    }
}

/// The state of a [`Run`] on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// States, `[B, D]`, row-major.
    pub x: Vec<f32>,
    /// Transitions so far.
    pub transitions: u32,
    /// Step size of every group.
    pub steps: Vec<f64>,
    /// Step-size adaptation of every group.
    pub adapters: Vec<DualAveraging>,
}

/// The recorded draws of a run after warm-up, and what they say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trace {
    names: Vec<String>,
    /// quantity → chain → draw
    values: Vec<Vec<Vec<f32>>>,
    /// chain → draw; empty unless HMC
    hamiltonian: Vec<Vec<f32>>,
    accept_sum: f64,
    accept_count: f64,
    gradients: u64,
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
            accept_sum: 0.0,
            accept_count: 0.0,
            gradients: 0,
        }
    }

    /// Names of the traced quantities; the first is the energy.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a draw; those of the warm-up are left out, but their acceptance is shown until the
    /// first draw that counts.
    pub fn push(&mut self, draw: &Draw) {
        if !draw.warmup && self.draws() == 0 {
            (self.accept_sum, self.accept_count, self.gradients) = (0.0, 0.0, 0);
        }
        self.accept_sum += draw.accept.iter().map(|&a| f64::from(a)).sum::<f64>();
        self.accept_count += draw.accept.len() as f64;
        if draw.warmup {
            return;
        }
        self.gradients += draw.gradients_per_transition;
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

    /// Draws of each chain after warm-up.
    pub fn draws(&self) -> usize {
        self.values[0].first().map_or(0, Vec::len)
    }

    /// Energy-gradient evaluations of each chain after warm-up.
    pub fn gradients(&self) -> u64 {
        self.gradients
    }

    /// Mean acceptance probability (after warm-up, or so far during it); NaN before the first draw.
    pub fn acceptance(&self) -> f64 {
        self.accept_sum / self.accept_count
    }

    /// The draws of one quantity: chains of values.
    pub fn values(&self, quantity: usize) -> &[Vec<f32>] {
        &self.values[quantity]
    }

    /// Diagnostics of every traced quantity.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no chain.
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

    /// The smallest E-BFMI of the chains; `None` unless HMC with enough draws.
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

/// Diagnostics are computed in f64.
fn widened(chains: &[Vec<f32>]) -> Vec<Vec<f64>> {
    chains
        .iter()
        .map(|chain| chain.iter().map(|&v| f64::from(v)).collect())
        .collect()
}
