//! The published systems: model, objective and recipe, one folder each.
//!
//! To add one: write its folder with a `REGISTRATION`, and add a line to [`REGISTRY`].

pub mod classifier;
pub mod clel;
pub mod flow_ebm;
pub mod latent_prior;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::{
    artifact::Card,
    energy::Energy,
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// Every system there is.
pub const REGISTRY: &[Registration] = &[
    flow_ebm::REGISTRATION,
    clel::REGISTRATION,
    latent_prior::REGISTRATION,
    classifier::REGISTRATION,
];

/// Makes a model from a card and weights.
pub type Load = fn(&Card, &[u8], &Device) -> Result<Arc<dyn Model>>;

/// What the rest of the crate knows of a system.
pub struct Registration {
    /// Name in cards and on the command line, e.g. "flow-ebm".
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Makes a model from its card and its weights (safetensors bytes).
    pub load: Load,
    /// Trains from the command line.
    #[cfg(feature = "native")]
    pub train:
        fn(&crate::train::Request, &mut crate::train::Sink<'_>) -> Result<std::path::PathBuf>,
}

/// A trained model: targets in one or more spaces, and start states in each.
pub trait Model: Send + Sync {
    /// Names of the spaces the model can be sampled in.
    fn spaces(&self) -> Vec<&'static str>;

    /// The target in one of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a space that the model does not have.
    fn target(&self, space: &str) -> Result<Arc<dyn Energy>>;

    /// Over-dispersed starts `[chains, D]` in a space. The same numbers of `rng` start the same
    /// images in every space.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a space that the model does not have.
    fn starts(&self, space: &str, rng: &Rng, chains: usize, scale: f64) -> Result<Tensor<2>>;

    /// `[channels, height, width]` of the images.
    fn shape(&self) -> [usize; 3];

    /// Number of stored parameters.
    fn parameters(&self) -> usize;

    /// The model as a contrastive-latent one, if it is: for conditions, latents and scores.
    fn contrastive(&self) -> Option<&clel::Clel> {
        None
    }

    /// The model as a generator with a prior in stages, if it is: for stages and reconstructions.
    fn latent_prior(&self) -> Option<&Arc<latent_prior::LatentPrior>> {
        None
    }
}

/// z ~ N(0, scale²), `[chains, dim]`: over-dispersed starts in a latent space.
fn latent_starts(
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

/// The registration of a name.
///
/// # Errors
/// [`Error::Invalid`] for a name that no system has.
pub fn find(name: &str) -> Result<&'static Registration> {
    REGISTRY.iter().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
        Error::invalid("system", names.join(", "), name, "choose one of these")
    })
}
