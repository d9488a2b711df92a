//! A latent-space EBM prior learned by adaptive multi-stage density-ratio estimation.
//!
//! Xiao & Han, "Adaptive Multi-stage Density Ratio Estimation for Learning Latent Space Energy-based
//! Model", NeurIPS 2022 (arXiv 2209.08739).
//!
//! x = g(z) + σε, and the prior of z grows in stages: p_k(z) ∝ N(z; 0, I) exp(f_1(z) + … + f_k(z)).
//! Each f_j is a classifier between draws of the prior before it and the latents of the data under
//! their posteriors: its logit is the log ratio of the two densities, so that multiplying it in brings
//! the prior there. As energies, U_j = −f_j: E_k(z) = ‖z‖²/2 + U_1(z) + … + U_k(z).

#[cfg(feature = "native")]
pub mod anomaly;
pub mod infer;
#[cfg(feature = "native")]
mod learn;
pub mod ratio;
pub mod sir;
#[cfg(feature = "native")]
pub mod toy;
#[cfg(feature = "native")]
mod train;

use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use self::infer::PosteriorEnergy;
use super::{Model, Registration, flow_ebm::Projection, latent_starts};
use crate::{
    artifact::Card,
    energy::{Energy, Evaluation, Point, Space},
    error::{Error, Result},
    nn::{
        dict::{Dict, DictBuilder},
        generator::{Generator, GeneratorConfig},
        tilt::{Tilt, TiltConfig},
    },
    pixels::as_images,
    rng::Rng,
};

#[cfg(feature = "native")]
pub use learn::{LatentStage, Posterior, PosteriorKind, Step, Training};
#[cfg(feature = "native")]
pub use train::{PRESETS, Recipe};

/// This system's name.
pub const NAME: &str = "latent-prior";

/// This system's entry in the registry.
pub const REGISTRATION: Registration = Registration {
    name: NAME,
    title: "multi-stage latent prior",
    load,
    #[cfg(feature = "native")]
    train: train::train,
};

/// Architecture of a multi-stage latent prior, as its card has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// g.
    pub generator: GeneratorConfig,
    /// Standard deviation σ of the observation noise, of values in (−1, 1), as published settings
    /// give it.
    pub sigma: f64,
    /// Architecture of every ratio.
    pub ratio: TiltConfig,
    /// Number K of ratios.
    pub stages: usize,
    /// Step size of the posterior's chains.
    pub posterior_step: f64,
    /// Latents of training images that the file holds.
    pub latents: usize,
}

/// Latents of training images under their posteriors, and the plane that they are looked at in.
#[derive(Debug, Clone)]
pub struct Reference {
    /// `[N, n]`
    pub latents: Tensor<2>,
    /// Class of each one's image.
    pub labels: Vec<u8>,
    /// Mean of the latents, `[n]`.
    pub mean: Tensor<1>,
    /// Their first two principal directions, unit columns, `[n, 2]`.
    pub directions: Tensor<2>,
    /// Share of their variance along each.
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
    /// g; fixed weights on a device without autodiff.
    pub generator: Generator,
    /// U_1, …, U_K, with U_j = −f_j.
    pub ratios: Vec<Tilt>,
    /// Test functions of images, values in [0, 1].
    pub projection: Projection,
    /// Where the data's latents are.
    pub reference: Reference,
    architecture: Architecture,
}

/// The shape that a perceptron of latents is given.
fn vector(n: usize) -> [usize; 3] {
    [n, 1, 1]
}

impl LatentPrior {
    /// Of parts that were learned.
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
    /// [`Error::Invalid`] for a stage that there is not.
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

    /// The posterior energy of images `[B, D]`, one chain each, under the finished prior.
    pub fn posterior(&self, images: Tensor<2>) -> PosteriorEnergy {
        PosteriorEnergy {
            generator: self.generator.clone(),
            ratios: self.ratios.clone(),
            images,
            sigma: self.architecture.sigma,
        }
    }

    /// The energy of images `[B, D]` as an anomaly score, ‖x − g(z)‖²/(2σ²) + E_K(z) after `steps`
    /// gradient steps on it from z = 0: `[B]`; and its gradient in x there.
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

    /// a of the posterior's chains, and of reconstructions.
    pub fn drift(&self) -> f64 {
        self.architecture.posterior_step.powi(2) / 2.0
    }

    /// g(z) as images `[B, D]` with values in [0, 1].
    pub fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        unit(self.generator.forward(z))
    }

    fn observed(&self, tilt: Tensor<1>, image: Tensor<2>) -> Tensor<2> {
        let [batch] = tilt.dims();
        Tensor::cat(
            vec![tilt.reshape([batch, 1]), self.projection.apply(image)],
            1,
        )
    }

    fn observable_names(&self) -> Vec<String> {
        std::iter::once("tilt".into())
            .chain((1..=self.projection.count()).map(|k| format!("pc{k}")))
            .collect()
    }

    fn parameters(&self) -> usize {
        let ratios = self.ratios.iter().map(Module::num_params).sum::<usize>();
        self.generator.num_params() + ratios
    }
}

/// Images `[B, C, H, W]` in (−1, 1) → `[B, D]` in (0, 1).
fn unit(image: Tensor<4>) -> Tensor<2> {
    image.flatten::<2>(1, 3) * 0.5 + 0.5
}

/// U_1(z) + … + U_k(z), `[B, n]` → `[B]`.
pub fn tilt_of(ratios: &[Tilt], z: &Tensor<2>) -> Tensor<1> {
    let [batch, _] = z.dims();
    let mut sum = Tensor::zeros([batch], &z.device());
    for ratio in ratios {
        sum = sum + ratio.forward(z.clone());
    }
    sum
}

/// ‖z‖²/2, `[B, n]` → `[B]`.
pub fn gaussian_of(z: &Tensor<2>) -> Tensor<1> {
    let [batch, _] = z.dims();
    z.clone().powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5
}

/// The tilt and its gradient at z, outside autodiff.
fn tilt_and_gradient(ratios: &[Tilt], z: &Tensor<2>) -> (Tensor<1>, Tensor<2>) {
    if ratios.is_empty() {
        let [batch, _] = z.dims();
        return (Tensor::zeros([batch], &z.device()), z.zeros_like());
    }
    let leaf = z.clone().autodiff().require_grad();
    let tilt = tilt_of(ratios, &leaf);
    let mut grads = tilt.clone().sum().backward();
    let gradient = leaf.grad_remove(&mut grads);
    (tilt.inner(), gradient.unwrap_or_else(|| z.zeros_like()))
}

/// A prior alone: E_k(z) = ‖z‖²/2 + Σ U_j(z). What chains walk on while ratios are learned.
pub struct PriorEnergy {
    /// Dimension of z.
    pub latent: usize,
    /// U_1, …, U_k.
    pub ratios: Vec<Tilt>,
}

impl Energy for PriorEnergy {
    fn space(&self) -> Space {
        Space {
            name: "latent",
            dim: self.latent,
            image: None,
        }
    }

    fn evaluate(&self, z: Tensor<2>) -> Evaluation {
        Evaluation {
            energy: gaussian_of(&z) + tilt_of(&self.ratios, &z),
            observed: None,
        }
    }

    fn point(&self, z: Tensor<2>) -> Point {
        let (tilt, gradient) = tilt_and_gradient(&self.ratios, &z);
        Point {
            energy: gaussian_of(&z) + tilt,
            gradient: z.clone() + gradient,
            x: z,
            observed: None,
        }
    }
}

/// A stage's prior with what is seen of it: the tilt and the image's principal components; on request
/// also where the latent lies in the [plane](Reference).
pub struct StageEnergy {
    model: Arc<LatentPrior>,
    stage: usize,
    plane: bool,
}

impl StageEnergy {
    /// The prior after `stage` ratios.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a stage that there is not.
    pub fn new(model: Arc<LatentPrior>, stage: usize, plane: bool) -> Result<Self> {
        model.stage(stage)?;
        Ok(Self {
            model,
            stage,
            plane,
        })
    }

    fn observed(&self, tilt: Tensor<1>, z: Tensor<2>) -> Tensor<2> {
        let seen = self.model.observed(tilt, self.model.decode(z.clone()));
        match self.plane {
            true => Tensor::cat(vec![seen, self.model.reference.project(z)], 1),
            false => seen,
        }
    }

    fn ratios(&self) -> &[Tilt] {
        &self.model.ratios[..self.stage]
    }

    /// The ratio that made this stage; none made stage 0.
    pub fn last(&self) -> Option<&Tilt> {
        self.ratios().last()
    }
}

impl Energy for StageEnergy {
    fn space(&self) -> Space {
        Space {
            name: "latent",
            dim: self.model.architecture.generator.latent,
            image: Some(self.model.architecture.generator.shape),
        }
    }

    fn observables(&self) -> Vec<String> {
        let mut names = self.model.observable_names();
        if self.plane {
            names.extend(["z1".into(), "z2".into()]);
        }
        names
    }

    fn evaluate(&self, z: Tensor<2>) -> Evaluation {
        let tilt = tilt_of(self.ratios(), &z);
        Evaluation {
            energy: gaussian_of(&z) + tilt.clone(),
            observed: Some(self.observed(tilt.inner(), z.inner())),
        }
    }

    fn point(&self, z: Tensor<2>) -> Point {
        let (tilt, gradient) = tilt_and_gradient(self.ratios(), &z);
        Point {
            energy: gaussian_of(&z) + tilt.clone(),
            gradient: z.clone() + gradient,
            observed: Some(self.observed(tilt, z.clone())),
            x: z,
        }
    }

    fn to_image(&self, z: Tensor<2>) -> Option<Tensor<4>> {
        Some(as_images(
            self.model.decode(z),
            self.model.architecture.generator.shape,
        ))
    }
}

/// The same model in data space: a state is an image and its latent, (x, z), with
/// E(x, z) = ‖x − g(z)‖²/(2σ²) + E_K(z). Its marginal in x is the model's p(x) and its marginal in z the
/// prior, exactly; x given z is the posterior-predictive law. Values of x in [0, 1].
pub struct JointEnergy(Arc<LatentPrior>);

impl JointEnergy {
    fn split(&self, state: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (dim, n) = self.sizes();
        (
            state.clone().narrow(1, 0, dim),
            state.clone().narrow(1, dim, n),
        )
    }

    fn sizes(&self) -> (usize, usize) {
        let generator = &self.0.architecture.generator;
        (generator.dim(), generator.latent)
    }

    /// 1/σ² for values in [0, 1].
    fn precision(&self) -> f64 {
        4.0 / self.0.architecture.sigma.powi(2)
    }
}

impl Energy for JointEnergy {
    fn space(&self) -> Space {
        let (dim, n) = self.sizes();
        Space {
            name: "pixel",
            dim: dim + n,
            image: Some(self.0.architecture.generator.shape),
        }
    }

    fn observables(&self) -> Vec<String> {
        self.0.observable_names()
    }

    fn evaluate(&self, state: Tensor<2>) -> Evaluation {
        let (x, z) = self.split(&state);
        let image = self.0.decode(z.clone());
        let tilt = tilt_of(&self.0.ratios, &z);
        Evaluation {
            energy: gaussian_of(&(x - image.clone())) * self.precision()
                + gaussian_of(&z)
                + tilt.clone(),
            observed: Some(self.0.observed(tilt.inner(), image.inner())),
        }
    }

    fn point(&self, state: Tensor<2>) -> Point {
        let (x, z) = self.split(&state);
        let (tilt, slope) = tilt_and_gradient(&self.0.ratios, &z);
        let pass = self.0.generator.pass(z.clone());
        let image = unit(pass.image.clone());
        let residual = x - image.clone();
        let pull = residual.clone() * self.precision();
        // ½ of it: g's values are twice as far apart as the image's.
        let shape = self.0.architecture.generator.shape;
        let back = self
            .0
            .generator
            .back(pass, as_images(pull.clone() * -0.5, shape));
        Point {
            energy: gaussian_of(&residual) * self.precision() + gaussian_of(&z) + tilt.clone(),
            gradient: Tensor::cat(vec![pull, z + slope + back], 1),
            observed: Some(self.0.observed(tilt, image)),
            x: state,
        }
    }

    fn to_image(&self, state: Tensor<2>) -> Option<Tensor<4>> {
        let (x, _) = self.split(&state);
        Some(as_images(x, self.0.architecture.generator.shape))
    }
}

struct Loaded(Arc<LatentPrior>);

impl Model for Loaded {
    fn spaces(&self) -> Vec<&'static str> {
        vec!["pixel", "latent"]
    }

    /// "latent" is the finished prior, "stage-k" the prior after k ratios.
    fn target(&self, space: &str) -> Result<Arc<dyn Energy>> {
        let stages = self.0.ratios.len();
        let stage = match space {
            "pixel" => return Ok(Arc::new(JointEnergy(self.0.clone()))),
            "latent" => Some(stages),
            _ => space.strip_prefix("stage-").and_then(|k| k.parse().ok()),
        };
        match stage.filter(|&k| k <= stages) {
            Some(stage) => Ok(Arc::new(StageEnergy::new(self.0.clone(), stage, false)?)),
            None => Err(Error::invalid(
                "space",
                format!("pixel, latent, or stage-0 to stage-{stages}"),
                space,
                "choose one of these",
            )),
        }
    }

    /// z ~ N(0, scale²), in every space; in "pixel" with the image that z decodes to.
    fn starts(&self, space: &str, rng: &Rng, chains: usize, scale: f64) -> Result<Tensor<2>> {
        self.target(space)?;
        let n = self.0.architecture.generator.latent;
        let device = self.0.reference.mean.device();
        let z = latent_starts(rng, [chains, n], scale, &device)?;
        Ok(if space == "pixel" {
            Tensor::cat(vec![self.0.decode(z.clone()), z], 1)
        } else {
            z
        })
    }

    fn latent_prior(&self) -> Option<&Arc<LatentPrior>> {
        Some(&self.0)
    }

    fn shape(&self) -> [usize; 3] {
        self.0.architecture.generator.shape
    }

    fn parameters(&self) -> usize {
        self.0.parameters()
    }
}

/// Wraps a model for samplers, the command line and the page.
pub fn into_model(model: Arc<LatentPrior>) -> Arc<dyn Model> {
    Arc::new(Loaded(model))
}

/// Reads a model's card and weights.
///
/// # Errors
/// [`Error::Model`] when they are another system's, or do not fit together.
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

fn load(card: &Card, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
    Ok(into_model(Arc::new(open(card, weights, device)?)))
}
