//! Contrastive-latent guided EBMs (CLEL): Lee, Jeong, Park, Shin, "Guiding Energy-based Models via
//! Contrastive Latent Variables", ICLR 2023 (arXiv 2303.03023).
//!
//! E(x, z) = ½‖f(x)‖² − β cos(g(f(x)), z), with z on the unit sphere: the latent of a contrastive
//! encoder. Integrating z out leaves a factor ∫ exp(β μᵀz) dz that is the same for every unit vector
//! μ = g/‖g‖ (the normaliser of a von Mises–Fisher law): the marginal is exactly
//! p(x) ∝ exp(−½‖f(x)‖²), whatever g says. So chains walk in x alone; z guides the learning of f, and
//! conditions samples.

pub mod buffer;
pub mod learn;
pub mod objective;
#[cfg(feature = "native")]
mod train;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Model, Registration};
use crate::{
    artifact::Card,
    energy::{Energy, Evaluation, Point, Space},
    error::{Error, Result},
    nn::{
        dict::Dict,
        resnet::{EnergyNetConfig, FrozenEnergyNet, energy_of},
    },
    rng::{Purpose, Rng},
};

#[cfg(feature = "native")]
pub use train::{PRESETS, Recipe};

/// This system's entry in the registry.
pub const REGISTRATION: Registration = Registration {
    name: "clel",
    title: "contrastive-latent guided EBM",
    load,
    #[cfg(feature = "native")]
    train: train::train,
};

/// Architecture of a CLEL model, as its card has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// f and g.
    pub energy: EnergyNetConfig,
    /// β of the training.
    pub beta: f64,
}

/// A trained CLEL model.
#[derive(Debug, Clone)]
pub struct Clel {
    net: FrozenEnergyNet,
    shape: [usize; 3],
    device: Device,
}

impl Clel {
    /// Reads weights of a known architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn from_dict(from: &Dict<'_>, architecture: &Architecture) -> Result<Self> {
        Ok(Self {
            net: FrozenEnergyNet::load(from, &architecture.energy)?,
            shape: architecture.energy.shape,
            device: from.device().clone(),
        })
    }
}

impl Model for Clel {
    fn spaces(&self) -> Vec<&'static str> {
        vec!["pixel"]
    }

    fn target(&self, space: &str) -> Result<Arc<dyn Energy>> {
        if space != "pixel" {
            return Err(Error::invalid(
                "space",
                "pixel: this model has no other",
                space,
                "pass --space pixel",
            ));
        }
        Ok(Arc::new(MarginalEnergy::new(self.net.clone(), self.shape)))
    }

    /// Uniform noise in [0, 1], whatever the scale: where the training's own chains began.
    fn starts(&self, space: &str, rng: &Rng, chains: usize, _scale: f64) -> Result<Tensor<2>> {
        self.target(space)?;
        let dim = self.shape.iter().product();
        Ok(rng.uniform_rows(Purpose::Start, 0, 0, chains, dim, &self.device))
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn parameters(&self) -> usize {
        self.net.parameters()
    }
}

fn load(card: &Card, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
    let architecture: Architecture =
        serde_json::from_value(card.architecture.clone()).map_err(|e| {
            Error::model(
                &card.name,
                format!("its card's architecture is not one of CLEL: {e}"),
                "use a card and weights that belong together",
            )
        })?;
    let dict = Dict::open(weights, &card.name, device)?;
    Ok(Arc::new(Clel::from_dict(&dict, &architecture)?))
}

/// The marginal target in pixel space, E(x) = ½‖f(x)‖².
pub struct MarginalEnergy {
    net: FrozenEnergyNet,
    shape: [usize; 3],
}

impl MarginalEnergy {
    /// Of a frozen network for images `[C, H, W]`.
    pub fn new(net: FrozenEnergyNet, shape: [usize; 3]) -> Self {
        Self { net, shape }
    }
}

impl Energy for MarginalEnergy {
    fn space(&self) -> Space {
        Space {
            name: "pixel",
            dim: self.shape.iter().product(),
            image: Some(self.shape),
        }
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        Evaluation {
            energy: self.net.energy(x),
            observed: None,
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let (energy, [], gradient) = self.net.differentiate(x.clone(), |f| (energy_of(f), []));
        Point {
            x,
            energy,
            gradient,
            observed: None,
        }
    }

    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        let [batch, _] = x.dims();
        let [c, h, w] = self.shape;
        Some(x.reshape([batch, c, h, w]))
    }
}
