//! Saving and restoring a run's state on the host.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{adapt::DualAveraging, mass::SavedMoments, run::Run};
use crate::{
    device::read,
    error::{Error, Result},
};

impl Run {
    /// Everything the next transitions depend on, besides target, config and seed.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn save(&self) -> Result<SavedRun> {
        let memory = match &self.memory {
            Some(memory) => Some(read(memory.clone()).await?),
            None => None,
        };
        let (scale, moments) = self.adaptation.save(self.warming_up()).await?;
        Ok(SavedRun {
            x: read(self.point.x.clone()).await?,
            memory,
            transitions: self.transitions,
            gradients: self.gradients,
            steps: self.adaptation.steps.clone(),
            adapters: self.adaptation.adapters.clone(),
            scale,
            moments,
        })
    }

    /// Continues from a state that [`save`](Self::save) returned, on a run with the same config and
    /// seed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the sizes do not match.
    pub fn restore(&mut self, saved: SavedRun) -> Result<()> {
        let [rows, dim] = self.point.x.dims();
        let fits = saved.x.len() == rows * dim
            && saved.memory.as_ref().is_none_or(|m| m.len() == rows * dim)
            && saved.scale.as_ref().is_none_or(|s| s.len() == dim)
            && saved.steps.len() == self.adaptation.steps.len()
            && saved.adapters.len() == self.adaptation.adapters.len();
        if !fits {
            return Err(Error::invalid(
                "saved chains",
                format!(
                    "{rows} × {dim} values, {} step sizes",
                    self.adaptation.steps.len()
                ),
                format!("{} values, {} step sizes", saved.x.len(), saved.steps.len()),
                "restore with the config that was used when saving",
            ));
        }
        let states = |values| Tensor::from_data(TensorData::new(values, [rows, dim]), &self.device);
        self.point = self.target.point(states(saved.x));
        self.memory = saved.memory.map(states);
        self.before = None;
        self.transitions = saved.transitions;
        self.gradients = saved.gradients;
        let steps = (saved.steps, saved.adapters);
        self.adaptation
            .restore(steps, saved.scale, saved.moments.as_ref());
        Ok(())
    }
}

/// The state of a [`Run`] on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// States, rows × D, row-major.
    pub x: Vec<f32>,
    /// State that the sampler keeps between transitions (momenta), rows × D.
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
    /// Moments from which the next scale is estimated; during warm-up only.
    #[serde(default)]
    pub moments: Option<SavedMoments>,
}
