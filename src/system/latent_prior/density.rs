//! The prior as an energy: E_k(z) = ‖z‖²/2 + U_1(z) + … + U_k(z).

use burn::tensor::Tensor;

use crate::{
    energy::{Energy, Evaluation, Point, Space},
    nn::tilt::Tilt,
};

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
pub(super) fn tilt_and_gradient(ratios: &[Tilt], z: &Tensor<2>) -> (Tensor<1>, Tensor<2>) {
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

/// The prior as an energy, E_k(z) = ‖z‖²/2 + Σ U_j(z): the target of the chains while ratios are
/// learned.
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

/// The input shape of an MLP on latents.
pub(super) fn vector(n: usize) -> [usize; 3] {
    [n, 1, 1]
}

/// Images `[B, C, H, W]` in (−1, 1) → `[B, D]` in (0, 1).
pub(super) fn unit(image: Tensor<4>) -> Tensor<2> {
    image.flatten::<2>(1, 3) * 0.5 + 0.5
}
