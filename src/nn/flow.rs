//! A Glow-type normalising flow: squeeze, actnorm, invertible 1×1 convolution, affine coupling,
//! multi-scale split (Kingma & Dhariwal 2018, "Glow"), as a trainable module and as a frozen one.
//!
//! x → z is `forward`, z → x is `inverse`. With z ~ N(0, I) the flow's density is
//! log q(x) = log N(z; 0, I) + log|det ∂z/∂x|. The prior is a fixed standard normal in every dimension:
//! Glow's learned prior of the split-off half is replaced by an additional affine coupling, which gives
//! the same model, so that the whole latent vector is N(0, I).

#[cfg(any(feature = "native", feature = "web-cpu"))]
use std::sync::Arc;

#[cfg(any(feature = "native", feature = "web-cpu"))]
use burn::backend::flex::FlexTensor;
use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

#[cfg(any(feature = "native", feature = "web-cpu"))]
use super::{cpu, frozen::Weights, spectral::ConvShape};
use super::{
    dict::{Dict, DictBuilder},
    layers::{Conv, Init, pointwise, relu},
};
use crate::{
    device::read,
    error::{Error, Result},
};

/// Architecture of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowConfig {
    /// `[channels, height, width]` of x.
    pub shape: [usize; 3],
    /// Levels from x to z. All but the last split off half of their channels.
    pub levels: Vec<LevelConfig>,
    /// Bound c on the couplings' log scale, c·tanh(s/c).
    pub clamp: f64,
}

/// One level of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelConfig {
    /// f: blocks of f×f pixels become f² times the channels. If the whole image is squeezed into one
    /// pixel, the level's couplings are fully connected.
    pub squeeze: usize,
    /// Number of steps (actnorm, 1×1 convolution, coupling).
    pub steps: usize,
    /// Hidden channels of the coupling networks.
    pub hidden: usize,
    /// Kernel size of their first and last convolution: 1 or 3.
    pub kernel: usize,
}

impl FlowConfig {
    /// Dimension of x and of z.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that every squeeze divides the image and every level has channels to couple.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first invalid level.
    pub fn check(&self) -> Result<()> {
        let [mut c, mut h, mut w] = self.shape;
        let bad = |what: &str, expected: String, found: String| {
            Err(Error::invalid(
                what,
                expected,
                found,
                "change the flow's levels",
            ))
        };
        if self.levels.is_empty() || !(self.clamp.is_finite() && self.clamp > 0.0) {
            return bad(
                "flow",
                "at least one level and a positive clamp".into(),
                format!("{} levels, clamp {}", self.levels.len(), self.clamp),
            );
        }
        for (i, level) in self.levels.iter().enumerate() {
            let f = level.squeeze;
            if f == 0 || !h.is_multiple_of(f) || !w.is_multiple_of(f) {
                return bad(
                    &format!("squeeze of flow level {i}"),
                    format!("a divisor of {h} and {w}"),
                    f.to_string(),
                );
            }
            (c, h, w) = (c * f * f, h / f, w / f);
            let last = i + 1 == self.levels.len();
            if c < 2
                || (!last && !c.is_multiple_of(2))
                || !matches!(level.kernel, 1 | 3)
                || level.hidden == 0
            {
                return bad(
                    &format!("flow level {i}"),
                    "an even number of channels, kernel 1 or 3, hidden ≥ 1".into(),
                    format!(
                        "{c} channels, kernel {}, hidden {}",
                        level.kernel, level.hidden
                    ),
                );
            }
            if !last {
                c /= 2;
            }
        }
        Ok(())
    }

    /// Per level: (height, width, channels after the squeeze).
    fn level_shapes(&self) -> Vec<[usize; 3]> {
        let [mut c, mut h, mut w] = self.shape;
        self.levels
            .iter()
            .map(|level| {
                let f = level.squeeze;
                (c, h, w) = (c * f * f, h / f, w / f);
                let here = [h, w, c];
                c -= c / 2;
                here
            })
            .collect()
    }
}

/// Moves f×f blocks of pixels into channels: `[B, H, W, C]` → `[B, H/f, W/f, f²C]`.
pub fn squeeze(x: Tensor<4>, f: usize) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h / f, f, w / f, f, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([b, h / f, w / f, f * f * c])
}

/// Inverse of [`squeeze`].
pub fn unsqueeze(x: Tensor<4>, f: usize) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let c = c / (f * f);
    x.reshape([b, h, w, f, f, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([b, h * f, w * f, c])
}

fn sum_all_but_batch(x: Tensor<4>) -> Tensor<1> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h * w * c]).sum_dim(1).reshape([b])
}

/// Splits the channels into (kept, transformed); the kept part is larger if the number is odd.
fn halves(x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let c = x.dims()[3];
    let keep = c - c / 2;
    (x.clone().narrow(3, 0, keep), x.narrow(3, keep, c / 2))
}

/// Affine coupling: half of the channels pass unchanged and determine shift t and bounded log scale ℓ
/// of the other half, y = (x + t)·exp(ℓ). (Dinh et al. 2017, "RealNVP", with Glow's three-layer
/// network, whose last layer is initialised to zero.)
#[derive(Module, Debug)]
pub struct Coupling {
    first: Conv,
    middle: Conv,
    last: Conv,
    #[module(skip)]
    clamp: f64,
}

impl Coupling {
    fn new(init: &mut Init<'_>, channels: usize, level: &LevelConfig, clamp: f64) -> Self {
        let (change, k, hidden) = (channels / 2, level.kernel, level.hidden);
        Self {
            first: Conv::new(init, channels - change, hidden, k, 1, k / 2, 1.0),
            middle: Conv::new(init, hidden, hidden, 1, 1, 0, 1.0),
            last: Conv::new(init, hidden, 2 * change, k, 1, k / 2, 0.0),
            clamp,
        }
    }

    /// Shift and log scale of the transformed half, from the kept half.
    fn shift_and_log_scale(&self, kept: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let h = relu(self.first.forward_channels_last(kept));
        let h = relu(self.middle.forward_channels_last(h));
        let h = self.last.forward_channels_last(h);
        let change = h.dims()[3] / 2;
        let shift = h.clone().narrow(3, 0, change);
        let raw = h.narrow(3, change, change);
        (shift, (raw / self.clamp).tanh() * self.clamp)
    }

    /// (kept, transformed) → new transformed half and its log-determinant `[B]`.
    fn forward(&self, kept: Tensor<4>, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let (shift, log_scale) = self.shift_and_log_scale(kept);
        (
            (x + shift) * log_scale.clone().exp(),
            sum_all_but_batch(log_scale),
        )
    }

    fn inverse(&self, kept: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
        let (shift, log_scale) = self.shift_and_log_scale(kept);
        y * (-log_scale).exp() - shift
    }

    fn save(&self, to: &mut DictBuilder, name: &str) {
        self.first.save(to, &format!("{name}.first"));
        self.middle.save(to, &format!("{name}.middle"));
        self.last.save(to, &format!("{name}.last"));
    }

    fn load(self, from: &Dict<'_>, name: &str) -> Result<Self> {
        Ok(Self {
            first: self.first.load(from, &format!("{name}.first"))?,
            middle: self.middle.load(from, &format!("{name}.middle"))?,
            last: self.last.load(from, &format!("{name}.last"))?,
            clamp: self.clamp,
        })
    }
}

/// Per-channel y = (x + b)·exp(s), initialised from the first batch to zero mean and unit variance.
#[derive(Module, Debug)]
pub struct ActNorm {
    /// b, `[C]`
    pub bias: Param<Tensor<1>>,
    /// s, `[C]`
    pub log_scale: Param<Tensor<1>>,
}

impl ActNorm {
    /// The identity on `channels` channels.
    pub fn new(init: &Init<'_>, channels: usize) -> Self {
        let zeros = || Param::from_tensor(Tensor::zeros([channels], init.device()));
        Self {
            bias: zeros(),
            log_scale: zeros(),
        }
    }

    /// `[B, H, W, C]` → the same shape, and the log-determinant, equal for all images, `[1]`.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let [_, h, w, c] = x.dims();
        let wide = |t: Tensor<1>| t.reshape([1, 1, 1, c]);
        let s = self.log_scale.val();
        (
            (x + wide(self.bias.val())) * wide(s.clone().exp()),
            s.sum() * (h * w) as f64,
        )
    }

    /// Data-dependent initialisation, after which `forward(x)` has mean 0 and variance 1 per channel.
    pub fn initialised_from(self, x: &Tensor<4>) -> Self {
        let [b, h, w, c] = x.dims();
        let rows = x.clone().inner().reshape([b * h * w, c]);
        let mean = rows.clone().mean_dim(0);
        let var = (rows - mean.clone()).powi_scalar(2).mean_dim(0);
        let set = |param: Param<Tensor<1>>, value: Tensor<2>| {
            param.map(|old| {
                let value = value.reshape([c]);
                if old.is_autodiff() {
                    value.autodiff().require_grad()
                } else {
                    value
                }
            })
        };
        Self {
            bias: set(self.bias, -mean),
            // 1e-6 keeps a constant channel finite.
            log_scale: set(self.log_scale, (var.sqrt() + 1e-6).log() * -1.0),
        }
    }
}

/// Invertible 1×1 convolution y = x·A with A = P·L·(U + diag(s)), L unit lower and U strictly upper
/// triangular, P a fixed permutation: log|det A| = Σ log|s| (Glow, §3.2).
#[derive(Module, Debug)]
pub struct InvConv {
    /// Lower factor, `[C, C]`; only entries below the diagonal are used.
    pub lower: Param<Tensor<2>>,
    /// Upper factor, `[C, C]`; only entries above the diagonal are used.
    pub upper: Param<Tensor<2>>,
    /// log|s|, `[C]`
    pub log_diagonal: Param<Tensor<1>>,
    #[module(skip)]
    sign: Vec<f32>,
    #[module(skip)]
    permutation: Vec<usize>,
}

impl InvConv {
    /// A random rotation.
    pub fn new(init: &mut Init<'_>, channels: usize) -> Self {
        let n = channels;
        let gauss = init.normals(n * n).into_iter().map(f64::from);
        let rotation = DMatrix::from_iterator(n, n, gauss).qr().q();
        let lu = rotation.lu();
        let (lower, upper) = (lu.l(), lu.u());
        // nalgebra: P_row · A = L·U, so A = P_rowᵀ·L·U. Entry i of the permuted indices is the row of
        // L·U that becomes row i of A.
        let mut rows = DMatrix::<f64>::from_fn(n, 1, |i, _| i as f64);
        lu.p().inv_permute_rows(&mut rows);
        let permutation = rows.iter().map(|&v| v as usize).collect();
        Self::from_factors(init, permutation, &lower, &upper)
    }

    /// From given factors: A = P·L·U with `(P·M)[i] = M[permutation[i]]`.
    pub fn from_factors(
        init: &Init<'_>,
        permutation: Vec<usize>,
        lower: &DMatrix<f64>,
        upper: &DMatrix<f64>,
    ) -> Self {
        let n = permutation.len();
        let matrix = |m: &DMatrix<f64>| {
            let values: Vec<f32> = m.transpose().iter().map(|&v| v as f32).collect();
            Param::from_data(TensorData::new(values, [n, n]), init.device())
        };
        let diagonal: Vec<f64> = upper.diagonal().iter().copied().collect();
        let log: Vec<f32> = diagonal.iter().map(|v| v.abs().ln() as f32).collect();
        Self {
            lower: matrix(lower),
            upper: matrix(upper),
            log_diagonal: Param::from_data(TensorData::new(log, [n]), init.device()),
            sign: diagonal.iter().map(|v| v.signum() as f32).collect(),
            permutation,
        }
    }

    /// A, composed on the device, `[C, C]`.
    fn matrix(&self) -> Tensor<2> {
        let n = self.permutation.len();
        let device = self.lower.val().device();
        let constants = device.clone().inner();
        let eye = Tensor::<2>::eye(n, &constants);
        let sign = Tensor::<1>::from_data(TensorData::new(self.sign.clone(), [n]), &constants);
        let order: Vec<i32> = self.permutation.iter().map(|&i| i as i32).collect();
        let order =
            Tensor::<1, burn::tensor::Int>::from_data(TensorData::new(order, [n]), &constants);
        let permutation = eye.clone().select(0, order);
        let lower = self.lower.val().tril(-1) + eye.clone();
        let diagonal = (self.log_diagonal.val().exp() * sign).reshape([1, n]);
        let upper = self.upper.val().triu(1) + eye * diagonal;
        permutation.matmul(lower).matmul(upper)
    }

    /// `[B, H, W, C]` → the same shape, and the log-determinant, equal for all images, `[1]`.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let [b, h, w, c] = x.dims();
        let y = x
            .reshape([b * h * w, c])
            .matmul(self.matrix())
            .reshape([b, h, w, c]);
        (y, self.log_diagonal.val().sum() * (h * w) as f64)
    }
}

/// One trainable step: actnorm, 1×1 convolution, coupling.
#[derive(Module, Debug)]
pub struct TrainableStep {
    actnorm: ActNorm,
    mix: InvConv,
    coupling: Coupling,
}

/// One trainable level.
#[derive(Module, Debug)]
pub struct TrainableLevel {
    steps: Vec<TrainableStep>,
    split: Option<Coupling>,
    #[module(skip)]
    squeeze: usize,
}

/// The trainable flow.
#[derive(Module, Debug)]
pub struct TrainableFlow {
    levels: Vec<TrainableLevel>,
}

impl TrainableFlow {
    /// A new flow with initial weights from `init`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for levels that do not match the shape.
    pub fn new(config: &FlowConfig, init: &mut Init<'_>) -> Result<Self> {
        config.check()?;
        let count = config.levels.len();
        let levels = config
            .levels
            .iter()
            .zip(config.level_shapes())
            .enumerate()
            .map(|(i, (level, [_, _, c]))| TrainableLevel {
                steps: (0..level.steps)
                    .map(|_| TrainableStep {
                        actnorm: ActNorm::new(init, c),
                        mix: InvConv::new(init, c),
                        coupling: Coupling::new(init, c, level, config.clamp),
                    })
                    .collect(),
                split: (i + 1 < count).then(|| Coupling::new(init, c, level, config.clamp)),
                squeeze: level.squeeze,
            })
            .collect();
        Ok(Self { levels })
    }

    /// Images `[B, H, W, C]` → latents `[B, D]` and log|det ∂z/∂x| `[B]`.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<2>, Tensor<1>) {
        let batch = x.dims()[0];
        let device = x.device();
        let mut log_det = Tensor::<1>::zeros([batch], &device);
        let mut h = x;
        let mut out = Vec::new();
        for level in &self.levels {
            h = squeeze(h, level.squeeze);
            for step in &level.steps {
                let (y, d1) = step.actnorm.forward(h);
                let (y, d2) = step.mix.forward(y);
                let (kept, changed) = halves(y);
                let (changed, d3) = step.coupling.forward(kept.clone(), changed);
                h = Tensor::cat(vec![kept, changed], 3);
                log_det = log_det + d1 + d2 + d3;
            }
            if let Some(split) = &level.split {
                let (kept, leaving) = halves(h);
                let (leaving, d) = split.forward(kept.clone(), leaving);
                out.push(leaving.flatten::<2>(1, 3));
                log_det = log_det + d;
                h = kept;
            }
        }
        out.push(h.flatten::<2>(1, 3));
        (Tensor::cat(out, 1), log_det)
    }

    /// log q(x), `[B]`, in nats.
    pub fn log_prob(&self, x: Tensor<4>) -> Tensor<1> {
        let (z, log_det) = self.forward(x);
        log_normal(z) + log_det
    }

    /// Initialises every actnorm from one batch, level by level.
    pub fn initialised_from(mut self, x: Tensor<4>) -> Self {
        let mut h = x;
        for level in &mut self.levels {
            h = squeeze(h, level.squeeze);
            let steps = std::mem::take(&mut level.steps);
            for step in steps {
                let step = TrainableStep {
                    actnorm: step.actnorm.initialised_from(&h),
                    ..step
                };
                let (y, _) = step.mix.forward(step.actnorm.forward(h).0);
                let (kept, changed) = halves(y);
                let (changed, _) = step.coupling.forward(kept.clone(), changed);
                h = Tensor::cat(vec![kept, changed], 3);
                level.steps.push(step);
            }
            if level.split.is_some() {
                h = halves(h).0;
            }
        }
        self
    }

    /// The frozen flow: actnorm and 1×1 convolution of each step are folded into one matrix and one
    /// bias, stored with the inverse matrix.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a 1×1 convolution is singular or not finite, [`Error::Device`] when
    /// the weights cannot be read.
    pub async fn frozen(&self, config: &FlowConfig) -> Result<Flow> {
        let this = self.clone().valid();
        let shapes = config.level_shapes();
        let mut levels = Vec::new();
        for (level, [h, w, _]) in this.levels.into_iter().zip(shapes) {
            let device = level_device(&level);
            let mut steps = Vec::new();
            for step in level.steps {
                let scale =
                    DVector::from_vec(read(step.actnorm.log_scale.val()).await?).map(f64::exp);
                let bias = DVector::from_vec(read(step.actnorm.bias.val()).await?);
                let n = scale.len();
                let a = DMatrix::from_row_slice(n, n, &read(step.mix.matrix()).await?);
                let bias = a.tr_mul(&bias.component_mul(&scale));
                let matrix = DMatrix::from_diagonal(&scale) * a;
                let bias: Vec<f32> = bias.iter().map(|&v| v as f32).collect();
                steps.push(Step {
                    affine: Affine::new(&matrix, bias, h * w, &device)?,
                    coupling: step.coupling,
                });
            }
            levels.push(Level {
                steps,
                split: level.split,
                squeeze: level.squeeze,
            });
        }
        Ok(Flow::of(levels, config))
    }
}

fn level_device(level: &TrainableLevel) -> burn::tensor::Device {
    level
        .steps
        .first()
        .map(|s| s.actnorm.bias.val().device())
        .unwrap_or_default()
}

/// log N(z; 0, I), `[B, D]` → `[B]`.
pub fn log_normal(z: Tensor<2>) -> Tensor<1> {
    let [b, d] = z.dims();
    z.powi_scalar(2).sum_dim(1).reshape([b]) * -0.5 - 0.5 * d as f64 * std::f64::consts::TAU.ln()
}

/// y = x·A + b per pixel, with A⁻¹.
#[derive(Debug, Clone)]
struct Affine {
    matrix: Tensor<2>,
    bias: Tensor<1>,
    inverse: Tensor<2>,
    log_det: f64,
}

impl Affine {
    /// `pixels`: number of pixels that share the matrix; the log-determinant is the sum over them. The
    /// matrix is rounded to the stored precision *before* it is inverted, so that a loaded model equals
    /// the evaluated one exactly.
    fn new(
        matrix: &DMatrix<f64>,
        bias: Vec<f32>,
        pixels: usize,
        device: &burn::tensor::Device,
    ) -> Result<Self> {
        let n = bias.len();
        let matrix = matrix.map(|v| f64::from(half::f16::from_f64(v).to_f32()));
        let lu = matrix.clone().lu();
        let log_det: f64 = lu.u().diagonal().iter().map(|v| v.abs().ln()).sum();
        let inverse = lu
            .try_inverse()
            .filter(|_| log_det.is_finite())
            .ok_or_else(|| Error::Diverged {
                problem: format!("a {n}×{n} convolution of the flow is singular or not finite"),
                fix: "return to an earlier checkpoint, or lower the learning rate".into(),
            })?;
        let upload = |m: &DMatrix<f64>| {
            let values: Vec<f32> = m.transpose().iter().map(|&v| v as f32).collect();
            Tensor::from_data(TensorData::new(values, [n, n]), device)
        };
        Ok(Self {
            matrix: upload(&matrix),
            inverse: upload(&inverse),
            bias: Tensor::from_data(TensorData::new(bias, [n]), device),
            log_det: log_det * pixels as f64,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        pointwise(x, self.matrix.clone(), self.bias.clone())
    }

    fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = y.dims();
        let centred = y.reshape([b * h * w, c]) - self.bias.clone().reshape([1, c]);
        centred.matmul(self.inverse.clone()).reshape([b, h, w, c])
    }
}

#[derive(Debug, Clone)]
struct Step {
    affine: Affine,
    coupling: Coupling,
}

#[derive(Debug, Clone)]
struct Level {
    steps: Vec<Step>,
    split: Option<Coupling>,
    squeeze: usize,
}

/// A frozen flow: fixed weights, both directions, differentiable in its input only.
#[derive(Debug, Clone)]
pub struct Flow {
    levels: Vec<Level>,
    config: FlowConfig,
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    plan: cpu::Cache<cpu::flow::FlowPlan>,
}

impl Flow {
    fn of(levels: Vec<Level>, config: &FlowConfig) -> Self {
        Self {
            levels,
            config: config.clone(),
            #[cfg(any(feature = "native", feature = "web-cpu"))]
            plan: cpu::Cache::default(),
        }
    }

    /// The architecture.
    pub fn config(&self) -> &FlowConfig {
        &self.config
    }

    /// A copy on another device.
    #[cfg(feature = "native")]
    pub fn to_device(&self, device: &burn::tensor::Device) -> Self {
        let step = |step: &Step| Step {
            affine: Affine {
                matrix: step.affine.matrix.clone().to_device(device),
                bias: step.affine.bias.clone().to_device(device),
                inverse: step.affine.inverse.clone().to_device(device),
                log_det: step.affine.log_det,
            },
            coupling: step.coupling.clone().to_device(device),
        };
        let level = |level: &Level| Level {
            steps: level.steps.iter().map(step).collect(),
            split: level.split.clone().map(|split| split.to_device(device)),
            squeeze: level.squeeze,
        };
        Self::of(self.levels.iter().map(level).collect(), &self.config)
    }

    /// x (`[B, D]`, flattened `[C, H, W]` images) → z (`[B, D]`) and log|det ∂z/∂x| (`[B]`).
    pub fn forward(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let [c, height, width] = self.config.shape;
        let batch = x.dims()[0];
        #[cfg(any(feature = "native", feature = "web-cpu"))]
        if let Some(plan) = self.plan()
            && let Some(all) = cpu::op::apply(cpu::flow::Forward(plan), &x)
        {
            let dim = c * height * width;
            let log_det = all.clone().narrow(1, dim, 1).reshape([batch]);
            return (all.narrow(1, 0, dim), log_det);
        }
        let mut h = to_channels_last(x, [c, height, width]);
        let mut out = Vec::new();
        let mut log_dets = Vec::new();
        let mut constant = 0.0;
        for level in &self.levels {
            h = squeeze(h, level.squeeze);
            for step in &level.steps {
                let (kept, changed) = halves(step.affine.forward(h));
                let (changed, d) = step.coupling.forward(kept.clone(), changed);
                h = Tensor::cat(vec![kept, changed], 3);
                log_dets.push(d);
                constant += step.affine.log_det;
            }
            if let Some(split) = &level.split {
                let (kept, leaving) = halves(h);
                let (leaving, d) = split.forward(kept.clone(), leaving);
                out.push(leaving.flatten::<2>(1, 3));
                log_dets.push(d);
                h = kept;
            }
        }
        out.push(h.flatten::<2>(1, 3));
        let log_det = log_dets
            .into_iter()
            .map(|d| d.reshape([batch, 1]))
            .collect::<Vec<_>>();
        let log_det = Tensor::cat(log_det, 1).sum_dim(1).reshape([batch]) + constant;
        (Tensor::cat(out, 1), log_det)
    }

    /// z (`[B, D]`) → x (`[B, D]`).
    pub fn inverse(&self, z: Tensor<2>) -> Tensor<2> {
        #[cfg(any(feature = "native", feature = "web-cpu"))]
        if let Some(plan) = self.plan()
            && let Some(x) = cpu::op::apply(cpu::flow::Inverse(plan), &z)
        {
            return x;
        }
        let batch = z.dims()[0];
        let shapes = self.config.level_shapes();
        // Start of each level's part of z.
        let mut offset = 0;
        let mut parts = Vec::new();
        for (i, &[h, w, c]) in shapes.iter().enumerate() {
            let last = i + 1 == shapes.len();
            let channels = if last { c } else { c / 2 };
            parts.push((offset, [h, w, channels]));
            offset += h * w * channels;
        }
        let part = |i: usize| {
            let (start, [h, w, c]): (usize, [usize; 3]) = parts[i];
            z.clone()
                .narrow(1, start, h * w * c)
                .reshape([batch, h, w, c])
        };
        let mut h = part(self.levels.len() - 1);
        for (i, level) in self.levels.iter().enumerate().rev() {
            if let Some(split) = &level.split {
                let leaving = split.inverse(h.clone(), part(i));
                h = Tensor::cat(vec![h, leaving], 3);
            }
            for step in level.steps.iter().rev() {
                let (kept, changed) = halves(h);
                let changed = step.coupling.inverse(kept.clone(), changed);
                h = step.affine.inverse(Tensor::cat(vec![kept, changed], 3));
            }
            h = unsqueeze(h, level.squeeze);
        }
        h.permute([0, 3, 1, 2]).flatten::<2>(1, 3)
    }

    /// log q(x) (`[B]`, nats) and the latent z (`[B, D]`) of x (`[B, D]`).
    pub fn log_prob(&self, x: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        let (z, log_det) = self.forward(x);
        (log_normal(z.clone()) + log_det, z)
    }

    /// Number of stored parameters.
    pub fn parameters(&self) -> usize {
        self.levels
            .iter()
            .flat_map(|l| {
                l.steps
                    .iter()
                    .map(|s| {
                        let n = s.affine.bias.dims()[0];
                        n * n + n + s.coupling.num_params()
                    })
                    .chain(l.split.iter().map(Module::num_params))
            })
            .sum()
    }

    /// Adds all weights to `to` under `flow.…`.
    pub fn save(&self, to: &mut DictBuilder) {
        for (i, level) in self.levels.iter().enumerate() {
            for (j, step) in level.steps.iter().enumerate() {
                let name = format!("flow.{i}.{j}");
                to.half(&format!("{name}.affine.weight"), step.affine.matrix.clone());
                to.full(&format!("{name}.affine.bias"), step.affine.bias.clone());
                step.coupling.save(to, &format!("{name}.coupling"));
            }
            if let Some(split) = &level.split {
                split.save(to, &format!("flow.{i}.split"));
            }
        }
    }

    /// Reads a flow of this architecture.
    ///
    /// # Errors
    /// [`Error::Model`] for missing or misshapen tensors, [`Error::Invalid`] for a bad config.
    pub fn load(from: &Dict<'_>, config: &FlowConfig) -> Result<Self> {
        config.check()?;
        let device = from.device().clone();
        let count = config.levels.len();
        let mut levels = Vec::new();
        for (i, (level, [h, w, c])) in config.levels.iter().zip(config.level_shapes()).enumerate() {
            let coupling = |name: &str| {
                // The seed does not matter: every weight is replaced.
                let mut init = Init::new(0, &device);
                Coupling::new(&mut init, c, level, config.clamp).load(from, name)
            };
            let steps = (0..level.steps)
                .map(|j| {
                    let name = format!("flow.{i}.{j}");
                    let a = from.values(&format!("{name}.affine.weight"), &[c, c])?;
                    let a = DMatrix::from_row_iterator(c, c, a.into_iter().map(f64::from));
                    let bias = from.values(&format!("{name}.affine.bias"), &[c])?;
                    Ok(Step {
                        affine: Affine::new(&a, bias, h * w, &device)?,
                        coupling: coupling(&format!("{name}.coupling"))?,
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            levels.push(Level {
                steps,
                split: (i + 1 < count)
                    .then(|| coupling(&format!("flow.{i}.split")))
                    .transpose()?,
                squeeze: level.squeeze,
            });
        }
        Ok(Self::of(levels, config))
    }
}

#[cfg(any(feature = "native", feature = "web-cpu"))]
impl Coupling {
    fn convolutions(&self) -> [&Conv; 3] {
        [&self.first, &self.middle, &self.last]
    }
}

/// On the CPU, kernels of our own with this flow's weights.
#[cfg(any(feature = "native", feature = "web-cpu"))]
impl Flow {
    /// `None` on another device.
    fn plan(&self) -> Option<Arc<cpu::flow::FlowPlan>> {
        let mut weights = Vec::new();
        for level in &self.levels {
            let steps = level.steps.iter();
            for Affine {
                matrix,
                bias,
                inverse,
                ..
            } in steps.map(|step| &step.affine)
            {
                weights.push(cpu::values(matrix)?);
                weights.push(cpu::values(bias)?);
                weights.push(cpu::values(inverse)?);
            }
            let couplings = level.steps.iter().map(|step| &step.coupling);
            for conv in couplings
                .chain(&level.split)
                .flat_map(Coupling::convolutions)
            {
                weights.push(cpu::values(&conv.weight.val())?);
                weights.push(cpu::values(&conv.bias.val())?);
            }
        }
        Some(self.plan.of(weights, |weights| self.packed(weights)))
    }

    /// From the weights in the order of [`plan`](Self::plan).
    fn packed(&self, weights: &[FlexTensor]) -> cpu::flow::FlowPlan {
        let mut next = weights.iter().map(|w| w.storage::<f32>());
        let mut levels = Vec::new();
        for level in &self.levels {
            let mut take = || next.next().unwrap_or_default();
            let affines: Vec<_> = level
                .steps
                .iter()
                .map(|_| [take(), take(), take()])
                .collect();
            let mut coupling = |coupling: &Coupling| {
                let [first, middle, last] = coupling.convolutions().map(|conv| {
                    let [outputs, inputs, kernel, _] = conv.weight.dims();
                    Weights {
                        weight: take(),
                        bias: take(),
                        shape: ConvShape {
                            inputs,
                            outputs,
                            kernel,
                            bias: true,
                        },
                    }
                });
                cpu::flow::CouplingWeights {
                    first,
                    middle,
                    last,
                    clamp: coupling.clamp,
                }
            };
            let steps = level.steps.iter().zip(affines);
            levels.push(cpu::flow::LevelWeights {
                squeeze: level.squeeze,
                steps: steps
                    .map(|(step, [matrix, bias, inverse])| cpu::flow::StepWeights {
                        matrix,
                        bias,
                        inverse,
                        log_det: step.affine.log_det,
                        coupling: coupling(&step.coupling),
                    })
                    .collect(),
                split: level.split.as_ref().map(&mut coupling),
            });
        }
        cpu::flow::FlowPlan::new(self.config.shape, &levels)
    }
}

/// Flattened `[C, H, W]` images to channels-last `[B, H, W, C]`.
pub fn to_channels_last(x: Tensor<2>, [c, h, w]: [usize; 3]) -> Tensor<4> {
    let batch = x.dims()[0];
    x.reshape([batch, c, h, w]).permute([0, 2, 3, 1])
}
