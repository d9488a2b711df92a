//! A frozen normalising flow on the CPU: both directions and their vector-Jacobian products, with every
//! activation in buffers of our own.
//!
//! The same function as [`Flow`](super::super::flow::Flow) computes with tensors. Where a level's kernel
//! is larger than a pixel, its images are worked on one by one, each from the first layer to the last
//! while it is in the cache. Where it is 1, the weights are larger than the cache and a layer is applied to
//! the pixels of many images at once, so that its weights are read once for all of them. An image's result
//! is bit for bit the same in every batch.

use std::{cell::Cell, sync::Arc};

#[cfg(feature = "native")]
use rayon::prelude::*;

use super::{
    super::{frozen::Weights, window::ConvShape},
    conv::{PackedConv, bordered},
    math::{sized, vectorised},
    op::Function,
};

/// Weights of an affine coupling.
pub(in crate::nn) struct CouplingWeights<'a> {
    /// Kept channels → hidden, k×k.
    pub(in crate::nn) first: Weights<'a>,
    /// Hidden → hidden, 1×1.
    pub(in crate::nn) middle: Weights<'a>,
    /// Hidden → shift and raw log scale of the transformed channels, k×k.
    pub(in crate::nn) last: Weights<'a>,
    /// Bound c on the log scale.
    pub(in crate::nn) clamp: f64,
}

/// Weights of a step, y = x·A + b per pixel and a coupling.
pub(in crate::nn) struct StepWeights<'a> {
    /// A, `[C, C]`.
    pub(in crate::nn) matrix: &'a [f32],
    /// b, `[C]`.
    pub(in crate::nn) bias: &'a [f32],
    /// A⁻¹, `[C, C]`.
    pub(in crate::nn) inverse: &'a [f32],
    /// log|det A|, summed over the pixels.
    pub(in crate::nn) log_det: f64,
    pub(in crate::nn) coupling: CouplingWeights<'a>,
}

/// Weights of a level.
pub(in crate::nn) struct LevelWeights<'a> {
    /// f: blocks of f×f pixels become channels.
    pub(in crate::nn) squeeze: usize,
    pub(in crate::nn) steps: Vec<StepWeights<'a>>,
    /// The coupling of the half that leaves; none at the last level.
    pub(in crate::nn) split: Option<CouplingWeights<'a>>,
}

/// Values that are computed side by side.
const LANES: usize = 8;

/// Pixels that share a reading of the weights where these are larger than the cache. At least as many as
/// the convolution's kernel works on at once: with fewer, a second thread reads all weights once more and
/// saves no time. At most so many that the activations stay near.
const TOGETHER: [usize; 2] = [6, 128];

/// The value at `at` and those after it, zeros after the last.
#[inline(always)]
fn load(from: &[f32], at: usize) -> [f32; LANES] {
    let from = &from[at..];
    from.first_chunk().copied().unwrap_or_else(|| {
        let mut all = [0.0; LANES];
        all[..from.len()].copy_from_slice(from);
        all
    })
}

/// Writes what [`load`] reads.
#[inline(always)]
fn store(to: &mut [f32], at: usize, values: [f32; LANES]) {
    let to = &mut to[at..];
    match to.first_chunk_mut() {
        Some(to) => *to = values,
        None => to.copy_from_slice(&values[..to.len()]),
    }
}

/// Copies a short row: without a call.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let from = &from[..to.len()];
    for at in (0..to.len()).step_by(LANES) {
        store(to, at, load(from, at));
    }
}

/// f of the lanes, one after the other.
#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    let mut all = [0.0; LANES];
    for (j, v) in all.iter_mut().enumerate() {
        *v = f(j);
    }
    all
}

/// (e^x − s, s) for a power of two s near e^x, |x| ≤ 87. The difference is accurate relative to itself,
/// so that e^x − 1 has no cancellation near 0.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
    // Adding it rounds to integers, which are then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 = HIGH + LOW; the product of HIGH with an integer below 2⁹ is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let r = x - n * HIGH - n * LOW;
    // Cephes' polynomial of (e^r − 1 − r)/r², |r| ≤ ln(2)/2.
    let mut q = 1.987_569_1e-4;
    q = q * r + 1.398_199_9e-3;
    q = q * r + 8.333_452e-3;
    q = q * r + 4.166_579_6e-2;
    q = q * r + 1.666_666_5e-1;
    q = q * r + 0.5;
    ((q * r * r + r) * scale, scale)
}

/// e^x; outside ±87 that of the nearest bound.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let (rest, scale) = exp_parts(x.clamp(-87.0, 87.0));
    rest + scale
}

/// tanh x and its derivative 1 − tanh² x, from e^2x.
#[inline(always)]
fn tanh(x: f32) -> (f32, f32) {
    let (rest, scale) = exp_parts((2.0 * x).clamp(-40.0, 40.0));
    let less_one = rest + (scale - 1.0);
    let share = 1.0 / (less_one + 2.0);
    (
        less_one / (less_one + 2.0),
        4.0 * (rest + scale) * share * share,
    )
}

/// The log scales c·tanh(s/c) and their derivatives in s.
#[inline(always)]
fn bounded(raw: [f32; LANES], clamp: f32) -> ([f32; LANES], [f32; LANES]) {
    let (mut log_scales, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    for j in 0..LANES {
        let (bounded, slope) = tanh(raw[j] * (1.0 / clamp));
        (log_scales[j], slopes[j]) = (clamp * bounded, slope);
    }
    (log_scales, slopes)
}

/// A k×k convolution as a 1×1 convolution to what a pixel gives to each of its k² neighbours, and a sum
/// over these. With few outputs, k² times as many fill the registers better, and the input needs no border.
#[derive(Debug)]
struct Spread {
    /// To `[k², C_out]`.
    conv: PackedConv,
    /// For every pixel, where its k² values begin in what is given; empty for k = 1.
    sources: Vec<u32>,
    bias: Vec<f32>,
    outputs: usize,
}

impl Spread {
    /// For images of this height and width; any for k = 1.
    fn new(from: &Weights<'_>, size: [usize; 2]) -> Self {
        let ConvShape {
            inputs,
            outputs,
            kernel,
            ..
        } = from.shape;
        let taps = kernel * kernel;
        let at = |tap: usize, o: usize, i: usize| from.weight[(o * inputs + i) * taps + tap];
        Self::packed(at, from.bias, [inputs, outputs, kernel], size)
    }

    /// From ∂E/∂y to ∂E/∂x.
    fn adjoint(from: &Weights<'_>, size: [usize; 2]) -> Self {
        let ConvShape {
            inputs,
            outputs,
            kernel,
            ..
        } = from.shape;
        let taps = kernel * kernel;
        // The turned kernel.
        let at =
            |tap: usize, i: usize, o: usize| from.weight[(o * inputs + i) * taps + taps - 1 - tap];
        Self::packed(at, &[], [outputs, inputs, kernel], size)
    }

    fn packed(
        at: impl Fn(usize, usize, usize) -> f32,
        bias: &[f32],
        [inputs, outputs, k]: [usize; 3],
        [height, width]: [usize; 2],
    ) -> Self {
        let taps = k * k;
        let mut weight = Vec::with_capacity(taps * outputs * inputs);
        for tap in 0..taps {
            for o in 0..outputs {
                weight.extend((0..inputs).map(|i| at(tap, o, i)));
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(outputs, 0.0);
        let mut sources = Vec::new();
        let count = if k > 1 { height * width * taps } else { 0 };
        for at in 0..count {
            let (pixel, tap) = (at / taps, at % taps);
            let row = (pixel / width + tap / k).wrapping_sub(k / 2);
            let column = (pixel % width + tap % k).wrapping_sub(k / 2);
            let from = match row < height && column < width {
                true => (row * width + column) * taps + tap,
                // Zeros lie after the last.
                false => height * width * taps,
            };
            sources.push((from * outputs) as u32);
        }
        // With several taps it is added once, with the sum.
        let bias_of_one: &[f32] = if k > 1 { &[] } else { &bias };
        Self {
            conv: PackedConv::new(&weight, bias_of_one, pixelwise(inputs, taps * outputs)),
            sources,
            bias,
            outputs,
        }
    }

    /// y = W∗x + b from `x`, `[pixels, C_in]`, to `y`, `[pixels, C_out]`.
    fn apply(&self, pixels: usize, x: &[f32], taps: &mut Vec<f32>, y: &mut [f32]) {
        if self.sources.is_empty() {
            return self.conv.apply([pixels, 1], x, y, false);
        }
        for y in y.chunks_exact_mut(self.outputs) {
            copy(&self.bias, y);
        }
        self.add(pixels, x, taps, y);
    }

    /// Adds W∗x, without b, of `x`, `[pixels, C_in]`, to the first channels of `y`, `[pixels, C]`.
    fn add(&self, pixels: usize, x: &[f32], taps: &mut Vec<f32>, y: &mut [f32]) {
        let outputs = self.outputs;
        let channels = y.len() / pixels;
        let each = (self.sources.len() / pixels).max(1);
        let count = pixels * each * outputs;
        taps.resize(count, 0.0);
        self.conv.apply([pixels, 1], x, taps, false);
        // Zeros for neighbours outside the image, and the rest of a last group of lanes.
        taps.resize(count + outputs + LANES, 0.0);
        let given = &**taps;
        if self.sources.is_empty() {
            let rows = y.chunks_exact_mut(channels);
            for (y, given) in rows.zip(given.chunks_exact(outputs)) {
                y.iter_mut().zip(given).for_each(|(y, &v)| *y += v);
            }
            return;
        }
        let sources = &*self.sources;
        vectorised(
            #[inline(always)]
            move || {
                let rows = y.chunks_exact_mut(channels);
                for (y, sources) in rows.zip(sources.chunks_exact(each)) {
                    let y = &mut y[..outputs];
                    for at in (0..outputs).step_by(LANES) {
                        let mut sum = load(y, at);
                        for &from in sources {
                            let value = load(given, from as usize + at);
                            for j in 0..LANES {
                                sum[j] += value[j];
                            }
                        }
                        store(y, at, sum);
                    }
                }
            },
        );
    }
}

/// A 1×1 convolution.
fn pixelwise(inputs: usize, outputs: usize) -> ConvShape {
    ConvShape {
        inputs,
        outputs,
        kernel: 1,
        bias: false,
    }
}

#[derive(Debug)]
struct Coupling {
    first: PackedConv,
    middle: PackedConv,
    last: Spread,
    last_back: PackedConv,
    middle_back: PackedConv,
    first_back: Spread,
    hidden: usize,
    /// Transformed channels.
    change: usize,
    clamp: f32,
}

/// A step: y = x·A + b per pixel, then a coupling.
#[derive(Debug)]
struct Step {
    forward: PackedConv,
    forward_back: PackedConv,
    inverse: PackedConv,
    inverse_back: PackedConv,
    coupling: Coupling,
}

#[derive(Debug)]
struct Level {
    /// Height, width and channels after the squeeze.
    shape: [usize; 3],
    /// For every value after the squeeze, where it was before it. The squeeze is done in a copy.
    order: Vec<u32>,
    /// Where its values begin in an image's.
    offset: usize,
    /// Whether its kernels are single pixels.
    pixelwise: bool,
    steps: Vec<Step>,
    split: Option<Coupling>,
}

/// A frozen flow with packed weights.
#[derive(Debug)]
pub(in crate::nn) struct FlowPlan {
    levels: Vec<Level>,
    /// Values of an image.
    dim: usize,
    /// log|det| of all matrices.
    constant: f64,
}

/// What a pass leaves for its vector-Jacobian product: what each coupling's depends on, and of the hidden
/// layers only where they are above 0.
pub(in crate::nn) struct Tape {
    levels: Vec<LevelTape>,
}

struct LevelTape {
    /// Images of a part.
    images: usize,
    parts: Vec<Part>,
}

/// The tape of some images in one level, in the order of computation.
#[derive(Default)]
struct Part {
    /// Forward: exp(ℓ), y·∂ℓ/∂s and ∂ℓ/∂s of every transformed value. Inverse: exp(−ℓ) and ∂x/∂s.
    values: Vec<f32>,
    /// For every hidden channel and every 32 pixels, a bit for each value above 0.
    masks: Vec<u32>,
}

/// The rest of a tape that is read from its end.
struct Reader<'a> {
    values: &'a [f32],
    masks: &'a [u32],
}

impl<'a> Reader<'a> {
    fn new(part: &'a Part) -> Self {
        Self {
            values: &part.values,
            masks: &part.masks,
        }
    }

    fn values(&mut self, count: usize) -> &'a [f32] {
        let (rest, last) = self.values.split_at(self.values.len() - count);
        self.values = rest;
        last
    }

    fn masks(&mut self, count: usize) -> &'a [u32] {
        let (rest, last) = self.masks.split_at(self.masks.len() - count);
        self.masks = rest;
        last
    }
}

/// Buffers of a thread.
#[derive(Default)]
struct Scratch {
    /// `[pixels, C]`
    h: Vec<f32>,
    next: Vec<f32>,
    bordered: Vec<f32>,
    /// `[pixels, hidden]`
    one: Vec<f32>,
    two: Vec<f32>,
    taps: Vec<f32>,
    /// `[pixels, 2·transformed]`
    out: Vec<f32>,
}

/// So many zeros, new at the end.
fn appended<T: Default + Clone>(to: &mut Vec<T>, count: usize) -> &mut [T] {
    let from = to.len();
    to.resize(from + count, T::default());
    &mut to[from..]
}

/// ReLU in place of `[pixels, hidden]`, with a bit for each value above 0.
fn relu(values: &mut [f32], hidden: usize, masks: Option<&mut Vec<u32>>) {
    match masks {
        Some(masks) => {
            let blocks = values.len().div_ceil(32 * hidden);
            let masks = appended(masks, blocks * hidden).chunks_exact_mut(hidden);
            vectorised(
                #[inline(always)]
                || {
                    for (values, mask) in values.chunks_mut(32 * hidden).zip(masks) {
                        for (bit, row) in values.chunks_exact_mut(hidden).enumerate() {
                            for (v, mask) in row.iter_mut().zip(mask.iter_mut()) {
                                *mask |= u32::from(*v > 0.0) << bit;
                                // Not `max`: a NaN stays.
                                *v = if *v < 0.0 { 0.0 } else { *v };
                            }
                        }
                    }
                },
            );
        }
        None => vectorised(
            #[inline(always)]
            || {
                for v in values {
                    *v = if *v < 0.0 { 0.0 } else { *v };
                }
            },
        ),
    }
}

/// g·∂relu, in place of g, `[pixels, hidden]`.
fn pull_through_relu(g: &mut [f32], hidden: usize, masks: &[u32]) {
    vectorised(
        #[inline(always)]
        || {
            let blocks = g.chunks_mut(32 * hidden).zip(masks.chunks_exact(hidden));
            for (g, mask) in blocks {
                for (bit, row) in g.chunks_exact_mut(hidden).enumerate() {
                    for (g, mask) in row.iter_mut().zip(mask) {
                        *g = if mask >> bit & 1 == 0 { 0.0 } else { *g };
                    }
                }
            }
        },
    );
}

impl Coupling {
    fn new(from: &CouplingWeights<'_>, size: [usize; 2]) -> Self {
        let CouplingWeights {
            first,
            middle,
            last,
            clamp,
        } = from;
        Self {
            first: PackedConv::new(first.weight, first.bias, first.shape),
            middle: PackedConv::new(middle.weight, middle.bias, middle.shape),
            last: Spread::new(last, size),
            last_back: PackedConv::adjoint(last.weight, last.shape),
            middle_back: PackedConv::adjoint(middle.weight, middle.shape),
            first_back: Spread::adjoint(first, size),
            hidden: first.shape.outputs,
            change: last.shape.outputs / 2,
            clamp: *clamp as f32,
        }
    }

    /// Shift and raw log scale of the image `h`, into `out`.
    fn network(&self, scratch: &mut Scratch, size: [usize; 2], mut masks: Option<&mut Vec<u32>>) {
        let Scratch {
            h,
            bordered,
            one,
            two,
            taps,
            out,
            ..
        } = scratch;
        let [height, width] = size;
        let pixels = height * width;
        let channels = h.len() / pixels;
        let keep = channels - self.change;
        // The kept channels, with a border.
        let border = self.first.border();
        let row = (width + 2 * border) * keep;
        bordered.clear();
        bordered.resize((height + 2 * border) * row, 0.0);
        let inner = bordered[border * row..].chunks_exact_mut(row).take(height);
        for (h, to) in h.chunks_exact(width * channels).zip(inner) {
            let to = to[border * keep..].chunks_exact_mut(keep).take(width);
            for (h, to) in h.chunks_exact(channels).zip(to) {
                copy(h, to);
            }
        }
        let one = sized(one, pixels * self.hidden);
        let two = sized(two, pixels * self.hidden);
        self.first.apply(size, bordered, one, false);
        relu(one, self.hidden, masks.as_deref_mut());
        self.middle.apply([pixels, 1], one, two, false);
        relu(two, self.hidden, masks);
        let out = sized(out, pixels * 2 * self.change);
        self.last.apply(pixels, two, taps, out);
    }

    /// y = (x + t)·exp(ℓ) of the transformed channels of `h`. Adds Σℓ of every image to `log_dets`.
    fn forward(
        &self,
        scratch: &mut Scratch,
        size: [usize; 2],
        log_dets: &mut [f64],
        mut tape: Option<&mut Part>,
    ) {
        self.network(scratch, size, tape.as_deref_mut().map(|t| &mut t.masks));
        let (h, out, change) = (&mut scratch.h, &scratch.out, self.change);
        let pixels = size[0] * size[1];
        let channels = h.len() / pixels;
        let each = pixels / log_dets.len();
        let clamp = self.clamp;
        let kept = tape.map_or(&mut [][..], |t| {
            appended(&mut t.values, 3 * pixels * change)
        });
        let images = h.chunks_exact_mut(each * channels);
        let images = images.zip(out.chunks_exact(2 * each * change));
        vectorised(
            #[inline(always)]
            || {
                let mut kept = kept.chunks_exact_mut(3 * change);
                for ((h, out), log_det) in images.zip(log_dets) {
                    let mut sums = [0.0; LANES];
                    let h = h.chunks_exact_mut(channels);
                    for (h, out) in h.zip(out.chunks_exact(2 * change)) {
                        let x = &mut h[channels - change..];
                        let (shift, raw) = out.split_at(change);
                        let mut kept = kept.next().map(|kept| kept.split_at_mut(change));
                        for at in (0..change).step_by(LANES) {
                            let (value, shift, raw) = (load(x, at), load(shift, at), load(raw, at));
                            let (log_scale, slope) = bounded(raw, clamp);
                            let scale = lanes(|j| exp(log_scale[j]));
                            let y = lanes(|j| (value[j] + shift[j]) * scale[j]);
                            sums = lanes(|j| sums[j] + log_scale[j]);
                            store(x, at, y);
                            if let Some((scales, rest)) = &mut kept {
                                let (products, slopes) = rest.split_at_mut(change);
                                store(scales, at, scale);
                                store(products, at, lanes(|j| y[j] * slope[j]));
                                store(slopes, at, slope);
                            }
                        }
                    }
                    *log_det += sums.iter().map(|&v| f64::from(v)).sum::<f64>();
                }
            },
        );
    }

    /// x = y·exp(−ℓ) − t of the transformed channels of `h`.
    fn inverse(&self, scratch: &mut Scratch, size: [usize; 2], mut tape: Option<&mut Part>) {
        self.network(scratch, size, tape.as_deref_mut().map(|t| &mut t.masks));
        let (h, out, change) = (&mut scratch.h, &scratch.out, self.change);
        let pixels = size[0] * size[1];
        let channels = h.len() / pixels;
        let clamp = self.clamp;
        let kept = tape.map_or(&mut [][..], |t| {
            appended(&mut t.values, 2 * pixels * change)
        });
        vectorised(
            #[inline(always)]
            || {
                let mut kept = kept.chunks_exact_mut(2 * change);
                let h = h.chunks_exact_mut(channels);
                for (h, out) in h.zip(out.chunks_exact(2 * change)) {
                    let y = &mut h[channels - change..];
                    let (shift, raw) = out.split_at(change);
                    let mut kept = kept.next().map(|kept| kept.split_at_mut(change));
                    for at in (0..change).step_by(LANES) {
                        let (value, shift, raw) = (load(y, at), load(shift, at), load(raw, at));
                        let (log_scale, slope) = bounded(raw, clamp);
                        let scale = lanes(|j| exp(-log_scale[j]));
                        let scaled = lanes(|j| value[j] * scale[j]);
                        store(y, at, lanes(|j| scaled[j] - shift[j]));
                        if let Some((scales, slopes)) = &mut kept {
                            store(scales, at, scale);
                            store(slopes, at, lanes(|j| -scaled[j] * slope[j]));
                        }
                    }
                }
            },
        );
    }

    /// From ∂E/∂y and ∂E/∂Σℓ of every image to ∂E/∂x, in place, `h`.
    fn forward_back(
        &self,
        scratch: &mut Scratch,
        size: [usize; 2],
        g_log_dets: &[f32],
        tape: &mut Reader<'_>,
    ) {
        let (h, out, change) = (&mut scratch.h, &mut scratch.out, self.change);
        let pixels = size[0] * size[1];
        let channels = h.len() / pixels;
        let each = pixels / g_log_dets.len();
        let out = sized(out, pixels * 2 * change);
        let kept = tape.values(3 * pixels * change);
        vectorised(
            #[inline(always)]
            || {
                let h = h.chunks_exact_mut(channels);
                let pixels = h.zip(out.chunks_exact_mut(2 * change));
                for (p, ((h, out), kept)) in pixels.zip(kept.chunks_exact(3 * change)).enumerate() {
                    let g = &mut h[channels - change..];
                    let (shifts, raws) = out.split_at_mut(change);
                    let (scales, rest) = kept.split_at(change);
                    let (products, slopes) = rest.split_at(change);
                    let g_log_det = g_log_dets[p / each];
                    for at in (0..change).step_by(LANES) {
                        let value = load(g, at);
                        let (product, slope) = (load(products, at), load(slopes, at));
                        let scale = load(scales, at);
                        let shift = lanes(|j| value[j] * scale[j]);
                        let raw = lanes(|j| value[j] * product[j] + g_log_det * slope[j]);
                        store(g, at, shift);
                        store(shifts, at, shift);
                        store(raws, at, raw);
                    }
                }
            },
        );
        self.network_back(scratch, size, tape);
    }

    /// From ∂E/∂x to ∂E/∂y of [`inverse`](Self::inverse), in place, `h`.
    fn inverse_back(&self, scratch: &mut Scratch, size: [usize; 2], tape: &mut Reader<'_>) {
        let (h, out, change) = (&mut scratch.h, &mut scratch.out, self.change);
        let pixels = size[0] * size[1];
        let channels = h.len() / pixels;
        let out = sized(out, pixels * 2 * change);
        let kept = tape.values(2 * pixels * change);
        vectorised(
            #[inline(always)]
            || {
                let h = h.chunks_exact_mut(channels);
                let pixels = h.zip(out.chunks_exact_mut(2 * change));
                for ((h, out), kept) in pixels.zip(kept.chunks_exact(2 * change)) {
                    let g = &mut h[channels - change..];
                    let (shifts, raws) = out.split_at_mut(change);
                    let (scales, slopes) = kept.split_at(change);
                    for at in (0..change).step_by(LANES) {
                        let value = load(g, at);
                        let (scale, slope) = (load(scales, at), load(slopes, at));
                        store(g, at, lanes(|j| value[j] * scale[j]));
                        store(shifts, at, lanes(|j| -value[j]));
                        store(raws, at, lanes(|j| value[j] * slope[j]));
                    }
                }
            },
        );
        self.network_back(scratch, size, tape);
    }

    /// From ∂E/∂(shift, raw log scale), `out`, to ∂E/∂kept, which is added to the kept channels of `h`.
    fn network_back(&self, scratch: &mut Scratch, size: [usize; 2], tape: &mut Reader<'_>) {
        let Scratch {
            h,
            bordered: b,
            one,
            two,
            taps,
            out,
            ..
        } = scratch;
        let [height, width] = size;
        let pixels = height * width;
        let words = pixels.div_ceil(32) * self.hidden;
        bordered(
            out,
            [height, width, 2 * self.change],
            self.last_back.border(),
            b,
            |v| v,
        );
        let one = sized(one, pixels * self.hidden);
        let two = sized(two, pixels * self.hidden);
        self.last_back.apply(size, b, one, false);
        pull_through_relu(one, self.hidden, tape.masks(words));
        self.middle_back.apply([pixels, 1], one, two, false);
        pull_through_relu(two, self.hidden, tape.masks(words));
        self.first_back.add(pixels, two, taps, h);
    }
}

impl Step {
    fn new(from: &StepWeights<'_>, size: [usize; 2]) -> Self {
        let c = from.bias.len();
        let shape = pixelwise(c, c);
        let transposed: Vec<f32> = (0..c * c)
            .map(|at| from.matrix[at % c * c + at / c])
            .collect();
        // (y − b)·A⁻¹ = y·A⁻¹ − b·A⁻¹
        let shift: Vec<f32> = (0..c)
            .map(|j| {
                let column = from.inverse.iter().skip(j).step_by(c);
                let product = column.zip(from.bias);
                -product
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
                    .sum::<f64>() as f32
            })
            .collect();
        let inverse: Vec<f32> = (0..c * c)
            .map(|at| from.inverse[at % c * c + at / c])
            .collect();
        Self {
            forward: PackedConv::new(&transposed, from.bias, shape),
            forward_back: PackedConv::new(from.matrix, &[], shape),
            inverse: PackedConv::new(&inverse, &shift, shape),
            inverse_back: PackedConv::new(from.inverse, &[], shape),
            coupling: Coupling::new(&from.coupling, size),
        }
    }
}

/// `h` ← the matrix applied to every pixel of `h`.
fn mix(matrix: &PackedConv, scratch: &mut Scratch, pixels: usize) {
    let Scratch { h, next, .. } = scratch;
    let next_values = sized(next, h.len());
    matrix.apply([pixels, 1], h, next_values, false);
    std::mem::swap(h, next);
}

impl Level {
    /// Values of an image.
    fn dim(&self) -> usize {
        self.order.len()
    }

    /// The size to compute with for as many images.
    fn size(&self, images: usize) -> [usize; 2] {
        let [height, width, _] = self.shape;
        if self.pixelwise {
            [images * height * width, 1]
        } else {
            [height, width]
        }
    }

    /// An empty tape with room for so many values of every transformed one.
    fn part_of(&self, [height, width]: [usize; 2], values: usize) -> Part {
        let pixels = height * width;
        let couplings = self.steps.iter().map(|s| &s.coupling).chain(&self.split);
        let (mut floats, mut words) = (0, 0);
        for coupling in couplings {
            floats += values * pixels * coupling.change;
            words += 2 * coupling.hidden * pixels.div_ceil(32);
        }
        Part {
            values: Vec::with_capacity(floats),
            masks: Vec::with_capacity(words),
        }
    }

    /// Transformed channels of a pixel that leave after this level, and all of its channels.
    fn leaving(&self) -> [usize; 2] {
        let channels = self.shape[2];
        [self.split.as_ref().map_or(0, |s| s.change), channels]
    }

    /// From the order before the squeeze to `h`, `[images·H·W, C]`.
    fn squeeze(&self, rows: &[f32], dim: usize, h: &mut Vec<f32>) {
        let h = sized(h, rows.len() / dim * self.dim());
        for (row, h) in rows.chunks_exact(dim).zip(h.chunks_exact_mut(self.dim())) {
            let row = &row[self.offset..];
            for (h, &at) in h.iter_mut().zip(&self.order) {
                *h = row[at as usize];
            }
        }
    }

    /// Inverse of [`squeeze`](Self::squeeze).
    fn unsqueeze(&self, h: &[f32], dim: usize, rows: &mut [f32]) {
        for (row, h) in rows.chunks_exact_mut(dim).zip(h.chunks_exact(self.dim())) {
            let row = &mut row[self.offset..];
            for (h, &at) in h.iter().zip(&self.order) {
                row[at as usize] = *h;
            }
        }
    }

    /// From `h` to the order of z: the channels that leave, then the others.
    fn part(&self, h: &[f32], dim: usize, rows: &mut [f32]) {
        let [change, channels] = self.leaving();
        let pixels = self.dim() / channels;
        for (row, h) in rows.chunks_exact_mut(dim).zip(h.chunks_exact(self.dim())) {
            let (leaving, kept) = row[self.offset..].split_at_mut(pixels * change);
            for (p, h) in h.chunks_exact(channels).enumerate() {
                let (keep, leave) = h.split_at(channels - change);
                copy(leave, &mut leaving[p * change..][..change]);
                copy(keep, &mut kept[p * keep.len()..][..keep.len()]);
            }
        }
    }

    /// Inverse of [`part`](Self::part).
    fn join(&self, rows: &[f32], dim: usize, h: &mut Vec<f32>) {
        let [change, channels] = self.leaving();
        let pixels = self.dim() / channels;
        let h = sized(h, rows.len() / dim * self.dim());
        for (row, h) in rows.chunks_exact(dim).zip(h.chunks_exact_mut(self.dim())) {
            let (leaving, kept) = row[self.offset..].split_at(pixels * change);
            for (p, h) in h.chunks_exact_mut(channels).enumerate() {
                let (keep, leave) = h.split_at_mut(channels - change);
                copy(&leaving[p * change..], leave);
                copy(&kept[p * keep.len()..], keep);
            }
        }
    }

    /// Images that are computed together, of so many.
    fn together(&self, batch: usize) -> usize {
        if !self.pixelwise {
            return 1;
        }
        let [height, width, _] = self.shape;
        let [fewest, most] = TOGETHER.map(|pixels| pixels.div_ceil(height * width));
        #[cfg(feature = "native")]
        let threads = rayon::current_num_threads();
        #[cfg(not(feature = "native"))]
        let threads = 1;
        // As many for every thread.
        let parts = (batch / fewest).clamp(1, threads);
        let rounds = batch.div_ceil(parts * most).max(1);
        batch.div_ceil(parts * rounds).max(1)
    }
}

thread_local! {
    /// Kept between calls: new memory costs as much as several layers.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// f of every item, spread over the threads.
fn each<I: Send, O: Send>(items: Vec<I>, f: impl Fn(&mut Scratch, I) -> O + Send + Sync) -> Vec<O> {
    let with_scratch = |item| {
        let mut scratch = SCRATCH.take();
        let result = f(&mut scratch, item);
        SCRATCH.set(scratch);
        result
    };
    #[cfg(feature = "native")]
    if items.len() > 1 {
        return items.into_par_iter().map(with_scratch).collect();
    }
    items.into_iter().map(with_scratch).collect()
}

/// f, for so many images. With several it runs on one of the threads that they are spread over: the
/// caller's own would wait for these anew at every level.
fn pooled<R: Send>(images: usize, f: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "native")]
    if images > 1 {
        return rayon::scope(|_| f());
    }
    let _ = images;
    f()
}

impl FlowPlan {
    /// `[channels, height, width]` of the images, and the levels from x to z.
    pub(in crate::nn) fn new(shape: [usize; 3], levels: &[LevelWeights<'_>]) -> Self {
        let dim = shape.iter().product();
        let [mut c, mut height, mut width] = shape;
        let mut offset = 0;
        let mut packed = Vec::new();
        for (i, level) in levels.iter().enumerate() {
            let f = level.squeeze;
            let before = [c, height, width];
            (c, height, width) = (c * f * f, height / f, width / f);
            let place = |at: usize| {
                let (pixel, channel) = (at / c, at % c);
                let (block, channel) = (channel / before[0], channel % before[0]);
                let y = pixel / width * f + block / f;
                let x = pixel % width * f + block % f;
                // The image is `[C, H, W]`, the output of a level `[H, W, C]`.
                match i {
                    0 => (channel * before[1] + y) * before[2] + x,
                    _ => (y * before[2] + x) * before[0] + channel,
                }
            };
            let couplings = level.steps.iter().map(|s| &s.coupling).chain(&level.split);
            let size = [height, width];
            packed.push(Level {
                shape: [height, width, c],
                order: (0..c * height * width).map(|at| place(at) as u32).collect(),
                offset,
                pixelwise: couplings
                    .flat_map(|c| [&c.first, &c.last])
                    .all(|w| w.shape.kernel == 1),
                steps: level.steps.iter().map(|s| Step::new(s, size)).collect(),
                split: level.split.as_ref().map(|s| Coupling::new(s, size)),
            });
            offset += height * width * (c / 2);
            c -= c / 2;
        }
        let steps = levels.iter().flat_map(|level| &level.steps);
        Self {
            levels: packed,
            dim,
            constant: steps.map(|step| step.log_det).sum(),
        }
    }

    /// x, `[B, D]`, flattened `[C, H, W]` images → z, `[B, D]`, log|det ∂z/∂x|, `[B]`, and the tape for
    /// [`forward_back`](Self::forward_back).
    pub(in crate::nn) fn forward(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>, Tape) {
        pooled(x.len() / self.dim, || self.forward_keeping(x, true))
    }

    /// As [`forward`](Self::forward), for no gradient.
    pub(in crate::nn) fn forward_values(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (z, log_det, _) = pooled(x.len() / self.dim, || self.forward_keeping(x, false));
        (z, log_det)
    }

    fn forward_keeping(&self, x: &[f32], keep: bool) -> (Vec<f32>, Vec<f32>, Tape) {
        let dim = self.dim;
        let batch = x.len() / dim;
        let mut rows = x.to_vec();
        let mut log_dets = vec![self.constant; batch];
        let mut tapes = Vec::new();
        for level in &self.levels {
            let images = level.together(batch);
            let items = rows.chunks_mut(images * dim);
            let items = items.zip(log_dets.chunks_mut(images)).collect();
            let parts = each(items, |scratch: &mut Scratch, (rows, log_dets)| {
                let size = level.size(log_dets.len());
                let mut part = keep.then(|| level.part_of(size, 3));
                level.squeeze(rows, dim, &mut scratch.h);
                for step in &level.steps {
                    mix(&step.forward, scratch, size[0] * size[1]);
                    step.coupling
                        .forward(scratch, size, log_dets, part.as_mut());
                }
                if let Some(split) = &level.split {
                    split.forward(scratch, size, log_dets, part.as_mut());
                }
                level.part(&scratch.h, dim, rows);
                part.unwrap_or_default()
            });
            tapes.push(LevelTape { images, parts });
        }
        let log_dets = log_dets.iter().map(|&v| v as f32).collect();
        (rows, log_dets, Tape { levels: tapes })
    }

    /// From ∂E/∂z, `[B, D]`, and ∂E/∂log|det|, `[B]`, to ∂E/∂x, `[B, D]`. The tape is of
    /// [`forward`](Self::forward).
    pub(in crate::nn) fn forward_back(
        &self,
        gz: &[f32],
        g_log_det: &[f32],
        tape: &Tape,
    ) -> Vec<f32> {
        pooled(g_log_det.len(), || {
            self.forward_back_here(gz, g_log_det, tape)
        })
    }

    fn forward_back_here(&self, gz: &[f32], g_log_det: &[f32], tape: &Tape) -> Vec<f32> {
        let dim = self.dim;
        let mut rows = gz.to_vec();
        for (level, tape) in self.levels.iter().zip(&tape.levels).rev() {
            let items = rows.chunks_mut(tape.images * dim);
            let items = items.zip(g_log_det.chunks(tape.images)).zip(&tape.parts);
            each(
                items.collect(),
                |scratch: &mut Scratch, ((rows, g), part)| {
                    let mut tape = Reader::new(part);
                    let size = level.size(g.len());
                    level.join(rows, dim, &mut scratch.h);
                    if let Some(split) = &level.split {
                        split.forward_back(scratch, size, g, &mut tape);
                    }
                    for step in level.steps.iter().rev() {
                        step.coupling.forward_back(scratch, size, g, &mut tape);
                        mix(&step.forward_back, scratch, size[0] * size[1]);
                    }
                    level.unsqueeze(&scratch.h, dim, rows);
                },
            );
        }
        rows
    }

    /// z, `[B, D]` → x, `[B, D]`, and the tape for [`inverse_back`](Self::inverse_back).
    pub(in crate::nn) fn inverse(&self, z: &[f32]) -> (Vec<f32>, Tape) {
        pooled(z.len() / self.dim, || self.inverse_keeping(z, true))
    }

    /// As [`inverse`](Self::inverse), for no gradient.
    pub(in crate::nn) fn inverse_values(&self, z: &[f32]) -> Vec<f32> {
        pooled(z.len() / self.dim, || self.inverse_keeping(z, false)).0
    }

    fn inverse_keeping(&self, z: &[f32], keep: bool) -> (Vec<f32>, Tape) {
        let dim = self.dim;
        let batch = z.len() / dim;
        let mut rows = z.to_vec();
        let mut tapes = Vec::new();
        for level in self.levels.iter().rev() {
            let images = level.together(batch);
            let items = rows.chunks_mut(images * dim).collect();
            let parts = each(items, |scratch: &mut Scratch, rows: &mut [f32]| {
                let size = level.size(rows.len() / dim);
                let mut part = keep.then(|| level.part_of(size, 2));
                level.join(rows, dim, &mut scratch.h);
                if let Some(split) = &level.split {
                    split.inverse(scratch, size, part.as_mut());
                }
                for step in level.steps.iter().rev() {
                    step.coupling.inverse(scratch, size, part.as_mut());
                    mix(&step.inverse, scratch, size[0] * size[1]);
                }
                level.unsqueeze(&scratch.h, dim, rows);
                part.unwrap_or_default()
            });
            tapes.push(LevelTape { images, parts });
        }
        tapes.reverse();
        (rows, Tape { levels: tapes })
    }

    /// From ∂E/∂x, `[B, D]`, to ∂E/∂z, `[B, D]`. The tape is of [`inverse`](Self::inverse).
    pub(in crate::nn) fn inverse_back(&self, gx: &[f32], tape: &Tape) -> Vec<f32> {
        pooled(gx.len() / self.dim, || self.inverse_back_here(gx, tape))
    }

    fn inverse_back_here(&self, gx: &[f32], tape: &Tape) -> Vec<f32> {
        let dim = self.dim;
        let mut rows = gx.to_vec();
        for (level, tape) in self.levels.iter().zip(&tape.levels) {
            let items = rows.chunks_mut(tape.images * dim).zip(&tape.parts);
            each(items.collect(), |scratch: &mut Scratch, (rows, part)| {
                let mut tape = Reader::new(part);
                let size = level.size(rows.len() / dim);
                level.squeeze(rows, dim, &mut scratch.h);
                for step in &level.steps {
                    mix(&step.inverse_back, scratch, size[0] * size[1]);
                    step.coupling.inverse_back(scratch, size, &mut tape);
                }
                if let Some(split) = &level.split {
                    split.inverse_back(scratch, size, &mut tape);
                }
                level.part(&scratch.h, dim, rows);
            });
        }
        rows
    }
}

/// x → (z, log|det ∂z/∂x|), `[B, D]` → `[B, D + 1]`.
pub(in crate::nn) struct Forward(pub(in crate::nn) Arc<FlowPlan>);

impl Function for Forward {
    type Tape = Tape;

    fn outputs(&self) -> usize {
        self.0.dim + 1
    }

    fn values(&self, x: &[f32]) -> Vec<f32> {
        let (z, log_det) = self.0.forward_values(x);
        beside(&z, &log_det, self.0.dim)
    }

    fn forward(&self, x: &[f32]) -> (Vec<f32>, Tape) {
        let (z, log_det, tape) = self.0.forward(x);
        (beside(&z, &log_det, self.0.dim), tape)
    }

    fn pull_back(&self, gradient: &[f32], tape: &Tape) -> Vec<f32> {
        let (mut gz, mut g_log_det) = (Vec::with_capacity(gradient.len()), Vec::new());
        for row in gradient.chunks_exact(self.0.dim + 1) {
            gz.extend_from_slice(&row[..self.0.dim]);
            g_log_det.push(row[self.0.dim]);
        }
        self.0.forward_back(&gz, &g_log_det, tape)
    }
}

/// Rows `[B, D]` with one more value each.
fn beside(rows: &[f32], last: &[f32], dim: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(rows.len() + last.len());
    for (row, &last) in rows.chunks_exact(dim).zip(last) {
        all.extend_from_slice(row);
        all.push(last);
    }
    all
}

/// z → x, `[B, D]` → `[B, D]`.
pub(in crate::nn) struct Inverse(pub(in crate::nn) Arc<FlowPlan>);

impl Function for Inverse {
    type Tape = Tape;

    fn outputs(&self) -> usize {
        self.0.dim
    }

    fn values(&self, z: &[f32]) -> Vec<f32> {
        self.0.inverse_values(z)
    }

    fn forward(&self, z: &[f32]) -> (Vec<f32>, Tape) {
        self.0.inverse(z)
    }

    fn pull_back(&self, gradient: &[f32], tape: &Tape) -> Vec<f32> {
        self.0.inverse_back(gradient, tape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, a: f32, gain: f32) -> Vec<f32> {
        (0..n)
            .map(|i| gain * (i as f32 * a + 0.3 * a).sin())
            .collect()
    }

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&v| f64::from(v)).collect()
    }

    struct Conv {
        weight: Vec<f32>,
        bias: Vec<f32>,
        shape: ConvShape,
    }

    impl Conv {
        fn weights(&self) -> Weights<'_> {
            Weights {
                weight: &self.weight,
                bias: &self.bias,
                shape: self.shape,
            }
        }

        /// `[H, W, C_in]` → `[H, W, C_out]`, by the definition.
        fn apply(&self, [height, width]: [usize; 2], x: &[f64]) -> Vec<f64> {
            let ConvShape {
                inputs,
                outputs,
                kernel: k,
                ..
            } = self.shape;
            let mut y = Vec::new();
            for (pixel, o) in (0..height * width * outputs).map(|at| (at / outputs, at % outputs)) {
                let mut sum = f64::from(self.bias[o]);
                for (i, dy, dx) in (0..inputs * k * k).map(|t| (t / (k * k), t / k % k, t % k)) {
                    let r = (pixel / width + dy).wrapping_sub(k / 2);
                    let c = (pixel % width + dx).wrapping_sub(k / 2);
                    if r < height && c < width {
                        let w = f64::from(self.weight[((o * inputs + i) * k + dy) * k + dx]);
                        sum += w * x[(r * width + c) * inputs + i];
                    }
                }
                y.push(sum);
            }
            y
        }
    }

    struct Network {
        convs: [Conv; 3],
        change: usize,
    }

    const CLAMP: f64 = 1.7;

    impl Network {
        fn new(channels: usize, [hidden, kernel]: [usize; 2], seed: f32) -> Self {
            let change = channels / 2;
            let conv = |inputs: usize, outputs: usize, kernel: usize, seed: f32| {
                let fan = inputs * kernel * kernel;
                Conv {
                    weight: wave(outputs * fan, seed, 2.0 / (fan as f32).sqrt()),
                    bias: wave(outputs, seed + 0.4, 0.3),
                    shape: ConvShape {
                        inputs,
                        outputs,
                        kernel,
                        bias: true,
                    },
                }
            };
            Self {
                convs: [
                    conv(channels - change, hidden, kernel, seed),
                    conv(hidden, hidden, 1, seed + 0.1),
                    conv(hidden, 2 * change, kernel, seed + 0.2),
                ],
                change,
            }
        }

        fn weights(&self) -> CouplingWeights<'_> {
            let [first, middle, last] = &self.convs;
            CouplingWeights {
                first: first.weights(),
                middle: middle.weights(),
                last: last.weights(),
                clamp: CLAMP,
            }
        }

        /// Shift and log scale of every pixel of `[H, W, C]`.
        fn apply(&self, size: [usize; 2], h: &[f64]) -> Vec<(Vec<f64>, Vec<f64>)> {
            let channels = h.len() / (size[0] * size[1]);
            let kept = h
                .chunks_exact(channels)
                .flat_map(|h| &h[..channels - self.change]);
            let relu = |v: Vec<f64>| v.into_iter().map(|v| v.max(0.0)).collect::<Vec<_>>();
            let [first, middle, last] = &self.convs;
            let y = relu(first.apply(size, &kept.copied().collect::<Vec<_>>()));
            let y = last.apply(size, &relu(middle.apply(size, &y)));
            let pixels = y.chunks_exact(2 * self.change);
            pixels
                .map(|y| {
                    let (shift, raw) = y.split_at(self.change);
                    let log_scale = raw.iter().map(|v| CLAMP * (v / CLAMP).tanh());
                    (shift.to_vec(), log_scale.collect())
                })
                .collect()
        }
    }

    struct FakeStep {
        matrix: Vec<f32>,
        inverse: Vec<f32>,
        bias: Vec<f32>,
        network: Network,
    }

    struct FakeLevel {
        squeeze: usize,
        steps: Vec<FakeStep>,
        split: Option<Network>,
        shape: [usize; 3],
    }

    /// A flow as its definition has it, in f64.
    struct Slow {
        shape: [usize; 3],
        levels: Vec<FakeLevel>,
    }

    /// The slow flow's layers are `(squeeze, steps, hidden, kernel)`.
    impl Slow {
        fn new(shape: [usize; 3], levels: &[(usize, usize, usize, usize)]) -> Self {
            let [mut c, mut height, mut width] = shape;
            let count = levels.len();
            let make =
                |(i, &(f, steps, hidden, kernel)): (usize, &(usize, usize, usize, usize))| {
                    (c, height, width) = (c * f * f, height / f, width / f);
                    let shape = [height, width, c];
                    let steps = (0..steps).map(|j| {
                        let seed = 0.7 + 0.31 * (i * 7 + j) as f32;
                        // D·(I − 2vvᵀ), whose inverse is (I − 2vvᵀ)·D⁻¹.
                        let v = wave(c, seed, 1.0);
                        let norm: f32 = v.iter().map(|v| v * v).sum();
                        let mirror = |a: usize, b: usize| {
                            f32::from(u8::from(a == b)) - 2.0 * v[a] * v[b] / norm
                        };
                        let d = |a: usize| 1.0 + 0.5 * (a as f32).sin();
                        let at = |at: usize| (at / c, at % c);
                        FakeStep {
                            matrix: (0..c * c)
                                .map(at)
                                .map(|(a, b)| d(a) * mirror(a, b))
                                .collect(),
                            inverse: (0..c * c)
                                .map(at)
                                .map(|(a, b)| mirror(a, b) / d(b))
                                .collect(),
                            bias: wave(c, seed, 0.5),
                            network: Network::new(c, [hidden, kernel], seed),
                        }
                    });
                    let steps = steps.collect();
                    let split = (i + 1 < count).then(|| Network::new(c, [hidden, kernel], 0.37));
                    c -= c / 2;
                    FakeLevel {
                        squeeze: f,
                        steps,
                        split,
                        shape,
                    }
                };
            let levels = levels.iter().enumerate().map(make).collect();
            Self { shape, levels }
        }

        fn plan(&self) -> FlowPlan {
            let levels: Vec<_> = self
                .levels
                .iter()
                .map(|level| LevelWeights {
                    squeeze: level.squeeze,
                    steps: level
                        .steps
                        .iter()
                        .map(|step| StepWeights {
                            matrix: &step.matrix,
                            inverse: &step.inverse,
                            bias: &step.bias,
                            log_det: 0.25,
                            coupling: step.network.weights(),
                        })
                        .collect(),
                    split: level.split.as_ref().map(Network::weights),
                })
                .collect();
            FlowPlan::new(self.shape, &levels)
        }

        fn dim(&self) -> usize {
            self.shape.iter().product()
        }

        /// (z, log|det|) of an image.
        fn forward(&self, x: &[f64]) -> (Vec<f64>, f64) {
            let (mut z, mut log_det) = (Vec::new(), 0.0);
            let [c, height, width] = self.shape;
            let mut h: Vec<f64> = Vec::new();
            for (y, x_) in (0..height * width).map(|p| (p / width, p % width)) {
                h.extend((0..c).map(|c| x[(c * height + y) * width + x_]));
            }
            let mut before = [height, width, c];
            for level in &self.levels {
                let [height, width, channels] = level.shape;
                let f = level.squeeze;
                let mut squeezed = Vec::new();
                for (y, x) in (0..height * width).map(|p| (p / width, p % width)) {
                    for (dy, dx) in (0..f * f).map(|p| (p / f, p % f)) {
                        let from = ((y * f + dy) * before[1] + x * f + dx) * before[2];
                        squeezed.extend(&h[from..][..before[2]]);
                    }
                }
                h = squeezed;
                let couple = |network: &Network, h: &mut [f64]| {
                    let mut sum = 0.0;
                    let scales = network.apply([height, width], h);
                    for (h, (shift, log_scale)) in h.chunks_exact_mut(channels).zip(scales) {
                        let changed = &mut h[channels - network.change..];
                        for ((v, t), l) in changed.iter_mut().zip(shift).zip(log_scale) {
                            *v = (*v + t) * l.exp();
                            sum += l;
                        }
                    }
                    sum
                };
                for step in &level.steps {
                    let mut mixed = Vec::new();
                    for h in h.chunks_exact(channels) {
                        mixed.extend((0..channels).map(|o| {
                            let column = step.matrix.iter().skip(o).step_by(channels);
                            let product = h.iter().zip(column);
                            f64::from(step.bias[o])
                                + product.map(|(h, &a)| h * f64::from(a)).sum::<f64>()
                        }));
                    }
                    h = mixed;
                    log_det += couple(&step.network, &mut h) + 0.25;
                }
                if let Some(split) = &level.split {
                    log_det += couple(split, &mut h);
                    let keep = channels - split.change;
                    z.extend(h.chunks_exact(channels).flat_map(|h| &h[keep..]));
                    let kept = h.chunks_exact(channels).flat_map(|h| &h[..keep]);
                    h = kept.copied().collect();
                    before = [height, width, keep];
                }
            }
            z.extend(h);
            (z, log_det)
        }
    }

    /// Kernel 3 then 1 with 9 channels at the end, 1 then 3, and with one pixel at the end.
    fn flows() -> Vec<Slow> {
        vec![
            Slow::new([2, 6, 9], &[(3, 2, 10, 3), (1, 2, 35, 1)]),
            Slow::new([1, 8, 12], &[(2, 1, 7, 1), (2, 2, 17, 3)]),
            Slow::new([1, 8, 8], &[(2, 1, 16, 3), (4, 2, 40, 1)]),
        ]
    }

    fn close(found: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error < tolerance * expected.abs().max(1.0),
                "{i}: {found} for {expected}"
            );
        }
    }

    #[test]
    fn forward_is_as_defined_and_inverse_its_inverse() {
        for slow in flows() {
            let plan = slow.plan();
            let dim = slow.dim();
            let x = wave(3 * dim, 0.37, 1.0);
            let (z, log_det, _) = plan.forward(&x);
            for ((x, z), log_det) in x.chunks(dim).zip(z.chunks(dim)).zip(&log_det) {
                let (expected, expected_log_det) = slow.forward(&wide(x));
                close(z, &expected, 1e-5);
                close(&[*log_det], &[expected_log_det], 1e-5);
            }
            assert_eq!(plan.forward_values(&x), (z.clone(), log_det));
            let (back, _) = plan.inverse(&z);
            close(&back, &wide(&x), 1e-4);
            assert_eq!(plan.inverse_values(&z), back);
        }
    }

    /// Against central differences of the definition. For the inverse v = J⁻ᵀ·g by Jᵀ·v = g, with the
    /// definition's J.
    #[test]
    fn gradients_are_those_of_the_definition() {
        // J(x)ᵀ·gz + g_log_det·∂log|det|/∂x
        let slopes = |slow: &Slow, x: &[f32], gz: &[f32], g_log_det: f64| {
            let x = wide(x);
            let value = |x: &[f64]| {
                let (z, log_det) = slow.forward(x);
                let product = z.iter().zip(gz).map(|(z, &g)| z * f64::from(g));
                product.sum::<f64>() + g_log_det * log_det
            };
            let slope = |at: usize| {
                let shifted = |by: f64| {
                    let mut x = x.clone();
                    x[at] += by;
                    value(&x)
                };
                (shifted(1e-6) - shifted(-1e-6)) / 2e-6
            };
            (0..x.len()).map(slope).collect::<Vec<_>>()
        };
        for slow in flows() {
            let plan = slow.plan();
            let dim = slow.dim();
            let x = wave(2 * dim, 0.37, 1.0);
            let g = wave(2 * dim, 0.53, 1.0);
            let g_log_det = [0.8, -1.3];
            let (z, _, tape) = plan.forward(&x);
            let gx = plan.forward_back(&g, &g_log_det, &tape);
            let (_, tape) = plan.inverse(&z);
            let gz = plan.inverse_back(&g, &tape);
            for (i, g_log_det) in g_log_det.into_iter().enumerate() {
                let [x, g, gx, gz] = [&x, &g, &gx, &gz].map(|all| &all[i * dim..][..dim]);
                close(gx, &slopes(&slow, x, g, g_log_det.into()), 1e-4);
                close(g, &slopes(&slow, x, gz, 0.0), 1e-3);
            }
        }
    }

    /// Bit for bit, with more images than are computed together.
    #[test]
    fn an_image_is_computed_alike_in_every_batch() {
        for slow in flows() {
            let plan = slow.plan();
            let dim = slow.dim();
            let batch = 2 * TOGETHER[1] + 5;
            let x = wave(batch * dim, 0.37, 1.0);
            let g = wave(batch * dim, 0.53, 1.0);
            let g_log_det = wave(batch, 0.71, 1.0);
            let (z, log_det, tape) = plan.forward(&x);
            let gx = plan.forward_back(&g, &g_log_det, &tape);
            let (y, inverse_tape) = plan.inverse(&x);
            let gz = plan.inverse_back(&g, &inverse_tape);
            for i in [0, 1, 6, TOGETHER[1], batch - 1] {
                let row = |all: &[f32]| all[i * dim..][..dim].to_vec();
                let (z_, log_det_, tape) = plan.forward(&row(&x));
                assert_eq!((z_, log_det_[0]), (row(&z), log_det[i]));
                let gx_ = plan.forward_back(&row(&g), &g_log_det[i..][..1], &tape);
                assert_eq!(gx_, row(&gx));
                let (y_, tape) = plan.inverse(&row(&x));
                assert_eq!(y_, row(&y));
                assert_eq!(plan.inverse_back(&row(&g), &tape), row(&gz));
            }
        }
    }

    /// Distance in units of the last place of the expected value.
    fn ulps(found: f32, expected: f64) -> f64 {
        let nearest = expected as f32;
        let ulp = f64::from(nearest.abs().next_up()) - f64::from(nearest.abs());
        (f64::from(found) - expected).abs() / ulp
    }

    #[test]
    fn exponential_and_tangent_are_accurate() {
        let (mut of_exp, mut of_tanh, mut of_slope) = (0.0f64, 0.0f64, 0.0f64);
        for i in -400_000..=400_000 {
            // Evenly, and over many powers of ten.
            let even = i as f32 * 2.1e-4;
            let tiny = (i as f32 * 1e-5).sinh() * 1e-4;
            for x in [even, tiny] {
                let wide = f64::from(x);
                of_exp = of_exp.max(ulps(exp(x), wide.exp()));
                let (tanh, slope) = tanh(x);
                of_tanh = of_tanh.max(ulps(tanh, wide.tanh()));
                if wide.abs() < 18.0 {
                    of_slope = of_slope.max(ulps(slope, wide.cosh().powi(-2)));
                }
            }
        }
        assert!(of_exp < 2.0, "{of_exp}");
        assert!(of_tanh < 3.0, "{of_tanh}");
        assert!(of_slope < 5.0, "{of_slope}");
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).0.is_nan());
        assert_eq!(
            (tanh(f32::INFINITY).0, tanh(f32::NEG_INFINITY).0),
            (1.0, -1.0)
        );
    }
}
