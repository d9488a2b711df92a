//! Residual blocks and trunks: forward passes, and for frozen weights hand-written backward passes to
//! the input.

use std::sync::Arc;

#[cfg(any(feature = "native", feature = "web-cpu"))]
use burn::tensor::TensorData;
use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use serde::{Deserialize, Serialize};

#[cfg(any(feature = "native", feature = "web-cpu"))]
use super::super::cpu::{self, Cache};
#[cfg(feature = "kernels")]
use super::super::gpu;
use super::{
    super::{
        frozen::{BlockWeights, Weights},
        layers::{Init, leaky, leaky_back},
        spectral::{ConvShape, Convolution, FrozenConv, SpectralConv, cast},
    },
    config::EnergyNetConfig,
    parts::{Source, global_average, pool, unpool},
};

/// A pre-activation residual block, s(x) + conv(lrelu(conv(lrelu(x)))) with 3×3 convolutions; s is a 1×1
/// convolution without bias if the number of channels changes, else the identity.
#[derive(Module, Debug)]
pub struct Block<C: Convolution> {
    pub(super) first: C,
    pub(super) second: C,
    pub(super) shortcut: Option<C>,
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

    /// `[B, C_in, H, W]` → `[B, C_out, H, W]`, with half the height and width if the block starts a
    /// stage other than the first.
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
    /// A single block, for tests.
    pub fn new(init: &mut Init<'_>, inputs: usize, outputs: usize) -> Self {
        let Ok(block) = Self::build(init, "", [inputs, outputs], false);
        block
    }

    /// The block after one power iteration of every convolution.
    pub fn iterated(self) -> Self {
        self.convert(&mut SpectralConv::iterated)
    }
}

/// Activations of a block's forward pass, needed for its backward pass.
pub(super) struct BlockTape {
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

/// Precision of the trunks of a [`FrozenEnergyNet`](super::FrozenEnergyNet). The head and the chains' states stay in f32; the
/// rounding of the features affects energies and gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24-bit significand.
    #[default]
    F32,
    /// 11-bit significand.
    F16,
    /// 8-bit significand, with the range of f32.
    Bf16,
}

impl Precision {
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Whether a device supports it.
    pub fn is_supported(self, device: &Device) -> bool {
        self == Self::F32 || device.clone().inner().supports_dtype(self.dtype())
    }
}

/// Activations of a trunk's forward pass, needed for its backward pass.
pub(super) enum TrunkTape {
    /// Of the tensor library: of every block, and before the last leaky ReLU.
    Tensors(Vec<BlockTape>, Box<Tensor<4>>),
    /// Of our own kernels for the CPU.
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    Cpu {
        plan: Arc<cpu::trunk::TrunkPlan>,
        tape: cpu::trunk::Tape,
    },
    /// Of our own kernels for the GPU.
    #[cfg(feature = "kernels")]
    Gpu {
        plan: Arc<gpu::trunk::TrunkPlan>,
        tape: Box<gpu::trunk::Tape>,
    },
}

impl Trunk<FrozenConv> {
    fn convolutions(&self) -> impl Iterator<Item = &FrozenConv> {
        let blocks = self.blocks.iter();
        std::iter::once(&self.stem).chain(blocks.flat_map(|block| {
            [&block.first, &block.second]
                .into_iter()
                .chain(&block.shortcut)
        }))
    }

    /// Stem and blocks, with W and the bias of each [convolution](Self::convolutions) in turn.
    fn weights<'a>(
        &self,
        mut next: impl Iterator<Item = [&'a [f32]; 2]>,
    ) -> (Weights<'a>, Vec<BlockWeights<'a>>) {
        let mut take = |conv: &FrozenConv| {
            let [outputs, inputs, kernel, _] = conv.weight.dims();
            let [weight, bias] = next.next().unwrap_or_default();
            let shape = ConvShape {
                inputs,
                outputs,
                kernel,
                bias: conv.bias.is_some(),
            };
            Weights {
                weight,
                bias,
                shape,
            }
        };
        let stem = take(&self.stem);
        let mut blocks = Vec::new();
        for block in &self.blocks {
            blocks.push(BlockWeights {
                first: take(&block.first),
                second: take(&block.second),
                shortcut: block.shortcut.as_ref().map(&mut take),
                pooled: block.pooled,
            });
        }
        (stem, blocks)
    }

    /// Through our own kernels; `None` where these do not apply.
    fn forward_planned(&self, x: &Tensor<4>) -> Option<(Tensor<2>, TrunkTape)> {
        #[cfg(any(feature = "native", feature = "web-cpu"))]
        if let Some(done) = self.forward_on_cpu(x) {
            return Some(done);
        }
        #[cfg(feature = "kernels")]
        if let Some(done) = self.forward_on_gpu(x) {
            return Some(done);
        }
        None
    }

    #[cfg(any(feature = "native", feature = "web-cpu"))]
    fn forward_on_cpu(&self, x: &Tensor<4>) -> Option<(Tensor<2>, TrunkTape)> {
        let images = cpu::values(x)?;
        let mut weights = Vec::new();
        for conv in self.convolutions() {
            weights.push(cpu::values(&conv.weight.val())?);
            if let Some(bias) = &conv.bias {
                weights.push(cpu::values(&bias.val())?);
            }
        }
        let plan = self.cpu.of(weights, |weights| {
            let mut next = weights.iter().map(|w| w.storage::<f32>());
            let mut take = || next.next().unwrap_or_default();
            let convolutions = self.convolutions();
            let pairs = convolutions.map(|conv| match conv.bias {
                Some(_) => [take(), take()],
                None => [take(), &[]],
            });
            let (stem, blocks) = self.weights(pairs);
            cpu::trunk::TrunkPlan::new(&stem, &blocks)
        });
        let [batch, _, height, width] = x.dims();
        let (features, tape) = plan.forward(images.storage::<f32>(), [height, width]);
        let shape = [batch, plan.features()];
        let features = Tensor::from_data(TensorData::new(features, shape), &x.device());
        Some((features, TrunkTape::Cpu { plan, tape }))
    }

    #[cfg(feature = "kernels")]
    fn forward_on_gpu(&self, x: &Tensor<4>) -> Option<(Tensor<2>, TrunkTape)> {
        let (device, [_, _, height, width]) = (x.device(), x.dims());
        let size = [height, width];
        let plan = self.gpu.of(&device, size, || {
            // Before anything is read: `None` on the CPU and under autodiff.
            gpu::trunk::device(&device)?;
            let host: Option<Vec<_>> = self.convolutions().map(FrozenConv::on_host).collect();
            let host = host?;
            let pairs = host.iter().map(|pair| pair.each_ref().map(Vec::as_slice));
            let (stem, blocks) = self.weights(pairs);
            gpu::trunk::TrunkPlan::new(&device, &stem, &blocks, size)
        })?;
        let (features, tape) = plan.forward(x.clone())?;
        let tape = Box::new(tape);
        Some((features, TrunkTape::Gpu { plan, tape }))
    }
}

impl Trunk<FrozenConv> {
    pub(super) fn forward_taped(&self, x: Tensor<4>) -> (Tensor<2>, TrunkTape) {
        if let Some(done) = self.forward_planned(&x) {
            return done;
        }
        let mut h = self.stem.forward(cast(x, self.stem.precision()));
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (out, tape) = block.forward_taped(h);
            h = out;
            blocks.push(tape);
        }
        let last = cast(leaky(h.clone()), DType::F32);
        (
            global_average(last),
            TrunkTape::Tensors(blocks, Box::new(h)),
        )
    }

    /// From ∂E/∂features, `[B, C′]`, to ∂E/∂x, `[B, C, H, W]`.
    pub(super) fn pull_back(&self, gradient: Tensor<2>, tape: TrunkTape) -> Tensor<4> {
        let (blocks, last) = match tape {
            TrunkTape::Tensors(blocks, last) => (blocks, *last),
            #[cfg(any(feature = "native", feature = "web-cpu"))]
            TrunkTape::Cpu { plan, tape } => {
                let [batch, _] = gradient.dims();
                let [height, width] = tape.size;
                // The forward pass was on the CPU, so its gradient is.
                let values = cpu::values(&gradient);
                let values = values.as_ref().map_or(&[][..], |g| g.storage::<f32>());
                let images = plan.pull_back(values, &tape);
                let shape = [batch, plan.channels(), height, width];
                return Tensor::from_data(TensorData::new(images, shape), &gradient.device());
            }
            #[cfg(feature = "kernels")]
            TrunkTape::Gpu { plan, tape } => {
                let device = gradient.device();
                let [batch, _] = gradient.dims();
                let [channels, height, width] = plan.image();
                // The forward pass was on this device. Were its gradient not, it must not pass for a number.
                return plan.pull_back(gradient, &tape).unwrap_or_else(|| {
                    Tensor::full([batch, channels, height, width], f32::NAN, &device)
                });
            }
        };
        let [b, c, h, w] = last.dims();
        let precision = self.stem.precision();
        // The backward pass is linear. At low precision each row is scaled to a largest value of 1,
        // since the gradients of these energies are so small that f16 would round them to zero.
        let scale =
            (precision != DType::F32).then(|| gradient.clone().abs().max_dim(1).clamp_min(1e-30));
        let even = match &scale {
            Some(scale) => gradient / scale.clone(),
            None => gradient / (h * w) as f64,
        };
        let even = cast(even, precision)
            .reshape([b, c, 1, 1])
            .expand([b, c, h, w]);
        let mut gradient = leaky_back(last, even);
        for (block, tape) in self.blocks.iter().zip(blocks).rev() {
            gradient = block.pull_back(gradient, tape);
        }
        let gradient = self.stem.pull_back(gradient);
        match scale {
            Some(scale) => {
                let scale = scale / (h * w) as f64;
                cast(gradient, DType::F32) * scale.reshape([b, 1, 1, 1])
            }
            None => gradient,
        }
    }
}

/// A stem and its residual blocks, up to the pooled features of one scale.
#[derive(Module, Debug)]
pub struct Trunk<C: Convolution> {
    pub(super) stem: C,
    pub(super) blocks: Vec<Block<C>>,
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    #[module(skip)]
    cpu: Cache<cpu::trunk::TrunkPlan>,
    #[cfg(feature = "kernels")]
    #[module(skip)]
    gpu: gpu::Plans<gpu::trunk::TrunkPlan>,
}

impl<C: Convolution> Trunk<C> {
    pub(super) fn build<S: Source<C>>(
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
        Ok(Self {
            stem,
            blocks,
            #[cfg(any(feature = "native", feature = "web-cpu"))]
            cpu: Cache::default(),
            #[cfg(feature = "kernels")]
            gpu: gpu::Plans::default(),
        })
    }

    /// `[B, C, H, W]` → `[B, C′]`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<2>
    where
        C: Planned,
    {
        if let Some(features) = C::planned(self, &x) {
            return features;
        }
        let stem = self.stem.forward(cast(x, self.stem.precision()));
        let h = self.blocks.iter().fold(stem, |h, block| block.forward(h));
        global_average(cast(leaky(h), DType::F32))
    }

    pub(super) fn convert<D: Convolution>(self, to: &mut impl FnMut(C) -> D) -> Trunk<D> {
        Trunk {
            stem: to(self.stem),
            blocks: self.blocks.into_iter().map(|b| b.convert(to)).collect(),
            #[cfg(any(feature = "native", feature = "web-cpu"))]
            cpu: Cache::default(),
            #[cfg(feature = "kernels")]
            gpu: gpu::Plans::default(),
        }
    }
}

/// A kind of convolution whose trunks may have a plan.
pub trait Planned: Convolution {
    /// Features of images through our own kernels, `[B, C, H, W]` → `[B, C′]`; `None` where these do not
    /// apply.
    fn planned(trunk: &Trunk<Self>, x: &Tensor<4>) -> Option<Tensor<2>>
    where
        Self: Sized;
}

/// Its weights change.
impl Planned for SpectralConv {
    fn planned(_: &Trunk<Self>, _: &Tensor<4>) -> Option<Tensor<2>> {
        None
    }
}

impl Planned for FrozenConv {
    fn planned(trunk: &Trunk<Self>, x: &Tensor<4>) -> Option<Tensor<2>> {
        trunk.forward_planned(x).map(|(features, _)| features)
    }
}
