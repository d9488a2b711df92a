//! A frozen residual trunk on the GPU: features and their gradient in the image, in 2 + 2·blocks and
//! 1 + 2·blocks dispatches.
//!
//! Forwards, a block is two convolutions. The first reads leaky ReLU of the block's input and stores leaky
//! ReLU of its result, which has the same sign. The second adds the bias and the shortcut, and pools where
//! the next block would start with pooling. The tape holds the input and the middle of each block, and the
//! end.
//!
//! Backwards, the adjoint of the second convolution reads the gradient after the block and is masked with the
//! middle. That of the first is masked with the input, and adds the shortcut's adjoint. Where the block
//! pooled, both read the gradient of the pooled image. The gradient of the mean over the end is computed
//! where it is read.

use std::sync::{Arc, Mutex, PoisonError};

use burn::{
    backend::{Cube, CubeDevice, DispatchDevice, wgpu::CubeTensor},
    tensor::{DType, Device, Tensor},
};

use super::{
    super::{
        frozen::{BlockWeights, Weights},
        window::ConvShape,
    },
    conv::{Added, Buffers, Kind, Layer, Place, Queue, Source, Spec, mean},
};

fn fours(channels: usize) -> usize {
    channels.div_ceil(4)
}

impl Weights<'_> {
    fn at(&self, o: usize, i: usize, y: usize, x: usize) -> f32 {
        let ConvShape {
            inputs, kernel: k, ..
        } = self.shape;
        self.weight[((o * inputs + i) * k + y) * k + x]
    }

    /// Weight of a tap from input i to output o. That of a pooled convolution is the mean over the four
    /// places of the 3×3 kernel.
    fn tap(&self, kind: Kind, o: usize, i: usize, tap: usize) -> f32 {
        let [u, v] = kind.tap(tap);
        if kind == Kind::Full {
            return self.at(o, i, u, v);
        }
        let mut sum = 0.0;
        for y in (u.max(1) - 1..=u).filter(|&y| y < 3) {
            for x in (v.max(1) - 1..=v).filter(|&x| x < 3) {
                sum += f64::from(self.at(o, i, y, x));
            }
        }
        (sum / 4.0) as f32
    }

    /// The bias and the weights of a convolution forwards, whose input has `lanes` channels a step.
    fn pack(&self, kind: Kind, lanes: usize) -> Vec<f32> {
        let ConvShape {
            inputs, outputs, ..
        } = self.shape;
        let mut to = self.bias.to_vec();
        to.resize(fours(outputs) * 4, 0.0);
        let taps = kind.taps();
        pack(&mut to, [outputs, inputs, taps], lanes, |o, i, tap| {
            self.tap(kind, o, i, tap)
        });
        to
    }

    /// Weight of a tap of the adjoint, from output o to input i.
    fn adjoint_tap(&self, kind: Kind, i: usize, o: usize, tap: usize) -> f32 {
        match kind {
            Kind::Full => self.tap(kind, o, i, 8 - tap),
            Kind::Down | Kind::Up => self.tap(kind, o, i, tap),
        }
    }

    fn pack_adjoint(&self, kind: Kind) -> Vec<f32> {
        let ConvShape {
            inputs, outputs, ..
        } = self.shape;
        let mut to = Vec::new();
        pack(&mut to, [inputs, outputs, kind.taps()], 4, |i, o, tap| {
            self.adjoint_tap(kind, i, o, tap)
        });
        to
    }

    /// The same for the kernel whose output is an image: `[C_out/4, tap, C_in, 4]`.
    fn pack_image_adjoint(&self, kind: Kind) -> Vec<f32> {
        let ConvShape {
            inputs, outputs, ..
        } = self.shape;
        let mut to = Vec::new();
        for four in 0..fours(outputs) {
            for tap in 0..kind.taps() {
                for i in 0..inputs {
                    to.extend((four * 4..four * 4 + 4).map(|o| match o < outputs {
                        true => self.adjoint_tap(kind, i, o, tap),
                        false => 0.0,
                    }));
                }
            }
        }
        to
    }
}

/// Appends a matrix for every tap: `[O/4, I/lanes, tap, lanes, 4]`, padded with zeros.
fn pack(
    to: &mut Vec<f32>,
    [outputs, inputs, taps]: [usize; 3],
    lanes: usize,
    at: impl Fn(usize, usize, usize) -> f32,
) {
    for four in 0..fours(outputs) {
        for step in 0..inputs.div_ceil(lanes) {
            for tap in 0..taps {
                for i in step * lanes..(step + 1) * lanes {
                    to.extend(
                        (four * 4..four * 4 + 4).map(|o| match o < outputs && i < inputs {
                            true => at(o, i, tap),
                            false => 0.0,
                        }),
                    );
                }
            }
        }
    }
}

#[derive(Debug)]
struct Block {
    first: Layer,
    second: Layer,
    first_back: Layer,
    second_back: Layer,
}

/// Layers for images of one size.
struct Builder<'a> {
    queue: &'a Queue,
    features: usize,
    /// Pixels at the end.
    pixels: usize,
}

impl Builder<'_> {
    fn layer(&self, spec: Spec, weights: &[f32], input: [usize; 3], output: [usize; 3]) -> Layer {
        Layer {
            spec,
            image: None,
            weights: self.queue.upload(weights),
            input,
            output,
            other: [1; 3],
            other_weights: 0,
            features: self.features,
            pixels: self.pixels,
        }
    }

    /// The stem and its adjoint, for an image `[C, H, W]` and an output of this height and width. `last`: no
    /// block follows.
    fn stem(
        &self,
        stem: &Weights<'_>,
        [channels, height, width]: [usize; 3],
        [high, wide]: [usize; 2],
        down: bool,
        last: bool,
    ) -> [Layer; 2] {
        let (kind, back) = kinds(down);
        let (image, out) = ([height, width, 1], [high, wide, fours(stem.shape.outputs)]);
        let spec = Spec {
            source: Source::Image { channels },
            bias: true,
            ..Spec::new(kind)
        };
        let forward = self.layer(spec, &stem.pack(kind, channels), image, out);
        let spec = Spec {
            source: if last { Source::Mean } else { Source::Plain },
            ..Spec::new(back)
        };
        let adjoint = Layer {
            image: Some(channels),
            ..self.layer(spec, &stem.pack_image_adjoint(back), out, image)
        };
        [forward, adjoint]
    }

    /// A block that works at `[high, wide]` and ends at `after`, which is half of it where it is `down`.
    fn block(
        &self,
        block: &BlockWeights<'_>,
        [high, wide]: [usize; 2],
        after: [usize; 2],
        down: bool,
        last: bool,
    ) -> Block {
        let inputs = [high, wide, fours(block.first.shape.inputs)];
        let outputs = [high, wide, fours(block.first.shape.outputs)];
        let end = [after[0], after[1], outputs[2]];
        let (kind, back) = kinds(down);
        let added = match block.shortcut {
            Some(_) => Added::Point,
            None => Added::Buffer,
        };

        let spec = Spec {
            source: Source::Leaky,
            bias: true,
            leaky: true,
            ..Spec::new(Kind::Full)
        };
        let first = self.layer(spec, &block.first.pack(Kind::Full, 4), inputs, outputs);

        let spec = Spec {
            bias: true,
            added,
            place: if down { Place::Pooled } else { Place::Same },
            ..Spec::new(kind)
        };
        let mut weights = block.second.pack(kind, 4);
        let other_weights = weights.len() / 4;
        if let Some(w) = &block.shortcut {
            let dims = [w.shape.outputs, w.shape.inputs, 1];
            pack(&mut weights, dims, 4, |o, i, _| w.at(o, i, 0, 0));
        }
        let second = Layer {
            other: inputs,
            other_weights,
            ..self.layer(spec, &weights, outputs, end)
        };

        let spec = Spec {
            source: if last { Source::Mean } else { Source::Plain },
            masked: true,
            ..Spec::new(back)
        };
        let second_back = self.layer(spec, &block.second.pack_adjoint(back), end, outputs);

        let spec = Spec {
            masked: true,
            added,
            place: match (down, last) {
                (true, _) => Place::Unpooled,
                (false, true) => Place::Mean,
                (false, false) => Place::Same,
            },
            ..Spec::new(Kind::Full)
        };
        let mut weights = block.first.pack_adjoint(Kind::Full);
        let other_weights = weights.len() / 4;
        if let Some(w) = &block.shortcut {
            let dims = [w.shape.inputs, w.shape.outputs, 1];
            pack(&mut weights, dims, 4, |i, o, _| w.at(o, i, 0, 0));
        }
        let first_back = Layer {
            other: end,
            other_weights,
            ..self.layer(spec, &weights, outputs, inputs)
        };
        Block {
            first,
            second,
            first_back,
            second_back,
        }
    }
}

/// Kinds of a convolution and its adjoint, with or without pooling after it.
fn kinds(down: bool) -> (Kind, Kind) {
    match down {
        true => (Kind::Down, Kind::Up),
        false => (Kind::Full, Kind::Full),
    }
}

/// The device of the kernels; `None` for the CPU and for an autodiff device.
fn cube(device: &Device) -> Option<&CubeDevice> {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => Some(device),
        #[allow(unreachable_patterns)] // where it is the only backend
        _ => None,
    }
}

/// Whether there may be kernels for a device.
pub(in crate::nn) fn device(device: &Device) -> Option<()> {
    cube(device).map(|_| ())
}

/// A trunk with packed weights on a device, for images of one size and batches of any.
#[derive(Debug)]
pub(in crate::nn) struct TrunkPlan {
    queue: Queue,
    stem: Layer,
    stem_back: Layer,
    blocks: Vec<Block>,
    /// Channels, height and width.
    image: [usize; 3],
    features: usize,
    /// Buffers that no tape holds.
    free: Arc<Mutex<Vec<Set>>>,
}

/// Buffers for a batch.
#[derive(Debug)]
struct Set {
    batch: usize,
    /// Input of each block, then the end.
    inputs: Vec<CubeTensor>,
    /// Middle of each block, after its leaky ReLU.
    middles: Vec<CubeTensor>,
    /// Gradients: within a block, and two that take turns after it.
    gradients: [CubeTensor; 3],
}

/// Activations of a forward pass. When it is dropped, its buffers are used for another.
#[derive(Debug)]
pub(in crate::nn) struct Tape {
    set: Option<Set>,
    home: Arc<Mutex<Vec<Set>>>,
}

impl Drop for Tape {
    fn drop(&mut self) {
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        home.extend(self.set.take());
    }
}

impl TrunkPlan {
    /// For images of this height and width. `None` where there is no kernel: on the CPU, on an autodiff
    /// device, for more than four channels, and for images that pooling makes vanish.
    pub(in crate::nn) fn new(
        device: &Device,
        stem: &Weights<'_>,
        blocks: &[BlockWeights<'_>],
        [height, width]: [usize; 2],
    ) -> Option<Self> {
        let device = cube(device)?;
        let channels = stem.shape.inputs;
        if !(1..=4).contains(&channels) {
            return None;
        }
        // Whether the stem, and each block, is followed by pooling; and the size after it.
        let down: Vec<bool> = blocks.iter().map(|b| b.pooled).chain([false]).collect();
        let mut size = [height, width];
        let sizes: Vec<[usize; 2]> = down
            .iter()
            .map(|&down| {
                if down {
                    size = size.map(|v| v / 2);
                }
                size
            })
            .collect();
        if size.contains(&0) {
            return None;
        }
        let queue = Queue::new(device);
        let features = blocks.last().map_or(stem, |b| &b.second).shape.outputs;
        let build = Builder {
            queue: &queue,
            features,
            pixels: size[0] * size[1],
        };
        let image = [channels, height, width];
        let [stem, stem_back] = build.stem(stem, image, sizes[0], down[0], blocks.is_empty());
        let made = blocks.iter().enumerate().map(|(k, block)| {
            let last = k + 1 == blocks.len();
            build.block(block, sizes[k], sizes[k + 1], down[k + 1], last)
        });
        Some(Self {
            blocks: made.collect(),
            stem,
            stem_back,
            image,
            features,
            free: Arc::default(),
            queue,
        })
    }

    /// Channels, height and width of the images.
    pub(in crate::nn) fn image(&self) -> [usize; 3] {
        self.image
    }

    /// Buffers for a batch: free ones, or new ones. `None` if the device has none so large.
    fn set(&self, batch: usize) -> Option<Set> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = free.iter().position(|set| set.batch == batch) {
            return Some(free.swap_remove(at));
        }
        let values = |layer: &Layer| layer.output.iter().product::<usize>() * 4 * batch;
        let ends = || std::iter::once(&self.stem).chain(self.blocks.iter().map(|b| &b.second));
        let middles = || self.blocks.iter().map(|b| &b.first);
        // Gradients are as large as what they belong to.
        let within = middles().map(values).max().unwrap_or(4);
        let after = self.blocks.iter().map(|b| values(&b.first_back));
        let after = after.max().unwrap_or(4);
        let largest = ends().map(values).max().unwrap_or(0).max(within).max(after);
        if largest > self.queue.capacity() {
            return None;
        }
        let buffer = |values: usize| self.queue.empty([values]);
        Some(Set {
            batch,
            inputs: ends().map(values).map(buffer).collect(),
            middles: middles().map(values).map(buffer).collect(),
            gradients: [within, after, after].map(buffer),
        })
    }

    /// Images `[B, C, H, W]` in any layout → features `[B, C′]`, and the tape for
    /// [`pull_back`](Self::pull_back). `None` for other images than the plan's, and for tensors that are not
    /// f32 on its device outside autodiff.
    pub(in crate::nn) fn forward(&self, images: Tensor<4>) -> Option<(Tensor<2>, Tape)> {
        let [batch, channels, height, width] = images.dims();
        if [channels, height, width] != self.image || batch == 0 || images.dtype() != DType::F32 {
            return None;
        }
        let images = images.try_into_primitive::<Cube>().ok()?;
        let set = self.set(batch)?;
        let launch = |layer: &Layer, x, other, out| {
            let buffers = Buffers {
                x,
                other,
                gradient: None,
                mask: None,
                out,
            };
            layer.launch(&self.queue, batch, &buffers);
        };
        launch(&self.stem, &images, None, &set.inputs[0]);
        for (k, block) in self.blocks.iter().enumerate() {
            let (input, middle) = (&set.inputs[k], &set.middles[k]);
            launch(&block.first, input, None, middle);
            launch(&block.second, middle, Some(input), &set.inputs[k + 1]);
        }
        let features = self.queue.empty([batch, self.features]);
        let size = self.blocks.last().map_or(&self.stem, |b| &b.second).output;
        mean(&self.queue, &set.inputs[self.blocks.len()], size, &features);
        let tape = Tape {
            set: Some(set),
            home: self.free.clone(),
        };
        Some((Tensor::from_primitive::<Cube>(features), tape))
    }

    /// From ∂E/∂features, `[B, C′]` in any layout, to ∂E/∂images, `[B, C, H, W]`. `None` for a gradient of
    /// another shape, and for a tensor that is not f32 on the plan's device outside autodiff.
    pub(in crate::nn) fn pull_back(&self, gradient: Tensor<2>, tape: &Tape) -> Option<Tensor<4>> {
        let set = tape.set.as_ref()?;
        let batch = set.batch;
        if gradient.dims() != [batch, self.features] || gradient.dtype() != DType::F32 {
            return None;
        }
        let gradient = gradient.try_into_primitive::<Cube>().ok()?;
        let [within, free, other] = &set.gradients;
        let (mut free, mut other) = (free, other);
        // The gradient after the last block is computed where it is read, from the end and that of the mean.
        let (mut after, mut mean) = (&set.inputs[self.blocks.len()], Some(&gradient));
        for (k, block) in self.blocks.iter().enumerate().rev() {
            let buffers = Buffers {
                x: after,
                other: None,
                gradient: mean,
                mask: Some(&set.middles[k]),
                out: within,
            };
            block.second_back.launch(&self.queue, batch, &buffers);
            let buffers = Buffers {
                x: within,
                other: Some(after),
                gradient: mean,
                mask: Some(&set.inputs[k]),
                out: free,
            };
            block.first_back.launch(&self.queue, batch, &buffers);
            (after, mean) = (free, None);
            std::mem::swap(&mut free, &mut other);
        }
        let [channels, height, width] = self.image;
        let images = self.queue.empty([batch, channels, height, width]);
        let buffers = Buffers {
            x: after,
            other: None,
            gradient: mean,
            mask: None,
            out: &images,
        };
        self.stem_back.launch(&self.queue, batch, &buffers);
        Some(Tensor::from_primitive::<Cube>(images))
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use burn::tensor::{
        TensorData,
        activation::leaky_relu,
        module::{avg_pool2d, conv_transpose2d, conv2d},
        ops::{AvgPoolOptions, ConvOptions, ConvTransposeOptions, PadMode},
    };

    use super::*;
    use crate::test_support::gpu;

    fn wave(n: usize, a: f32, scale: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * a + 0.3).sin() * scale).collect()
    }

    struct Conv {
        weight: Vec<f32>,
        bias: Vec<f32>,
        shape: ConvShape,
    }

    impl Conv {
        fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
            let fan = inputs * kernel * kernel;
            let bias = kernel > 1;
            Self {
                weight: wave(fan * outputs, 0.71, (2.0 / fan as f32).sqrt()),
                bias: wave(if bias { outputs } else { 0 }, 1.1, 0.3),
                shape: ConvShape {
                    inputs,
                    outputs,
                    kernel,
                    bias,
                },
            }
        }

        fn weights(&self) -> Weights<'_> {
            Weights {
                weight: &self.weight,
                bias: &self.bias,
                shape: self.shape,
            }
        }

        fn tensor(&self) -> Tensor<4> {
            let ConvShape {
                inputs,
                outputs,
                kernel: k,
                ..
            } = self.shape;
            let data = TensorData::new(self.weight.clone(), [outputs, inputs, k, k]);
            Tensor::from_data(data, &Device::flex())
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            let p = self.shape.kernel / 2;
            let bias = (!self.bias.is_empty()).then(|| {
                let data = TensorData::new(self.bias.clone(), [self.shape.outputs]);
                Tensor::from_data(data, &Device::flex())
            });
            let options = ConvOptions::new([1, 1], [p, p], [1, 1], 1);
            conv2d(x, self.tensor(), bias, options)
        }

        fn back(&self, g: Tensor<4>) -> Tensor<4> {
            let p = self.shape.kernel / 2;
            let options = ConvTransposeOptions::new([1, 1], [p, p], [0, 0], [1, 1], 1);
            conv_transpose2d(g, self.tensor(), None, options)
        }
    }

    struct Part {
        first: Conv,
        second: Conv,
        shortcut: Option<Conv>,
        pooled: bool,
    }

    /// A trunk of stages, each of a number of channels and of blocks.
    struct Reference {
        stem: Conv,
        parts: Vec<Part>,
    }

    fn masked(x: Tensor<4>, g: Tensor<4>) -> Tensor<4> {
        g.clone().mask_where(x.lower_elem(0.0), g * 0.2)
    }

    impl Reference {
        fn new(image: usize, stages: &[(usize, usize)]) -> Self {
            let mut channels = stages[0].0;
            let stem = Conv::new(image, channels, 3);
            let mut parts = Vec::new();
            for (i, &(outputs, count)) in stages.iter().enumerate() {
                for j in 0..count {
                    parts.push(Part {
                        first: Conv::new(channels, outputs, 3),
                        second: Conv::new(outputs, outputs, 3),
                        shortcut: (channels != outputs).then(|| Conv::new(channels, outputs, 1)),
                        pooled: i > 0 && j == 0,
                    });
                    channels = outputs;
                }
            }
            Self { stem, parts }
        }

        fn plan(&self, device: &Device, size: [usize; 2]) -> Option<TrunkPlan> {
            let blocks: Vec<BlockWeights<'_>> = self
                .parts
                .iter()
                .map(|part| BlockWeights {
                    first: part.first.weights(),
                    second: part.second.weights(),
                    shortcut: part.shortcut.as_ref().map(Conv::weights),
                    pooled: part.pooled,
                })
                .collect();
            TrunkPlan::new(device, &self.stem.weights(), &blocks, size)
        }

        /// Features, and the gradient in the images from that in the features.
        fn run(&self, x: Tensor<4>, gradient: Tensor<2>) -> (Tensor<2>, Tensor<4>) {
            let mut h = self.stem.forward(x);
            let mut tape = Vec::new();
            for part in &self.parts {
                let [_, _, height, width] = h.dims();
                let input = match part.pooled {
                    true => avg_pool2d(h, AvgPoolOptions::new([2, 2])),
                    false => h,
                };
                let middle = part.first.forward(leaky_relu(input.clone(), 0.2));
                let around = match &part.shortcut {
                    Some(shortcut) => shortcut.forward(input.clone()),
                    None => input.clone(),
                };
                h = around + part.second.forward(leaky_relu(middle.clone(), 0.2));
                tape.push((input, middle, [height, width]));
            }
            let [b, c, height, width] = h.dims();
            let flat = leaky_relu(h.clone(), 0.2).reshape([b, c, height * width]);
            let features = flat.mean_dim(2).reshape([b, c]);
            let g = gradient / (height * width) as f64;
            let g = g.reshape([b, c, 1, 1]).expand([b, c, height, width]);
            let mut g = masked(h, g);
            for (part, (input, middle, [height, width])) in self.parts.iter().zip(tape).rev() {
                let h = masked(middle, part.second.back(g.clone()));
                let h = masked(input, part.first.back(h));
                g = h + match &part.shortcut {
                    Some(shortcut) => shortcut.back(g),
                    None => g,
                };
                if part.pooled {
                    let [b, c, h, w] = g.dims();
                    g = (g / 4.0)
                        .reshape([b, c, h, 1, w, 1])
                        .expand([b, c, h, 2, w, 2])
                        .reshape([b, c, 2 * h, 2 * w])
                        .pad(
                            (0, width - 2 * w, 0, height - 2 * h),
                            PadMode::Constant(0.0),
                        );
                }
            }
            (features, self.stem.back(g))
        }
    }

    #[track_caller]
    fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
        assert_eq!(found.dims(), expected.dims());
        let values = |t: Tensor<D>| t.into_data().iter::<f32>().collect::<Vec<_>>();
        let (found, expected) = (values(found), values(expected));
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(largest > 0.0);
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 1e-5 * largest, "{f} is not {e}");
        }
    }

    /// Odd sizes, channels that fill no four, trunks without blocks or without blocks before the first
    /// pooling, and batches of any size in one plan.
    #[test]
    fn plan_matches_tensors() {
        let Some(device) = gpu() else { return };
        let flex = Device::flex();
        type Case<'a> = (usize, [usize; 2], &'a [(usize, usize)]);
        let cases: [Case<'_>; 6] = [
            (1, [28, 28], &[(32, 1), (32, 1), (64, 1), (64, 1)]),
            (3, [32, 32], &[(32, 1), (64, 1), (64, 1)]),
            (3, [29, 27], &[(10, 2), (13, 1), (7, 2)]),
            (1, [13, 15], &[(5, 0), (9, 1), (9, 1)]),
            (2, [6, 5], &[(6, 0)]),
            (4, [9, 9], &[(3, 1), (2, 1)]),
        ];
        for (channels, [height, width], stages) in cases {
            let reference = Reference::new(channels, stages);
            let plan = reference.plan(&device, [height, width]).unwrap();
            for batch in [1, 3, 4, 64] {
                let dims = [batch, channels, height, width];
                // An activation within rounding of 0 may get the other slope, which changes the gradient
                // around it. These images have none such on the adapters tried.
                let images = TensorData::new(wave(dims.iter().product(), 0.41, 1.0), dims);
                let shape = [batch, plan.features];
                let gradient = TensorData::new(wave(batch * shape[1], 0.53, 1.0), shape);
                let (features, back) = reference.run(
                    Tensor::from_data(images.clone(), &flex),
                    Tensor::from_data(gradient.clone(), &flex),
                );
                let images = Tensor::<4>::from_data(images, &device);
                // In another layout.
                let images = images.permute([0, 2, 3, 1]) + 0.0;
                let images = images.permute([0, 3, 1, 2]);
                let (found, tape) = plan.forward(images.clone()).unwrap();
                // Another pass does not touch the tape.
                let (again, _) = plan.forward(images * 2.0).unwrap();
                close(found, features.clone());
                assert_eq!(again.dims(), features.dims());
                let gradient = Tensor::<2>::from_data(gradient, &device);
                close(plan.pull_back(gradient, &tape).unwrap(), back);
            }
        }
    }

    #[test]
    fn what_has_no_kernel_is_refused() {
        let reference = Reference::new(1, &[(4, 1), (4, 1)]);
        assert!(reference.plan(&Device::flex(), [4, 4]).is_none());
        let Some(device) = gpu() else { return };
        assert!(reference.plan(&device, [1, 4]).is_none());
        assert!(reference.plan(&device.clone().autodiff(), [4, 4]).is_none());
        let wide = Reference::new(5, &[(4, 1)]);
        assert!(wide.plan(&device, [4, 4]).is_none());
        let plan = reference.plan(&device, [4, 4]).unwrap();
        let images = |dims: [usize; 4], device: &Device| Tensor::<4>::zeros(dims, device);
        assert!(plan.forward(images([0, 1, 4, 4], &device)).is_none());
        assert!(plan.forward(images([2, 1, 4, 5], &device)).is_none());
        assert!(
            plan.forward(images([2, 1, 4, 4], &Device::flex()))
                .is_none()
        );
        let (_, tape) = plan.forward(images([2, 1, 4, 4], &device)).unwrap();
        let gradient = Tensor::<2>::zeros([3, 4], &device);
        assert!(plan.pull_back(gradient, &tape).is_none());
    }
}
