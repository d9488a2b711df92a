//! Convolution and linear layers with the initialisation shared by the models.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation},
};

use super::{
    conv::{Layout, Window, convolve},
    dict::{Dict, DictBuilder},
};
use crate::{
    error::Result,
    rng::{Purpose, Rng},
};

/// Draws initial weights: each layer takes the next block of one counter-based stream, so that a seed
/// gives the same network on every backend.
pub struct Init<'a> {
    rng: Rng,
    next: u32,
    device: &'a Device,
}

impl<'a> Init<'a> {
    /// Weights for `seed` on `device`.
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self {
            rng: Rng::new(seed),
            next: 0,
            device,
        }
    }

    /// The device of the weights.
    pub fn device(&self) -> &Device {
        self.device
    }

    /// The next `n` standard normals of this stream.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        self.next += 1;
        self.rng.normals(Purpose::Weights, self.next, 1, n)
    }

    fn tensor<const D: usize>(&mut self, shape: [usize; D], sd: f32) -> Param<Tensor<D>> {
        let values = if sd == 0.0 {
            vec![0.0; shape.iter().product()]
        } else {
            self.normals(shape.iter().product())
                .into_iter()
                .map(|v| v * sd)
                .collect()
        };
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}

/// A k×k convolution with bias, stride 1 or 2.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[C_out, C_in, k, k]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl Conv {
    /// He-normal weights scaled by `gain` (0: all zero, so that the layer's output starts at 0).
    pub fn new(
        init: &mut Init<'_>,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        gain: f32,
    ) -> Self {
        let sd = gain * (2.0 / (c_in * kernel * kernel) as f32).sqrt();
        Self {
            weight: init.tensor([c_out, c_in, kernel, kernel], sd),
            bias: init.tensor([c_out], 0.0),
            stride,
            padding,
        }
    }

    /// `[B, C_in, H, W]` → `[B, C_out, H′, W′]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, Layout::ChannelsFirst)
    }

    fn run(&self, x: Tensor<4>, layout: Layout) -> Tensor<4> {
        let [_, _, k, _] = self.weight.dims();
        let window = Window::square(k, self.stride, self.padding);
        let bias = Some(self.bias.val());
        convolve(x, self.weight.val(), bias, window, layout)
    }

    /// As [`forward`](Self::forward), for channels-last images. A 1×1 kernel is a matrix product.
    pub fn forward_channels_last(&self, x: Tensor<4>) -> Tensor<4> {
        let [c_out, c_in, k, _] = self.weight.dims();
        if k > 1 {
            return self.run(x, Layout::ChannelsLast);
        }
        let weight = self.weight.val().reshape([c_out, c_in]).transpose();
        pointwise(x, weight, self.bias.val())
    }

    pub(crate) fn save(&self, to: &mut DictBuilder, name: &str) {
        to.half(&format!("{name}.weight"), self.weight.val());
        to.full(&format!("{name}.bias"), self.bias.val());
    }

    pub(crate) fn load(self, from: &Dict<'_>, name: &str) -> Result<Self> {
        Ok(Self {
            weight: from.param(&format!("{name}.weight"), self.weight.dims())?,
            bias: from.param(&format!("{name}.bias"), self.bias.dims())?,
            ..self
        })
    }
}

/// y = x·A + b for every pixel: `[B, H, W, C]` × `[C, C′]` → `[B, H, W, C′]`.
pub fn pointwise(x: Tensor<4>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let [_, out] = weight.dims();
    (x.reshape([b * h * w, c]).matmul(weight) + bias.reshape([1, out])).reshape([b, h, w, out])
}

/// A fully connected layer, y = x·W + b with `W: [in, out]`.
#[derive(Module, Debug)]
pub struct Dense {
    /// `[in, out]`
    pub weight: Param<Tensor<2>>,
    /// `[out]`
    pub bias: Param<Tensor<1>>,
}

impl Dense {
    /// He-normal weights scaled by `gain`.
    pub fn new(init: &mut Init<'_>, inputs: usize, outputs: usize, gain: f32) -> Self {
        Self {
            weight: init.tensor([inputs, outputs], gain * (2.0 / inputs as f32).sqrt()),
            bias: init.tensor([outputs], 0.0),
        }
    }

    /// The same layer with normal biases of standard deviation `sd`. Without biases a stack of leaky
    /// ReLUs is homogeneous, f(λx) = λ f(x): all its hinges pass through the origin and are slow to
    /// move away.
    pub fn with_biases(self, init: &mut Init<'_>, sd: f32) -> Self {
        let outputs = self.bias.dims();
        Self {
            bias: init.tensor(outputs, sd),
            ..self
        }
    }

    /// `[B, in]` → `[B, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [_, outputs] = self.weight.dims();
        x.matmul(self.weight.val()) + self.bias.val().reshape([1, outputs])
    }

    pub(crate) fn save(&self, to: &mut DictBuilder, name: &str) {
        to.half(&format!("{name}.weight"), self.weight.val());
        to.full(&format!("{name}.bias"), self.bias.val());
    }

    pub(crate) fn load(self, from: &Dict<'_>, name: &str) -> Result<Self> {
        Ok(Self {
            weight: from.param(&format!("{name}.weight"), self.weight.dims())?,
            bias: from.param(&format!("{name}.bias"), self.bias.dims())?,
        })
    }
}

/// Slope of [`leaky`] below 0.
pub const LEAK: f64 = 0.2;

/// Leaky ReLU with slope 0.2 below zero.
pub fn leaky<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    if let Some(y) = super::cpu::op::rectify(&x, LEAK as f32) {
        return y;
    }
    activation::leaky_relu(x, LEAK)
}

/// ∂[`leaky`](x)/∂x · gradient, outside autodiff.
pub(super) fn leaky_back<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<D> {
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    if let Some(pulled) = super::cpu::op::rectify_back(&x, &gradient, LEAK as f32) {
        return pulled;
    }
    let slope = gradient.clone() * LEAK;
    gradient.mask_where(x.lower_equal_elem(0.0), slope)
}

/// ReLU.
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    if let Some(y) = super::cpu::op::rectify(&x, 0.0) {
        return y;
    }
    activation::relu(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N(0, gain²·2/fan-in) weights and zero biases; hinges where they are asked for.
    #[test]
    fn first_weights_are_he_normal() {
        let device = Device::flex();
        let mut init = Init::new(1, &device);
        let host = |values: TensorData| values.iter::<f64>().collect::<Vec<_>>();
        let sd = |v: &[f64]| (v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64).sqrt();
        let near = |v: &[f64], expected: f64| {
            // Four standard errors of a standard deviation.
            let tolerance = 4.0 / (2.0 * v.len() as f64).sqrt();
            assert!(
                (sd(v) / expected - 1.0).abs() < tolerance,
                "{} for {expected}",
                sd(v)
            );
        };
        let conv = Conv::new(&mut init, 8, 16, 3, 1, 1, 0.5);
        near(
            &host(conv.weight.val().into_data()),
            0.5 * (2.0f64 / 72.0).sqrt(),
        );
        assert!(host(conv.bias.val().into_data()).iter().all(|&b| b == 0.0));
        let dense = Dense::new(&mut init, 50, 40, 2.0);
        near(
            &host(dense.weight.val().into_data()),
            2.0 * (2.0f64 / 50.0).sqrt(),
        );
        assert!(host(dense.bias.val().into_data()).iter().all(|&b| b == 0.0));
        let hinged = Dense::new(&mut init, 2, 400, 1.0).with_biases(&mut init, 3.0);
        near(&host(hinged.bias.val().into_data()), 3.0);
        let zero = Conv::new(&mut init, 2, 2, 3, 1, 1, 0.0);
        assert!(
            host(zero.weight.val().into_data())
                .iter()
                .all(|&w| w == 0.0)
        );
    }

    /// Values, and gradients with PyTorch's convention at 0, in every layout.
    #[test]
    fn rectifiers_and_their_gradients() {
        let device = Device::flex();
        let values = vec![-2.0f32, -0.5, 0.0, 0.25, 3.0, -1e-8];
        let x = Tensor::<2>::from_data(TensorData::new(values, [2, 3]), &device).transpose();
        let host = |t: Tensor<2>| t.into_data().iter::<f32>().collect::<Vec<_>>();
        let order = [-2.0f32, 0.25, -0.5, 3.0, 0.0, -1e-8];
        let slope = |v: f32, below: f32| if v > 0.0 { 1.0 } else { below };
        type Rectifier = fn(Tensor<2>) -> Tensor<2>;
        for (f, below) in [(leaky::<2> as Rectifier, 0.2f32), (relu::<2>, 0.0)] {
            let expected = order.map(|v| if v > 0.0 { v } else { below * v });
            assert_eq!(host(f(x.clone())), expected);
            let leaf = x.clone().autodiff().require_grad();
            let y = f(leaf.clone());
            assert_eq!(host(y.clone().inner()), expected);
            let grads = (y * 3.0).sum().backward();
            let gradient = host(leaf.grad(&grads).unwrap());
            assert_eq!(gradient, order.map(|v| 3.0 * slope(v, below)));
        }
        let pulled = host(leaky_back(x.clone(), x.ones_like()));
        assert_eq!(pulled, order.map(|v| slope(v, 0.2)));
    }
}
