//! The model: a flow, its tilt, and the same distribution as an energy in two spaces.

use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

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
    system::{
        model::{Model, latent_starts},
        projection::Projection,
    },
};

/// Architecture of a flow-backed EBM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The flow g with density q.
    pub flow: FlowConfig,
    /// The tilt U.
    pub tilt: TiltConfig,
}

/// A trained flow-backed EBM.
#[derive(Debug, Clone)]
pub struct FlowEbm {
    /// The flow g with density q.
    pub flow: Flow,
    /// The tilt U; fixed weights on a device without autodiff.
    pub tilt: Tilt,
    /// Test functions of images.
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

pub(super) fn load(card: &Card, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
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
