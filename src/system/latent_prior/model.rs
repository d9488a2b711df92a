//! The model: a generator, the ratios of its prior, and latents of training images.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use super::{
    NAME,
    density::{unit, vector},
    infer::PosteriorEnergy,
};
use crate::{
    artifact::Card,
    energy::Energy as _,
    error::{Error, Result},
    nn::{
        dict::{Dict, DictBuilder},
        generator::{Generator, GeneratorConfig},
        tilt::{Tilt, TiltConfig},
    },
    system::projection::Projection,
};

/// Architecture of a multi-stage latent prior, as stored on its card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The generator g.
    pub generator: GeneratorConfig,
    /// Standard deviation σ of the observation noise, for values in (−1, 1), as in published settings.
    pub sigma: f64,
    /// Architecture of every ratio.
    pub ratio: TiltConfig,
    /// Number K of ratios.
    pub stages: usize,
    /// Step size of the posterior's chains.
    pub posterior_step: f64,
    /// Number of training-image latents that the file holds.
    pub latents: usize,
}

/// Posterior latents of training images, and the plane in which they are plotted.
#[derive(Debug, Clone)]
pub struct Reference {
    /// `[N, n]`
    pub latents: Tensor<2>,
    /// Class of each image.
    pub labels: Vec<u8>,
    /// Mean of the latents, `[n]`.
    pub mean: Tensor<1>,
    /// Their first two principal directions, unit columns, `[n, 2]`.
    pub directions: Tensor<2>,
    /// Share of their variance along each direction.
    pub explained: [f32; 2],
}

impl Reference {
    /// States `[B, n]` → coordinates in the plane, `[B, 2]`.
    pub fn project(&self, z: Tensor<2>) -> Tensor<2> {
        let [_, n] = z.dims();
        (z - self.mean.clone().reshape([1, n])).matmul(self.directions.clone())
    }
}

/// A trained model.
#[derive(Debug, Clone)]
pub struct LatentPrior {
    /// The generator g; fixed weights on a device without autodiff.
    pub generator: Generator,
    /// U_1, …, U_K, with U_j = −f_j.
    pub ratios: Vec<Tilt>,
    /// Test functions of images with values in [0, 1].
    pub projection: Projection,
    /// Latents of training images.
    pub reference: Reference,
    pub(super) architecture: Architecture,
}

impl LatentPrior {
    /// A model from its trained parts.
    pub fn new(
        generator: Generator,
        ratios: Vec<Tilt>,
        projection: Projection,
        reference: Reference,
        architecture: Architecture,
    ) -> Self {
        Self {
            generator,
            ratios,
            projection,
            reference,
            architecture,
        }
    }

    /// Its architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The weights as safetensors bytes. Reads from the device: native only.
    ///
    /// # Errors
    /// [`Error::Model`] when they cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut to = DictBuilder::default();
        self.generator.save(&mut to);
        for (k, ratio) in self.ratios.iter().enumerate() {
            ratio.save(&mut to, &format!("ratio.{k}"));
        }
        self.projection.save(&mut to);
        let reference = &self.reference;
        to.half("posterior.latents", reference.latents.clone());
        let labels: Vec<f32> = reference.labels.iter().map(|&l| f32::from(l)).collect();
        to.full_values("posterior.labels", &labels, &[labels.len()]);
        to.full("posterior.mean", reference.mean.clone());
        to.full("posterior.directions", reference.directions.clone());
        to.full_values("posterior.explained", &reference.explained, &[2]);
        to.finish()
    }

    /// Reads weights of a known architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn from_dict(from: &Dict<'_>, architecture: &Architecture) -> Result<Self> {
        let n = architecture.generator.latent;
        let count = architecture.latents;
        let explained = from.values("posterior.explained", &[2])?;
        Ok(Self {
            generator: Generator::load(from, &architecture.generator)?,
            ratios: (0..architecture.stages)
                .map(|k| Tilt::load(from, &format!("ratio.{k}"), &architecture.ratio, vector(n)))
                .collect::<Result<_>>()?,
            projection: Projection::load(from, architecture.generator.dim())?,
            reference: Reference {
                latents: from.tensor("posterior.latents", [count, n])?,
                labels: from
                    .values("posterior.labels", &[count])?
                    .into_iter()
                    .map(|v| v as u8)
                    .collect(),
                mean: from.tensor("posterior.mean", [n])?,
                directions: from.tensor("posterior.directions", [n, 2])?,
                explained: [explained[0], explained[1]],
            },
            architecture: architecture.clone(),
        })
    }

    /// The first `stage` ratios.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a stage that does not exist.
    pub fn stage(&self, stage: usize) -> Result<&[Tilt]> {
        self.ratios.get(..stage).ok_or_else(|| {
            Error::invalid(
                "stage",
                format!("0 to {}", self.ratios.len()),
                stage,
                "choose one of the model's stages",
            )
        })
    }

    /// The posterior energy of images `[B, D]` under the final prior, one chain per image.
    pub fn posterior(&self, images: Tensor<2>) -> PosteriorEnergy {
        PosteriorEnergy {
            generator: self.generator.clone(),
            ratios: self.ratios.clone(),
            images,
            sigma: self.architecture.sigma,
        }
    }

    /// The anomaly score of images `[B, D]`: ‖x − g(z)‖²/(2σ²) + E_K(z) after `steps` gradient steps on
    /// it from z = 0, `[B]`; and its gradient with respect to x, `[B, D]`.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub async fn score(&self, images: Tensor<2>, steps: usize) -> Result<(Tensor<1>, Tensor<2>)> {
        let posterior = self.posterior(images.clone());
        let (z, _) = posterior.descend(self.drift(), steps).await?;
        let precision = 4.0 / self.architecture.sigma.powi(2);
        let slope = (images - self.decode(z.clone())) * precision;
        Ok((posterior.evaluate(z).energy, slope))
    }

    /// Drift a of the posterior's chains and of reconstructions.
    pub fn drift(&self) -> f64 {
        self.architecture.posterior_step.powi(2) / 2.0
    }

    /// g(z) as images `[B, D]` with values in [0, 1].
    pub fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        unit(self.generator.forward(z))
    }

    pub(super) fn observed(&self, tilt: Tensor<1>, image: Tensor<2>) -> Tensor<2> {
        let [batch] = tilt.dims();
        Tensor::cat(
            vec![tilt.reshape([batch, 1]), self.projection.apply(image)],
            1,
        )
    }

    pub(super) fn observable_names(&self) -> Vec<String> {
        std::iter::once("tilt".into())
            .chain((1..=self.projection.count()).map(|k| format!("pc{k}")))
            .collect()
    }

    pub(super) fn parameters(&self) -> usize {
        let ratios = self.ratios.iter().map(Module::num_params).sum::<usize>();
        self.generator.num_params() + ratios
    }
}

/// Gradient steps of a reconstruction.
pub const STEPS: usize = 100;

/// Reads a model's card and weights.
///
/// # Errors
/// [`Error::Model`] when they belong to another system, or do not match.
pub fn open(card: &Card, weights: &[u8], device: &Device) -> Result<LatentPrior> {
    let architecture: Architecture = serde_json::from_value(card.architecture.clone())
        .ok()
        .filter(|_| card.system == NAME)
        .ok_or_else(|| {
            Error::model(
                &card.name,
                format!(
                    "expected the card of a {NAME} model, found one of {}",
                    card.system
                ),
                "choose a model of this system",
            )
        })?;
    LatentPrior::from_dict(&Dict::open(weights, &card.name, device)?, &architecture)
}
