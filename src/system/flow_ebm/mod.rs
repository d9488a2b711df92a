//! Neural-transport EBM: the exponential tilting of a flow, sampled by MCMC in its latent space.
//!
//! Nijkamp, Gao, Sountsov, Vasudevan, Pang, Zhu, Wu, "MCMC Should Mix: Learning Energy-Based Model
//! with Neural Transport Latent Space MCMC", ICLR 2022 (arXiv 2006.06897).
//!
//! With a flow x = g(z), z ~ N(0, I), of density q(x), the model is p(x) ∝ exp(−U(x)) q(x). Since
//! q(x)dx = N(z; 0, I)dz, the same distribution in latent space is p(z) ∝ exp(−U(g(z)) − ‖z‖²/2):
//! both spaces below carry the same model exactly (at T = 1; at other temperatures the Jacobian is
//! tempered in pixel space and not in latent space, so the two differ).

mod learn;
#[cfg(feature = "native")]
mod train;

use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use serde::{Deserialize, Serialize};

use super::{Model, Registration, latent_starts};
use crate::{
    artifact::Card,
    energy::{Energy, Evaluation, Space},
    error::{Error, Result},
    nn::{
        dict::{Dict, DictBuilder},
        flow::{Flow, FlowConfig},
        tilt::{Tilt, TiltConfig},
    },
    pixels::as_images,
    rng::Rng,
};

pub use learn::{FlowStage, FlowStep, FlowTraining, TiltStage, TiltStep, TiltTraining};
#[cfg(feature = "native")]
pub(super) use train::principal_components;
#[cfg(feature = "native")]
pub use train::{PRESETS, Recipe, train_flow, train_tilt};

/// This system's entry in the registry.
pub const REGISTRATION: Registration = Registration {
    name: "flow-ebm",
    title: "neural-transport EBM",
    load,
    #[cfg(feature = "native")]
    train: train::train,
};

/// Architecture of a flow-backed EBM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The flow g, density q.
    pub flow: FlowConfig,
    /// The tilt U.
    pub tilt: TiltConfig,
}

/// A linear map of images to a few standardised coordinates: the leading principal components of
/// the training data. Test functions for R-hat that mean the same in pixel and latent space.
#[derive(Debug, Clone)]
pub struct Projection {
    mean: Tensor<1>,
    /// `[D, K]`, each column divided by the data's standard deviation along it.
    directions: Tensor<2>,
}

impl Projection {
    /// `mean`: `[D]`; `directions`: `[D, K]`.
    pub fn new(mean: Tensor<1>, directions: Tensor<2>) -> Self {
        Self { mean, directions }
    }

    /// Adds it to `to` under `projection.…`. Reads from the device: native only.
    pub fn save(&self, to: &mut DictBuilder) {
        to.full("projection.mean", self.mean.clone());
        to.half("projection.directions", self.directions.clone());
    }

    /// Reads one for images of `dim` values.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors.
    pub fn load(from: &Dict<'_>, dim: usize) -> Result<Self> {
        Ok(Self {
            mean: from.tensor("projection.mean", [dim])?,
            directions: from.tensor("projection.directions", [dim, COMPONENTS])?,
        })
    }

    /// A copy on another device.
    #[cfg(feature = "native")]
    fn to_device(&self, device: &burn::tensor::Device) -> Self {
        Self {
            mean: self.mean.clone().to_device(device),
            directions: self.directions.clone().to_device(device),
        }
    }

    /// K.
    pub fn count(&self) -> usize {
        self.directions.dims()[1]
    }

    /// Images `[B, D]` → their coordinates, `[B, K]`.
    pub fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let [_, d] = x.dims();
        (x - self.mean.clone().reshape([1, d])).matmul(self.directions.clone())
    }
}

/// A trained flow-backed EBM.
#[derive(Debug, Clone)]
pub struct FlowEbm {
    /// g and q.
    pub flow: Flow,
    /// U; fixed weights on a device without autodiff.
    pub tilt: Tilt,
    /// Test functions.
    pub projection: Projection,
}

impl FlowEbm {
    /// The weights as safetensors bytes. Reads from the device: native only.
    ///
    /// # Errors
    /// [`Error::Model`] when they cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut to = DictBuilder::default();
        self.flow.save(&mut to);
        self.tilt.save(&mut to, "tilt");
        self.projection.save(&mut to);
        to.finish()
    }

    /// Reads weights of a known architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn from_dict(from: &Dict<'_>, architecture: &Architecture) -> Result<Self> {
        let shape = architecture.flow.shape;
        let dim = architecture.flow.dim();
        Ok(Self {
            flow: Flow::load(from, &architecture.flow)?,
            tilt: Tilt::load(from, "tilt", &architecture.tilt, shape)?,
            projection: Projection::load(from, dim)?,
        })
    }

    fn observed(&self, tilt: &Tensor<1>, x: &Tensor<2>) -> Tensor<2> {
        let [batch] = tilt.dims();
        let u = tilt.clone().inner().reshape([batch, 1]);
        Tensor::cat(vec![u, self.projection.apply(x.clone().inner())], 1)
    }

    fn observable_names(&self) -> Vec<String> {
        std::iter::once("tilt".into())
            .chain((1..=self.projection.count()).map(|k| format!("pc{k}")))
            .collect()
    }
}

/// Principal components that a model carries as test functions.
pub const COMPONENTS: usize = 4;

/// The target in latent space: E(z) = U(g(z)) + ‖z‖²/2.
pub struct LatentEnergy(pub Arc<FlowEbm>);

impl Energy for LatentEnergy {
    fn space(&self) -> Space {
        let config = self.0.flow.config();
        Space {
            name: "latent",
            dim: config.dim(),
            image: Some(config.shape),
        }
    }

    fn observables(&self) -> Vec<String> {
        self.0.observable_names()
    }

    fn evaluate(&self, z: Tensor<2>) -> Evaluation {
        let [batch, _] = z.dims();
        let x = self.0.flow.inverse(z.clone());
        let tilt = self.0.tilt.forward(x.clone());
        let observed = self.0.observed(&tilt, &x);
        Evaluation {
            energy: tilt + z.powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5,
            observed: Some(observed),
        }
    }

    fn to_image(&self, z: Tensor<2>) -> Option<Tensor<4>> {
        Some(as_images(
            self.0.flow.inverse(z),
            self.0.flow.config().shape,
        ))
    }
}

/// The target in pixel space: E(x) = U(x) − log q(x).
pub struct PixelEnergy(pub Arc<FlowEbm>);

impl Energy for PixelEnergy {
    fn space(&self) -> Space {
        Space {
            name: "pixel",
            ..LatentEnergy(self.0.clone()).space()
        }
    }

    fn observables(&self) -> Vec<String> {
        self.0.observable_names()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let tilt = self.0.tilt.forward(x.clone());
        let observed = self.0.observed(&tilt, &x);
        let (log_q, _) = self.0.flow.log_prob(x);
        Evaluation {
            energy: tilt - log_q,
            observed: Some(observed),
        }
    }

    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        Some(as_images(x, self.0.flow.config().shape))
    }
}

struct Loaded(Arc<FlowEbm>);

impl Model for Loaded {
    fn spaces(&self) -> Vec<&'static str> {
        vec!["pixel", "latent"]
    }

    fn target(&self, space: &str) -> Result<Arc<dyn Energy>> {
        match space {
            "latent" => Ok(Arc::new(LatentEnergy(self.0.clone()))),
            "pixel" => Ok(Arc::new(PixelEnergy(self.0.clone()))),
            _ => Err(Error::invalid(
                "space",
                self.spaces().join(" or "),
                space,
                "choose one of these",
            )),
        }
    }

    fn starts(&self, space: &str, rng: &Rng, chains: usize, scale: f64) -> Result<Tensor<2>> {
        self.target(space)?;
        let dim = self.0.flow.config().dim();
        let device = self.0.projection.mean.device();
        let z = latent_starts(rng, [chains, dim], scale, &device)?;
        Ok(if space == "latent" {
            z
        } else {
            self.0.flow.inverse(z)
        })
    }

    fn shape(&self) -> [usize; 3] {
        self.0.flow.config().shape
    }

    fn parameters(&self) -> usize {
        self.0.flow.parameters() + self.0.tilt.num_params()
    }
}

/// Wraps a model for samplers, the command line and the page.
pub fn into_model(model: Arc<FlowEbm>) -> Arc<dyn Model> {
    Arc::new(Loaded(model))
}

fn load(card: &Card, weights: &[u8], device: &burn::tensor::Device) -> Result<Arc<dyn Model>> {
    let architecture: Architecture =
        serde_json::from_value(card.architecture.clone()).map_err(|e| {
            Error::model(
                &card.name,
                format!("the card's architecture is not a flow-ebm's: {e}"),
                "use a card written by this version",
            )
        })?;
    let dict = Dict::open(weights, &card.name, device)?;
    Ok(into_model(Arc::new(FlowEbm::from_dict(
        &dict,
        &architecture,
    )?)))
}
