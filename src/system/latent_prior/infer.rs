//! Inference of latents: the posterior p(z|x) ∝ exp(−‖x − g(z)‖²/(2σ²)) p_k(z) of a batch of images.

use burn::tensor::Tensor;

use super::density::{gaussian_of, tilt_and_gradient, tilt_of, unit};
use crate::{
    device::read,
    energy::{Energy, Evaluation, Point, Space},
    error::Result,
    nn::{generator::Generator, tilt::Tilt},
};

/// The posterior energy of a batch of images, one chain each:
/// E(z|x) = ‖x − g(z)‖²/(2σ²) + ‖z‖²/2 + Σ U_j(z).
pub struct PosteriorEnergy {
    /// The generator g.
    pub generator: Generator,
    /// U_1, …, U_k.
    pub ratios: Vec<Tilt>,
    /// Images `[B, D]`, values in [0, 1].
    pub images: Tensor<2>,
    /// σ for values in (−1, 1).
    pub sigma: f64,
}

/// The parts of a posterior energy, `[B]` each.
pub struct Terms {
    /// ‖x − g(z)‖²/(2σ²).
    pub reconstruction: Tensor<1>,
    /// ‖z‖²/2.
    pub gaussian: Tensor<1>,
    /// Σ U_j(z).
    pub tilt: Tensor<1>,
    /// Mean squared difference per value, with values in [0, 1].
    pub mse: Tensor<1>,
}

impl PosteriorEnergy {
    /// 1/σ² for values in [0, 1].
    fn precision(&self) -> f64 {
        4.0 / self.sigma.powi(2)
    }

    /// The parts at latents `[B, n]`.
    pub fn terms(&self, z: &Tensor<2>) -> Terms {
        let [_, dim] = self.images.dims();
        let error = gaussian_of(&(self.images.clone() - unit(self.generator.forward(z.clone()))));
        Terms {
            reconstruction: error.clone() * self.precision(),
            gaussian: gaussian_of(z),
            tilt: tilt_of(&self.ratios, z),
            mse: error * (2.0 / dim as f64),
        }
    }

    /// Latents (`[B, n]`) by gradient descent from z = 0, z ← z − a∇E, and the energy before each step,
    /// steps × B. This is the drift of the chains without their noise; images are scored with it.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device cannot be read.
    pub async fn descend(&self, drift: f64, steps: usize) -> Result<(Tensor<2>, Vec<f32>)> {
        let [batch, _] = self.images.dims();
        let latent = self.generator.config().latent;
        let mut z = Tensor::zeros([batch, latent], &self.images.device());
        let mut energies = Vec::with_capacity(steps);
        for _ in 0..steps {
            let point = self.point(z);
            energies.push(point.energy);
            z = point.x - point.gradient * drift;
        }
        let trace = match energies.is_empty() {
            true => Vec::new(),
            false => read(Tensor::cat(energies, 0)).await?,
        };
        Ok((z, trace))
    }
}

impl Energy for PosteriorEnergy {
    fn space(&self) -> Space {
        Space {
            name: "latent",
            dim: self.generator.config().latent,
            image: Some(self.generator.config().shape),
        }
    }

    fn evaluate(&self, z: Tensor<2>) -> Evaluation {
        let terms = self.terms(&z);
        Evaluation {
            energy: terms.reconstruction + terms.gaussian + terms.tilt,
            observed: None,
        }
    }

    fn point(&self, z: Tensor<2>) -> Point {
        let (tilt, slope) = tilt_and_gradient(&self.ratios, &z);
        let pass = self.generator.pass(z.clone());
        let residual = self.images.clone() - unit(pass.image.clone());
        let [batch, _] = z.dims();
        let [c, h, w] = self.generator.config().shape;
        // ½, because g's range (−1, 1) is twice as wide as the image's [0, 1].
        let pull = residual.clone() * (-0.5 * self.precision());
        let back = self.generator.back(pass, pull.reshape([batch, c, h, w]));
        Point {
            energy: gaussian_of(&residual) * self.precision() + gaussian_of(&z) + tilt,
            gradient: z.clone() + slope + back,
            x: z,
            observed: None,
        }
    }
}
