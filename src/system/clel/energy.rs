//! The marginal energy E(x) = ½‖f(x)‖², and code shared by all energies of these models.

use burn::tensor::Tensor;

use crate::{
    energy::{Energy, Evaluation, Point, Space},
    nn::resnet::FrozenEnergyNet,
    pixels::as_images,
};

/// The state space of every energy of these models.
pub(super) fn pixel_space(shape: [usize; 3]) -> Space {
    Space {
        name: "pixel",
        dim: shape.iter().product(),
        image: Some(shape),
    }
}

/// An energy that is a function of f(x), with its gradient, at states `[B, D]`.
pub(super) fn point_of(
    net: &FrozenEnergyNet,
    x: Tensor<2>,
    energy: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Point {
    let (energy, gradient) = net.differentiate(x.clone(), energy);
    Point {
        x,
        energy,
        gradient,
        observed: None,
    }
}

/// The marginal target in pixel space, E(x) = ½‖f(x)‖².
pub struct MarginalEnergy {
    net: FrozenEnergyNet,
    shape: [usize; 3],
}

impl MarginalEnergy {
    /// The marginal energy of a frozen network for images `[C, H, W]`.
    pub fn new(net: FrozenEnergyNet, shape: [usize; 3]) -> Self {
        Self { net, shape }
    }
}

impl Energy for MarginalEnergy {
    fn space(&self) -> Space {
        pixel_space(self.shape)
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        Evaluation {
            energy: self.net.energy(x),
            observed: None,
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let (energy, gradient) = self.net.energy_and_gradient(x.clone());
        Point {
            x,
            energy,
            gradient,
            observed: None,
        }
    }

    fn to_image(&self, x: Tensor<2>) -> Option<Tensor<4>> {
        Some(as_images(x, self.shape))
    }
}
