//! Step sizes, temperatures and mass of a transition, and their adaptation during warm-up: a step size
//! per group of chains by dual averaging, and a diagonal mass from the draws.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    adapt::DualAveraging,
    mass::{self, Moments, SavedMoments},
};
use crate::{device::read, error::Result};

/// Step sizes, temperatures and mass of one transition. B counts rows of the state: the chains, times
/// the temperatures of parallel tempering.
#[derive(Clone)]
pub struct Tuning {
    /// ε of every row, `[B, 1]`.
    pub step: Tensor<2>,
    /// T of every row, `[B, 1]`.
    pub temperature: Tensor<2>,
    /// Length scale s of every coordinate, `[1, D]`; `None` is 1 everywhere. Samplers move in x/s, which
    /// is equivalent to a diagonal mass M = s⁻², or to a preconditioner s² of Langevin's drift.
    pub scale: Option<Tensor<2>>,
}

impl Tuning {
    /// s·v: from the sampler's coordinates to x, and from ∇E to the sampler's gradient.
    pub(super) fn scaled(&self, v: Tensor<2>) -> Tensor<2> {
        match &self.scale {
            Some(scale) => v * scale.clone(),
            None => v,
        }
    }

    /// √T of every row, `[B, 1]`.
    pub(super) fn root_temperature(&self) -> Tensor<2> {
        self.temperature.clone().sqrt()
    }

    /// T of every row, `[B]`.
    pub(super) fn temperatures(&self) -> Tensor<1> {
        let [rows, _] = self.temperature.dims();
        self.temperature.clone().reshape([rows])
    }
}

/// Step sizes and mass of a run, and the state of their adaptation.
pub(super) struct Adaptation {
    /// Tuning of the next transition.
    pub tuning: Tuning,
    /// ε of every group.
    pub steps: Vec<f64>,
    /// Dual averaging of every group; empty without adaptation.
    pub adapters: Vec<DualAveraging>,
    moments: Moments,
    /// Length of the warm-up in which a mass is learned; `None`: no mass is learned.
    learning: Option<usize>,
    temperature: f64,
    chains: usize,
    dim: usize,
    device: Device,
}

/// Initial values of an [`Adaptation`].
pub(super) struct Beginning {
    /// Initial step size of every group.
    pub step: f64,
    /// Number of groups of chains.
    pub groups: usize,
    /// Target acceptance; `None`: the step size is fixed.
    pub accept: Option<f64>,
    /// Length of a warm-up that learns a mass; `None`: no mass is learned.
    pub learning: Option<usize>,
    /// T.
    pub temperature: f64,
    /// Temperatures of the rows of a chain, as multiples of T.
    pub ladder: Vec<f64>,
    /// Chains and dimension.
    pub shape: [usize; 2],
}

impl Adaptation {
    pub(super) fn new(begin: Beginning, device: &Device) -> Self {
        let [chains, dim] = begin.shape;
        let temperatures: Vec<f32> = begin
            .ladder
            .iter()
            .flat_map(|t| std::iter::repeat_n((t * begin.temperature) as f32, chains))
            .collect();
        let rows = temperatures.len();
        let mut this = Self {
            tuning: Tuning {
                step: Tensor::zeros([1, 1], device),
                temperature: Tensor::from_data(TensorData::new(temperatures, [rows, 1]), device),
                scale: None,
            },
            steps: vec![begin.step; begin.groups],
            adapters: begin
                .accept
                .map(|a| vec![DualAveraging::new(begin.step, a); begin.groups])
                .unwrap_or_default(),
            moments: Moments::new(dim, device),
            learning: begin.learning.filter(|&n| n >= mass::SHORTEST),
            temperature: begin.temperature,
            chains,
            dim,
            device: device.clone(),
        };
        this.upload_steps();
        this
    }

    fn group_of(&self, chain: usize) -> usize {
        chain * self.steps.len() / self.chains
    }

    fn upload_steps(&mut self) {
        let [rows, _] = self.tuning.temperature.dims();
        let values: Vec<f32> = (0..rows)
            .map(|row| self.steps[self.group_of(row % self.chains)] as f32)
            .collect();
        self.tuning.step = Tensor::from_data(TensorData::new(values, [rows, 1]), &self.device);
    }

    /// Multiplies every step size by `factor`.
    pub(super) fn scale_steps(&mut self, factor: f64) {
        for step in &mut self.steps {
            *step *= factor;
        }
        self.upload_steps();
    }

    /// Updates the step sizes with the acceptance of every chain; freezes them after the last transition
    /// of the warm-up.
    pub(super) fn adapt(&mut self, accept: &[f32], last: bool) {
        for group in 0..self.steps.len() {
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

    /// Adds the states after `transitions` transitions (`[B, D]`) to the current window's moments, and
    /// sets the mass at the end of a window. From then on ε is in units of the learned scales; step-size
    /// adaptation, if any, restarts.
    pub(super) fn learn_mass(&mut self, transitions: usize, states: impl Fn() -> Tensor<2>) {
        let Some(warmup) = self.learning.filter(|&warmup| transitions <= warmup) else {
            return;
        };
        let now = transitions - 1;
        for window in mass::windows(warmup) {
            if window.contains(&now) {
                self.moments.update(states());
                if now + 1 == window.end && window.len() > 1 {
                    self.tuning.scale = Some(self.moments.scale(self.temperature));
                    self.moments = Moments::new(self.dim, &self.device);
                    for (step, adapter) in self.steps.iter_mut().zip(&mut self.adapters) {
                        // In units of the target's own scales, a first step of 0.5 is right within
                        // a factor of a few in any dimension used here.
                        *step = 0.5;
                        *adapter = DualAveraging::new(*step, adapter.target());
                    }
                    self.upload_steps();
                }
            }
        }
    }

    /// The learned scale and, during the warm-up, the moments for the next one.
    pub(super) async fn save(
        &self,
        warming_up: bool,
    ) -> Result<(Option<Vec<f32>>, Option<SavedMoments>)> {
        let scale = match &self.tuning.scale {
            Some(scale) => Some(read(scale.clone()).await?),
            None => None,
        };
        // Skip the read-back where no moments are collected: this runs for every frame of the page.
        let moments = if self.learning.is_some() && warming_up {
            Some(self.moments.save().await?)
        } else {
            None
        };
        Ok((scale, moments))
    }

    /// Restores a saved state.
    pub(super) fn restore(
        &mut self,
        (steps, adapters): (Vec<f64>, Vec<DualAveraging>),
        scale: Option<Vec<f32>>,
        moments: Option<&SavedMoments>,
    ) {
        self.steps = steps;
        self.adapters = adapters;
        self.tuning.scale = scale.map(|s| mass::row(s, &self.device));
        self.moments = match moments {
            Some(moments) => Moments::restore(moments, &self.device),
            None => Moments::new(self.dim, &self.device),
        };
        self.upload_steps();
    }
}
