//! Stride-1 convolution of one channels-last image, with a register tile of pixels × output channels.
//!
//! The image lies in a buffer with a border of zeros, so that the kernel reads every neighbour without a
//! test, and its channels are adjacent, so that nothing is copied into columns first. Each step
//! multiplies one input value of every pixel of the tile with the weights of a block of output channels:
//! with AVX-512 the tile is 6 × 32 in 12 registers, with AVX2 6 × 16 in 12, with NEON and wasm SIMD 3 × 16
//! in 12. More than eight pixels have no room for their addresses: 12 × 16 is a third as fast.

use pulp::{Arch, Simd, WithSimd};

use super::super::spectral::ConvShape;

/// Output channels of a block: as many as two registers hold, and at least 16.
const LANES: [usize; 2] = [16, 32];

/// The instructions of this machine, found at run time.
fn arch() -> Arch {
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

/// With fewer output channels than this, sums over input channels fill the registers better.
const FEW: usize = 4;

/// Weights of a convolution with zero padding of ⌊k/2⌋, in the order in which the kernel reads them.
#[derive(Debug, Clone)]
pub(in crate::nn) struct PackedConv {
    /// `[⌈C_out/lanes⌉, k, k, C_in, lanes]`, padded with zeros.
    weights: Vec<f32>,
    /// `[⌈C_out/lanes⌉·lanes]`.
    bias: Vec<f32>,
    /// Output channels of a block; 1 where there are few.
    lanes: usize,
    kernel: usize,
    inputs: usize,
    outputs: usize,
}

impl PackedConv {
    /// From W, `[C_out, C_in, k, k]`, and a bias of C_out values or of none.
    pub(in crate::nn) fn new(weight: &[f32], bias: &[f32], shape: ConvShape) -> Self {
        let ConvShape {
            inputs, kernel: k, ..
        } = shape;
        let at =
            |o: usize, i: usize, y: usize, x: usize| weight[((o * inputs + i) * k + y) * k + x];
        Self::packed(at, bias, [inputs, shape.outputs, k])
    }

    /// The adjoint without bias: from ∂E/∂y to ∂E/∂x, a convolution with the turned kernel.
    pub(in crate::nn) fn adjoint(weight: &[f32], shape: ConvShape) -> Self {
        let ConvShape {
            inputs, kernel: k, ..
        } = shape;
        let at = |o: usize, i: usize, y: usize, x: usize| {
            weight[((i * inputs + o) * k + k - 1 - y) * k + k - 1 - x]
        };
        Self::packed(at, &[], [shape.outputs, inputs, k])
    }

    fn packed(
        at: impl Fn(usize, usize, usize, usize) -> f32,
        bias: &[f32],
        [inputs, outputs, kernel]: [usize; 3],
    ) -> Self {
        let [lanes, wide] = LANES;
        let lanes = match outputs {
            ..FEW => 1,
            _ if outputs > lanes && arch().dispatch(Width) >= lanes => wide,
            _ => lanes,
        };
        let padded = outputs.next_multiple_of(lanes);
        let mut weights = vec![0.0; padded * kernel * kernel * inputs];
        let mut next = weights.iter_mut();
        for block in (0..padded).step_by(lanes) {
            for y in 0..kernel {
                for x in 0..kernel {
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
            inputs,
            outputs,
        }
    }

    /// The border of zeros that its input needs.
    pub(in crate::nn) fn border(&self) -> usize {
        self.kernel / 2
    }

    /// y = W∗x + b. `x` is `[H + 2p, W + 2p, C_in]` with a border of p = ⌊k/2⌋ zeros, `y` is
    /// `[H, W, C_out]` and is overwritten; with `add`, W∗x + b is added to it.
    ///
    /// # Panics
    /// If a slice has another length.
    pub(in crate::nn) fn apply(
        &self,
        [height, width]: [usize; 2],
        x: &[f32],
        y: &mut [f32],
        add: bool,
    ) {
        let row = (width + 2 * self.border()) * self.inputs;
        // The kernel reads without bounds checks: these two hold its accesses.
        assert_eq!(x.len(), (height + 2 * self.border()) * row, "input");
        assert_eq!(y.len(), height * width * self.outputs, "output");
        let task = Task {
            conv: self,
            x,
            row,
            height,
            width,
            y,
            add,
        };
        arch().dispatch(task);
    }
}

/// One call of [`PackedConv::apply`].
struct Task<'a> {
    conv: &'a PackedConv,
    x: &'a [f32],
    /// Values of a row of x.
    row: usize,
    height: usize,
    width: usize,
    y: &'a mut [f32],
    add: bool,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.conv.lanes == 1 {
            return self.sums(simd);
        }
        match self.conv.lanes / S::F32_LANES {
            1 => self.tiles::<S, 8, 1>(simd),
            2 => self.tiles::<S, 6, 2>(simd),
            4 => self.tiles::<S, 3, 4>(simd),
            8 => self.tiles::<S, 1, 8>(simd),
            // Without SIMD.
            _ => self.tiles::<S, 1, 16>(simd),
        }
    }
}

impl Task<'_> {
    /// Tiles of P pixels × N registers of output channels.
    #[inline(always)]
    // With iterators instead of these loops, the sums are kept in memory: a third of the speed.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy)]
    fn tiles<S: Simd, const P: usize, const N: usize>(self, simd: S) {
        let (k, inputs, outputs) = (self.conv.kernel, self.conv.inputs, self.conv.outputs);
        // The caller divided: N registers hold a block.
        let width = N * S::F32_LANES;
        assert_eq!(width, self.conv.lanes, "lanes");
        let pixels = self.height * self.width;
        let block = k * k * inputs * width;
        let first = self.x.as_ptr();
        for b in 0..self.conv.bias.len() / width {
            let (rows, _) = S::as_simd_f32s(&self.conv.weights[b * block..][..block]);
            let (bias, _) = S::as_simd_f32s(&self.conv.bias[b * width..][..width]);
            let lanes = width.min(outputs - b * width);
            let mut start = 0;
            while start < pixels {
                let mut base = [0usize; P];
                for p in 0..P {
                    // The last tile repeats the last pixel, and does not store it again.
                    let pixel = (start + p).min(pixels - 1);
                    base[p] = pixel / self.width * self.row + pixel % self.width * inputs;
                }
                let mut sums = [[simd.splat_f32s(0.0); N]; P];
                for p in 0..P {
                    for n in 0..N {
                        sums[p][n] = bias[n];
                    }
                }
                let mut next = rows.as_ptr();
                for tap in 0..k * k {
                    let tap = tap / k * self.row + tap % k * inputs;
                    for i in 0..inputs {
                        let mut row = [simd.splat_f32s(0.0); N];
                        for n in 0..N {
                            // SAFETY: `next` advances by N for each of k·k·C_in steps; `rows` has
                            // block/F32_LANES = k·k·C_in·N registers, because N·F32_LANES = width.
                            row[n] = unsafe { *next.add(n) };
                        }
                        for p in 0..P {
                            // SAFETY: a pixel at (y, x), its tap at (dy, dx) ≤ k − 1 and channel i are
                            // value ((y + dy)·(W + 2p) + x + dx)·C_in + i of `x`, and y + dy < H + 2p,
                            // x + dx < W + 2p, because k is odd: 2p = k − 1. `apply` checked the length.
                            let value = simd.splat_f32s(unsafe { *first.add(base[p] + tap + i) });
                            for n in 0..N {
                                sums[p][n] = simd.mul_add_e_f32s(value, row[n], sums[p][n]);
                            }
                        }
                        // SAFETY: as above; at the end one past the last register.
                        next = unsafe { next.add(N) };
                    }
                }
                // All of them, so that no index of `sums` is known at run time only: it would be kept in
                // memory.
                let mut values = [[0.0f32; LANES[1]]; P];
                for p in 0..P {
                    let (registers, _) = S::as_mut_simd_f32s(&mut values[p]);
                    for n in 0..N {
                        registers[n] = sums[p][n];
                    }
                }
                let to = &mut self.y[start * outputs..];
                for (to, values) in to.chunks_exact_mut(outputs).zip(&values) {
                    let to = &mut to[b * width..][..lanes];
                    match self.add {
                        true => to.iter_mut().zip(values).for_each(|(y, v)| *y += v),
                        false => to.copy_from_slice(&values[..lanes]),
                    }
                }
                start += P;
            }
        }
    }

    /// One output channel of one pixel after the other, as sums over k rows of k·C_in adjacent values.
    #[inline(always)]
    fn sums<S: Simd>(self, simd: S) {
        let conv = self.conv;
        let length = conv.kernel * conv.inputs;
        for (o, weights) in conv.weights.chunks_exact(conv.kernel * length).enumerate() {
            for pixel in 0..self.height * self.width {
                let base = pixel / self.width * self.row + pixel % self.width * conv.inputs;
                let mut sums = simd.splat_f32s(0.0);
                let mut rest = conv.bias[o];
                for (dy, weights) in weights.chunks_exact(length).enumerate() {
                    let values = &self.x[base + dy * self.row..][..length];
                    let (head, tail) = S::as_simd_f32s(values);
                    let (weights, weights_tail) = S::as_simd_f32s(weights);
                    for (v, w) in head.iter().zip(weights) {
                        sums = simd.mul_add_e_f32s(*v, *w, sums);
                    }
                    for (v, w) in tail.iter().zip(weights_tail) {
                        rest += v * w;
                    }
                }
                let sum = rest + simd.reduce_sum_f32s(sums);
                let to = &mut self.y[pixel * conv.outputs + o];
                *to = if self.add { *to + sum } else { sum };
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
    let row = (width + 2 * border) * channels;
    to.clear();
    to.resize((height + 2 * border) * row, 0.0);
    let inner = to[border * row..].chunks_exact_mut(row).take(height);
    for (from, to) in from.chunks_exact(width * channels).zip(inner) {
        let to = &mut to[border * channels..][..width * channels];
        to.iter_mut().zip(from).for_each(|(to, &v)| *to = f(v));
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
        let shape = ConvShape {
            inputs: 9,
            outputs: 20,
            kernel: 1,
            bias: true,
        };
        let (weight, bias) = (wave(180, 0.7), wave(20, 1.1));
        let conv = PackedConv::new(&weight, &bias, shape);
        let x = wave(9 * 31, 0.37);
        let mut all = vec![0.0; 20 * 31];
        conv.apply([31, 1], &x, &mut all, false);
        for pixel in 0..31 {
            let mut one = vec![0.0; 20];
            conv.apply([1, 1], &x[pixel * 9..][..9], &mut one, false);
            assert_eq!(one, all[pixel * 20..][..20]);
        }
    }
}
