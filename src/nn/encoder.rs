//! The contrastive encoder h of CLEL (arXiv 2303.03023, §3): a ResNet for small images (He et al.
//! 2016, with the 3×3 stride-1 stem and no max-pooling that SimCLR, Chen et al. 2020, uses for
//! CIFAR-10) and a projection head. Its latents z = h(x)/‖h(x)‖ guide the energy network.
//!
//! Training and inference are two methods. In burn's own batch normalisation they depend on the device's
//! state, and its running variance uses the biased estimate where torch uses the unbiased one.

use burn::{
    module::{Module, Param},
    tensor::{
        Tensor, TensorData,
        module::{batch_norm, batch_norm_train},
    },
};
use serde::{Deserialize, Serialize};

use super::{
    conv::{Layout, Window, convolve},
    dict::{Dict, DictBuilder},
    layers::{Init, relu},
    resnet::{Linear, Normalise, check_normalisation, check_stages, global_average, unit_rows},
    spectral::{filled, normal, replaced, trained_parameters},
};
use crate::error::{Error, Result};

/// Added to the variance; torch's default.
const EPSILON: f64 = 1e-5;

/// Weight of a batch in the running statistics; torch's default.
const MOMENTUM: f64 = 0.1;

/// Architecture of h.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// `[channels, height, width]` of x.
    pub shape: [usize; 3],
    /// (channels, residual blocks) of each stage; the stem makes the first stage's channels. Every
    /// stage but the first opens with stride 2 (28 → 14 → 7 → 4).
    pub stages: Vec<(usize, usize)>,
    /// Hidden units of the head.
    pub hidden: usize,
    /// Dimension of z.
    pub latent: usize,
    /// Mean of each channel, subtracted from x.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, by which x is then divided.
    pub std: Vec<f64>,
}

impl EncoderConfig {
    fn preset(shape: [usize; 3], mean: &[f64], std: &[f64], stages: [(usize, usize); 4]) -> Self {
        Self {
            shape,
            stages: stages.into(),
            hidden: 2048,
            latent: 128,
            mean: mean.into(),
            std: std.into(),
        }
    }

    /// ResNet-18, as in the paper.
    pub fn resnet18(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(64, 2), (128, 2), (256, 2), (512, 2)];
        Self::preset(shape, mean, std, stages)
    }

    /// Our own, for 28×28 grey images.
    pub fn small(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(32, 1), (64, 1), (128, 1), (128, 1)];
        Self::preset(shape, mean, std, stages)
    }

    /// Channels and stride of every block.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.stages
            .iter()
            .enumerate()
            .flat_map(|(i, &(channels, count))| {
                (0..count).map(move |j| (channels, if i > 0 && j == 0 { 2 } else { 1 }))
            })
    }

    /// Checks that every number is usable.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first invalid part.
    pub fn check(&self) -> Result<()> {
        check_stages("encoder", &self.stages)?;
        check_normalisation("encoder", self.shape, &self.mean, &self.std)?;
        if self.hidden == 0 || self.latent == 0 {
            return Err(Error::invalid(
                "encoder",
                "at least one hidden unit and one latent dimension",
                format!("{} hidden units, {} dimensions", self.hidden, self.latent),
                "change hidden or latent",
            ));
        }
        Ok(())
    }
}

/// Source of the mean and variance used for normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statistics {
    /// The batch's, which also update the running ones.
    Batch,
    /// The running ones.
    Running,
}

/// Batch normalisation (Ioffe & Szegedy 2015) over all axes but the second, as in torch: normalisation
/// uses the batch's biased variance, the running variance the unbiased one.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale γ, `[C]`
    pub gamma: Param<Tensor<1>>,
    /// Shift β, `[C]`
    pub beta: Param<Tensor<1>>,
    /// Running mean, `[C]`. Not trained; a parameter so that checkpoints store it.
    pub running_mean: Param<Tensor<1>>,
    /// Running variance, `[C]`, likewise.
    pub running_var: Param<Tensor<1>>,
}

impl BatchNorm {
    /// The identity on data of zero mean and unit variance, if `gamma` is 1.
    pub fn new(init: &Init<'_>, channels: usize, gamma: f32) -> Self {
        Self {
            gamma: filled(init, [channels], gamma),
            beta: filled(init, [channels], 0.0),
            running_mean: filled(init, [channels], 0.0).set_require_grad(false),
            running_var: filled(init, [channels], 1.0).set_require_grad(false),
        }
    }

    /// `[B, C, …]` → the same, normalised with the running statistics.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        batch_norm(
            x,
            self.gamma.val(),
            self.beta.val(),
            self.running_mean.val(),
            self.running_var.val(),
            EPSILON,
        )
    }

    /// `[B, C, …]` → the same, normalised with the batch's statistics, which update the running ones.
    pub fn forward_train<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        let dims = x.dims();
        let n = (dims.iter().product::<usize>() / dims[1]) as f64;
        let pass = batch_norm_train(x, self.gamma.val(), self.beta.val(), EPSILON);
        let follow = |running: &Param<Tensor<1>>, batch: Tensor<1>| {
            let old = running.val().inner();
            replaced(running, old * (1.0 - MOMENTUM) + batch.inner() * MOMENTUM)
        };
        // torch refuses a single value per channel; here its variance of 0 stays 0.
        let unbiased = pass.variance * (n / (n - 1.0).max(1.0));
        self.running_mean = follow(&self.running_mean, pass.mean);
        self.running_var = follow(&self.running_var, unbiased);
        pass.output
    }

    fn run<const D: usize>(&mut self, x: Tensor<D>, with: Statistics) -> Tensor<D> {
        match with {
            Statistics::Batch => self.forward_train(x),
            Statistics::Running => self.forward(x),
        }
    }
}

/// A convolution without bias and its batch normalisation.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// `[C_out, C_in, k, k]`
    weight: Param<Tensor<4>>,
    norm: BatchNorm,
    #[module(skip)]
    stride: usize,
}

impl ConvNorm {
    /// Kaiming-normal weights for fan-out and a ReLU (variance 2/(C_out·k²)), as in torchvision.
    fn new(
        init: &mut Init<'_>,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        gamma: f32,
    ) -> Self {
        let sd = (2.0 / (outputs * kernel * kernel) as f32).sqrt();
        Self {
            weight: normal(init, [outputs, inputs, kernel, kernel], sd),
            norm: BatchNorm::new(init, outputs, gamma),
            stride,
        }
    }

    /// 3×3 at stride 1 with the default weights of torch's layers: the authors replace torchvision's
    /// stem after initialisation.
    fn stem(init: &mut Init<'_>, inputs: usize, outputs: usize) -> Self {
        Self {
            weight: uniform(init, [outputs, inputs, 3, 3], inputs * 9),
            norm: BatchNorm::new(init, outputs, 1.0),
            stride: 1,
        }
    }

    /// `[B, C_in, H, W]` → `[B, C_out, ⌈H/stride⌉, ⌈W/stride⌉]`.
    fn run(&mut self, x: Tensor<4>, with: Statistics) -> Tensor<4> {
        let h = convolved(x, self.weight.val(), None, self.stride);
        self.norm.run(h, with)
    }
}

/// W∗x + b with zero padding of ⌊k/2⌋.
fn convolved(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize) -> Tensor<4> {
    let [_, _, k, _] = weight.dims();
    let window = Window::square(k, stride, k / 2);
    convolve(x, weight, bias, window, Layout::ChannelsFirst)
}

/// U(−1/√fan_in, 1/√fan_in): torch's default for weights and biases.
fn uniform<const D: usize>(
    init: &mut Init<'_>,
    shape: [usize; D],
    fan_in: usize,
) -> Param<Tensor<D>> {
    let bound = (1.0 / fan_in as f64).sqrt();
    let values: Vec<f32> = init
        .normals(shape.iter().product())
        .into_iter()
        // erf(z/√2) of a standard normal z is U(−1, 1).
        .map(|z| (bound * libm::erf(f64::from(z) * std::f64::consts::FRAC_1_SQRT_2)) as f32)
        .collect();
    Param::from_data(TensorData::new(values, shape), init.device())
}

/// ResNet's basic block: relu(s(x) + bn(conv(relu(bn(conv(x)))))), where s is the identity or, if size
/// or channels change, a 1×1 convolution with batch normalisation.
#[derive(Module, Debug)]
pub struct BasicBlock {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl BasicBlock {
    fn new(init: &mut Init<'_>, inputs: usize, outputs: usize, stride: usize) -> Self {
        Self {
            first: ConvNorm::new(init, [inputs, outputs], 3, stride, 1.0),
            // γ = 0: each block starts as its shortcut (torchvision's zero_init_residual).
            second: ConvNorm::new(init, [outputs, outputs], 3, 1, 0.0),
            shortcut: (stride != 1 || inputs != outputs)
                .then(|| ConvNorm::new(init, [inputs, outputs], 1, stride, 1.0)),
        }
    }

    fn run(&mut self, x: Tensor<4>, with: Statistics) -> Tensor<4> {
        let h = relu(self.first.run(x.clone(), with));
        let h = self.second.run(h, with);
        relu(match &mut self.shortcut {
            Some(shortcut) => shortcut.run(x, with) + h,
            None => x + h,
        })
    }
}

/// h: images to latents.
#[derive(Module, Debug)]
pub struct Encoder {
    stem: ConvNorm,
    blocks: Vec<BasicBlock>,
    hidden: Linear,
    hidden_norm: BatchNorm,
    out: Linear,
    #[module(skip)]
    normalise: Normalise,
}

impl Encoder {
    /// A new encoder.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid config.
    pub fn new(config: &EncoderConfig, init: &mut Init<'_>) -> Result<Self> {
        config.check()?;
        let mut channels = config.stages[0].0;
        let stem = ConvNorm::stem(init, config.shape[0], channels);
        let mut blocks = Vec::new();
        for (outputs, stride) in config.blocks() {
            blocks.push(BasicBlock::new(init, channels, outputs, stride));
            channels = outputs;
        }
        let (hidden, latent) = (config.hidden, config.latent);
        Ok(Self {
            stem,
            blocks,
            hidden: Linear {
                weight: uniform(init, [channels, hidden], channels),
                // The batch normalisation has its own bias.
                bias: None,
            },
            hidden_norm: BatchNorm::new(init, hidden, 1.0),
            out: Linear {
                weight: uniform(init, [hidden, latent], hidden),
                bias: Some(uniform(init, [latent], hidden)),
            },
            normalise: Normalise::new(config.shape, &config.mean, &config.std, init.device()),
        })
    }

    fn run(&mut self, x: Tensor<2>, with: Statistics) -> Tensor<2> {
        let mut h = relu(self.stem.run(self.normalise.forward(x), with));
        for block in &mut self.blocks {
            h = block.run(h, with);
        }
        let h = self.hidden.forward(global_average(h));
        self.out.forward(relu(self.hidden_norm.run(h, with)))
    }

    /// h(x) before normalisation with the running statistics, `[B, D]` (flattened `[C, H, W]`) →
    /// `[B, latent]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        // Clones share their tensors. Only batch statistics would modify the copy.
        self.clone().run(x, Statistics::Running)
    }

    /// h(x) before normalisation with the batch's statistics, which update the running ones: `[B, D]` →
    /// `[B, latent]`. The authors also use it for the target latents, without a gradient.
    pub fn forward_train(&mut self, x: Tensor<2>) -> Tensor<2> {
        self.run(x, Statistics::Batch)
    }

    /// z = h(x)/‖h(x)‖ with the running statistics, `[B, D]` → `[B, latent]`.
    pub fn latent(&self, x: Tensor<2>) -> Tensor<2> {
        unit_rows(self.forward(x))
    }

    /// z = h(x)/‖h(x)‖ with the batch's statistics, as [`forward_train`](Self::forward_train).
    pub fn latent_train(&mut self, x: Tensor<2>) -> Tensor<2> {
        unit_rows(self.forward_train(x))
    }

    /// Number of trained parameters, without running statistics.
    pub fn parameters(&self) -> usize {
        trained_parameters(self)
    }

    /// The encoder for inference and storage: every normalisation by running statistics is folded into
    /// the layer before it.
    pub fn frozen(&self) -> FrozenEncoder {
        let linear = |layer: &Linear| layer.weight.val().inner();
        let (scale, shift) = self.hidden_norm.folded();
        let [_, width] = self.hidden.weight.dims();
        let [_, latent] = self.out.weight.dims();
        let bias = match &self.out.bias {
            Some(bias) => bias.val().inner(),
            None => Tensor::zeros([latent], &shift.device()),
        };
        FrozenEncoder {
            stem: self.stem.frozen(),
            blocks: self.blocks.iter().map(BasicBlock::frozen).collect(),
            hidden: (linear(&self.hidden) * scale.reshape([1, width]), shift),
            out: (linear(&self.out), bias),
            normalise: self.normalise.clone(),
        }
    }
}

impl BatchNorm {
    /// s and t of y = s·x + t per channel, with the running statistics, outside autodiff.
    fn folded(&self) -> (Tensor<1>, Tensor<1>) {
        let plain = |p: &Param<Tensor<1>>| p.val().inner();
        let scale = plain(&self.gamma) / (plain(&self.running_var) + EPSILON).sqrt();
        let shift = plain(&self.beta) - plain(&self.running_mean) * scale.clone();
        (scale, shift)
    }
}

impl ConvNorm {
    fn frozen(&self) -> Folded {
        let (scale, bias) = self.norm.folded();
        let channels = bias.dims()[0];
        Folded {
            weight: self.weight.val().inner() * scale.reshape([channels, 1, 1, 1]),
            bias,
            stride: self.stride,
        }
    }
}

impl BasicBlock {
    fn frozen(&self) -> FoldedBlock {
        FoldedBlock {
            first: self.first.frozen(),
            second: self.second.frozen(),
            shortcut: self.shortcut.as_ref().map(ConvNorm::frozen),
        }
    }
}

/// A convolution with bias: a folded [`ConvNorm`].
#[derive(Debug, Clone)]
struct Folded {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
}

impl Folded {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let bias = Some(self.bias.clone());
        convolved(x, self.weight.clone(), bias, self.stride)
    }

    fn save(&self, to: &mut DictBuilder, name: &str) {
        to.half(&format!("{name}.weight"), self.weight.clone());
        to.full(&format!("{name}.bias"), self.bias.clone());
    }

    fn load(
        from: &Dict<'_>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Result<Self> {
        Ok(Self {
            weight: from.tensor(&format!("{name}.weight"), [outputs, inputs, kernel, kernel])?,
            bias: from.tensor(&format!("{name}.bias"), [outputs])?,
            stride,
        })
    }
}

#[derive(Debug, Clone)]
struct FoldedBlock {
    first: Folded,
    second: Folded,
    shortcut: Option<Folded>,
}

/// h with fixed weights, for inference only.
#[derive(Debug, Clone)]
pub struct FrozenEncoder {
    stem: Folded,
    blocks: Vec<FoldedBlock>,
    /// `[channels, hidden]` and `[hidden]`
    hidden: (Tensor<2>, Tensor<1>),
    /// `[hidden, latent]` and `[latent]`
    out: (Tensor<2>, Tensor<1>),
    normalise: Normalise,
}

impl FrozenEncoder {
    /// Input of the head: means over the last stage's pixels, `[B, D]` → `[B, channels]`.
    pub fn pooled(&self, x: Tensor<2>) -> Tensor<2> {
        let mut h = relu(self.stem.forward(self.normalise.forward(x)));
        for block in &self.blocks {
            let inner = block.second.forward(relu(block.first.forward(h.clone())));
            let around = match &block.shortcut {
                Some(shortcut) => shortcut.forward(h),
                None => h,
            };
            h = relu(around + inner);
        }
        global_average(h)
    }

    /// The head, applied to [`pooled`](Self::pooled), `[B, channels]` → `[B, latent]`.
    pub fn head(&self, pooled: Tensor<2>) -> Tensor<2> {
        let affine = |x: Tensor<2>, (weight, bias): &(Tensor<2>, Tensor<1>)| {
            x.matmul(weight.clone()) + bias.clone().unsqueeze()
        };
        affine(relu(affine(pooled, &self.hidden)), &self.out)
    }

    /// h(x) before normalisation, `[B, D]` (flattened `[C, H, W]`) → `[B, latent]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.head(self.pooled(x))
    }

    /// z = h(x)/‖h(x)‖, `[B, D]` → `[B, latent]`.
    pub fn latent(&self, x: Tensor<2>) -> Tensor<2> {
        unit_rows(self.forward(x))
    }

    fn layers(&self) -> impl Iterator<Item = (String, &Folded)> {
        let blocks = self.blocks.iter().enumerate().flat_map(|(i, block)| {
            let name = move |part: &str| format!("block.{i}.{part}");
            [
                Some((name("first"), &block.first)),
                Some((name("second"), &block.second)),
                block.shortcut.as_ref().map(|s| (name("shortcut"), s)),
            ]
        });
        std::iter::once(("stem".to_owned(), &self.stem)).chain(blocks.flatten())
    }

    /// Number of stored parameters.
    pub fn parameters(&self) -> usize {
        let dense =
            |(w, b): &(Tensor<2>, Tensor<1>)| w.dims().iter().product::<usize>() + b.dims()[0];
        let convolutions: usize = self
            .layers()
            .map(|(_, l)| l.weight.dims().iter().product::<usize>() + l.bias.dims()[0])
            .sum();
        convolutions + dense(&self.hidden) + dense(&self.out)
    }

    /// Adds all weights to `to` under `prefix.…`: kernels and matrices in f16, biases in f32.
    pub fn save(&self, to: &mut DictBuilder, prefix: &str) {
        for (name, layer) in self.layers() {
            layer.save(to, &format!("{prefix}.{name}"));
        }
        for (name, (weight, bias)) in [("hidden", &self.hidden), ("out", &self.out)] {
            to.half(&format!("{prefix}.{name}.weight"), weight.clone());
            to.full(&format!("{prefix}.{name}.bias"), bias.clone());
        }
    }

    /// Reads an encoder of this architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn load(from: &Dict<'_>, prefix: &str, config: &EncoderConfig) -> Result<Self> {
        config.check()?;
        let layer = |name: &str, channels, kernel, stride| {
            Folded::load(from, &format!("{prefix}.{name}"), channels, kernel, stride)
        };
        let mut channels = config.stages[0].0;
        let stem = layer("stem", [config.shape[0], channels], 3, 1)?;
        let mut blocks = Vec::new();
        for (outputs, stride) in config.blocks() {
            let name = |part: &str| format!("block.{}.{part}", blocks.len());
            let changes = stride != 1 || channels != outputs;
            let block = FoldedBlock {
                first: layer(&name("first"), [channels, outputs], 3, stride)?,
                second: layer(&name("second"), [outputs, outputs], 3, 1)?,
                shortcut: changes
                    .then(|| layer(&name("shortcut"), [channels, outputs], 1, stride))
                    .transpose()?,
            };
            blocks.push(block);
            channels = outputs;
        }
        let dense = |name: &str, [inputs, outputs]: [usize; 2]| -> Result<_> {
            let name = format!("{prefix}.{name}");
            let weight = from.tensor(&format!("{name}.weight"), [inputs, outputs])?;
            Ok((weight, from.tensor(&format!("{name}.bias"), [outputs])?))
        };
        Ok(Self {
            stem,
            blocks,
            hidden: dense("hidden", [channels, config.hidden])?,
            out: dense("out", [config.hidden, config.latent])?,
            normalise: Normalise::new(config.shape, &config.mean, &config.std, from.device()),
        })
    }
}
