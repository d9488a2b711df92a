//! The registry of systems, and loading of models from their files.

use std::sync::Arc;

use burn::tensor::Device;

use super::{
    classifier, clel, flow_ebm, latent_prior,
    model::{Model, Registration, start_energies},
};
use crate::{
    artifact::{Card, KnownAnswer, SelfTest},
    error::{Error, Result},
};

/// Every system. [`artifact::SYSTEMS`](crate::artifact::SYSTEMS) lists the same names.
pub const REGISTRY: &[Registration] = &[
    flow_ebm::REGISTRATION,
    clel::REGISTRATION,
    latent_prior::REGISTRATION,
    classifier::REGISTRATION,
];

/// Finds a registration by name.
///
/// # Errors
/// [`Error::Invalid`] for an unknown system.
pub fn find(name: &str) -> Result<&'static Registration> {
    REGISTRY.iter().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
        Error::invalid("system", names.join(", "), name, "choose one of these")
    })
}

/// Builds the model that a card describes.
///
/// # Errors
/// [`Error::Model`] or [`Error::Invalid`] when card and weights do not match.
pub fn load(card: &Card, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
    (find(&card.system)?.load)(card, weights, device)
}

/// Reads a model by folder, or by name under `models/`.
///
/// # Errors
/// As [`artifact::read_files`](crate::artifact::read_files) and [`load`].
#[cfg(feature = "native")]
pub fn read_model(name: &str, device: &Device) -> Result<(Card, Arc<dyn Model>)> {
    let (card, weights) = crate::artifact::read_files(name)?;
    let model = load(&card, &weights, device)?;
    Ok((card, model))
}

/// Compares the device's energies with the card's, to detect a driver that computes wrong numbers before
/// they are used.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub async fn self_test(model: &dyn Model, known: &KnownAnswer) -> Result<SelfTest> {
    let chains = known.energies.values().map(Vec::len).max().unwrap_or(0);
    let found = start_energies(model, known.seed, known.start_scale, chains).await?;
    Ok(known.compare(&found))
}

#[cfg(test)]
mod tests {
    #[test]
    fn manifest_order_lists_every_registered_system() {
        let names: Vec<_> = super::REGISTRY.iter().map(|r| r.name).collect();
        assert_eq!(names, crate::artifact::SYSTEMS);
    }
}
