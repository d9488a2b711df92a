//! The generator x = g(z), transposed convolutions from a latent vector to an image, and an encoder that
//! infers z.

#[cfg(any(feature = "native", feature = "web-cpu"))]
use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use serde::{Deserialize, Serialize};

#[cfg(any(feature = "native", feature = "web-cpu"))]
use super::cpu;
use super::{
    conv::{Layout, Window, convolve, convolve_transposed},
    dict::{Dict, DictBuilder},
    layers::{Conv, Dense, Init, leaky, leaky_back},
};
use crate::error::{Error, Result};

/// One transposed convolution: `channels` × (s·(n − 1) + kernel − 2·padding)² from n² pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpConfig {
    /// Output channels.
    pub channels: usize,
    /// Kernel size.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Padding.
    pub padding: usize,
}

/// Architecture of a generator, as in the authors' code for the latent EBM (Pang et al., NeurIPS 2020):
/// transposed convolutions with leaky ReLU 0.2 between them, tanh at the end, no normalisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Dimension of z.
    pub latent: usize,
    /// `[channels, height, width]` of the images.
    pub shape: [usize; 3],
    /// The layers; the first starts from one pixel, the last outputs the image's channels.
    pub layers: Vec<UpConfig>,
}

const fn up(channels: usize, kernel: usize, stride: usize, padding: usize) -> UpConfig {
    UpConfig {
        channels,
        kernel,
        stride,
        padding,
    }
}

impl GeneratorConfig {
    /// For 28×28 grey images: z → 4w × 7×7 → 2w × 14×14 → w × 28×28 → 1 (the MNIST network in DAMC's
    /// code has w = 256).
    pub fn grey28(latent: usize, width: usize) -> Self {
        Self {
            latent,
            shape: [1, 28, 28],
            layers: vec![
                up(4 * width, 7, 1, 0),
                up(2 * width, 4, 2, 1),
                up(width, 4, 2, 1),
                up(1, 3, 1, 1),
            ],
        }
    }

    /// For 32×32 colour images, as in DAMC's code for CIFAR-10: z → 8w × 8×8 → 4w × 16×16 → 2w × 32×32
    /// → 3; the published network has w = 128 and 128 latents.
    pub fn cifar(latent: usize, width: usize) -> Self {
        Self {
            latent,
            shape: [3, 32, 32],
            layers: vec![
                up(8 * width, 8, 1, 0),
                up(4 * width, 4, 2, 1),
                up(2 * width, 4, 2, 1),
                up(3, 3, 1, 1),
            ],
        }
    }

    /// Number of values of an image.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// Sides of the feature maps after each layer.
    fn sides(&self) -> Vec<usize> {
        let mut side = 1;
        self.layers
            .iter()
            .map(|l| {
                side = (l.stride * (side - 1) + l.kernel).saturating_sub(2 * l.padding);
                side.max(1)
            })
            .collect()
    }

    /// Checks the layers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for layers that do not end at the image's shape.
    pub fn check(&self) -> Result<()> {
        let [c, h, w] = self.shape;
        let sides = self.sides();
        let ends = self.layers.last().zip(sides.last());
        let fits = ends.is_some_and(|(l, &side)| l.channels == c && side == h && side == w);
        let plain = self
            .layers
            .first()
            .is_some_and(|l| l.stride == 1 && l.padding == 0);
        let positive = self
            .layers
            .iter()
            .all(|l| l.channels > 0 && l.kernel > 0 && l.stride > 0);
        if !(fits && plain && positive && self.latent > 0) {
            return Err(Error::invalid(
                "generator.layers",
                format!(
                    "layers from one pixel (stride 1, padding 0) to {:?}",
                    self.shape
                ),
                format!("{:?}, sides {sides:?}", self.layers),
                "change kernels, strides and paddings: n pixels become stride·(n − 1) + kernel − 2·padding",
            ));
        }
        Ok(())
    }
}

/// A transposed convolution with bias.
#[derive(Module, Debug)]
struct Up {
    /// `[C_in, C_out, k, k]`
    weight: Param<Tensor<4>>,
    /// `[C_out]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl Up {
    /// Xavier-normal weights, as in the latent EBM's code.
    fn new(init: &mut Init<'_>, c_in: usize, config: &UpConfig) -> Self {
        let k = config.kernel;
        let shape = [c_in, config.channels, k, k];
        let sd = (2.0 / ((c_in + config.channels) * k * k) as f32).sqrt();
        let values = init.normals(shape.iter().product());
        let values = values.into_iter().map(|v| v * sd).collect::<Vec<_>>();
        Self {
            weight: Param::from_data(TensorData::new(values, shape), init.device()),
            bias: Param::from_data(
                TensorData::new(vec![0.0f32; config.channels], [config.channels]),
                init.device(),
            ),
            stride: config.stride,
            padding: config.padding,
        }
    }

    /// The first layer, a matrix product since its input is one pixel: `[B, C_in]` → `[B, C_out, k, k]`.
    fn first(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, _] = z.dims();
        let [c_in, c_out, k, _] = self.weight.dims();
        let x = z.matmul(self.weight.val().reshape([c_in, c_out * k * k]));
        x.reshape([batch, c_out, k, k]) + self.bias.val().reshape([1, c_out, 1, 1])
    }

    fn first_back(&self, gradient: Tensor<4>) -> Tensor<2> {
        let [batch, c_out, k, _] = gradient.dims();
        let [c_in, ..] = self.weight.dims();
        let weight = self.weight.val().reshape([c_in, c_out * k * k]);
        gradient
            .reshape([batch, c_out * k * k])
            .matmul(weight.transpose())
    }

    fn window(&self) -> Window {
        let [_, _, k, _] = self.weight.dims();
        Window::square(k, self.stride, self.padding)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), Some(self.bias.val()));
        convolve_transposed(x, weight, bias, self.window(), Layout::ChannelsFirst)
    }

    /// The adjoint of the linear part: a convolution with the same kernel, read as
    /// `[C_out′ = C_in, C_in′ = C_out, k, k]`.
    fn back(&self, gradient: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        convolve(gradient, weight, None, self.window(), Layout::ChannelsFirst)
    }
}

/// x = g(z), with values in (−1, 1).
#[derive(Module, Debug)]
pub struct Generator {
    layers: Vec<Up>,
    #[module(skip)]
    config: GeneratorConfig,
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    #[module(skip)]
    plan: cpu::Cache<cpu::generator::GeneratorPlan>,
}

/// Activations of a forward pass, needed for the backward pass.
pub struct Pass {
    /// g(z), `[B, C, H, W]` in (−1, 1).
    pub image: Tensor<4>,
    tape: Tape,
}

enum Tape {
    /// Values before each leaky ReLU.
    Tensors(Vec<Tensor<4>>),
    /// Of our own kernels for the CPU.
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    Cpu(Arc<cpu::generator::GeneratorPlan>, cpu::generator::Tape),
}

/// On the CPU, kernels of our own for fixed weights.
#[cfg(any(feature = "native", feature = "web-cpu"))]
impl Generator {
    /// `None` on another device, and while the weights are trained.
    fn plan(&self) -> Option<Arc<cpu::generator::GeneratorPlan>> {
        let mut weights = Vec::new();
        for layer in &self.layers {
            weights.push(cpu::values(&layer.weight.val())?);
            weights.push(cpu::values(&layer.bias.val())?);
        }
        Some(self.plan.of(weights, |weights| {
            let layers: Vec<_> = self
                .layers
                .iter()
                .zip(weights.chunks_exact(2))
                .map(|(layer, pair)| {
                    let [inputs, outputs, ..] = layer.weight.dims();
                    cpu::generator::UpWeights {
                        weight: pair[0].storage(),
                        bias: pair[1].storage(),
                        channels: [inputs, outputs],
                        window: layer.window(),
                    }
                })
                .collect();
            cpu::generator::GeneratorPlan::new(&layers)
        }))
    }

    fn pass_on_cpu(&self, z: &Tensor<2>) -> Option<Pass> {
        let latents = cpu::values(z)?;
        let plan = self.plan()?;
        let (image, tape) = plan.forward(latents.storage(), true);
        Some(Pass {
            image: self.images(image, z),
            tape: Tape::Cpu(plan, tape?),
        })
    }

    /// Values as `[B, C, H, W]`, beside latents `[B, latent]`.
    fn images(&self, values: Vec<f32>, z: &Tensor<2>) -> Tensor<4> {
        let ([c, h, w], [batch, _]) = (self.config.shape, z.dims());
        Tensor::from_data(TensorData::new(values, [batch, c, h, w]), &z.device())
    }
}

impl Generator {
    /// A new generator.
    ///
    /// # Errors
    /// [`Error::Invalid`] for layers that do not match.
    pub fn new(config: &GeneratorConfig, init: &mut Init<'_>) -> Result<Self> {
        config.check()?;
        let mut channels = config.latent;
        let layers = config
            .layers
            .iter()
            .map(|l| {
                let layer = Up::new(init, channels, l);
                channels = l.channels;
                layer
            })
            .collect();
        Ok(Self::of(layers, config))
    }

    fn of(layers: Vec<Up>, config: &GeneratorConfig) -> Self {
        Self {
            layers,
            config: config.clone(),
            #[cfg(any(feature = "native", feature = "web-cpu"))]
            plan: cpu::Cache::default(),
        }
    }

    /// Its architecture.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// `[B, latent]` → `[B, C, H, W]` in (−1, 1), differentiable where its weights are.
    pub fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        #[cfg(any(feature = "native", feature = "web-cpu"))]
        if let Some(latents) = cpu::values(&z)
            && let Some(plan) = self.plan()
        {
            let (image, _) = plan.forward(latents.storage(), false);
            return self.images(image, &z);
        }
        self.pass(z).image
    }

    /// Forward pass that keeps the activations for [`back`](Self::back).
    pub fn pass(&self, z: Tensor<2>) -> Pass {
        #[cfg(any(feature = "native", feature = "web-cpu"))]
        if let Some(pass) = self.pass_on_cpu(&z) {
            return pass;
        }
        let mut before = Vec::with_capacity(self.layers.len());
        let mut x = self.layers[0].first(z);
        for layer in &self.layers[1..] {
            before.push(x.clone());
            x = layer.forward(leaky(x));
        }
        Pass {
            image: x.tanh(),
            tape: Tape::Tensors(before),
        }
    }

    /// The vector-Jacobian product ∂⟨gradient, g(z)⟩/∂z, `[B, C, H, W]` → `[B, latent]`. Written by
    /// hand: chains need no gradients of the weights, which autodiff would also compute.
    pub fn back(&self, pass: Pass, gradient: Tensor<4>) -> Tensor<2> {
        let before = match pass.tape {
            Tape::Tensors(before) => before,
            #[cfg(any(feature = "native", feature = "web-cpu"))]
            Tape::Cpu(plan, tape) => {
                // The forward pass was on the CPU, so its gradient is.
                let values = cpu::values(&gradient);
                let values = values.as_ref().map_or(&[][..], |g| g.storage());
                let pulled = plan.pull_back(values, &tape);
                let shape = [gradient.dims()[0], self.config.latent];
                return Tensor::from_data(TensorData::new(pulled, shape), &gradient.device());
            }
        };
        let slope = pass.image.powi_scalar(2).neg() + 1.0;
        let mut gradient = gradient * slope;
        let layers = self.layers[1..].iter().rev();
        for (layer, before) in layers.zip(before.into_iter().rev()) {
            gradient = leaky_back(before, layer.back(gradient));
        }
        self.layers[0].first_back(gradient)
    }

    /// Adds all weights to `to` under `generator.…`, in f16.
    pub fn save(&self, to: &mut DictBuilder) {
        for (i, layer) in self.layers.iter().enumerate() {
            to.half(&format!("generator.{i}.weight"), layer.weight.val());
            to.full(&format!("generator.{i}.bias"), layer.bias.val());
        }
    }

    /// Reads a generator of this architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad architecture.
    pub fn load(from: &Dict<'_>, config: &GeneratorConfig) -> Result<Self> {
        config.check()?;
        let mut channels = config.latent;
        let layers = config
            .layers
            .iter()
            .enumerate()
            .map(|(i, l)| {
                let shape = [channels, l.channels, l.kernel, l.kernel];
                channels = l.channels;
                Ok(Up {
                    weight: from.param(&format!("generator.{i}.weight"), shape)?,
                    bias: from.param(&format!("generator.{i}.bias"), [l.channels])?,
                    stride: l.stride,
                    padding: l.padding,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self::of(layers, config))
    }
}

/// An amortised posterior q(z|x) = N(μ(x), diag s²(x)): strided 4×4 convolutions, leaky ReLU 0.2, two
/// linear heads. An alternative to short-run chains.
#[derive(Module, Debug)]
pub struct LatentEncoder {
    convs: Vec<Conv>,
    mean: Dense,
    log_variance: Dense,
}

impl LatentEncoder {
    /// For a generator's images; `width` channels after the first of two strided convolutions.
    pub fn new(config: &GeneratorConfig, width: usize, init: &mut Init<'_>) -> Self {
        let [c, h, w] = config.shape;
        let inner = 2 * width * (h / 4) * (w / 4);
        Self {
            convs: vec![
                Conv::new(init, c, width, 4, 2, 1, 1.0),
                Conv::new(init, width, 2 * width, 4, 2, 1, 1.0),
            ],
            mean: Dense::new(init, inner, config.latent, 0.1),
            log_variance: Dense::new(init, inner, config.latent, 0.1),
        }
    }

    /// Images `[B, C, H, W]` in [−1, 1] → μ and log s², `[B, latent]` each. log s² is clamped to ±8.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        let mut x = x;
        for conv in &self.convs {
            x = leaky(conv.forward(x));
        }
        let flat = x.flatten::<2>(1, 3);
        let log_variance = self.log_variance.forward(flat.clone());
        (self.mean.forward(flat), log_variance.clamp(-8.0, 8.0))
    }

    /// KL(N(μ, diag s²) ‖ N(0, I)) in nats, `[B]`.
    pub fn divergence(mean: &Tensor<2>, log_variance: &Tensor<2>) -> Tensor<1> {
        let [batch, _] = mean.dims();
        let parts = mean.clone().powi_scalar(2) + log_variance.clone().exp();
        let sum = (parts - log_variance.clone() - 1.0).sum_dim(1);
        sum.reshape([batch]) * 0.5
    }
}
