//! The energy network of CLEL (Lee, Jeong, Park, Shin, "Guiding Energy-based Models via Contrastive
//! Latent Variables", ICLR 2023, arXiv 2303.03023): E(x) = ½‖f(x)‖² with f a pre-activation ResNet
//! without normalisation layers, and a projector g whose direction g(f(x))/‖g(f(x))‖ is compared
//! with contrastive latents. Architectures and initialisation are those of the authors' code.
//!
//! One network is written for both forms: [`EnergyNet`] learns, [`FrozenEnergyNet`] is what chains
//! walk on and what is stored.

use std::convert::Infallible;

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor, TensorData, module::avg_pool2d, ops::AvgPoolOptions},
};
use serde::{Deserialize, Serialize};

use super::{
    dict::{Dict, DictBuilder},
    layers::{Init, LEAK, leaky},
    spectral::{
        ConvShape, Convolution, FrozenConv, SpectralConv, cast, filled, normal, trained_parameters,
    },
};
use crate::error::{Error, Result};

/// Architecture of f and g.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyNetConfig {
    /// `[channels, height, width]` of x.
    pub shape: [usize; 3],
    /// (channels, residual blocks) of each stage; the stem makes the first stage's channels. Before
    /// every stage but the first, 2×2 averages halve the image. An odd size is rounded down: its
    /// last row or column is left out, as torch does (28 → 14 → 7 → 3).
    pub stages: Vec<(usize, usize)>,
    /// Independent trunks: trunk i sees the 2ⁱ×2ⁱ averages of x.
    pub scales: usize,
    /// Hidden units of the head and of the projector.
    pub hidden: usize,
    /// Dimension of f(x) and of g(f(x)).
    pub features: usize,
    /// Mean of each channel, subtracted from x.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel that x is then divided by.
    pub std: Vec<f64>,
}

impl EnergyNetConfig {
    fn preset(
        shape: [usize; 3],
        mean: &[f64],
        std: &[f64],
        stages: [(usize, usize); 4],
        scales: usize,
    ) -> Self {
        Self {
            shape,
            stages: stages.into(),
            scales,
            hidden: 2048,
            features: 128,
            mean: mean.into(),
            std: std.into(),
        }
    }

    /// Ours, for 28×28 grey images: 1.09 M parameters.
    pub fn tiny(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(32, 1), (32, 1), (64, 1), (64, 1)];
        Self::preset(shape, mean, std, stages, 1)
    }

    /// The authors' `resnet_small`: 1.73 M parameters.
    pub fn small(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(64, 1), (64, 1), (128, 1), (128, 1)];
        Self::preset(shape, mean, std, stages, 1)
    }

    /// CLEL-Base, the authors' `resnet`: 6.96 M parameters.
    pub fn base(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(128, 2), (128, 2), (256, 2), (256, 2)];
        Self::preset(shape, mean, std, stages, 1)
    }

    /// CLEL-Large, the authors' `resnet_large`: three trunks, 30.7 M parameters.
    pub fn large(shape: [usize; 3], mean: &[f64], std: &[f64]) -> Self {
        let stages = [(256, 2), (256, 2), (256, 2), (256, 2)];
        Self::preset(shape, mean, std, stages, 3)
    }

    /// Dimension of x.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that every number is usable and that pooling leaves pixels for the last stage.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming what does not fit.
    pub fn check(&self) -> Result<()> {
        check_stages("energy net", &self.stages)?;
        check_normalisation("energy net", self.shape, &self.mean, &self.std)?;
        let [_, h, w] = self.shape;
        // Averaging by 2ⁱ and then n times by 2, each rounded down, is ⌊side/2ⁱ⁺ⁿ⌋.
        let halvings = (self.scales + self.stages.len()).saturating_sub(2) as u32;
        let needed = 1_usize.checked_shl(halvings).unwrap_or(usize::MAX);
        if self.scales == 0 || h.min(w) < needed || self.hidden == 0 || self.features == 0 {
            return Err(Error::invalid(
                "energy net",
                format!(
                    "at least one scale, hidden unit and feature, and images of {needed} pixels a \
                     side or more"
                ),
                format!(
                    "{} scales, {} hidden units, {} features, {h}×{w} pixels",
                    self.scales, self.hidden, self.features
                ),
                "take fewer stages or scales, or larger images",
            ));
        }
        Ok(())
    }
}

/// Checks that there are stages and that each has channels and blocks.
pub(super) fn check_stages(what: &str, stages: &[(usize, usize)]) -> Result<()> {
    if stages.is_empty() || stages.iter().any(|&(c, n)| c == 0 || n == 0) {
        return Err(Error::invalid(
            format!("stages of the {what}"),
            "at least one stage, each of at least one channel and one block",
            format!("{stages:?}"),
            "change the stages",
        ));
    }
    Ok(())
}

/// Checks that mean and standard deviation fit the channels of `shape`.
pub(super) fn check_normalisation(
    what: &str,
    shape: [usize; 3],
    mean: &[f64],
    std: &[f64],
) -> Result<()> {
    let [c, h, w] = shape;
    let fits = c * h * w > 0
        && mean.len() == c
        && std.len() == c
        && mean.iter().all(|m| m.is_finite())
        && std.iter().all(|s| s.is_finite() && *s > 0.0);
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        format!("input of the {what}"),
        "an image shape, and a finite mean and a positive standard deviation for each channel",
        format!("shape {shape:?}, mean {mean:?}, std {std:?}"),
        "change shape, mean or std",
    ))
}

/// (x − mean)/std per channel. Constants on the plain device, which no optimiser sees.
#[derive(Debug, Clone)]
pub(super) struct Normalise {
    shape: [usize; 3],
    mean: Tensor<4>,
    std: Tensor<4>,
}

impl Normalise {
    pub(super) fn new(shape: [usize; 3], mean: &[f64], std: &[f64], device: &Device) -> Self {
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
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<4> {
        let [c, h, w] = self.shape;
        let batch = x.dims()[0];
        let [mean, std] = [&self.mean, &self.std].map(|t| beside(t, &x.device()));
        (x.reshape([batch, c, h, w]) - mean) / std
    }

    /// From ∂E/∂y of the normalised images to ∂E/∂x.
    fn pull_back(&self, gradient: Tensor<4>) -> Tensor<4> {
        let std = beside(&self.std, &gradient.device());
        gradient / std
    }
}

/// A constant where it is needed: a copy of a network may have gone to another device, and its
/// constants, which are no parameters, have not gone with it.
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
    // The bound is under the root, where the gradient of a zero row stays finite.
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

/// What a [`Linear`] is made for.
#[derive(Debug, Clone, Copy)]
struct LinearShape {
    inputs: usize,
    outputs: usize,
    bias: bool,
}

/// Two fully connected layers with leaky ReLU 0.2 between them.
#[derive(Module, Debug)]
pub struct Mlp {
    first: Linear,
    second: Linear,
}

impl Mlp {
    /// `[B, in]` → `[B, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(leaky(self.first.forward(x)))
    }
}

/// Where a network's layers come from, by name: random numbers, or a file.
trait Source<C> {
    /// What can go wrong.
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

/// A pre-activation residual block, s(x) + conv(lrelu(conv(lrelu(x)))) with 3×3 convolutions; s is
/// a 1×1 convolution without bias where the channels change, else the identity.
#[derive(Module, Debug)]
pub struct Block<C: Convolution> {
    first: C,
    second: C,
    shortcut: Option<C>,
    #[module(skip)]
    pooled: bool,
}

impl<C: Convolution> Block<C> {
    fn build<S: Source<C>>(
        source: &mut S,
        name: &str,
        [inputs, outputs]: [usize; 2],
        pooled: bool,
    ) -> Result<Self, S::Error> {
        let mut conv = |part: &str, inputs, kernel| {
            let shape = ConvShape {
                inputs,
                outputs,
                kernel,
                bias: kernel > 1,
            };
            source.conv(&format!("{name}.{part}"), shape)
        };
        Ok(Self {
            first: conv("first", inputs, 3)?,
            second: conv("second", outputs, 3)?,
            shortcut: (inputs != outputs)
                .then(|| conv("shortcut", inputs, 1))
                .transpose()?,
            pooled,
        })
    }

    /// `[B, C_in, H, W]` → `[B, C_out, H, W]`, or half the height and width if the block opens a
    /// stage.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = if self.pooled { pool(x, 2) } else { x };
        let h = self.first.forward(leaky(x.clone()));
        let h = self.second.forward(leaky(h));
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + h,
            None => x + h,
        }
    }

    fn convert<D: Convolution>(self, to: &mut impl FnMut(C) -> D) -> Block<D> {
        Block {
            first: to(self.first),
            second: to(self.second),
            shortcut: self.shortcut.map(to),
            pooled: self.pooled,
        }
    }
}

impl Block<SpectralConv> {
    /// A block of its own, for tests of it.
    pub fn new(init: &mut Init<'_>, inputs: usize, outputs: usize) -> Self {
        let Ok(block) = Self::build(init, "", [inputs, outputs], false);
        block
    }

    /// The block after one power iteration of every convolution.
    pub fn iterated(self) -> Self {
        self.convert(&mut SpectralConv::iterated)
    }
}

/// k×k averages at stride k; what is left over at the end of an odd size is left out.
fn pool(x: Tensor<4>, k: usize) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([k, k]))
}

/// From ∂E/∂pool(x, k) to ∂E/∂x for x of the given height and width.
fn unpool(gradient: Tensor<4>, k: usize, [height, width]: [usize; 2]) -> Tensor<4> {
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

/// ∂leaky(x)/∂x · gradient.
fn leaky_back<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<D> {
    let slope = gradient.clone() * LEAK;
    gradient.mask_where(x.lower_elem(0.0), slope)
}

/// What a block's forward pass leaves for its way back.
struct BlockTape {
    input: Tensor<4>,
    middle: Tensor<4>,
    size: [usize; 2],
}

impl Block<FrozenConv> {
    fn forward_taped(&self, x: Tensor<4>) -> (Tensor<4>, BlockTape) {
        let [_, _, height, width] = x.dims();
        let input = if self.pooled { pool(x, 2) } else { x };
        let middle = self.first.forward(leaky(input.clone()));
        let h = self.second.forward(leaky(middle.clone()));
        let out = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input.clone()) + h,
            None => input.clone() + h,
        };
        let size = [height, width];
        let tape = BlockTape {
            input,
            middle,
            size,
        };
        (out, tape)
    }

    fn pull_back(&self, gradient: Tensor<4>, tape: BlockTape) -> Tensor<4> {
        let h = leaky_back(tape.middle, self.second.pull_back(gradient.clone()));
        let h = leaky_back(tape.input, self.first.pull_back(h));
        let around = match &self.shortcut {
            Some(shortcut) => shortcut.pull_back(gradient),
            None => gradient,
        };
        let gradient = around + h;
        if self.pooled {
            unpool(gradient, 2, tape.size)
        } else {
            gradient
        }
    }
}

/// What the trunks of a [`FrozenEnergyNet`] compute in. The head stays in f32, as do the chains' states; the
/// features are rounded, and with them energies and gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits.
    #[default]
    F32,
    /// 11 bits.
    F16,
    /// 8 bits, with the range of f32.
    Bf16,
}

impl Precision {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Whether a device computes in it.
    pub fn is_supported(self, device: &Device) -> bool {
        self == Self::F32 || device.clone().inner().supports_dtype(self.dtype())
    }
}

/// What a trunk's forward pass leaves for its way back.
struct TrunkTape {
    blocks: Vec<BlockTape>,
    last: Tensor<4>,
}

impl Trunk<FrozenConv> {
    fn forward_taped(&self, x: Tensor<4>) -> (Tensor<2>, TrunkTape) {
        let mut h = self.stem.forward(cast(x, self.stem.precision()));
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (out, tape) = block.forward_taped(h);
            h = out;
            blocks.push(tape);
        }
        let last = cast(leaky(h.clone()), DType::F32);
        (global_average(last), TrunkTape { blocks, last: h })
    }

    fn pull_back(&self, gradient: Tensor<2>, tape: TrunkTape) -> Tensor<4> {
        let [b, c, h, w] = tape.last.dims();
        let precision = self.stem.precision();
        // The way back is linear: in few bits it goes with a largest value of one in each row, since
        // gradients as small as these energies have are below what f16 can tell from zero.
        let size =
            (precision != DType::F32).then(|| gradient.clone().abs().max_dim(1).clamp_min(1e-30));
        let even = match &size {
            Some(size) => gradient / size.clone(),
            None => gradient / (h * w) as f64,
        };
        let even = cast(even, precision)
            .reshape([b, c, 1, 1])
            .expand([b, c, h, w]);
        let mut gradient = leaky_back(tape.last, even);
        for (block, tape) in self.blocks.iter().zip(tape.blocks).rev() {
            gradient = block.pull_back(gradient, tape);
        }
        let gradient = self.stem.pull_back(gradient);
        match size {
            Some(size) => {
                let size = size / (h * w) as f64;
                cast(gradient, DType::F32) * size.reshape([b, 1, 1, 1])
            }
            None => gradient,
        }
    }
}

/// A stem and its residual blocks, up to the pooled features of one scale.
#[derive(Module, Debug)]
pub struct Trunk<C: Convolution> {
    stem: C,
    blocks: Vec<Block<C>>,
}

impl<C: Convolution> Trunk<C> {
    fn build<S: Source<C>>(
        source: &mut S,
        name: &str,
        config: &EnergyNetConfig,
    ) -> Result<Self, S::Error> {
        let mut channels = config.stages[0].0;
        let shape = ConvShape {
            inputs: config.shape[0],
            outputs: channels,
            kernel: 3,
            bias: true,
        };
        let stem = source.conv(&format!("{name}.stem"), shape)?;
        let mut blocks = Vec::new();
        for (i, &(outputs, count)) in config.stages.iter().enumerate() {
            for j in 0..count {
                let name = format!("{name}.block.{}", blocks.len());
                let pooled = i > 0 && j == 0;
                blocks.push(Block::build(source, &name, [channels, outputs], pooled)?);
                channels = outputs;
            }
        }
        Ok(Self { stem, blocks })
    }

    /// `[B, C, H, W]` → `[B, C′]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let stem = self.stem.forward(cast(x, self.stem.precision()));
        let h = self.blocks.iter().fold(stem, |h, block| block.forward(h));
        global_average(cast(leaky(h), DType::F32))
    }

    fn convert<D: Convolution>(self, to: &mut impl FnMut(C) -> D) -> Trunk<D> {
        Trunk {
            stem: to(self.stem),
            blocks: self.blocks.into_iter().map(|b| b.convert(to)).collect(),
        }
    }
}

/// f and g with convolutions of kind C.
#[derive(Module, Debug)]
pub struct Net<C: Convolution> {
    trunks: Vec<Trunk<C>>,
    head: Mlp,
    projector: Mlp,
    #[module(skip)]
    normalise: Normalise,
}

/// The network while it learns. Its convolutions compute W/σ at every pass, tracked.
pub type EnergyNet = Net<SpectralConv>;

/// The network with fixed weights on the plain device, differentiable in x only.
pub type FrozenEnergyNet = Net<FrozenConv>;

impl<C: Convolution> Net<C> {
    /// For a checked config.
    fn build<S: Source<C>>(
        source: &mut S,
        config: &EnergyNetConfig,
        device: &Device,
    ) -> Result<Self, S::Error> {
        let last = config.stages[config.stages.len() - 1].0;
        let (hidden, features) = (config.hidden, config.features);
        Ok(Self {
            trunks: (0..config.scales)
                .map(|i| Trunk::build(source, &format!("energy.trunk.{i}"), config))
                .collect::<Result<_, _>>()?,
            head: source.mlp(
                "energy.head",
                [last * config.scales, hidden, features],
                true,
            )?,
            projector: source.mlp("energy.projector", [features, hidden, features], false)?,
            normalise: Normalise::new(config.shape, &config.mean, &config.std, device),
        })
    }

    /// f(x), `[B, D]` (flattened `[C, H, W]`) → `[B, features]`.
    pub fn features(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.normalise.forward(x);
        let pooled = self
            .trunks
            .iter()
            .enumerate()
            .map(|(i, trunk)| match i {
                0 => trunk.forward(x.clone()),
                _ => trunk.forward(pool(x.clone(), 1 << i)),
            })
            .collect();
        self.head.forward(Tensor::cat(pooled, 1))
    }

    /// E(x) = ½‖f(x)‖², `[B, D]` → `[B]`: minus the logarithm of the marginal density of x, up to
    /// a constant (arXiv 2303.03023, §3).
    pub fn energy(&self, x: Tensor<2>) -> Tensor<1> {
        energy_of(self.features(x))
    }

    /// g(f), `[B, features]` → `[B, features]`; its [direction](unit_rows) is what latents are
    /// compared with.
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        self.projector.forward(features)
    }

    fn convert<D: Convolution>(self, to: &mut impl FnMut(C) -> D) -> Net<D> {
        Net {
            trunks: self.trunks.into_iter().map(|t| t.convert(to)).collect(),
            head: self.head,
            projector: self.projector,
            normalise: self.normalise,
        }
    }
}

/// ½‖f‖² of each row, `[B, features]` → `[B]`.
pub fn energy_of(features: Tensor<2>) -> Tensor<1> {
    let batch = features.dims()[0];
    features.powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5
}

impl Net<SpectralConv> {
    /// A new network.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a config that does not fit.
    pub fn new(config: &EnergyNetConfig, init: &mut Init<'_>) -> Result<Self> {
        config.check()?;
        let device = init.device().clone();
        let Ok(net) = Self::build(init, config, &device);
        Ok(net)
    }

    /// One power iteration of every convolution: what torch does at each forward pass in training
    /// mode, here once for each change of the weights.
    pub fn iterate(&mut self) {
        *self = self.clone().iterated();
    }

    /// The network after one more [power iteration](Self::iterate).
    pub fn iterated(self) -> Self {
        self.convert(&mut SpectralConv::iterated)
    }

    /// The network with W/σ computed once. A moving average of networks averages u and v too, which
    /// makes them a little short: iterate the average before freezing it.
    pub fn frozen(&self) -> FrozenEnergyNet {
        self.clone().valid().convert(&mut |conv| conv.frozen())
    }

    /// Number of trained parameters, those of g included; u and v are none.
    pub fn parameters(&self) -> usize {
        trained_parameters(self)
    }
}

impl Net<FrozenConv> {
    /// The network with trunks that compute in another [`Precision`].
    pub fn in_precision(self, precision: Precision) -> Self {
        match precision {
            Precision::F32 => self,
            other => self.convert(&mut |conv: FrozenConv| conv.cast(other.dtype())),
        }
    }

    /// An energy that depends on x through f alone, and its gradient in x: `[B, D]` → (`[B]`,
    /// `[B, D]`). `energy` gets features `[B, features]` under autodiff.
    ///
    /// Autodiff sees the head alone. The trunks, nearly all of the work, are walked back by hand:
    /// their weights are fixed and their convolutions' adjoints known, which costs about half of
    /// what the tape does and leaves nothing behind. (A test compares the two.)
    pub fn differentiate(
        &self,
        x: Tensor<2>,
        energy: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> (Tensor<1>, Tensor<2>) {
        let [batch, dim] = x.dims();
        let x = self.normalise.forward(x);
        let [_, _, height, width] = x.dims();
        let (mut pooled, mut tapes) = (Vec::new(), Vec::new());
        for (i, trunk) in self.trunks.iter().enumerate() {
            let seen = match i {
                0 => x.clone(),
                _ => pool(x.clone(), 1 << i),
            };
            let (features, tape) = trunk.forward_taped(seen);
            pooled.push(features);
            tapes.push(tape);
        }
        let leaf = Tensor::cat(pooled, 1).autodiff().require_grad();
        let value = energy(self.head.forward(leaf.clone()));
        let mut grads = value.clone().sum().backward();
        let pulled = leaf
            .grad_remove(&mut grads)
            .unwrap_or_else(|| leaf.clone().inner().zeros_like());
        let each = pulled.dims()[1] / self.trunks.len();
        let mut total = x.zeros_like();
        for (i, (trunk, tape)) in self.trunks.iter().zip(tapes).enumerate() {
            let gradient = trunk.pull_back(pulled.clone().narrow(1, i * each, each), tape);
            total = total
                + match i {
                    0 => gradient,
                    _ => unpool(gradient, 1 << i, [height, width]),
                };
        }
        let gradient = self.normalise.pull_back(total).reshape([batch, dim]);
        (value.inner(), gradient)
    }

    /// Number of stored parameters, those of g included.
    pub fn parameters(&self) -> usize {
        self.num_params()
    }

    /// Adds all weights to `to` under `energy.…`: W/σ and matrices in f16, biases in f32.
    pub fn save(&self, to: &mut DictBuilder) {
        for (i, trunk) in self.trunks.iter().enumerate() {
            let name = format!("energy.trunk.{i}");
            trunk.stem.save(to, &format!("{name}.stem"));
            for (j, block) in trunk.blocks.iter().enumerate() {
                let name = format!("{name}.block.{j}");
                block.first.save(to, &format!("{name}.first"));
                block.second.save(to, &format!("{name}.second"));
                if let Some(shortcut) = &block.shortcut {
                    shortcut.save(to, &format!("{name}.shortcut"));
                }
            }
        }
        for (mlp, name) in [(&self.head, "head"), (&self.projector, "projector")] {
            for (layer, part) in [(&mlp.first, "first"), (&mlp.second, "second")] {
                let name = format!("energy.{name}.{part}");
                to.half(&format!("{name}.weight"), layer.weight.val());
                if let Some(bias) = &layer.bias {
                    to.full(&format!("{name}.bias"), bias.val());
                }
            }
        }
    }

    /// Reads a network of this architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn load(from: &Dict<'_>, config: &EnergyNetConfig) -> Result<Self> {
        config.check()?;
        Self::build(&mut { from }, config, from.device())
    }
}
