//! Densities with a closed form, their gradients written out: for tests of samplers.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Energy, Evaluation, Point, Space};

/// A Gaussian with independent coordinates: E(x) = Σ (xᵢ − mᵢ)²/(2sᵢ²).
pub struct Gaussian {
    mean: Tensor<2>,
    inverse_variance: Tensor<2>,
    dim: usize,
}

impl Gaussian {
    /// `mean` and `sd`, one value for each dimension (the shorter decides).
    pub fn new(mean: &[f32], sd: &[f32], device: &Device) -> Self {
        let dim = mean.len().min(sd.len());
        let row = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [1, dim]), device);
        Self {
            mean: row(mean[..dim].to_vec()),
            inverse_variance: row(sd[..dim].iter().map(|s| 1.0 / (s * s)).collect()),
            dim,
        }
    }
}

impl Energy for Gaussian {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: self.dim,
            image: None,
        }
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let [batch, _] = x.dims();
        let d = x - self.mean.clone();
        let energy = (d.powi_scalar(2) * self.inverse_variance.clone()).sum_dim(1) * 0.5;
        Evaluation {
            energy: energy.reshape([batch]),
            observed: None,
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        Point {
            energy: self.evaluate(x.clone()).energy,
            gradient: (x.clone() - self.mean.clone()) * self.inverse_variance.clone(),
            x,
            observed: None,
        }
    }
}

/// A mixture of Gaussians of equal weight and scale: E(x) = −log Σₖ exp(−‖x − mₖ‖²/(2s²)).
pub struct Mixture {
    /// `[K, D]`
    means: Tensor<2>,
    sd: f64,
}

impl Mixture {
    /// `means`: K rows of D values.
    pub fn new<const D: usize>(means: &[[f32; D]], sd: f64, device: &Device) -> Self {
        let values: Vec<f32> = means.iter().flatten().copied().collect();
        Self {
            means: Tensor::from_data(TensorData::new(values, [means.len(), D]), device),
            sd,
        }
    }

    /// Differences to every mean, `[B, K, D]`, and the log weights, `[B, K]`.
    fn terms(&self, x: Tensor<2>) -> (Tensor<3>, Tensor<2>) {
        let [batch, dim] = x.dims();
        let [modes, _] = self.means.dims();
        let d = x.reshape([batch, 1, dim]) - self.means.clone().reshape([1, modes, dim]);
        let log_weights = d.clone().powi_scalar(2).sum_dim(2).reshape([batch, modes])
            * (-0.5 / (self.sd * self.sd));
        (d, log_weights)
    }
}

impl Energy for Mixture {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: self.means.dims()[1],
            image: None,
        }
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let [batch, _] = x.dims();
        let (_, log_weights) = self.terms(x);
        let top = log_weights.clone().max_dim(1);
        let sum = (log_weights - top.clone()).exp().sum_dim(1);
        Evaluation {
            energy: -(sum.log() + top).reshape([batch]),
            observed: None,
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let [batch, dim] = x.dims();
        let (d, log_weights) = self.terms(x.clone());
        let [_, modes] = log_weights.dims();
        let weights = burn::tensor::activation::softmax(log_weights, 1).reshape([batch, modes, 1]);
        Point {
            energy: self.evaluate(x.clone()).energy,
            gradient: (d * weights).sum_dim(1).reshape([batch, dim]) * (1.0 / (self.sd * self.sd)),
            x,
            observed: None,
        }
    }
}
