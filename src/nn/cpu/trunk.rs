//! A frozen residual trunk on the CPU: features and their gradient in the image, with every activation in
//! buffers of our own.
//!
//! The same function as `Trunk<FrozenConv>` computes with tensors; a test compares the two.

#[cfg(feature = "native")]
use rayon::prelude::*;

use super::{
    super::frozen::{BlockWeights, Weights},
    conv::{PackedConv, bordered, framed_planes, planes},
    math::{leaky, through_leaky},
};

/// g·∂leaky(x)/∂x, in place of g.
fn pull_through_leaky(g: &mut [f32], x: &[f32]) {
    for (g, &x) in g.iter_mut().zip(x) {
        *g = through_leaky(*g, x);
    }
}

/// A convolution and its adjoint.
#[derive(Debug)]
struct Pair {
    forward: PackedConv,
    back: PackedConv,
}

impl Pair {
    fn new(from: &Weights<'_>) -> Self {
        Self {
            forward: PackedConv::new(from.weight, from.bias, from.shape),
            back: PackedConv::adjoint(from.weight, from.shape),
        }
    }
}

#[derive(Debug)]
struct Block {
    first: Pair,
    second: Pair,
    shortcut: Option<Pair>,
    pooled: bool,
    inputs: usize,
    outputs: usize,
}

/// A trunk with packed weights.
#[derive(Debug)]
pub(in crate::nn) struct TrunkPlan {
    stem: Pair,
    blocks: Vec<Block>,
    /// Channels of the image, and of the stem.
    channels: [usize; 2],
}

/// Sizes of a pass over images of one size.
struct Sizes {
    /// Height and width of every block, after its pooling.
    blocks: Vec<[usize; 2]>,
    /// Values of an image's tape.
    tape: usize,
    image: [usize; 2],
}

/// Values before every leaky ReLU of a forward pass, of every image: the input and the middle of each
/// block, and the end.
pub(in crate::nn) struct Tape {
    values: Vec<f32>,
    /// Height and width of the images.
    pub(in crate::nn) size: [usize; 2],
}

/// Buffers of a thread.
#[derive(Default)]
struct Scratch {
    bordered: Vec<f32>,
    one: Vec<f32>,
    two: Vec<f32>,
}

fn zeroed(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.clear();
    buffer.resize(length, 0.0);
    buffer
}

impl TrunkPlan {
    pub(in crate::nn) fn new(stem: &Weights<'_>, blocks: &[BlockWeights<'_>]) -> Self {
        Self {
            channels: [stem.shape.inputs, stem.shape.outputs],
            stem: Pair::new(stem),
            blocks: blocks
                .iter()
                .map(|block| Block {
                    first: Pair::new(&block.first),
                    second: Pair::new(&block.second),
                    shortcut: block.shortcut.as_ref().map(Pair::new),
                    pooled: block.pooled,
                    inputs: block.first.shape.inputs,
                    outputs: block.first.shape.outputs,
                })
                .collect(),
        }
    }

    /// Channels of the features.
    pub(in crate::nn) fn features(&self) -> usize {
        self.blocks.last().map_or(self.channels[1], |b| b.outputs)
    }

    /// Channels of the images.
    pub(in crate::nn) fn channels(&self) -> usize {
        self.channels[0]
    }

    fn sizes(&self, image: [usize; 2]) -> Sizes {
        let (mut size, mut tape, mut blocks) = (image, 0, Vec::new());
        for block in &self.blocks {
            if block.pooled {
                size = size.map(|v| v / 2);
            }
            tape += size[0] * size[1] * (block.inputs + block.outputs);
            blocks.push(size);
        }
        tape += size[0] * size[1] * self.features();
        Sizes {
            blocks,
            tape,
            image,
        }
    }

    /// Images `[B, C, H, W]` → features `[B, C′]`, and the tape for [`pull_back`](Self::pull_back).
    pub(in crate::nn) fn forward(
        &self,
        images: &[f32],
        [height, width]: [usize; 2],
    ) -> (Vec<f32>, Tape) {
        let sizes = self.sizes([height, width]);
        let dim = self.channels[0] * height * width;
        let batch = images.len() / dim;
        let mut features = vec![0.0; batch * self.features()];
        let mut values = vec![0.0; batch * sizes.tape];
        let each = |scratch: &mut Scratch, ((x, f), tape): ((&[f32], &mut [f32]), &mut [f32])| {
            self.forward_one(&sizes, scratch, x, f, tape);
        };
        let (count, tape) = (self.features(), sizes.tape);
        #[cfg(feature = "native")]
        images
            .par_chunks_exact(dim)
            .zip(features.par_chunks_exact_mut(count))
            .zip(values.par_chunks_exact_mut(tape))
            .for_each_init(Scratch::default, each);
        #[cfg(not(feature = "native"))]
        {
            let mut scratch = Scratch::default();
            images
                .chunks_exact(dim)
                .zip(features.chunks_exact_mut(count))
                .zip(values.chunks_exact_mut(tape))
                .for_each(|image| each(&mut scratch, image));
        }
        let size = [height, width];
        (features, Tape { values, size })
    }

    fn forward_one(
        &self,
        sizes: &Sizes,
        scratch: &mut Scratch,
        image: &[f32],
        features: &mut [f32],
        mut tape: &mut [f32],
    ) {
        let Scratch {
            bordered: b, one, ..
        } = scratch;
        let [height, width] = sizes.image;
        let [channels, stem] = self.channels;
        let border = [self.stem.forward.border(); 4];
        framed_planes(image, [height, width, channels], border, b);
        self.stem
            .forward
            .apply(sizes.image, b, zeroed(one, height * width * stem), false);
        let mut before = sizes.image;
        for (block, &size) in self.blocks.iter().zip(&sizes.blocks) {
            let pixels = size[0] * size[1];
            let (input, rest) = tape.split_at_mut(pixels * block.inputs);
            let (middle, rest) = rest.split_at_mut(pixels * block.outputs);
            tape = rest;
            match block.pooled {
                true => pool(one, before, block.inputs, input),
                false => input.copy_from_slice(one),
            }
            let with = |channels| [size[0], size[1], channels];
            bordered(
                input,
                with(block.inputs),
                block.first.forward.border(),
                b,
                leaky,
            );
            block.first.forward.apply(size, b, middle, false);
            bordered(
                middle,
                with(block.outputs),
                block.second.forward.border(),
                b,
                leaky,
            );
            let out = zeroed(one, pixels * block.outputs);
            match &block.shortcut {
                Some(shortcut) => shortcut.forward.apply(size, input, out, false),
                None => out.copy_from_slice(input),
            }
            block.second.forward.apply(size, b, out, true);
            before = size;
        }
        tape.copy_from_slice(one);
        let share = 1.0 / (before[0] * before[1]) as f32;
        for pixel in one.chunks_exact(features.len()) {
            features
                .iter_mut()
                .zip(pixel)
                .for_each(|(f, &v)| *f += leaky(v));
        }
        features.iter_mut().for_each(|f| *f *= share);
    }

    /// From ∂E/∂features, `[B, C′]`, to ∂E/∂images, `[B, C, H, W]`.
    pub(in crate::nn) fn pull_back(&self, gradient: &[f32], tape: &Tape) -> Vec<f32> {
        let sizes = self.sizes(tape.size);
        let dim = self.channels[0] * tape.size[0] * tape.size[1];
        let batch = gradient.len() / self.features();
        let mut images = vec![0.0; batch * dim];
        let each = |scratch: &mut Scratch, ((x, g), tape): ((&mut [f32], &[f32]), &[f32])| {
            self.pull_back_one(&sizes, scratch, g, tape, x);
        };
        let (count, values) = (self.features(), &tape.values);
        #[cfg(feature = "native")]
        images
            .par_chunks_exact_mut(dim)
            .zip(gradient.par_chunks_exact(count))
            .zip(values.par_chunks_exact(sizes.tape))
            .for_each_init(Scratch::default, each);
        #[cfg(not(feature = "native"))]
        {
            let mut scratch = Scratch::default();
            images
                .chunks_exact_mut(dim)
                .zip(gradient.chunks_exact(count))
                .zip(values.chunks_exact(sizes.tape))
                .for_each(|image| each(&mut scratch, image));
        }
        images
    }

    fn pull_back_one(
        &self,
        sizes: &Sizes,
        scratch: &mut Scratch,
        gradient: &[f32],
        mut tape: &[f32],
        image: &mut [f32],
    ) {
        let Scratch {
            bordered: b,
            one,
            two,
        } = scratch;
        let [height, width] = sizes.blocks.last().copied().unwrap_or(sizes.image);
        let pixels = height * width;
        let last;
        (tape, last) = tape.split_at(tape.len() - pixels * self.features());
        let g = zeroed(one, last.len());
        let share = 1.0 / pixels as f32;
        for pixel in g.chunks_exact_mut(self.features()) {
            pixel
                .iter_mut()
                .zip(gradient)
                .for_each(|(g, &v)| *g = v * share);
        }
        pull_through_leaky(g, last);
        for (k, (block, &size)) in self.blocks.iter().zip(&sizes.blocks).enumerate().rev() {
            let pixels = size[0] * size[1];
            let (input, middle);
            (tape, middle) = tape.split_at(tape.len() - pixels * block.outputs);
            (tape, input) = tape.split_at(tape.len() - pixels * block.inputs);
            let with = |channels| [size[0], size[1], channels];
            bordered(
                one,
                with(block.outputs),
                block.second.back.border(),
                b,
                |v| v,
            );
            let h = zeroed(two, pixels * block.outputs);
            block.second.back.apply(size, b, h, false);
            pull_through_leaky(h, middle);
            bordered(h, with(block.outputs), block.first.back.border(), b, |v| v);
            let h = zeroed(two, pixels * block.inputs);
            block.first.back.apply(size, b, h, false);
            pull_through_leaky(h, input);
            match &block.shortcut {
                Some(shortcut) => shortcut.back.apply(size, one, h, true),
                None => h.iter_mut().zip(one.iter()).for_each(|(h, g)| *h += g),
            }
            match block.pooled {
                true => {
                    let before = k.checked_sub(1).map_or(sizes.image, |k| sizes.blocks[k]);
                    let spread = zeroed(one, before[0] * before[1] * block.inputs);
                    unpool(h, before, block.inputs, spread);
                }
                false => std::mem::swap(one, two),
            }
        }
        let [channels, stem] = self.channels;
        let [height, width] = sizes.image;
        bordered(
            one,
            [height, width, stem],
            self.stem.back.border(),
            b,
            |v| v,
        );
        let last = zeroed(two, image.len());
        self.stem.back.apply(sizes.image, b, last, false);
        planes(last, width, channels, image);
    }
}

/// 2×2 average pooling of `[H, W, C]`; a remainder of an odd size is dropped.
fn pool(from: &[f32], [_, width]: [usize; 2], channels: usize, to: &mut [f32]) {
    let row = width * channels;
    let half = width / 2 * channels;
    for (y, to) in to.chunks_exact_mut(half).enumerate() {
        let (top, bottom) = from[2 * y * row..][..2 * row].split_at(row);
        for (x, to) in to.chunks_exact_mut(channels).enumerate() {
            let at = 2 * x * channels;
            for (c, to) in to.iter_mut().enumerate() {
                let (left, right) = (at + c, at + c + channels);
                *to = 0.25 * (top[left] + top[right] + bottom[left] + bottom[right]);
            }
        }
    }
}

/// From ∂E/∂pool(x) to ∂E/∂x; `to` holds zeros.
fn unpool(from: &[f32], [_, width]: [usize; 2], channels: usize, to: &mut [f32]) {
    let row = width * channels;
    let half = width / 2 * channels;
    for (y, from) in from.chunks_exact(half).enumerate() {
        let (top, bottom) = to[2 * y * row..][..2 * row].split_at_mut(row);
        for (x, from) in from.chunks_exact(channels).enumerate() {
            let at = 2 * x * channels;
            for (c, &g) in from.iter().enumerate() {
                let g = 0.25 * g;
                let (left, right) = (at + c, at + c + channels);
                (top[left], top[right], bottom[left], bottom[right]) = (g, g, g, g);
            }
        }
    }
}
