//! The random numbers of [`Rng`], made where they are used: CubeCL kernels that run on whatever GPU
//! burn runs on, so that a transition uploads nothing.
//!
//! One kernel instance makes one Philox4x32-10 block, four numbers of a chain's row, from the very
//! counter and key that the host uses: `[index, chain, step, purpose]` and the halves of the seed.
//! The words are the host's bit for bit, and so are the uniforms. The normals follow the host's
//! Box–Muller transform, from all 32 bits of either word, in f32:
//!
//! - radius √(−2 ln u), u = (word + ½)/2³². Below u = ½ the device's logarithm is precise. Above it
//!   rounding u to f32 would eat the digits of 1 − u, so −ln u = 2 artanh(w/(2 − w)), w = 1 − u
//!   taken from the complement of the word, by its series.
//! - angle 2π · word/2³². The nearest multiple of π/2 is split off in integers, which leaves
//!   |t| ≤ π/4 and polynomials for sine and cosine: WGSL promises no more than 2⁻¹¹ for its own.
//!
//! The result is within a few units in the last place of the host's. It depends on the device only
//! through rounding.
//!
//! Every function returns `None` where it has no kernel: on the CPU (flex), for tensors of an
//! autodiff device, for element types other than f32, and for empty tensors. The caller then takes
//! the host's numbers. Seed, step and the like are arguments of a kernel, not constants in it: each
//! compiles once.

use burn::{
    backend::{Cube, CubeDevice, DispatchDevice, wgpu::CubeTensor},
    // By this name: what `#[cube]` generates says `cubecl::`.
    cubecl::{self, calculate_cube_count_elemwise, frontend::Tensor as Strided, prelude::*},
    tensor::{DType, Device, Int, Shape, Tensor},
};

use super::{M0, M1, Purpose, Rng, W0, W1};

/// 2⁻³².
const UNIT: f32 = 1.0 / 4_294_967_296.0;
/// 2π · 2⁻³².
const TURN: f32 = (std::f64::consts::TAU / 4_294_967_296.0) as f32;

/// Which numbers: a source and all of the counter but the index. Row r of a tensor is the chain
/// `first + (r / block) · stride + r % block`.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The run's source.
    pub rng: &'a Rng,
    /// What the numbers are for.
    pub purpose: Purpose,
    /// Transition number.
    pub step: u32,
    /// Chain of the first row.
    pub first: u32,
    /// Rows that count up by one before the chain jumps.
    pub block: usize,
    /// Chains from one block's first row to the next one's.
    pub stride: u32,
}

impl<'a> Draw<'a> {
    /// Rows are the chains from 0.
    pub fn new(rng: &'a Rng, purpose: Purpose, step: u32) -> Self {
        Self {
            rng,
            purpose,
            step,
            first: 0,
            block: usize::MAX,
            stride: 0,
        }
    }

    /// The same for the chains from `first`.
    pub fn at_chain(self, first: u32) -> Self {
        Self { first, ..self }
    }
}

/// [`Draw`] on the device.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Key {
    seed_lo: u32,
    seed_hi: u32,
    purpose: u32,
    step: u32,
    first: u32,
    block: u32,
    stride: u32,
}

/// A Philox block.
#[derive(CubeType, Clone, Copy)]
struct Words {
    a: u32,
    b: u32,
    c: u32,
    d: u32,
}

/// Four standard normals.
#[derive(CubeType, Clone, Copy)]
struct Normals {
    a: f32,
    b: f32,
    c: f32,
    d: f32,
}

/// Philox4x32-10: what [`super::philox4x32_10`] computes.
#[cube]
fn philox(key: &Key, row: u32, index: u32) -> Words {
    let mut c0 = index;
    let mut c1 = key.first + (row / key.block) * key.stride + row % key.block;
    let mut c2 = key.step;
    let mut c3 = key.purpose;
    let mut k0 = key.seed_lo;
    let mut k1 = key.seed_hi;
    for _ in 0..10u32 {
        let hi0 = u32::mul_hi(c0, M0);
        let lo0 = c0 * M0;
        let hi1 = u32::mul_hi(c2, M1);
        let lo1 = c2 * M1;
        c0 = hi1 ^ c1 ^ k0;
        c1 = lo1;
        c2 = hi0 ^ c3 ^ k1;
        c3 = lo0;
        k0 += W0;
        k1 += W1;
    }
    Words {
        a: c0,
        b: c1,
        c: c2,
        d: c3,
    }
}

/// Coefficients 1/(2k + 1) of artanh(s)/s in s², the highest first.
const ARTANH: &[f32] = &[
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
    1.0,
];
/// Minimax coefficients on |t| ≤ π/4 (Cephes, sinf): (sin t − t)/t³ in t², the highest first.
const SINE: &[f32] = &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
/// The same of cosf: (cos t − 1 + t²/2)/t⁴ in t².
const COSINE: &[f32] = &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];

/// Horner's scheme.
#[cube]
#[allow(clippy::needless_range_loop)] // what `cube` unrolls is a range
fn polynomial(x: f32, #[comptime] coefficients: &'static [f32]) -> f32 {
    let mut sum = comptime!(coefficients[0]).runtime();
    #[unroll]
    for i in 1..comptime!(coefficients.len()) {
        sum = sum * x + comptime!(coefficients[i]);
    }
    sum
}

/// −ln((word + ½)/2³²).
#[cube]
fn minus_ln(word: u32) -> f32 {
    let tail = -f32::ln((f32::cast_from(word) + 0.5f32) * UNIT);
    let w = (f32::cast_from(word ^ 0xFFFF_FFFFu32) + 0.5f32) * UNIT;
    // s ≤ 1/3 where the series counts: what it leaves out is below 2⁻²⁵ of the sum.
    let s = w / (2.0f32 - w);
    let series = 2.0f32 * s * polynomial(s * s, ARTANH);
    select(word < 0x8000_0000u32, tail, series)
}

/// The two normals that Box–Muller makes of two words.
#[cube]
fn box_muller(u: u32, v: u32) -> (f32, f32) {
    let radius = f32::sqrt(2.0f32 * minus_ln(u));
    // Nearest quarter turn; the addition wraps, as turns do.
    let quarter = (v + 0x2000_0000u32) >> 30u32;
    let rest = i32::reinterpret(v - (quarter << 30u32));
    let t = f32::cast_from(rest) * TURN;
    let q = t * t;
    let sin = t + t * q * polynomial(q, SINE);
    let cos = 1.0f32 - 0.5f32 * q + q * q * polynomial(q, COSINE);
    let odd = (quarter & 1u32) == 1u32;
    let x = select(odd, sin, cos);
    let y = select(odd, cos, sin);
    let x = select(((quarter + 1u32) & 2u32) == 2u32, -x, x);
    let y = select((quarter & 2u32) == 2u32, -y, y);
    (radius * x, radius * y)
}

#[cube]
fn normal_block(key: &Key, row: u32, index: u32) -> Normals {
    let words = philox(key, row, index);
    let (a, b) = box_muller(words.a, words.b);
    let (c, d) = box_muller(words.c, words.d);
    Normals { a, b, c, d }
}

/// Twenty-four bits to (0, 1), as [`Rng::uniforms`] does: (word/2⁸ + ½)/2²⁴ in f32, whose largest
/// value would round to 1.
#[cube]
fn uniform(word: u32) -> f32 {
    min(f32::cast_from(word >> 8u32) + 0.5f32, 16_777_215.0f32) * comptime!(1.0f32 / 16_777_216.0)
}

/// Writes four values of a row-major tensor from `at`, column `col` of its row; cuts at `dim`.
#[cube]
#[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
fn write_four<T: Numeric>(out: &mut [T], at: usize, col: u32, dim: u32, a: T, b: T, c: T, d: T) {
    out[at] = a;
    if col + 1 < dim {
        out[at + 1] = b;
    }
    if col + 2 < dim {
        out[at + 2] = c;
    }
    if col + 3 < dim {
        out[at + 3] = d;
    }
}

#[cube(launch)]
fn words_kernel(key: Key, rows: u32, dim: u32, out: &mut [u32]) {
    let blocks = dim.div_ceil(4u32);
    let instance = ABSOLUTE_POS as u32;
    let row = instance / blocks;
    if row >= rows {
        terminate!();
    }
    let index = instance % blocks;
    let col = index * 4;
    let at = (row * dim + col) as usize;
    let w = philox(&key, row, index);
    write_four::<u32>(out, at, col, dim, w.a, w.b, w.c, w.d);
}

#[cube(launch)]
fn fill_kernel(key: Key, rows: u32, dim: u32, out: &mut [f32], #[comptime] normal: bool) {
    let blocks = dim.div_ceil(4u32);
    let instance = ABSOLUTE_POS as u32;
    let row = instance / blocks;
    if row >= rows {
        terminate!();
    }
    let index = instance % blocks;
    let col = index * 4;
    let at = (row * dim + col) as usize;
    if comptime!(normal) {
        let z = normal_block(&key, row, index);
        write_four::<f32>(out, at, col, dim, z.a, z.b, z.c, z.d);
    } else {
        let w = philox(&key, row, index);
        let (a, b) = (uniform(w.a), uniform(w.b));
        let (c, d) = (uniform(w.c), uniform(w.d));
        write_four::<f32>(out, at, col, dim, a, b, c, d);
    }
}

/// Element `[row, col]` of a tensor in any layout; an axis of length 1 counts for all.
#[cube]
fn element(tensor: &Strided<f32>, row: usize, col: usize) -> f32 {
    tensor[row * tensor.stride(0) + col * tensor.stride(1)]
}

/// Moves one element.
#[cube]
#[allow(clippy::too_many_arguments)]
fn move_one(
    x: &Strided<f32>,
    gradient: &Strided<f32>,
    scale: ComptimeOption<&Strided<f32>>,
    out: &mut [f32],
    row: usize,
    col: usize,
    dim: usize,
    drift: f32,
    kick: f32,
) {
    if col < dim {
        let slope = element(gradient, row, col);
        let from = element(x, row, col);
        #[comptime]
        let s = match scale {
            ComptimeOption::Some(scale) => scale[col * scale.stride(1)],
            ComptimeOption::None => 1.0f32.runtime(),
        };
        out[row * dim + col] = from + s * (kick - drift * (s * slope));
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn langevin_kernel(
    key: Key,
    rows: u32,
    dim: u32,
    x: &Strided<f32>,
    gradient: &Strided<f32>,
    drift: &Strided<f32>,
    sigma: &Strided<f32>,
    scale: ComptimeOption<&Strided<f32>>,
    out: &mut [f32],
    noise: &mut [f32],
) {
    let blocks = dim.div_ceil(4u32);
    let instance = ABSOLUTE_POS as u32;
    let row = instance / blocks;
    if row >= rows {
        terminate!();
    }
    let index = instance % blocks;
    let col = index * 4;
    let z = normal_block(&key, row, index);
    write_four::<f32>(
        noise,
        (row * dim + col) as usize,
        col,
        dim,
        z.a,
        z.b,
        z.c,
        z.d,
    );
    let (row, col, dim) = (row as usize, col as usize, dim as usize);
    let a = drift[row * drift.stride(0)];
    let s = sigma[row * sigma.stride(0)];
    move_one(x, gradient, scale, out, row, col, dim, a, s * z.a);
    move_one(x, gradient, scale, out, row, col + 1, dim, a, s * z.b);
    move_one(x, gradient, scale, out, row, col + 2, dim, a, s * z.c);
    move_one(x, gradient, scale, out, row, col + 3, dim, a, s * z.d);
}

/// One call's launch: where it runs, and what every kernel takes.
struct Launch {
    device: CubeDevice,
    client: cubecl::client::Client,
    key: KeyLaunch,
    shape: [usize; 2],
    /// The shape again.
    rows: u32,
    dim: u32,
}

impl Launch {
    /// `None` where there is no kernel or nothing to do.
    fn new(draw: Draw<'_>, shape: [usize; 2], device: &Device) -> Option<Self> {
        // An autodiff device is another variant: its tensors are the host's business.
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            return None;
        };
        let [rows, dim] = shape;
        // The kernels count in u32, and the grid may be larger than asked for.
        if !(1..=1 << 30).contains(&rows.checked_mul(dim)?) {
            return None;
        }
        let seed = draw.rng.seed();
        let key = KeyLaunch::new(
            seed as u32,
            (seed >> 32) as u32,
            draw.purpose as u32,
            draw.step,
            draw.first,
            draw.block.clamp(1, u32::MAX as usize) as u32,
            draw.stride,
        );
        Some(Self {
            client: device.client(),
            device: device.clone(),
            key,
            shape,
            rows: rows as u32,
            dim: dim as u32,
        })
    }

    /// A tensor of the call's shape with undefined content. Each lies in a buffer of its own, as
    /// WebGPU wants of what one kernel reads and writes.
    fn empty(&self, dtype: DType) -> CubeTensor {
        let [rows, dim] = self.shape;
        CubeTensor::new_contiguous(
            self.client.clone(),
            self.device.clone(),
            Shape::new(self.shape),
            self.client.empty(rows * dim * 4),
            dtype,
        )
    }

    /// An instance for each block of four numbers, spread over the axes as the device's limits ask.
    fn grid(&self) -> (CubeCount, CubeDim) {
        let [rows, dim] = self.shape;
        let instances = rows * dim.div_ceil(4);
        let cube = CubeDim::new(&self.client, instances);
        let count = calculate_cube_count_elemwise(&self.client, instances, cube);
        (count, cube)
    }

    fn fill(self, normal: bool) -> Tensor<2> {
        let out = self.empty(DType::F32);
        let (count, cube) = self.grid();
        let arg = out.clone().into_buffer_arg();
        fill_kernel::launch(
            &self.client,
            count,
            cube,
            self.key,
            self.rows,
            self.dim,
            arg,
            normal,
        );
        Tensor::from_primitive::<Cube>(out)
    }
}

/// Standard normals of this shape: [`Rng::normals`] up to rounding.
pub fn normals(draw: Draw<'_>, shape: [usize; 2], device: &Device) -> Option<Tensor<2>> {
    Some(Launch::new(draw, shape, device)?.fill(true))
}

/// Uniforms in (0, 1) of this shape: the values of [`Rng::uniforms`].
pub fn uniforms(draw: Draw<'_>, shape: [usize; 2], device: &Device) -> Option<Tensor<2>> {
    Some(Launch::new(draw, shape, device)?.fill(false))
}

/// Philox's words as u32, four to a block, in the order in which the host uses them.
pub fn words(draw: Draw<'_>, shape: [usize; 2], device: &Device) -> Option<Tensor<2, Int>> {
    let launch = Launch::new(draw, shape, device)?;
    let out = launch.empty(DType::U32);
    let (count, cube) = launch.grid();
    let arg = out.clone().into_buffer_arg();
    words_kernel::launch(
        &launch.client,
        count,
        cube,
        launch.key,
        launch.rows,
        launch.dim,
        arg,
    );
    Some(Tensor::from_primitive::<Cube>(out))
}

/// What a Langevin step is made of.
#[derive(Debug, Clone)]
pub struct LangevinStep {
    /// States, `[B, D]`, in any layout, as is the rest.
    pub x: Tensor<2>,
    /// ∇E, `[B, D]`.
    pub gradient: Tensor<2>,
    /// Drift a = ε²/2, `[B, 1]`.
    pub drift: Tensor<2>,
    /// Noise σ = ε√T, `[B, 1]`.
    pub sigma: Tensor<2>,
    /// Length scale s of every coordinate, `[1, D]`; `None` is 1.
    pub scale: Option<Tensor<2>>,
}

/// The states x − a s² ∇E + σ s ξ and the noise ξ, both `[B, D]`, in one launch.
///
/// # Panics
/// When the shapes do not fit one another.
pub fn langevin(draw: Draw<'_>, step: LangevinStep) -> Option<(Tensor<2>, Tensor<2>)> {
    let shape = step.x.dims();
    let column = [shape[0], 1];
    assert_eq!(step.gradient.dims(), shape, "∇E of another shape");
    assert_eq!(step.drift.dims(), column, "one drift per row");
    assert_eq!(step.sigma.dims(), column, "one σ per row");
    if let Some(scale) = &step.scale {
        assert_eq!(scale.dims(), [1, shape[1]], "one scale per column");
    }
    let launch = Launch::new(draw, shape, &step.x.device())?;
    let (x, gradient) = (argument(step.x)?, argument(step.gradient)?);
    let (drift, sigma) = (argument(step.drift)?, argument(step.sigma)?);
    let scale = match step.scale {
        Some(scale) => ComptimeOptionArgs::Some(argument(scale)?),
        None => ComptimeOptionArgs::None,
    };
    let (out, noise) = (launch.empty(DType::F32), launch.empty(DType::F32));
    let (count, cube) = launch.grid();
    langevin_kernel::launch(
        &launch.client,
        count,
        cube,
        launch.key,
        launch.rows,
        launch.dim,
        x,
        gradient,
        drift,
        sigma,
        scale,
        out.clone().into_buffer_arg(),
        noise.clone().into_buffer_arg(),
    );
    Some((
        Tensor::from_primitive::<Cube>(out),
        Tensor::from_primitive::<Cube>(noise),
    ))
}

/// A tensor as a kernel's argument; `None` when it is not f32, lives elsewhere or is on the tape.
fn argument(tensor: Tensor<2>) -> Option<TensorArg> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    Some(tensor.try_into_primitive::<Cube>().ok()?.into_tensor_arg())
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use burn::tensor::{TensorData, s};

    use super::*;
    use crate::device::tests_gpu as gpu;

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[track_caller]
    fn close(got: Tensor<2>, want: &[f32]) {
        let got = values(got);
        assert_eq!(got.len(), want.len());
        for (i, (a, b)) in got.iter().zip(want).enumerate() {
            // About four units in the last place of the largest normal there can be, 6.8.
            assert!((a - b).abs() < 2e-6, "{i}: {a} is not {b}");
        }
    }

    #[test]
    fn the_device_makes_the_hosts_numbers() {
        let Some(device) = gpu() else { return };
        for (seed, step, purpose) in [
            (0, 0, Purpose::Start),
            (u64::MAX, u32::MAX, Purpose::Jump),
            (0x299f_31d0_a409_3822, 0x1319_8a2e, Purpose::Shuffle),
        ] {
            let rng = Rng::new(seed);
            let draw = Draw::new(&rng, purpose, step);
            for [rows, dim] in [[1, 1], [3, 2], [5, 7], [64, 785], [2, 3072]] {
                let got = words(draw, [rows, dim], &device).unwrap().into_data();
                let want = rng.words(purpose, step, rows, dim);
                assert!(got.iter::<u32>().eq(want), "words, {rows} × {dim}");
                let u = uniforms(draw, [rows, dim], &device).unwrap();
                assert_eq!(values(u), rng.uniforms(purpose, step, rows, dim));
                let z = normals(draw, [rows, dim], &device).unwrap();
                close(z, &rng.normals(purpose, step, rows, dim));
            }
        }
    }

    #[test]
    fn rows_count_in_blocks() {
        let Some(device) = gpu() else { return };
        let rng = Rng::new(7);
        let draw = Draw {
            first: 5,
            block: 3,
            stride: 1 << 24,
            ..Draw::new(&rng, Purpose::Proposal, 9)
        };
        let whole = values(normals(draw, [6, 10], &device).unwrap());
        for (block, rows) in whole.chunks(30).enumerate() {
            let draw = Draw::new(&rng, Purpose::Proposal, 9);
            let alone = draw.at_chain(5 + ((block as u32) << 24));
            close(normals(alone, [3, 10], &device).unwrap(), rows);
        }
    }

    #[test]
    fn a_step_is_what_it_says() {
        let Some(device) = gpu() else { return };
        let rng = Rng::new(0xDEAD_BEEF_1234_5678);
        let tensor = |purpose, rows, dim| {
            let values = rng.normals(purpose, 0, rows, dim);
            Tensor::<2>::from_data(TensorData::new(values, [rows, dim]), &device)
        };
        let (rows, dim) = (5, 7);
        // Another layout, and a view that starts within its buffer.
        let x = tensor(Purpose::Start, dim, rows).transpose();
        let gradient = tensor(Purpose::Data, rows + 1, dim).slice(s![1..]);
        let drift = tensor(Purpose::Jitter, rows, 1).abs();
        let sigma = tensor(Purpose::Accept, 1, 1).expand([rows, 1]);
        for scale in [None, Some(tensor(Purpose::Weights, 1, dim))] {
            let step = LangevinStep {
                x: x.clone(),
                gradient: gradient.clone(),
                drift: drift.clone(),
                sigma: sigma.clone(),
                scale: scale.clone(),
            };
            let draw = Draw::new(&rng, Purpose::Proposal, 9);
            let (moved, noise) = langevin(draw, step).unwrap();
            close(noise.clone(), &rng.normals(Purpose::Proposal, 9, rows, dim));
            let s = scale.unwrap_or_else(|| Tensor::ones([1, dim], &device));
            let by = noise * sigma.clone() - gradient.clone() * s.clone() * drift.clone();
            close(moved, &values(x.clone() + by * s));
        }
    }

    #[test]
    fn there_is_no_kernel_for_the_cpu_nor_for_the_tape() {
        let rng = Rng::new(1);
        let draw = Draw::new(&rng, Purpose::Start, 0);
        assert!(normals(draw, [2, 2], &Device::flex()).is_none());
        let Some(device) = gpu() else { return };
        let taped = device.clone().autodiff();
        assert!(normals(draw, [2, 2], &taped).is_none());
        assert!(normals(draw, [0, 2], &device).is_none());
        let step = |device: &Device| LangevinStep {
            x: Tensor::zeros([2, 2], device),
            gradient: Tensor::zeros([2, 2], device),
            drift: Tensor::ones([2, 1], &device.clone().inner()),
            sigma: Tensor::ones([2, 1], &device.clone().inner()),
            scale: None,
        };
        assert!(langevin(draw, step(&taped)).is_none());
        assert!(langevin(draw, step(&device)).is_some());
    }
}
