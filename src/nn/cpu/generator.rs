//! A frozen generator on the CPU: images, and the gradient of a function of them in z, with every
//! activation in buffers of our own.
//!
//! The same function as `Generator` computes with tensors. An image is worked on from its first layer to its
//! last while it is in the cache, channels last; only the first layer, a matrix product, takes several
//! images at once.

#[cfg(feature = "native")]
use rayon::prelude::*;

use super::{
    super::window::Window,
    conv::{Adjoint, PackedConv, Place, framed, framed_planes, planes},
    math::{leaky, sized, through_leaky, vectorised},
};

/// Vectors z that go through the first layer together: a weight is read once for all of them. A multiple
/// of the pixels of most tiles of [`PackedConv`], so that these are full.
const CHUNK: usize = 12;

/// Weights of a transposed convolution.
pub(in crate::nn) struct UpWeights<'a> {
    /// `[C_in, C_out, k, k]`: the weight of the convolution whose adjoint it is.
    pub(in crate::nn) weight: &'a [f32],
    /// `[C_out]`.
    pub(in crate::nn) bias: &'a [f32],
    /// C_in, C_out.
    pub(in crate::nn) channels: [usize; 2],
    pub(in crate::nn) window: Window,
}

/// The first layer, from one pixel: a matrix product. It is computed as a 1×1 convolution of an "image"
/// of one row, whose pixels are the vectors of a chunk.
#[derive(Debug)]
struct First {
    /// `[latent]` → `[k, k, C_out]`.
    forward: PackedConv,
    /// Its adjoint.
    back: PackedConv,
    latent: usize,
    /// Number of values of its result.
    outputs: usize,
}

impl First {
    fn new(from: &UpWeights<'_>) -> Self {
        let [latent, channels] = from.channels;
        let taps = from.window.kernel[0] * from.window.kernel[1];
        let outputs = taps * channels;
        // [C_in, C_out, tap] → [C_in, tap, C_out], because the layers that follow work channels last.
        let mut rows = vec![0.0; latent * outputs];
        for (from, to) in from
            .weight
            .chunks_exact(outputs)
            .zip(rows.chunks_exact_mut(outputs))
        {
            planes(from, channels, taps, to);
        }
        let mut columns = vec![0.0; latent * outputs];
        planes(&rows, latent, outputs, &mut columns);
        let one = Window::square(1, 1, 0);
        let bias = from.bias.repeat(taps);
        Self {
            forward: PackedConv::strided(&columns, &bias, [latent, outputs], one),
            back: PackedConv::strided(&rows, &[], [outputs, latent], one),
            latent,
            outputs,
        }
    }

    /// `[n, latent]` → `[n, k, k, C_out]`.
    fn forward(&self, z: &[f32], y: &mut [f32]) {
        let images = z.len() / self.latent;
        self.forward.apply([1, images], z, y, false);
    }

    /// `[n, k, k, C_out]` → `[n, latent]`.
    fn back(&self, g: &[f32], z: &mut [f32]) {
        let images = z.len() / self.latent;
        self.back.apply([1, images], g, z, false);
    }
}

/// Another layer.
#[derive(Debug)]
struct Layer {
    forward: Adjoint,
    /// Border of its input: top, left, bottom, right.
    border: [usize; 4],
    back: PackedConv,
    /// Zeros around its result on the way back, on either side.
    padding: [usize; 2],
    /// Height, width and channels of its input, and of its result.
    from: [usize; 3],
    to: [usize; 3],
}

impl Layer {
    fn new(layer: &UpWeights<'_>, from: [usize; 3]) -> Self {
        let UpWeights {
            weight,
            bias,
            channels: [inputs, outputs],
            window,
        } = *layer;
        let small = [from[0], from[1]];
        let large = window.transposed_output(small);
        // As a convolution it leads from the result's channels to the input's.
        let channels = [outputs, inputs];
        let forward = Adjoint::new(weight, bias, channels, window);
        Self {
            border: forward.border(large, small),
            forward,
            back: PackedConv::strided(weight, &[], channels, window),
            padding: window.padding,
            from,
            to: [large[0], large[1], outputs],
        }
    }

    /// From its input before leaky ReLU, `[H, W, C]`, to its result.
    fn forward(&self, x: &[f32], framed_input: &mut Vec<f32>, y: &mut [f32]) {
        framed(x, self.from, self.border, framed_input, leaky);
        let [_, left, _, right] = self.border;
        let width = left + self.from[1] + right;
        self.forward
            .apply([self.to[0], self.to[1]], width, framed_input, y);
    }

    /// The frame of ∂E/∂result for [`back`](Self::back).
    fn frame(&self) -> [usize; 4] {
        let [y, x] = self.padding;
        [y, x, y, x]
    }

    /// From ∂E/∂result in its [frame](Self::frame) to ∂E/∂leaky(input), which is overwritten.
    fn back(&self, g: &[f32], x: &mut [f32]) {
        let width = self.to[1] + 2 * self.padding[1];
        let place = Place::whole([self.from[0], self.from[1]], width);
        self.back.apply_at(place, g, x, false);
    }
}

/// A generator with packed weights.
#[derive(Debug)]
pub(in crate::nn) struct GeneratorPlan {
    first: First,
    layers: Vec<Layer>,
    /// Height, width and channels of the images.
    image: [usize; 3],
    /// Values of the results of all layers but the first and the last.
    inner: usize,
}

/// What a backward pass needs of a forward pass.
pub(in crate::nn) struct Tape {
    /// Results of the first layer, `[B, k, k, C]`, before leaky ReLU.
    first: Vec<f32>,
    /// Of every image the results of the other layers, before leaky ReLU, and the slopes of tanh,
    /// `[C, H, W]`.
    values: Vec<f32>,
}

/// Buffers of a thread.
#[derive(Default)]
struct Scratch {
    framed: Vec<f32>,
    one: Vec<f32>,
    inner: Vec<f32>,
}

/// An image on the way back: the gradient of the first layer's result, that of the image, and of the tape the
/// first layer's result and the other values.
type Pulled<'a> = (((&'a mut [f32], &'a [f32]), &'a [f32]), &'a [f32]);

impl GeneratorPlan {
    /// From the layers, in order. The first starts from one pixel, with stride 1 and without padding.
    ///
    /// # Panics
    /// Without a layer, and if a weight has another size than its channels and window say.
    pub(in crate::nn) fn new(layers: &[UpWeights<'_>]) -> Self {
        let (first, others) = (&layers[0], &layers[1..]);
        let [height, width] = first.window.kernel;
        let mut image = [height, width, first.channels[1]];
        let mut inner = 0;
        let layers: Vec<_> = others
            .iter()
            .map(|weights| {
                let layer = Layer::new(weights, image);
                image = layer.to;
                inner += image.iter().product::<usize>();
                layer
            })
            .collect();
        let last = layers.last().map_or(0, |l| l.to.iter().product());
        Self {
            first: First::new(first),
            layers,
            image,
            inner: inner - last,
        }
    }

    /// Number of values of an image.
    fn dim(&self) -> usize {
        self.image.iter().product()
    }

    /// z, `[B, latent]`, → g(z), `[B, C, H, W]` in (−1, 1); with `keep` also the tape for
    /// [`pull_back`](Self::pull_back).
    ///
    /// # Panics
    /// If `z` is no whole number of vectors.
    pub(in crate::nn) fn forward(&self, z: &[f32], keep: bool) -> (Vec<f32>, Option<Tape>) {
        assert!(z.len().is_multiple_of(self.first.latent), "latents");
        let batch = z.len() / self.first.latent;
        let (latent, count, dim) = (self.first.latent, self.first.outputs, self.dim());
        let mut first = vec![0.0; batch * count];
        let product = |(z, y): (&[f32], &mut [f32])| self.first.forward(z, y);
        #[cfg(feature = "native")]
        z.par_chunks(CHUNK * latent)
            .zip(first.par_chunks_mut(CHUNK * count))
            .for_each(product);
        #[cfg(not(feature = "native"))]
        z.chunks(CHUNK * latent)
            .zip(first.chunks_mut(CHUNK * count))
            .for_each(product);

        let mut images = vec![0.0; batch * dim];
        let mut values = vec![0.0; if keep { batch * (self.inner + dim) } else { 0 }];
        // Without a tape there is nothing to keep of any image.
        let mut kept = values.chunks_exact_mut(self.inner + dim);
        let each: Vec<_> = first
            .chunks_exact(count)
            .zip(images.chunks_exact_mut(dim))
            .map(|(first, image)| (first, image, kept.next()))
            .collect();
        let one = |scratch: &mut Scratch, (first, image, kept): (_, _, Option<&mut [f32]>)| {
            self.forward_one(scratch, first, image, kept);
        };
        #[cfg(feature = "native")]
        each.into_par_iter().for_each_init(Scratch::default, one);
        #[cfg(not(feature = "native"))]
        {
            let mut scratch = Scratch::default();
            each.into_iter().for_each(|image| one(&mut scratch, image));
        }
        let tape = keep.then_some(Tape { first, values });
        (images, tape)
    }

    /// From the first layer's result to an image, `[C, H, W]`.
    fn forward_one(
        &self,
        scratch: &mut Scratch,
        first: &[f32],
        image: &mut [f32],
        kept: Option<&mut [f32]>,
    ) {
        let Scratch { framed, one, inner } = scratch;
        let (mut inner, slopes) = match kept {
            Some(kept) => {
                let (inner, slopes) = kept.split_at_mut(self.inner);
                (inner, Some(slopes))
            }
            None => (sized(inner, self.inner), None),
        };
        let [height, width, channels] = self.image;
        let mut x = first;
        let last;
        if let Some((end, layers)) = self.layers.split_last() {
            for layer in layers {
                let (y, rest) = inner.split_at_mut(layer.to.iter().product());
                layer.forward(x, framed, y);
                (x, inner) = (y, rest);
            }
            last = sized(one, height * width * channels);
            end.forward(x, framed, last);
            x = last;
        }
        planes(x, width, channels, image);
        vectorised(|| {
            image.iter_mut().for_each(|v| *v = tanh(*v));
            if let Some(slopes) = slopes {
                let values = slopes.iter_mut().zip(&*image);
                values.for_each(|(s, &y)| *s = (1.0 - y) * (1.0 + y));
            }
        });
    }

    /// From ∂E/∂images, `[B, C, H, W]`, to ∂E/∂z, `[B, latent]`.
    ///
    /// # Panics
    /// If the gradient has not as many values as the images of the tape.
    pub(in crate::nn) fn pull_back(&self, gradient: &[f32], tape: &Tape) -> Vec<f32> {
        let (latent, count, dim) = (self.first.latent, self.first.outputs, self.dim());
        let batch = tape.first.len() / count;
        assert_eq!(gradient.len(), batch * dim, "gradient");
        let mut pulled = vec![0.0; batch * count];
        let one = |scratch: &mut Scratch, (((to, g), first), kept): Pulled<'_>| {
            self.pull_back_one(scratch, g, (first, kept), to);
        };
        let kept = self.inner + dim;
        #[cfg(feature = "native")]
        pulled
            .par_chunks_exact_mut(count)
            .zip(gradient.par_chunks_exact(dim))
            .zip(tape.first.par_chunks_exact(count))
            .zip(tape.values.par_chunks_exact(kept))
            .for_each_init(Scratch::default, one);
        #[cfg(not(feature = "native"))]
        {
            let mut scratch = Scratch::default();
            pulled
                .chunks_exact_mut(count)
                .zip(gradient.chunks_exact(dim))
                .zip(tape.first.chunks_exact(count))
                .zip(tape.values.chunks_exact(kept))
                .for_each(|image| one(&mut scratch, image));
        }

        let mut z = vec![0.0; batch * latent];
        let product = |(z, g): (&mut [f32], &[f32])| self.first.back(g, z);
        #[cfg(feature = "native")]
        z.par_chunks_mut(CHUNK * latent)
            .zip(pulled.par_chunks(CHUNK * count))
            .for_each(product);
        #[cfg(not(feature = "native"))]
        z.chunks_mut(CHUNK * latent)
            .zip(pulled.chunks(CHUNK * count))
            .for_each(product);
        z
    }

    /// From an image's gradient, `[C, H, W]`, to that of the first layer's result.
    fn pull_back_one(
        &self,
        scratch: &mut Scratch,
        gradient: &[f32],
        (first, kept): (&[f32], &[f32]),
        to: &mut [f32],
    ) {
        let Scratch {
            framed,
            one,
            inner: pulled,
        } = scratch;
        let (mut kept, slopes) = kept.split_at(self.inner);
        let g = sized(one, gradient.len());
        let values = g.iter_mut().zip(gradient).zip(slopes);
        vectorised(|| values.for_each(|((to, g), slope)| *to = g * slope));
        let Some(end) = self.layers.last() else {
            framed_planes(g, self.image, [0; 4], framed);
            to.copy_from_slice(framed);
            return;
        };
        framed_planes(g, self.image, end.frame(), framed);
        for pair in self.layers.windows(2).rev() {
            let (before, layer) = (&pair[0], &pair[1]);
            let x;
            (kept, x) = kept.split_at(kept.len() - layer.from.iter().product::<usize>());
            let g = sized(pulled, x.len());
            layer.back(framed, g);
            framed_through_leaky(g, x, layer.from, before.frame(), framed);
        }
        self.layers[0].back(framed, to);
        let values = to.iter_mut().zip(first);
        vectorised(|| values.for_each(|(g, &x)| *g = through_leaky(*g, x)));
    }
}

/// Copies g·∂leaky(x)/∂x, both `[H, W, C]`, into a frame of zeros.
fn framed_through_leaky(
    g: &[f32],
    x: &[f32],
    [height, width, channels]: [usize; 3],
    [top, left, bottom, right]: [usize; 4],
    to: &mut Vec<f32>,
) {
    let row = (left + width + right) * channels;
    to.clear();
    to.resize((top + height + bottom) * row, 0.0);
    let inner = to[top * row..].chunks_exact_mut(row).take(height);
    let rows = g.chunks_exact(width * channels);
    vectorised(|| {
        for ((to, g), x) in inner.zip(rows).zip(x.chunks_exact(width * channels)) {
            let to = to[left * channels..].iter_mut().zip(g).zip(x);
            to.for_each(|((to, &g), &x)| *to = through_leaky(g, x));
        }
    });
}

/// tanh v with an error below two units in the last place. Without branches, calls and fused
/// multiplications, so that the compiler uses SIMD and every machine finds the same bits.
#[inline(always)]
fn tanh(v: f32) -> f32 {
    let a = v.abs();
    // Near 0 an odd polynomial, of Cephes' tanhf.
    let s = v * v;
    let p = -5.704_988_5e-3_f32;
    let p = p * s + 2.063_909e-2;
    let p = p * s - 5.373_971_4e-2;
    let p = p * s + 1.333_144_2e-1;
    let p = p * s - 3.333_328e-1;
    let near = p * s * a + a;
    // Elsewhere 1 − 2/(e²ᵃ + 1). Beyond 10 it is 1 in f32; NaN remains.
    let far = 1.0 - 2.0 / (exp(2.0 * if a > 10.0 { 10.0 } else { a }) + 1.0);
    (if a < 0.625 { near } else { far }).copysign(v)
}

/// eˣ for 0 ≤ x ≤ 20.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // 1.5·2²³: a sum with it is rounded to an integer, which its last bits hold.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts; the product with the first is exact.
    let r = x - n * 0.693_359_4;
    let r = r + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    // 2ⁿ: the exponent's bits.
    let power = rounded.to_bits().wrapping_add(127) << 23;
    e * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::layers::LEAK;

    fn wave(n: usize, a: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * a + 0.3).sin()).collect()
    }

    /// An architecture: latent, and channels, kernel, stride, padding of every layer.
    type Case = (usize, &'static [[usize; 4]]);

    const CASES: [Case; 7] = [
        (
            16,
            &[[48, 7, 1, 0], [24, 4, 2, 1], [12, 4, 2, 1], [1, 3, 1, 1]],
        ),
        (3, &[[5, 3, 1, 0], [7, 4, 2, 1], [3, 3, 1, 1]]),
        (
            2,
            &[[33, 2, 1, 0], [17, 3, 3, 0], [6, 4, 3, 2], [2, 3, 2, 1]],
        ),
        (17, &[[9, 4, 1, 0], [19, 3, 2, 1], [5, 4, 1, 2]]),
        (6, &[[2, 3, 1, 0], [3, 2, 3, 1], [4, 1, 1, 0]]),
        (5, &[[1, 1, 1, 0], [3, 4, 2, 0]]),
        (4, &[[3, 5, 1, 0]]),
    ];

    /// Weight, bias, channels and window.
    type Up = (Vec<f32>, Vec<f32>, [usize; 2], Window);

    struct Random {
        layers: Vec<Up>,
        latent: usize,
    }

    impl Random {
        fn new((latent, layers): Case) -> Self {
            let mut inputs = latent;
            let layers = layers
                .iter()
                .enumerate()
                .map(|(i, &[channels, kernel, stride, padding])| {
                    let count = inputs * channels * kernel * kernel;
                    let scale = 1.5 / (inputs as f32 * kernel as f32 / stride as f32).sqrt();
                    let weight = wave(count, 0.713 + i as f32);
                    let weight = weight.iter().map(|v| v * scale).collect();
                    let bias = wave(channels, 1.1).iter().map(|v| 0.3 * v).collect();
                    let shape = [inputs, channels];
                    inputs = channels;
                    (weight, bias, shape, Window::square(kernel, stride, padding))
                })
                .collect();
            Self { layers, latent }
        }

        fn plan(&self) -> GeneratorPlan {
            let layers: Vec<_> = self
                .layers
                .iter()
                .map(|(weight, bias, channels, window)| UpWeights {
                    weight,
                    bias,
                    channels: *channels,
                    window: *window,
                })
                .collect();
            GeneratorPlan::new(&layers)
        }

        /// g(z) of one z by the definition, in f64.
        fn slowly(&self, z: &[f64]) -> Vec<f64> {
            let (mut x, mut size) = (z.to_vec(), [1, 1]);
            for (at, (weight, bias, [inputs, outputs], window)) in self.layers.iter().enumerate() {
                if at > 0 {
                    x.iter_mut()
                        .for_each(|v| *v *= if *v < 0.0 { LEAK } else { 1.0 });
                }
                let [height, width] = window.transposed_output(size);
                let ([ky, kx], [sy, sx]) = (window.kernel, window.stride);
                let mut y = vec![0.0; outputs * height * width];
                for (o, plane) in y.chunks_exact_mut(height * width).enumerate() {
                    plane.fill(f64::from(bias[o]));
                    for i in 0..*inputs {
                        for (r, c) in (0..size[0] * size[1]).map(|p| (p / size[1], p % size[1])) {
                            let value = x[(i * size[0] + r) * size[1] + c];
                            for (dy, dx) in (0..ky * kx).map(|t| (t / kx, t % kx)) {
                                let row = (r * sy + dy).wrapping_sub(window.padding[0]);
                                let column = (c * sx + dx).wrapping_sub(window.padding[1]);
                                if row < height && column < width {
                                    let w = weight[((i * outputs + o) * ky + dy) * kx + dx];
                                    plane[row * width + column] += f64::from(w) * value;
                                }
                            }
                        }
                    }
                }
                (x, size) = (y, [height, width]);
            }
            x.into_iter().map(f64::tanh).collect()
        }
    }

    fn wide(v: &[f32]) -> Vec<f64> {
        v.iter().map(|&v| f64::from(v)).collect()
    }

    #[test]
    fn images_match_the_definition() {
        for case in CASES {
            let random = Random::new(case);
            let plan = random.plan();
            let z = wave(3 * random.latent, 0.37);
            let (images, tape) = plan.forward(&z, false);
            assert!(tape.is_none());
            assert_eq!(images, plan.forward(&z, true).0);
            let mut expected = Vec::new();
            for z in z.chunks_exact(random.latent) {
                expected.extend(random.slowly(&wide(z)));
            }
            assert_eq!(images.len(), expected.len(), "{case:?}");
            for (found, expected) in images.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{case:?}");
            }
        }
    }

    #[test]
    fn pull_back_matches_finite_differences() {
        for case in CASES {
            let random = Random::new(case);
            let plan = random.plan();
            let z = wave(2 * random.latent, 0.61);
            let (images, tape) = plan.forward(&z, true);
            let gradient = wave(images.len(), 0.53);
            let found = plan.pull_back(&gradient, &tape.unwrap());
            let dim = images.len() / 2;
            for (n, found) in found.chunks_exact(random.latent).enumerate() {
                let z = wide(&z[n * random.latent..][..random.latent]);
                let g = &gradient[n * dim..][..dim];
                let value = |z: &[f64]| -> f64 {
                    let image = random.slowly(z);
                    image.iter().zip(g).map(|(x, g)| x * f64::from(*g)).sum()
                };
                let step = 1e-7;
                let expected: Vec<f64> = (0..z.len())
                    .map(|i| {
                        let (mut up, mut down) = (z.clone(), z.clone());
                        (up[i], down[i]) = (z[i] + step, z[i] - step);
                        (value(&up) - value(&down)) / (2.0 * step)
                    })
                    .collect();
                let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                for (f, e) in found.iter().zip(&expected) {
                    let error = (f64::from(*f) - e).abs();
                    assert!(error < 2e-5 * scale, "{case:?}: {f} for {e}");
                }
            }
        }
    }

    /// Bit for bit, in batches of every remainder of a chunk, and of none.
    #[test]
    fn an_image_does_not_depend_on_its_batch() {
        for case in CASES {
            let random = Random::new(case);
            let plan = random.plan();
            let batch = 2 * CHUNK + 5;
            let z = wave(batch * random.latent, 0.47);
            let (images, tape) = plan.forward(&z, true);
            let gradient = wave(images.len(), 0.29);
            let pulled = plan.pull_back(&gradient, &tape.unwrap());
            let dim = images.len() / batch;
            for n in 0..batch {
                let z = &z[n * random.latent..][..random.latent];
                let (image, tape) = plan.forward(z, true);
                assert_eq!(image, images[n * dim..][..dim], "{case:?}");
                let one = plan.pull_back(&gradient[n * dim..][..dim], &tape.unwrap());
                assert_eq!(
                    one,
                    pulled[n * random.latent..][..random.latent],
                    "{case:?}"
                );
            }
            let (none, tape) = plan.forward(&[], true);
            assert!(none.is_empty());
            assert!(plan.pull_back(&[], &tape.unwrap()).is_empty());
        }
    }

    /// Over its whole range, in units in the last place of the result.
    #[test]
    fn tanh_is_accurate() {
        let mut worst = 0.0f64;
        for bits in (0..=12.0f32.to_bits()).step_by(977) {
            let v = f32::from_bits(bits);
            let (found, expected) = (tanh(v), f64::from(v).tanh());
            let nearest = expected as f32;
            let unit = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
            worst = worst.max((f64::from(found) - expected).abs() / unit);
            assert_eq!(tanh(-v).to_bits(), (-found).to_bits());
            assert!(found <= 1.0);
        }
        assert!(worst < 2.0, "{worst}");
        for v in [9.1, 10.0, 10.1, 1e30, f32::INFINITY] {
            assert_eq!(tanh(v), 1.0);
            assert_eq!(tanh(-v), -1.0);
        }
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
        assert!(tanh(f32::NAN).is_nan());
    }
}
