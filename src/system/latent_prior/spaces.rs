//! The model as energies: every stage of the prior in latent space, and the joint energy of image and
//! latent.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{
    density::{gaussian_of, tilt_and_gradient, tilt_of, unit},
    model::{LatentPrior, open},
};
use crate::{
    artifact::Card,
    energy::{Energy, Evaluation, Point, Space},
    error::{Error, Result},
    nn::tilt::Tilt,
    pixels::as_images,
    rng::Rng,
    system::model::{Model, latent_starts},
};

/// The prior of a stage. Observables: the tilt and the image's principal components, and on request the
/// latent's coordinates in the [plane](super::Reference).
pub struct StageEnergy {
    model: Arc<LatentPrior>,
    stage: usize,
    plane: bool,
}

impl StageEnergy {
    /// The prior after `stage` ratios.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a stage that does not exist.
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

    /// The ratio added by this stage; none for stage 0.
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

/// The same model in data space: a state is an image with its latent, (x, z), with E(x, z) = ‖x −
/// g(z)‖²/(2σ²) + E_K(z). Its marginal in x is exactly the model's p(x), its marginal in z exactly the
/// prior, and x given z is N(g(z), σ²I). Values of x in [0, 1].
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
        // ½, because g's range (−1, 1) is twice as wide as the image's [0, 1].
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

    /// z ~ N(0, scale²) in every space; in "pixel" together with the decoded image.
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

/// The latent prior behind a model, if it is one.
pub fn of(model: &dyn Model) -> Option<&Arc<LatentPrior>> {
    model.downcast_ref::<Loaded>().map(|loaded| &loaded.0)
}

pub(super) fn load(card: &Card, weights: &[u8], device: &Device) -> Result<Arc<dyn Model>> {
    Ok(into_model(Arc::new(open(card, weights, device)?)))
}
