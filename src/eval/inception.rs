//! The feature network of the Fréchet Inception Distance (Heusel et al. 2017): Inception-v3 (Szegedy
//! et al., arXiv 1512.00567) with the weights that Google published on 2015-12-05, up to the global
//! average "pool3".
//!
//! Layers, names and weights are those of pytorch-fid (<https://github.com/mseitzer/pytorch-fid>), a
//! port of the TensorFlow graph. Differences from torchvision's Inception-v3: average pooling excludes
//! the padding, the last block uses max pooling where all others average, and the weights differ.

use std::{fs, path::Path};

use burn::tensor::{
    Device, Tensor, TensorData,
    module::{avg_pool2d, interpolate, max_pool2d},
    ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions},
};
use pytorch_reader::{DType, PytorchReader};

use crate::{
    error::{Error, Result},
    nn::{
        conv::{Layout, Window, convolve},
        dict::Dict,
        layers::relu,
        resnet::global_average,
    },
};

/// Number of features per image.
pub const FEATURES: usize = 2048;

/// Height and width of the network's training images.
pub const SIZE: usize = 299;

/// Added to the variance by all batch normalisations.
const EPSILON: f64 = 1e-3;

/// Number of classes of the 2015 network: its unused last layer distinguishes it from torchvision's.
const CLASSES: usize = 1008;

const GET: &str = "give pt_inception-2015-12-05-6726825d.pth from \
    https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights, or its tensors under the same \
    names as .safetensors";

/// One convolution without bias, its batch normalisation, and a ReLU.
#[derive(Debug)]
struct Layer {
    name: &'static str,
    outputs: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
}

/// A layer that keeps height and width.
const fn same(name: &'static str, outputs: usize, kernel: [usize; 2]) -> Layer {
    Layer {
        name,
        outputs,
        kernel,
        stride: 1,
        padding: [kernel[0] / 2, kernel[1] / 2],
    }
}

/// A 3×3 layer without padding.
const fn valid(name: &'static str, outputs: usize, stride: usize) -> Layer {
    Layer {
        name,
        outputs,
        kernel: [3, 3],
        stride,
        padding: [0, 0],
    }
}

/// A [`Layer`] with its batch normalisation folded into weight and bias.
#[derive(Debug)]
struct Conv {
    /// `[C_out, C_in, kh, kw]`
    weight: Tensor<4>,
    /// `[C_out]`
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 2],
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, ky, kx] = self.weight.dims();
        let window = Window {
            kernel: [ky, kx],
            stride: [self.stride; 2],
            padding: self.padding,
        };
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        relu(convolve(x, weight, bias, window, Layout::ChannelsFirst))
    }
}

/// Pooling before a branch's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Nothing,
    /// 3×3 at stride 1, excluding the padding.
    Average,
    /// 3×3 at stride 1.
    Maximum,
    /// 3×3 at stride 2, without padding.
    Halve,
}

impl Pool {
    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Nothing => x,
            Self::Average => avg_pool2d(
                x,
                AvgPoolOptions::new([3, 3])
                    .with_stride([1, 1])
                    .with_padding([1, 1])
                    .with_count_include_pad(false),
            ),
            Self::Maximum => max_pool2d(
                x,
                MaxPoolOptions::new([3, 3])
                    .with_stride([1, 1])
                    .with_padding([1, 1]),
            ),
            Self::Halve => max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2])),
        }
    }
}

/// A branch: pooling, a chain of layers, then parallel layers whose outputs are concatenated. `L` is a
/// [`Layer`] (planned) or a [`Conv`] (built).
#[derive(Debug)]
struct Branch<L> {
    pool: Pool,
    chain: Vec<L>,
    fork: Vec<L>,
}

impl Branch<Layer> {
    fn new<const N: usize>(pool: Pool, chain: [Layer; N]) -> Self {
        Self {
            pool,
            chain: chain.into(),
            fork: Vec::new(),
        }
    }

    fn of<const N: usize>(chain: [Layer; N]) -> Self {
        Self::new(Pool::Nothing, chain)
    }

    fn forked(mut self, fork: [Layer; 2]) -> Self {
        self.fork = fork.into();
        self
    }
}

impl Branch<Conv> {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let pooled = self.pool.forward(x);
        let x = self.chain.iter().fold(pooled, |x, conv| conv.forward(x));
        if self.fork.is_empty() {
            return x;
        }
        let sides = self.fork.iter().map(|conv| conv.forward(x.clone()));
        Tensor::cat(sides.collect(), 1)
    }
}

/// Branches with the same input; their outputs are concatenated.
type Block<L> = Vec<Branch<L>>;

/// pytorch-fid's `FIDInceptionA`.
fn block_a(pooled: usize) -> Block<Layer> {
    vec![
        Branch::of([same("branch1x1", 64, [1, 1])]),
        Branch::of([
            same("branch5x5_1", 48, [1, 1]),
            same("branch5x5_2", 64, [5, 5]),
        ]),
        Branch::of([
            same("branch3x3dbl_1", 64, [1, 1]),
            same("branch3x3dbl_2", 96, [3, 3]),
            same("branch3x3dbl_3", 96, [3, 3]),
        ]),
        Branch::new(Pool::Average, [same("branch_pool", pooled, [1, 1])]),
    ]
}

/// torchvision's `InceptionB`, which halves the image.
fn block_b() -> Block<Layer> {
    vec![
        Branch::of([valid("branch3x3", 384, 2)]),
        Branch::of([
            same("branch3x3dbl_1", 64, [1, 1]),
            same("branch3x3dbl_2", 96, [3, 3]),
            valid("branch3x3dbl_3", 96, 2),
        ]),
        Branch::new(Pool::Halve, []),
    ]
}

/// pytorch-fid's `FIDInceptionC`.
fn block_c(middle: usize) -> Block<Layer> {
    vec![
        Branch::of([same("branch1x1", 192, [1, 1])]),
        Branch::of([
            same("branch7x7_1", middle, [1, 1]),
            same("branch7x7_2", middle, [1, 7]),
            same("branch7x7_3", 192, [7, 1]),
        ]),
        Branch::of([
            same("branch7x7dbl_1", middle, [1, 1]),
            same("branch7x7dbl_2", middle, [7, 1]),
            same("branch7x7dbl_3", middle, [1, 7]),
            same("branch7x7dbl_4", middle, [7, 1]),
            same("branch7x7dbl_5", 192, [1, 7]),
        ]),
        Branch::new(Pool::Average, [same("branch_pool", 192, [1, 1])]),
    ]
}

/// torchvision's `InceptionD`, which halves the image.
fn block_d() -> Block<Layer> {
    vec![
        Branch::of([
            same("branch3x3_1", 192, [1, 1]),
            valid("branch3x3_2", 320, 2),
        ]),
        Branch::of([
            same("branch7x7x3_1", 192, [1, 1]),
            same("branch7x7x3_2", 192, [1, 7]),
            same("branch7x7x3_3", 192, [7, 1]),
            valid("branch7x7x3_4", 192, 2),
        ]),
        Branch::new(Pool::Halve, []),
    ]
}

/// pytorch-fid's `FIDInceptionE_1`; `FIDInceptionE_2` is the same with a maximum.
fn block_e(pool: Pool) -> Block<Layer> {
    vec![
        Branch::of([same("branch1x1", 320, [1, 1])]),
        Branch::of([same("branch3x3_1", 384, [1, 1])]).forked([
            same("branch3x3_2a", 384, [1, 3]),
            same("branch3x3_2b", 384, [3, 1]),
        ]),
        Branch::of([
            same("branch3x3dbl_1", 448, [1, 1]),
            same("branch3x3dbl_2", 384, [3, 3]),
        ])
        .forked([
            same("branch3x3dbl_3a", 384, [1, 3]),
            same("branch3x3dbl_3b", 384, [3, 1]),
        ]),
        Branch::new(pool, [same("branch_pool", 192, [1, 1])]),
    ]
}

/// All blocks with the prefixes of their layers' names.
fn plan() -> Vec<(&'static str, Block<Layer>)> {
    let stem = [
        valid("Conv2d_1a_3x3", 32, 2),
        valid("Conv2d_2a_3x3", 32, 1),
        same("Conv2d_2b_3x3", 64, [3, 3]),
    ];
    let second = [
        same("Conv2d_3b_1x1", 80, [1, 1]),
        valid("Conv2d_4a_3x3", 192, 1),
    ];
    vec![
        ("", vec![Branch::of(stem)]),
        ("", vec![Branch::new(Pool::Halve, second)]),
        ("", vec![Branch::new(Pool::Halve, [])]),
        ("Mixed_5b.", block_a(32)),
        ("Mixed_5c.", block_a(64)),
        ("Mixed_5d.", block_a(64)),
        ("Mixed_6a.", block_b()),
        ("Mixed_6b.", block_c(128)),
        ("Mixed_6c.", block_c(160)),
        ("Mixed_6d.", block_c(160)),
        ("Mixed_6e.", block_c(192)),
        ("Mixed_7a.", block_d()),
        ("Mixed_7b.", block_e(Pool::Average)),
        ("Mixed_7c.", block_e(Pool::Maximum)),
    ]
}

/// Builds layers from named values.
struct Builder<'a, F> {
    values: F,
    device: &'a Device,
}

impl<F: FnMut(&str, &[usize]) -> Result<Vec<f32>>> Builder<'_, F> {
    fn conv(&mut self, prefix: &str, inputs: usize, layer: &Layer) -> Result<Conv> {
        let name = format!("{prefix}{}", layer.name);
        let (outputs, [kh, kw]) = (layer.outputs, layer.kernel);
        let shape = [outputs, inputs, kh, kw];
        let mut weight = (self.values)(&format!("{name}.conv.weight"), &shape)?;
        let mut norm = |part| (self.values)(&format!("{name}.bn.{part}"), &[outputs]);
        let (gamma, beta) = (norm("weight")?, norm("bias")?);
        let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
        let mut bias = Vec::with_capacity(outputs);
        for (i, kernel) in weight.chunks_mut(inputs * kh * kw).enumerate() {
            let scale = f64::from(gamma[i]) / (f64::from(variance[i]) + EPSILON).sqrt();
            for w in kernel {
                *w = (f64::from(*w) * scale) as f32;
            }
            bias.push((f64::from(beta[i]) - f64::from(mean[i]) * scale) as f32);
        }
        Ok(Conv {
            weight: Tensor::from_data(TensorData::new(weight, shape), self.device),
            bias: Tensor::from_data(TensorData::new(bias, [outputs]), self.device),
            stride: layer.stride,
            padding: layer.padding,
        })
    }

    /// A branch and its number of output channels.
    fn branch(
        &mut self,
        prefix: &str,
        mut inputs: usize,
        plan: &Branch<Layer>,
    ) -> Result<(Branch<Conv>, usize)> {
        let mut chain = Vec::with_capacity(plan.chain.len());
        for layer in &plan.chain {
            chain.push(self.conv(prefix, inputs, layer)?);
            inputs = layer.outputs;
        }
        let sides = plan.fork.iter();
        let fork: Vec<Conv> = sides
            .map(|layer| self.conv(prefix, inputs, layer))
            .collect::<Result<_>>()?;
        let outputs = match &plan.fork[..] {
            [] => inputs,
            fork => fork.iter().map(|layer| layer.outputs).sum(),
        };
        let pool = plan.pool;
        Ok((Branch { pool, chain, fork }, outputs))
    }
}

/// The network, without gradients.
#[derive(Debug)]
pub struct Inception {
    blocks: Vec<Block<Conv>>,
}

impl Inception {
    /// Reads the weights of pytorch-fid: its `.pth` file (any format written by torch.save), or the same
    /// names and float32 values as `.safetensors`.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is missing, truncated, or holds another network.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let problem = |problem: String| Error::Data {
            path: path.into(),
            problem,
            fix: GET.into(),
        };
        let unread = |e| problem(format!("cannot be read ({e})"));
        if path.extension().is_some_and(|e| e == "safetensors") {
            let bytes = fs::read(path).map_err(unread)?;
            let named = path.display().to_string();
            let translated = |e| match e {
                Error::Model { problem: found, .. } => problem(found),
                other => other,
            };
            let dict = Dict::open(&bytes, &named, device).map_err(translated)?;
            let values = |name: &str, shape: &[usize]| dict.values(name, shape).map_err(translated);
            return Self::from_file(path, |name| dict.has(name), values, device);
        }
        fs::File::open(path).map_err(unread)?;
        let reader = PytorchReader::new(path)
            .map_err(|e| problem(format!("not a complete PyTorch checkpoint ({e})")))?;
        let values = |name: &str, shape: &[usize]| {
            let expected = |found: String| {
                problem(format!(
                    "expected float32 tensor {name} of shape {shape:?}, found {found}"
                ))
            };
            let tensor = reader
                .get(name)
                .ok_or_else(|| expected("no such tensor".into()))?;
            if tensor.shape() != shape || tensor.dtype() != DType::F32 {
                let (dtype, shape) = (tensor.dtype(), tensor.shape());
                return Err(expected(format!("{dtype:?} of shape {shape:?}")));
            }
            let bytes = tensor
                .read()
                .map_err(|e| expected(format!("a damaged file ({e})")))?;
            let (words, _) = bytes.as_chunks::<4>();
            Ok(words.iter().map(|b| f32::from_ne_bytes(*b)).collect())
        };
        Self::from_file(path, |name| reader.get(name).is_some(), values, device)
    }

    /// Builds the network, but refuses torchvision's, whose layers before the last have the same names
    /// and shapes.
    fn from_file(
        path: &Path,
        has: impl Fn(&str) -> bool,
        values: impl Fn(&str, &[usize]) -> Result<Vec<f32>>,
        device: &Device,
    ) -> Result<Self> {
        if has("AuxLogits.fc.weight") {
            return Err(Error::Data {
                path: path.into(),
                problem: "expected the FID network, found an Inception-v3 with auxiliary logits, \
                    such as torchvision's"
                    .into(),
                fix: GET.into(),
            });
        }
        if has("fc.weight") {
            values("fc.weight", &[CLASSES, FEATURES])?;
        }
        Self::from_values(values, device)
    }

    /// The network from `values(name, shape)` in f32: `{layer}.conv.weight` `[C_out, C_in, kh, kw]`,
    /// `{layer}.bn.{weight, bias, running_mean, running_var}` `[C_out]`.
    ///
    /// # Errors
    /// Those of `values`.
    pub fn from_values(
        values: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
        device: &Device,
    ) -> Result<Self> {
        let mut builder = Builder { values, device };
        let (mut blocks, mut channels) = (Vec::new(), 3);
        for (prefix, plan) in plan() {
            let (mut block, mut outputs) = (Vec::with_capacity(plan.len()), 0);
            for branch in &plan {
                let (branch, more) = builder.branch(prefix, channels, branch)?;
                block.push(branch);
                outputs += more;
            }
            blocks.push(block);
            channels = outputs;
        }
        Ok(Self { blocks })
    }

    /// The features of images with values in [0, 1], RGB or grey: `[B, C, H, W]`, C 3 or 1, to
    /// `[B, 2048]`. They are [prepared](Self::prepare) first.
    ///
    /// Published distances use 8-bit images: to compare with them, clamp to [0, 1] and round to
    /// multiples of 1/255. An image takes about 15 MB of memory and 11 GFLOP; on a CPU, batches of more
    /// than a few images are no faster.
    ///
    /// # Panics
    /// For another number of channels.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.pool3(Self::prepare(images))
    }

    /// Images as network input: `[B, C, H, W]`, C 3 or 1, in [0, 1] → `[B, 3, 299, 299]` in
    /// [−1, 1], bilinear between pixel centres without antialiasing (torch's `interpolate` with
    /// `align_corners=False`). Grey becomes three equal channels, as in files read as RGB.
    pub fn prepare(images: Tensor<4>) -> Tensor<4> {
        let options = InterpolateOptions::new(InterpolateMode::Bilinear)
            .with_align_corners(false)
            .with_output_size([SIZE, SIZE]);
        let x = interpolate(images, options) * 2.0 - 1.0;
        match x.dims()[1] {
            1 => x.repeat_dim(1, 3),
            _ => x,
        }
    }

    /// The features of prepared images, `[B, 3, H, W]` in [−1, 1] with H and W at least 75, to
    /// `[B, 2048]`.
    pub fn pool3(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.blocks.iter().fold(x, |x, block| match &block[..] {
            [branch] => branch.forward(x),
            branches => Tensor::cat(branches.iter().map(|b| b.forward(x.clone())).collect(), 1),
        });
        global_average(x)
    }
}
