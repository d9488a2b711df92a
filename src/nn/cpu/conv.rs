//! Convolution of one channels-last image, with a register tile of pixels × output channels; its adjoint;
//! and its gradient in the weights.
//!
//! The image lies in a buffer with a border of zeros, so that the kernel reads every neighbour without a
//! test, and its channels are adjacent, so that nothing is copied into columns first. Each step
//! multiplies one input value of every pixel of the tile with the weights of a block of output channels:
//! with AVX-512 the tile is 6 × 32 in 12 registers, with AVX2 6 × 16 in 12, with NEON and wasm SIMD 3 × 16
//! in 12; where that leaves fewer lanes idle, 6 × 48, 4 × 24 or 4 × 12. More than eight pixels have no
//! room for their addresses: 12 × 16 is a third as fast.

use pulp::{Arch, Simd, WithSimd};

use super::super::window::{ConvShape, Window};

/// Output channels of a block: as many as two registers hold, and at least 16.
const LANES: [usize; 2] = [16, 32];

/// The instructions of this machine, found at run time.
pub(super) fn arch() -> Arch {
    // Every module for the page has SIMD instructions, burn's products among them: a browser that lacks
    // them does not load it.
    #[cfg(target_family = "wasm")]
    pulp::wasm::enable_simd128();
    Arch::new()
}

/// Values of a register on this machine.
struct Width;

impl WithSimd for Width {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Channels of a block, of this many channels.
fn lanes_for(channels: usize) -> usize {
    let [lanes, wide] = LANES;
    match channels > lanes && arch().dispatch(Width) >= lanes {
        true => wide,
        false => lanes,
    }
}

/// Output channels of a block of a convolution: three registers where fewer lanes are then idle.
fn block_for(channels: usize) -> usize {
    let usual = lanes_for(channels);
    let three = 3 * arch().dispatch(Width);
    let padded = |lanes| channels.next_multiple_of(lanes);
    // Without SIMD a register is one value.
    match three >= 12 && padded(three) < padded(usual) {
        true => three,
        false => usual,
    }
}

/// With fewer output channels than this, sums over input channels fill the registers better.
const FEW: usize = 4;

/// Weights of a convolution, in the order in which the kernel reads them.
#[derive(Debug, Clone)]
pub(in crate::nn) struct PackedConv {
    /// `[⌈C_out/lanes⌉, k_y, k_x, C_in, lanes]`, padded with zeros.
    weights: Vec<f32>,
    /// `[⌈C_out/lanes⌉·lanes]`.
    bias: Vec<f32>,
    /// Output channels of a block; 1 where there are few.
    lanes: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    inputs: usize,
    outputs: usize,
}

/// Where a convolution reads and writes.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Place {
    /// Height and width of what is computed.
    pub(in crate::nn) size: [usize; 2],
    /// Pixels of a row of the input, border included.
    pub(in crate::nn) input_width: usize,
    /// The result of (r, c) is pixel `first + r·row + c·step` of the output.
    pub(in crate::nn) first: usize,
    pub(in crate::nn) row: usize,
    pub(in crate::nn) step: usize,
}

impl Place {
    /// All pixels of the output, one after the other.
    pub(in crate::nn) fn whole(size: [usize; 2], input_width: usize) -> Self {
        Self {
            size,
            input_width,
            first: 0,
            row: size[1],
            step: 1,
        }
    }
}

impl PackedConv {
    /// Stride 1, from W, `[C_out, C_in, k, k]`, and a bias of C_out values or of none.
    pub(in crate::nn) fn new(weight: &[f32], bias: &[f32], shape: ConvShape) -> Self {
        let window = Window::square(shape.kernel, 1, shape.kernel / 2);
        Self::strided(weight, bias, [shape.inputs, shape.outputs], window)
    }

    /// From W, `[C_out, C_in, k_y, k_x]`, and a bias of C_out values or of none.
    pub(in crate::nn) fn strided(
        weight: &[f32],
        bias: &[f32],
        [inputs, outputs]: [usize; 2],
        window: Window,
    ) -> Self {
        let [ky, kx] = window.kernel;
        let at =
            |o: usize, i: usize, y: usize, x: usize| weight[((o * inputs + i) * ky + y) * kx + x];
        Self::packed(at, bias, [inputs, outputs], window.kernel, window.stride)
    }

    /// The adjoint without bias for stride 1: from ∂E/∂y to ∂E/∂x, a convolution with the turned kernel.
    pub(in crate::nn) fn adjoint(weight: &[f32], shape: ConvShape) -> Self {
        let ConvShape {
            inputs, kernel: k, ..
        } = shape;
        let at = |o: usize, i: usize, y: usize, x: usize| {
            weight[((i * inputs + o) * k + k - 1 - y) * k + k - 1 - x]
        };
        Self::packed(at, &[], [shape.outputs, inputs], [k, k], [1, 1])
    }

    fn packed(
        at: impl Fn(usize, usize, usize, usize) -> f32,
        bias: &[f32],
        [inputs, outputs]: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
    ) -> Self {
        let lanes = match outputs {
            ..FEW => 1,
            _ => block_for(outputs),
        };
        let padded = outputs.next_multiple_of(lanes);
        let mut weights = vec![0.0; padded * kernel[0] * kernel[1] * inputs];
        let mut next = weights.iter_mut();
        for block in (0..padded).step_by(lanes) {
            for y in 0..kernel[0] {
                for x in 0..kernel[1] {
                    for i in 0..inputs {
                        for (o, w) in (block..block + lanes).zip(next.by_ref()) {
                            if o < outputs {
                                *w = at(o, i, y, x);
                            }
                        }
                    }
                }
            }
        }
        let mut padded_bias = vec![0.0; padded];
        padded_bias[..bias.len()].copy_from_slice(bias);
        Self {
            weights,
            bias: padded_bias,
            lanes,
            kernel,
            stride,
            inputs,
            outputs,
        }
    }

    /// The border of zeros that its input needs for as many pixels as the output has, at stride 1.
    pub(in crate::nn) fn border(&self) -> usize {
        self.kernel[0] / 2
    }

    /// y = W∗x + b at stride 1. `x` is `[H + 2p, W + 2p, C_in]` with a border of p = ⌊k/2⌋ zeros, `y` is
    /// `[H, W, C_out]` and is overwritten; with `add`, W∗x + b is added to it.
    ///
    /// # Panics
    /// If a slice has another length.
    pub(in crate::nn) fn apply(&self, size: [usize; 2], x: &[f32], y: &mut [f32], add: bool) {
        let place = Place::whole(size, size[1] + 2 * self.border());
        self.apply_at(place, x, y, add);
    }

    /// W∗x + b at this place, from `x`, `[H, W, C_in]`, to `y`, `[…, C_out]`.
    ///
    /// # Panics
    /// If a slice is too short.
    pub(in crate::nn) fn apply_at(&self, place: Place, x: &[f32], y: &mut [f32], add: bool) {
        let Place {
            size: [height, width],
            input_width,
            first,
            row,
            step,
        } = place;
        if height * width == 0 {
            return;
        }
        // The kernel reads without bounds checks: this holds its accesses.
        let [ky, kx] = self.kernel;
        if ky * kx > 0 {
            let rows = (height - 1) * self.stride[0] + ky;
            let columns = (width - 1) * self.stride[1] + kx;
            assert!(columns <= input_width, "input's width");
            let needed = ((rows - 1) * input_width + columns) * self.inputs;
            assert!(x.len() >= needed, "input");
        }
        let last = first + (height - 1) * row + (width - 1) * step;
        assert!(y.len() >= (last + 1) * self.outputs, "output");
        let task = Task {
            conv: self,
            x,
            place,
            y,
            add,
        };
        arch().dispatch(task);
    }
}

/// One call of [`PackedConv::apply_at`].
struct Task<'a> {
    conv: &'a PackedConv,
    x: &'a [f32],
    place: Place,
    y: &'a mut [f32],
    add: bool,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.conv.lanes == 1 {
            return match self.conv.outputs {
                0 => (),
                1 => self.sums::<S, 4, 1>(simd),
                2 => self.sums::<S, 4, 2>(simd),
                _ => self.sums::<S, 4, 3>(simd),
            };
        }
        match self.conv.lanes / S::F32_LANES {
            1 => self.tiles::<S, 8, 1>(simd),
            // With 32 registers; 28 = 4·7.
            2 if S::F32_LANES == 16 => self.tiles::<S, 7, 2>(simd),
            2 => self.tiles::<S, 6, 2>(simd),
            // As many as 32 registers hold, or 16.
            3 if S::F32_LANES == 16 => self.tiles::<S, 6, 3>(simd),
            3 => self.tiles::<S, 4, 3>(simd),
            4 => self.tiles::<S, 3, 4>(simd),
            8 => self.tiles::<S, 1, 8>(simd),
            // Without SIMD.
            _ => self.tiles::<S, 1, 16>(simd),
        }
    }
}

/// Asks for a line of memory that is read later.
#[inline(always)]
fn prefetch(line: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint: it reads nothing, at any address. SSE is in every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Writes as many values as `to` has room for; with `add` adds them. A copy of a length known at run time
/// only is a call, which takes as long as a 3×3 convolution of one channel: these are of known lengths.
#[inline(always)]
fn store<S: Simd>(simd: S, to: &mut [f32], values: &[S::f32s], add: bool) {
    let (whole, rest) = S::as_mut_simd_f32s(to);
    for (to, v) in whole.iter_mut().zip(values) {
        *to = if add { simd.add_f32s(*to, *v) } else { *v };
    }
    let Some(values) = values.get(whole.len()) else {
        return;
    };
    let values: &[f32] = pulp::bytemuck::cast_slice(std::slice::from_ref(values));
    let ((to, to_rest), (fours, _)) = (rest.as_chunks_mut::<4>(), values.as_chunks::<4>());
    // No register has more than four of them.
    for n in 0..3 {
        if let (Some(to), Some(v)) = (to.get_mut(n), fours.get(n)) {
            *to = if add {
                std::array::from_fn(|i| to[i] + v[i])
            } else {
                *v
            };
        }
    }
    let values = &values[4 * to.len()..];
    for n in 0..3 {
        if let (Some(to), Some(v)) = (to_rest.get_mut(n), values.get(n)) {
            *to = if add { *to + v } else { *v };
        }
    }
}

impl Task<'_> {
    /// Tiles of P pixels × N registers of output channels.
    #[inline(always)]
    // With iterators instead of these loops, the sums are kept in memory: a third of the speed.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy)]
    fn tiles<S: Simd, const P: usize, const N: usize>(self, simd: S) {
        let (inputs, outputs) = (self.conv.inputs, self.conv.outputs);
        let ([ky, kx], [sy, sx]) = (self.conv.kernel, self.conv.stride);
        let place = self.place;
        let [height, columns] = place.size;
        let row = place.input_width * inputs;
        // The caller divided: N registers hold a block.
        let width = N * S::F32_LANES;
        assert_eq!(width, self.conv.lanes, "lanes");
        let pixels = height * columns;
        let block = ky * kx * inputs * width;
        let first = self.x.as_ptr();
        for b in 0..self.conv.bias.len() / width {
            let (rows, _) = S::as_simd_f32s(&self.conv.weights[b * block..][..block]);
            let (bias, _) = S::as_simd_f32s(&self.conv.bias[b * width..][..width]);
            let lanes = width.min(outputs - b * width);
            let mut start = 0;
            // Row and column of the next pixel, where it reads and where it writes: a division for every
            // pixel would cost as much as 20 steps.
            let (mut r, mut c, mut from, mut result) = (0, 0, 0, place.first);
            while start < pixels {
                let (mut base, mut to) = ([0usize; P], [0usize; P]);
                for p in 0..P {
                    (base[p], to[p]) = (from, result);
                    // The last tile repeats the last pixel, and does not store it again.
                    if start + p + 1 < pixels {
                        (from, result, c) = (from + sx * inputs, result + place.step, c + 1);
                        if c == columns {
                            (r, c) = (r + 1, 0);
                            (from, result) = (r * sy * row, place.first + r * place.row);
                        }
                    }
                }
                let mut sums = [[simd.splat_f32s(0.0); N]; P];
                for p in 0..P {
                    for n in 0..N {
                        sums[p][n] = bias[n];
                    }
                }
                let mut next = rows.as_ptr();
                // While the first two tiles of this block are computed, the next block's weights come.
                let lines = if start < 2 * P { 64 } else { 0 };
                let mut ahead = next.cast::<i8>().wrapping_add(block * 4);
                if start == P {
                    ahead = ahead.wrapping_add(block * 2);
                }
                for tap in 0..ky * kx {
                    let tap = tap / kx * row + tap % kx * inputs;
                    for i in 0..inputs {
                        let mut row = [simd.splat_f32s(0.0); N];
                        for n in 0..N {
                            // SAFETY: `next` advances by N for each of k_y·k_x·C_in steps; `rows` has
                            // block/F32_LANES = k_y·k_x·C_in·N registers, because N·F32_LANES = width.
                            row[n] = unsafe { *next.add(n) };
                        }
                        for p in 0..P {
                            // SAFETY: the result of (r, c), its tap at (dy, dx) and channel i read value
                            // ((r·s_y + dy)·W + c·s_x + dx)·C_in + i of `x`, at most the last that
                            // `apply_at` checked, because r, c, dy, dx and i are at most one less than
                            // its height, width, kernel and inputs.
                            let value = simd.splat_f32s(unsafe { *first.add(base[p] + tap + i) });
                            for n in 0..N {
                                sums[p][n] = simd.mul_add_e_f32s(value, row[n], sums[p][n]);
                            }
                        }
                        // SAFETY: as above; at the end one past the last register.
                        next = unsafe { next.add(N) };
                        prefetch(ahead);
                        ahead = ahead.wrapping_add(lines);
                    }
                }
                // All of them, so that no index of `sums` is known at run time only: it would be kept in
                // memory.
                let mut values = [[simd.splat_f32s(0.0); N]; P];
                for p in 0..P {
                    for n in 0..N {
                        values[p][n] = sums[p][n];
                    }
                }
                for (values, to) in values.iter().zip(to).take(pixels - start) {
                    let to = &mut self.y[to * outputs + b * width..][..lanes];
                    store(simd, to, values, self.add);
                }
                start += P;
            }
        }
    }

    /// Tiles of P pixels of a row × all O output channels, as sums over k_y rows of k_x·C_in adjacent values.
    #[inline(always)]
    // As in `tiles`.
    #[allow(clippy::needless_range_loop)]
    fn sums<S: Simd, const P: usize, const O: usize>(self, simd: S) {
        let (conv, place) = (self.conv, self.place);
        let [height, columns] = place.size;
        let ([ky, kx], [sy, sx]) = (conv.kernel, conv.stride);
        let (length, row) = (kx * conv.inputs, place.input_width * conv.inputs);
        let whole = length / S::F32_LANES;
        for r in 0..height {
            for c in (0..columns).step_by(P) {
                let mut sums = [[simd.splat_f32s(0.0); O]; P];
                for dy in 0..if length > 0 { ky } else { 0 } {
                    let x: [_; P] = std::array::from_fn(|p| {
                        // The last tile repeats the last pixel, and does not store it again.
                        let c = (c + p).min(columns - 1);
                        let start = (r * sy + dy) * row + c * sx * conv.inputs;
                        S::as_simd_f32s(&self.x[start..][..length])
                    });
                    let w: [_; O] = std::array::from_fn(|o| {
                        S::as_simd_f32s(&conv.weights[(o * ky + dy) * length..][..length])
                    });
                    for at in 0..whole {
                        for p in 0..P {
                            for o in 0..O {
                                let (x, w) = (x[p].0[at], w[o].0[at]);
                                sums[p][o] = simd.mul_add_e_f32s(x, w, sums[p][o]);
                            }
                        }
                    }
                    if whole * S::F32_LANES < length {
                        let w: [_; O] = std::array::from_fn(|o| simd.partial_load_f32s(w[o].1));
                        for p in 0..P {
                            let x = simd.partial_load_f32s(x[p].1);
                            for o in 0..O {
                                sums[p][o] = simd.mul_add_e_f32s(x, w[o], sums[p][o]);
                            }
                        }
                    }
                }
                let mut values = [[0.0f32; O]; P];
                for p in 0..P {
                    for o in 0..O {
                        values[p][o] = simd.reduce_sum_f32s(sums[p][o]) + conv.bias[o];
                    }
                }
                for (p, values) in values.iter().enumerate().take(columns - c) {
                    let to = place.first + r * place.row + (c + p) * place.step;
                    for (to, v) in self.y[to * O..][..O].iter_mut().zip(values) {
                        *to = if self.add { *to + v } else { *v };
                    }
                }
            }
        }
    }
}

/// The adjoint of a convolution of any stride: from ∂E/∂y to ∂E/∂x, or a transposed convolution with bias.
///
/// For stride s, the pixels i of x with the same (i + p) mod s see the same taps of the kernel: each such
/// phase is a convolution of stride 1 with a part of the kernel.
#[derive(Debug)]
pub(in crate::nn) struct Adjoint {
    phases: Vec<Phase>,
    window: Window,
}

#[derive(Debug)]
struct Phase {
    /// (i + p) mod s of its pixels.
    rest: [usize; 2],
    conv: PackedConv,
}

/// Pixels of an axis that belong to a phase.
struct Line {
    /// The first, and how many.
    first: usize,
    count: usize,
    /// Where the window of the first starts in the bordered input.
    start: usize,
}

impl Adjoint {
    /// From the weights of the convolution, `[C_out, C_in, k_y, k_x]`, and C_in values of a bias, or none.
    pub(in crate::nn) fn new(
        weight: &[f32],
        bias: &[f32],
        [inputs, outputs]: [usize; 2],
        window: Window,
    ) -> Self {
        let ([ky, kx], [sy, sx]) = (window.kernel, window.stride);
        let taps = |k: usize, s: usize, rest: usize| k.saturating_sub(rest).div_ceil(s);
        let phases = (0..sy * sx)
            .map(|phase| {
                let rest = [phase / sx, phase % sx];
                let kernel = [taps(ky, sy, rest[0]), taps(kx, sx, rest[1])];
                let at = |i: usize, o: usize, y: usize, x: usize| {
                    // Tap m of the phase is tap r + s·m of the kernel, and reads y at q − m.
                    let y = rest[0] + sy * (kernel[0] - 1 - y);
                    let x = rest[1] + sx * (kernel[1] - 1 - x);
                    weight[((o * inputs + i) * ky + y) * kx + x]
                };
                Phase {
                    rest,
                    conv: PackedConv::packed(at, bias, [outputs, inputs], kernel, [1, 1]),
                }
            })
            .collect();
        Self { phases, window }
    }

    /// The border of zeros around ∂E/∂y, before and after: `[top, left, bottom, right]`.
    pub(in crate::nn) fn border(&self, image: [usize; 2], output: [usize; 2]) -> [usize; 4] {
        let axis = |a: usize| {
            let (k, s, p) = self.axis(a);
            let most = k.div_ceil(s) - 1;
            let last = (image[a] + p).saturating_sub(1) / s;
            (most, (last + 1).saturating_sub(output[a]))
        };
        let ((top, bottom), (left, right)) = (axis(0), axis(1));
        [top, left, bottom, right]
    }

    fn axis(&self, a: usize) -> (usize, usize, usize) {
        let Window {
            kernel,
            stride,
            padding,
        } = self.window;
        (kernel[a], stride[a], padding[a])
    }

    fn line(&self, phase: &Phase, a: usize, length: usize) -> Line {
        let (k, s, p) = self.axis(a);
        let rest = phase.rest[a];
        // i = s·q + rest − p ≥ 0.
        let q = p.saturating_sub(rest).div_ceil(s);
        let first = s * q + rest - p;
        Line {
            first,
            count: length.saturating_sub(first).div_ceil(s),
            // Window q − (M − 1) …, counted from the border.
            start: q + k.div_ceil(s) - phase.conv.kernel[a],
        }
    }

    /// From ∂E/∂y with its [border](Self::border), `input_width` pixels a row, to ∂E/∂x, `[H, W, C_in]`,
    /// which is overwritten.
    pub(in crate::nn) fn apply(
        &self,
        [height, width]: [usize; 2],
        input_width: usize,
        g: &[f32],
        x: &mut [f32],
    ) {
        for phase in &self.phases {
            let (rows, columns) = (self.line(phase, 0, height), self.line(phase, 1, width));
            let [sy, sx] = self.window.stride;
            let place = Place {
                size: [rows.count, columns.count],
                input_width,
                first: rows.first * width + columns.first,
                row: sy * width,
                step: sx,
            };
            // A stride larger than the kernel leaves pixels that no window sees: there is nothing to read.
            let start = (rows.start * input_width + columns.start) * phase.conv.inputs;
            let seen = g.get(start..).unwrap_or_default();
            phase.conv.apply_at(place, seen, x, false);
        }
    }
}

/// Sums over images of ∂E/∂W of a convolution.
#[derive(Debug)]
pub(in crate::nn) struct WeightGradient {
    /// `[⌈C_out/lanes⌉, k_y·k_x·C_in, lanes]`.
    sums: Vec<f32>,
    /// Output channels of a block.
    lanes: usize,
    channels: [usize; 2],
    window: Window,
}

impl WeightGradient {
    /// Zero, for `[C_in, C_out]`.
    pub(in crate::nn) fn new(channels: [usize; 2], window: Window) -> Self {
        let [inputs, outputs] = channels;
        let lanes = lanes_for(outputs);
        let rows = window.kernel[0] * window.kernel[1] * inputs;
        Self {
            sums: vec![0.0; outputs.next_multiple_of(lanes) * rows],
            lanes,
            channels,
            window,
        }
    }

    /// Channels of a pixel of ∂E/∂y, as [`add`](Self::add) expects them: C_out and zeros.
    pub(in crate::nn) fn padded(&self) -> usize {
        self.channels[1].next_multiple_of(self.lanes)
    }

    /// Adds an image's: `x` is `[…, input_width, C_in]` with its border, `g` is ∂E/∂y,
    /// `[H, W, padded]`.
    ///
    /// # Panics
    /// If a slice is too short.
    pub(in crate::nn) fn add(
        &mut self,
        [height, width]: [usize; 2],
        input_width: usize,
        x: &[f32],
        g: &[f32],
    ) {
        if height * width == 0 {
            return;
        }
        let ([ky, kx], [sy, sx]) = (self.window.kernel, self.window.stride);
        let inputs = self.channels[0];
        // The kernel reads without bounds checks: these hold its accesses.
        let [rows, columns] = [(height - 1) * sy + ky, (width - 1) * sx + kx];
        assert!(columns <= input_width, "input's width");
        assert!(
            x.len() >= ((rows - 1) * input_width + columns) * inputs,
            "input"
        );
        assert_eq!(g.len(), height * width * self.padded(), "gradient");
        let row = input_width * inputs;
        let offsets: Vec<usize> = (0..ky * kx * inputs)
            .map(|at| {
                let (tap, i) = (at / inputs, at % inputs);
                tap / kx * row + tap % kx * inputs + i
            })
            .collect();
        let task = GradientTask {
            lanes: self.lanes,
            sums: &mut self.sums,
            x,
            g,
            size: [height, width],
            steps: [sy * row, sx * inputs],
            offsets: &offsets,
        };
        arch().dispatch(task);
    }

    /// Adds another's sums.
    pub(in crate::nn) fn merge(&mut self, other: &Self) {
        let sums = self.sums.iter_mut().zip(&other.sums);
        sums.for_each(|(a, b)| *a += b);
    }

    /// ∂E/∂W, `[C_out, C_in, k_y, k_x]`.
    pub(in crate::nn) fn finish(&self) -> Vec<f32> {
        let [inputs, outputs] = self.channels;
        let taps = self.window.kernel[0] * self.window.kernel[1];
        let rows = taps * inputs;
        let mut weights = vec![0.0; outputs * rows];
        for (at, w) in weights.iter_mut().enumerate() {
            let (o, i, tap) = (at / rows, at % rows / taps, at % taps);
            let row = tap * inputs + i;
            *w = self.sums[(o / self.lanes * rows + row) * self.lanes + o % self.lanes];
        }
        weights
    }
}

/// One call of [`WeightGradient::add`].
struct GradientTask<'a> {
    lanes: usize,
    sums: &'a mut [f32],
    x: &'a [f32],
    g: &'a [f32],
    size: [usize; 2],
    /// Values of `x` from a pixel of `g` to the one below, and to the next.
    steps: [usize; 2],
    /// Of the taps and input channels, from the first value of a window.
    offsets: &'a [usize],
}

impl WithSimd for GradientTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.lanes / S::F32_LANES {
            1 => self.tiles::<S, 8, 1>(simd),
            2 => self.tiles::<S, 6, 2>(simd),
            4 => self.tiles::<S, 3, 4>(simd),
            8 => self.tiles::<S, 1, 8>(simd),
            // Without SIMD.
            _ => self.tiles::<S, 1, 16>(simd),
        }
    }
}

impl GradientTask<'_> {
    /// Tiles of P taps × N registers of output channels, each summed over all pixels of an image.
    #[inline(always)]
    // As in `Task::tiles`.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy)]
    fn tiles<S: Simd, const P: usize, const N: usize>(self, simd: S) {
        let width = N * S::F32_LANES;
        assert_eq!(width, self.lanes, "lanes");
        let rows = self.offsets.len();
        let [height, columns] = self.size;
        let blocks = self.sums.len() / (rows * width);
        let (gradients, _) = S::as_simd_f32s(self.g);
        let first = self.x.as_ptr();
        for b in 0..blocks {
            let mut start = 0;
            while start < rows {
                let mut offset = [0usize; P];
                for p in 0..P {
                    // The last tile repeats the last tap, and does not add it again.
                    offset[p] = self.offsets[(start + p).min(rows - 1)];
                }
                let mut sums = [[simd.splat_f32s(0.0); N]; P];
                let mut at = b * N;
                for r in 0..height {
                    let mut base = r * self.steps[0];
                    for _ in 0..columns {
                        let mut row = [simd.splat_f32s(0.0); N];
                        for n in 0..N {
                            // SAFETY: `add` checked that `g` has `blocks·N` registers a pixel, and `at`
                            // advances by so many a pixel, from b·N.
                            row[n] = unsafe { *gradients.as_ptr().add(at + n) };
                        }
                        for p in 0..P {
                            // SAFETY: as in `Task::tiles`; `add` checked the last window.
                            let value = unsafe { *first.add(base + offset[p]) };
                            let value = simd.splat_f32s(value);
                            for n in 0..N {
                                sums[p][n] = simd.mul_add_e_f32s(value, row[n], sums[p][n]);
                            }
                        }
                        at += blocks * N;
                        base += self.steps[1];
                    }
                }
                let mut values = [[0.0f32; LANES[1]]; P];
                for p in 0..P {
                    let (registers, _) = S::as_mut_simd_f32s(&mut values[p]);
                    for n in 0..N {
                        registers[n] = sums[p][n];
                    }
                }
                let to = &mut self.sums[(b * rows + start) * width..][..(rows - start) * width];
                for (to, values) in to.chunks_exact_mut(width).zip(&values) {
                    to.iter_mut().zip(values).for_each(|(to, v)| *to += v);
                }
                start += P;
            }
        }
    }
}

/// Copies `[H, W, C]` through a function into the middle of a buffer with a border of zeros, which is
/// resized for it: `[H + 2p, W + 2p, C]`.
pub(in crate::nn) fn bordered(
    from: &[f32],
    [height, width, channels]: [usize; 3],
    border: usize,
    to: &mut Vec<f32>,
    f: impl Fn(f32) -> f32,
) {
    framed(from, [height, width, channels], [border; 4], to, f);
}

/// The same with a border of `[top, left, bottom, right]`.
pub(in crate::nn) fn framed(
    from: &[f32],
    [height, width, channels]: [usize; 3],
    [top, left, bottom, right]: [usize; 4],
    to: &mut Vec<f32>,
    f: impl Fn(f32) -> f32,
) {
    let row = (left + width + right) * channels;
    to.clear();
    to.resize((top + height + bottom) * row, 0.0);
    let inner = to[top * row..].chunks_exact_mut(row).take(height);
    for (from, to) in from.chunks_exact(width * channels).zip(inner) {
        let to = &mut to[left * channels..][..width * channels];
        to.iter_mut().zip(from).for_each(|(to, &v)| *to = f(v));
    }
}

/// The same from `[C, H, W]`.
pub(in crate::nn) fn framed_planes(
    from: &[f32],
    [height, width, channels]: [usize; 3],
    [top, left, bottom, right]: [usize; 4],
    to: &mut Vec<f32>,
) {
    let row = (left + width + right) * channels;
    to.clear();
    to.resize((top + height + bottom) * row, 0.0);
    // Row by row, so that what is written stays in the cache.
    for (y, to) in to[top * row..]
        .chunks_exact_mut(row)
        .take(height)
        .enumerate()
    {
        for c in 0..channels {
            let from = &from[(c * height + y) * width..][..width];
            let to = to[left * channels + c..].iter_mut().step_by(channels);
            to.zip(from).for_each(|(to, &v)| *to = v);
        }
    }
}

/// `[H·W, C]` → `[C, H, W]`, for rows of `width` pixels.
pub(in crate::nn) fn planes(from: &[f32], width: usize, channels: usize, to: &mut [f32]) {
    let pixels = from.len() / channels;
    for (y, from) in from.chunks_exact(width * channels).enumerate() {
        for c in 0..channels {
            let to = &mut to[c * pixels + y * width..][..width];
            let from = from[c..].iter().step_by(channels);
            from.zip(to).for_each(|(&v, to)| *to = v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, a: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * a + 0.3).sin()).collect()
    }

    /// By the definition, in f64.
    fn slowly(
        weight: &[f32],
        bias: &[f32],
        shape: ConvShape,
        [height, width]: [usize; 2],
        x: &[f32],
    ) -> Vec<f64> {
        let ConvShape {
            inputs,
            outputs,
            kernel: k,
            ..
        } = shape;
        let mut y = vec![0.0; height * width * outputs];
        for (at, y) in y.iter_mut().enumerate() {
            let (pixel, o) = (at / outputs, at % outputs);
            *y = bias.get(o).map_or(0.0, |&b| f64::from(b));
            for (i, dy, dx) in (0..inputs * k * k).map(|t| (t / (k * k), t / k % k, t % k)) {
                let (r, c) = (pixel / width + dy, pixel % width + dx);
                let (r, c) = (r.wrapping_sub(k / 2), c.wrapping_sub(k / 2));
                if r < height && c < width {
                    let w = weight[((o * inputs + i) * k + dy) * k + dx];
                    *y += f64::from(w) * f64::from(x[(r * width + c) * inputs + i]);
                }
            }
        }
        y
    }

    /// All tile remainders, few and many channels, 1×1, 3×3 and 5×5; and the adjoint by its definition,
    /// ⟨W∗x, g⟩ = ⟨x, Wᵀg⟩.
    #[test]
    fn convolution_and_adjoint_match_their_definitions() {
        for (inputs, outputs, kernel, size) in [
            (1, 32, 3, [28, 28]),
            (32, 1, 3, [5, 7]),
            (3, 2, 3, [4, 4]),
            (5, 17, 3, [3, 3]),
            (16, 16, 1, [2, 5]),
            (7, 33, 5, [6, 1]),
            (2, 4, 1, [1, 1]),
            (5, 48, 3, [4, 5]),
            (48, 24, 3, [3, 4]),
            (2, 12, 3, [7, 7]),
            (12, 3, 3, [5, 6]),
            (11, 31, 3, [2, 9]),
        ] {
            let shape = ConvShape {
                inputs,
                outputs,
                kernel,
                bias: true,
            };
            let [height, width] = size;
            let weight = wave(outputs * inputs * kernel * kernel, 0.7);
            let bias = wave(outputs, 1.1);
            let x = wave(height * width * inputs, 0.37);
            let conv = PackedConv::new(&weight, &bias, shape);
            let mut buffer = Vec::new();
            bordered(
                &x,
                [height, width, inputs],
                conv.border(),
                &mut buffer,
                |v| v,
            );
            let mut y = vec![f32::NAN; height * width * outputs];
            conv.apply(size, &buffer, &mut y, false);
            let expected = slowly(&weight, &bias, shape, size, &x);
            for (found, expected) in y.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{shape:?}");
            }
            // Added to what is there.
            conv.apply(size, &buffer, &mut y, true);
            for (found, expected) in y.iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - 2.0 * expected).abs() < 2e-4,
                    "{shape:?}"
                );
            }

            let g = wave(height * width * outputs, 0.53);
            let adjoint = PackedConv::adjoint(&weight, shape);
            bordered(
                &g,
                [height, width, outputs],
                adjoint.border(),
                &mut buffer,
                |v| v,
            );
            let mut back = vec![f32::NAN; height * width * inputs];
            adjoint.apply(size, &buffer, &mut back, false);
            let linear = slowly(&weight, &[], shape, size, &x);
            let left: f64 = linear.iter().zip(&g).map(|(y, g)| y * f64::from(*g)).sum();
            let right = x.iter().zip(&back);
            let right: f64 = right.map(|(x, b)| f64::from(*x) * f64::from(*b)).sum();
            assert!(
                (left - right).abs() < 1e-3 * left.abs().max(1.0),
                "{shape:?}: {left} {right}"
            );
        }
    }

    /// A pixel's result does not depend on its place in a tile, so not on the size of the image.
    #[test]
    fn a_pixel_is_computed_alike_in_every_tile() {
        for outputs in [1, 2, 3, 12, 20, 24, 48] {
            let shape = ConvShape {
                inputs: 9,
                outputs,
                kernel: 1,
                bias: true,
            };
            let (weight, bias) = (wave(9 * outputs, 0.7), wave(outputs, 1.1));
            let conv = PackedConv::new(&weight, &bias, shape);
            let x = wave(9 * 31, 0.37);
            let mut all = vec![0.0; outputs * 31];
            conv.apply([31, 1], &x, &mut all, false);
            for pixel in 0..31 {
                let mut one = vec![0.0; outputs];
                conv.apply([1, 1], &x[pixel * 9..][..9], &mut one, false);
                assert_eq!(one, all[pixel * outputs..][..outputs]);
            }
        }
    }
}
