//! The model: an energy network, and for a guided model its contrastive encoder.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    compose::{ComposedEnergy, Condition},
    energy::MarginalEnergy,
    learn::ChainStage,
    objective,
};
use crate::{
    artifact::Card,
    energy::Energy,
    error::{Error, Result},
    nn::{
        augment::AugmentConfig,
        dict::Dict,
        encoder::{EncoderConfig, FrozenEncoder},
        resnet::{EnergyNetConfig, FrozenEnergyNet, energy_of},
    },
    rng::{Purpose, Rng},
    system::model::Model,
};

/// Architecture of a CLEL model, as stored on its card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Networks f and g.
    pub energy: EnergyNetConfig,
    /// β of the training.
    pub beta: f64,
    /// Encoder h; none for a model trained without guidance.
    #[serde(default)]
    pub encoder: Option<EncoderConfig>,
    /// Number of classes whose mean latents the file holds.
    #[serde(default)]
    pub classes: usize,
    /// The augmentation between rounds of the training chains, which helps them mix; `None` if not used.
    #[serde(default)]
    pub augment: Option<AugmentConfig>,
    /// The training chains.
    #[serde(default)]
    pub chains: Option<ChainStage>,
}

/// A trained CLEL model.
#[derive(Debug, Clone)]
pub struct Clel {
    net: FrozenEnergyNet,
    guide: Option<Guide>,
    architecture: Architecture,
    device: Device,
}

/// The extra parts of a guided model: h, and the directions of the class-mean latents.
#[derive(Debug, Clone)]
struct Guide {
    encoder: FrozenEncoder,
    /// Unit rows, `[classes, latent]`.
    classes: Tensor<2>,
}

impl Clel {
    /// Reads weights of a known architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn from_dict(from: &Dict<'_>, architecture: &Architecture) -> Result<Self> {
        let guide = match &architecture.encoder {
            Some(config) => Some(Guide {
                encoder: FrozenEncoder::load(from, "encoder", config)?,
                classes: from.tensor("class_latents", [architecture.classes, config.latent])?,
            }),
            None => None,
        };
        Ok(Self {
            net: FrozenEnergyNet::load(from, &architecture.energy)?,
            guide,
            architecture: architecture.clone(),
            device: from.device().clone(),
        })
    }

    /// Its architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn guide(&self) -> Result<&Guide> {
        self.guide.as_ref().ok_or_else(|| {
            Error::invalid(
                "latents",
                "a model with a contrastive encoder",
                "one trained without guidance",
                "choose a guided model",
            )
        })
    }

    /// Whether the model has an encoder and class means.
    pub fn has_latents(&self) -> bool {
        self.guide.is_some()
    }

    /// z = h(x)/‖h(x)‖ of images `[B, D]` in [0, 1] → `[B, latent]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a model without an encoder.
    pub fn latent(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        Ok(self.guide()?.encoder.latent(x))
    }

    /// The directions of the class-mean latents, `[classes, latent]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a model without an encoder.
    pub fn class_latents(&self) -> Result<Tensor<2>> {
        Ok(self.guide()?.classes.clone())
    }

    /// The energy under conditions; see [`compose`](super::compose).
    ///
    /// # Errors
    /// As [`ComposedEnergy::new`].
    pub fn composed(&self, beta: f64, conditions: &[Condition]) -> Result<ComposedEnergy> {
        let energy = &self.architecture.energy;
        ComposedEnergy::new(
            self.net.clone(),
            energy.shape,
            energy.features,
            beta,
            conditions,
            &self.device,
        )
    }

    /// E(x) and, for a guided model, the out-of-distribution score E(x) − β cos(h(x), g(f(x))), which is
    /// high for images unlike the data (arXiv 2303.03023, §4.2, with β = 0.1 at test time): `[B, D]` →
    /// `[B]` each.
    pub fn scores(&self, x: Tensor<2>) -> (Tensor<1>, Option<Tensor<1>>) {
        let f = self.net.features(x.clone());
        let energy = energy_of(f.clone());
        let ood = self.guide.as_ref().map(|guide| {
            let cos = objective::cosine(self.net.project(f), guide.encoder.latent(x));
            energy.clone() - cos * OOD_BETA
        });
        (energy, ood)
    }
}

/// β of the out-of-distribution score, as used by the authors at test time.
pub const OOD_BETA: f64 = 0.1;

impl Model for Clel {
    fn spaces(&self) -> Vec<&'static str> {
        vec!["pixel"]
    }

    fn target(&self, space: &str) -> Result<Arc<dyn Energy>> {
        if space != "pixel" {
            return Err(Error::invalid(
                "space",
                "pixel, the model's only space",
                space,
                "pass --space pixel",
            ));
        }
        let shape = self.architecture.energy.shape;
        Ok(Arc::new(MarginalEnergy::new(self.net.clone(), shape)))
    }

    /// At scale 1: uniform noise in [0, 1], as for the training chains. Otherwise scaled about ½ and
    /// clamped to [0, 1].
    fn starts(&self, space: &str, rng: &Rng, chains: usize, scale: f64) -> Result<Tensor<2>> {
        self.target(space)?;
        let dim = self.architecture.energy.dim();
        let noise = rng.uniform_rows(Purpose::Start, 0, 0, chains, dim, &self.device);
        Ok(((noise - 0.5) * scale + 0.5).clamp(0.0, 1.0))
    }

    fn shape(&self) -> [usize; 3] {
        self.architecture.energy.shape
    }

    fn parameters(&self) -> usize {
        let guide = self.guide.as_ref();
        self.net.parameters() + guide.map_or(0, |g| g.encoder.parameters())
    }
}

pub(super) fn load(card: &Card, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
    let architecture: Architecture =
        serde_json::from_value(card.architecture.clone()).map_err(|e| {
            Error::model(
                &card.name,
                format!("the card's architecture is not a CLEL architecture: {e}"),
                "use a card and weights that belong together",
            )
        })?;
    let dict = Dict::open(weights, &card.name, device)?;
    Ok(Arc::new(Clel::from_dict(&dict, &architecture)?))
}
