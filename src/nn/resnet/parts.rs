//! The parts of the network, and their sources: random initialisation or a file.

use std::convert::Infallible;

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, module::avg_pool2d, ops::AvgPoolOptions},
};

use super::super::{
    dict::Dict,
    layers::{Init, leaky, leaky_back},
    spectral::{ConvShape, FrozenConv, SpectralConv, filled, normal},
};
use crate::error::{Error, Result};

/// (x − mean)/std per channel. Constants on the plain device, invisible to optimisers.
#[derive(Debug, Clone)]
pub(in crate::nn) struct Normalise {
    shape: [usize; 3],
    mean: Tensor<4>,
    std: Tensor<4>,
}

impl Normalise {
    pub(in crate::nn) fn new(
        shape: [usize; 3],
        mean: &[f64],
        std: &[f64],
        device: &Device,
    ) -> Self {
        let upload = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            let shape = [1, values.len(), 1, 1];
            Tensor::from_data(TensorData::new(values, shape), &device.clone().inner())
        };
        Self {
            shape,
            mean: upload(mean),
            std: upload(std),
        }
    }

    /// Flattened images `[B, D]` → `[B, C, H, W]`.
    pub(in crate::nn) fn forward(&self, x: Tensor<2>) -> Tensor<4> {
        let [c, h, w] = self.shape;
        let batch = x.dims()[0];
        let [mean, std] = [&self.mean, &self.std].map(|t| beside(t, &x.device()));
        (x.reshape([batch, c, h, w]) - mean) / std
    }

    /// From ∂E/∂y of the normalised images to ∂E/∂x.
    pub(super) fn pull_back(&self, gradient: Tensor<4>) -> Tensor<4> {
        let std = beside(&self.std, &gradient.device());
        gradient / std
    }
}

/// A constant on the given device. When a network is copied to another device, its constants, which are
/// not parameters, stay behind.
fn beside(constant: &Tensor<4>, device: &Device) -> Tensor<4> {
    let device = device.clone().inner();
    match constant.device() == device {
        true => constant.clone(),
        false => constant.clone().to_device(&device),
    }
}

/// Mean over the pixels, `[B, C, H, W]` → `[B, C]`.
pub fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).mean_dim(2).reshape([b, c])
}

/// Rows x/max(‖x‖, 1e-12), `[B, D]`.
pub fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    // The bound is under the root, so that the gradient of a zero row stays finite.
    let norm = x.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}

/// A fully connected layer, y = x·W (+ b) with `W: [in, out]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`
    pub weight: Param<Tensor<2>>,
    /// `[out]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// `[B, in]` → `[B, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [_, outputs] = self.weight.dims();
        let y = x.matmul(self.weight.val());
        match &self.bias {
            Some(bias) => y + bias.val().reshape([1, outputs]),
            None => y,
        }
    }
}

/// Shape of a [`Linear`].
#[derive(Debug, Clone, Copy)]
pub(super) struct LinearShape {
    inputs: usize,
    outputs: usize,
    bias: bool,
}

/// Two fully connected layers with leaky ReLU 0.2 between them.
#[derive(Module, Debug)]
pub struct Mlp {
    pub(super) first: Linear,
    pub(super) second: Linear,
}

impl Mlp {
    /// `[B, in]` → `[B, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_taped(x).0
    }

    /// The same, and the hidden layer before its leaky ReLU.
    pub(super) fn forward_taped(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let hidden = self.first.forward(x);
        (self.second.forward(leaky(hidden.clone())), hidden)
    }

    /// From ∂E/∂y to ∂E/∂x, outside autodiff.
    pub(super) fn pull_back(&self, gradient: Tensor<2>, hidden: Tensor<2>) -> Tensor<2> {
        let back = |layer: &Linear, g: Tensor<2>| g.matmul(layer.weight.val().transpose());
        let g = leaky_back(hidden, back(&self.second, gradient));
        back(&self.first, g)
    }
}

/// Source of a network's layers, by name: random initialisation or a file.
pub(super) trait Source<C> {
    /// Error of the source.
    type Error;
    fn conv(&mut self, name: &str, shape: ConvShape) -> Result<C, Self::Error>;
    fn linear(&mut self, name: &str, shape: LinearShape) -> Result<Linear, Self::Error>;

    fn mlp(
        &mut self,
        name: &str,
        [inputs, hidden, outputs]: [usize; 3],
        bias: bool,
    ) -> Result<Mlp, Self::Error> {
        let mut layer = |part: &str, inputs, outputs| {
            let shape = LinearShape {
                inputs,
                outputs,
                bias,
            };
            self.linear(&format!("{name}.{part}"), shape)
        };
        Ok(Mlp {
            first: layer("first", inputs, hidden)?,
            second: layer("second", hidden, outputs)?,
        })
    }
}

impl Source<SpectralConv> for Init<'_> {
    type Error = Infallible;

    fn conv(&mut self, _: &str, shape: ConvShape) -> Result<SpectralConv, Infallible> {
        Ok(SpectralConv::new(self, shape))
    }

    fn linear(&mut self, _: &str, shape: LinearShape) -> Result<Linear, Infallible> {
        Ok(Linear {
            // The authors' `normal_(weight, 0, .01)`: 0.01 is the standard deviation.
            weight: normal(self, [shape.inputs, shape.outputs], 0.01),
            bias: shape.bias.then(|| filled(self, [shape.outputs], 0.0)),
        })
    }
}

impl Source<FrozenConv> for &Dict<'_> {
    type Error = Error;

    fn conv(&mut self, name: &str, shape: ConvShape) -> Result<FrozenConv> {
        FrozenConv::load(self, name, shape)
    }

    fn linear(&mut self, name: &str, shape: LinearShape) -> Result<Linear> {
        Ok(Linear {
            weight: self.param(&format!("{name}.weight"), [shape.inputs, shape.outputs])?,
            bias: shape
                .bias
                .then(|| self.param(&format!("{name}.bias"), [shape.outputs]))
                .transpose()?,
        })
    }
}

/// k×k average pooling at stride k; a remainder at the end of an odd size is dropped.
pub(super) fn pool(x: Tensor<4>, k: usize) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([k, k]))
}

/// From ∂E/∂pool(x, k) to ∂E/∂x for x of the given height and width.
pub(super) fn unpool(gradient: Tensor<4>, k: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let [b, c, h, w] = gradient.dims();
    let spread = (gradient / (k * k) as f64)
        .reshape([b, c, h, 1, w, 1])
        .expand([b, c, h, k, w, k])
        .reshape([b, c, h * k, w * k]);
    if [h * k, w * k] == [height, width] {
        return spread;
    }
    spread.pad(
        (0, width - w * k, 0, height - h * k),
        burn::tensor::ops::PadMode::Constant(0.0),
    )
}
