//! The interface of a system: its model, and functions to load and train it.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use burn::tensor::{Device, Tensor};

use crate::{
    artifact::Card,
    device::read,
    energy::Energy,
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// Builds a model from a card and weights (safetensors bytes).
pub type Load = fn(&Card, &[u8], &Device) -> Result<Arc<dyn Model>>;

/// What the rest of the crate knows about a system.
pub struct Registration {
    /// Name in cards and on the command line, e.g. "flow-ebm".
    pub name: &'static str,
    /// Display name.
    pub title: &'static str,
    /// Builds a model from its card and weights.
    pub load: Load,
    /// Trains from the command line; returns the model's folder.
    #[cfg(feature = "native")]
    pub train:
        fn(&crate::train::Request, &mut crate::train::Sink<'_>) -> Result<std::path::PathBuf>,
}

/// A trained model: targets in one or more spaces, and start states in each.
pub trait Model: Any + Send + Sync {
    /// Names of the spaces in which the model can be sampled.
    fn spaces(&self) -> Vec<&'static str>;

    /// The target in one of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a space that the model does not have.
    fn target(&self, space: &str) -> Result<Arc<dyn Energy>>;

    /// Over-dispersed starts `[chains, D]` in a space. For the same `rng`, the starts are the same
    /// images in every space.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a space that the model does not have.
    fn starts(&self, space: &str, rng: &Rng, chains: usize, scale: f64) -> Result<Tensor<2>>;

    /// `[channels, height, width]` of the images.
    fn shape(&self) -> [usize; 3];

    /// Number of stored parameters.
    fn parameters(&self) -> usize;
}

impl dyn Model {
    /// Downcasts to the concrete model type `T`, for features of a single system.
    pub fn downcast_ref<T: Model>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Energies of the starts of `chains` chains, for a seed, in every space of a model.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub async fn start_energies(
    model: &dyn Model,
    seed: u64,
    scale: f64,
    chains: usize,
) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut out = BTreeMap::new();
    for space in model.spaces() {
        let starts = model.starts(space, &Rng::new(seed), chains, scale)?;
        let energy = model.target(space)?.evaluate(starts).energy;
        out.insert(space.to_owned(), read(energy).await?);
    }
    Ok(out)
}

/// z ~ N(0, scale²), `[chains, dim]`: over-dispersed starts in a latent space.
pub(super) fn latent_starts(
    rng: &Rng,
    [chains, dim]: [usize; 2],
    scale: f64,
    device: &Device,
) -> Result<Tensor<2>> {
    if !(scale.is_finite() && scale > 0.0 && scale <= 10.0) {
        return Err(Error::invalid(
            "start scale",
            "a standard deviation in (0, 10]",
            scale,
            "1.5 gives over-dispersed starts",
        ));
    }
    Ok(rng.normal_tensor(Purpose::Start, 0, chains, dim, device) * scale)
}
