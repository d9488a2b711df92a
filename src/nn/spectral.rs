//! Convolution with spectral normalisation (Miyato et al. 2018) in torch's parametrisation: the
//! layer applies W/σ with σ = uᵀWv, where W is reshaped to `[C_out, C_in·k·k]` and the unit vectors u, v
//! track its leading singular vectors, one power iteration at a time.
//!
//! torch iterates at every forward pass in training mode. Here a pass has no side effects: the training
//! loop calls [`SpectralConv::iterate`] when the weights have changed, and chains use a [`FrozenConv`],
//! whose W/σ is computed once.

#[cfg(feature = "kernels")]
use std::sync::Arc;

use burn::{
    module::{Module, ModuleDisplay, ModuleVisitor, Param},
    tensor::{DType, Tensor, TensorData},
};

pub use super::window::ConvShape;
use super::{
    conv::{self, Layout, Window},
    dict::{Dict, DictBuilder},
    layers::Init,
};
use crate::error::Result;

/// Lower bound on norms in divisions; torch's default.
const EPSILON: f64 = 1e-12;

/// Power iterations of a new layer, as in torch.
const FIRST_ITERATIONS: usize = 15;

/// A stride-1 convolution that keeps height and width: the common interface of the trainable and the
/// frozen layer, so that one network definition serves both.
pub trait Convolution: Module + ModuleDisplay {
    /// `[B, C_in, H, W]` → `[B, C_out, H, W]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4>;

    /// Its precision.
    fn precision(&self) -> DType {
        DType::F32
    }
}

/// Stride 1, zero padding of ⌊k/2⌋.
fn convolve(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let window = same(&weight);
    conv::convolve(x, weight, bias, window, Layout::ChannelsFirst)
}

/// The window that keeps height and width.
fn same(weight: &Tensor<4>) -> Window {
    let [_, _, k, _] = weight.dims();
    Window::square(k, 1, k / 2)
}

/// A parameter with independent N(0, sd²) values.
pub(super) fn normal<const D: usize>(
    init: &mut Init<'_>,
    shape: [usize; D],
    sd: f32,
) -> Param<Tensor<D>> {
    let values: Vec<f32> = init
        .normals(shape.iter().product())
        .into_iter()
        .map(|v| v * sd)
        .collect();
    Param::from_data(TensorData::new(values, shape), init.device())
}

/// A parameter filled with one value.
pub(super) fn filled<const D: usize>(
    init: &Init<'_>,
    shape: [usize; D],
    value: f32,
) -> Param<Tensor<D>> {
    let values = vec![value; shape.iter().product()];
    Param::from_data(TensorData::new(values, shape), init.device())
}

/// New values for state that is saved with the weights but not trained: detached, on the parameter's
/// device.
pub(super) fn replaced<const D: usize>(
    state: &Param<Tensor<D>>,
    value: Tensor<D>,
) -> Param<Tensor<D>> {
    state.clone().map(|old| {
        let value = value.inner();
        if old.is_autodiff() {
            value.autodiff()
        } else {
            value
        }
    })
}

struct Count(usize);

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.0 += param.dims().iter().product::<usize>();
        }
    }
}

/// Number of parameters that an optimiser would train, as counted in papers: without state such as u
/// and v of spectral normalisation or running statistics of batch normalisation.
pub(super) fn trained_parameters(module: &impl Module) -> usize {
    let mut count = Count(0);
    // Outside autodiff nothing requires a gradient; `train` marks what would.
    module.clone().train().visit(&mut count);
    count.0
}

/// x/max(‖x‖, 1e-12) of a column `[n, 1]`.
fn unit(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().powi_scalar(2).sum_dim(0).sqrt();
    x / norm.clamp_min(EPSILON)
}

/// The trainable layer.
#[derive(Module, Debug)]
pub struct SpectralConv {
    /// W, `[C_out, C_in, k, k]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Left vector, `[C_out]`. Not trained; a parameter so that checkpoints store it and a resumed run
    /// continues exactly.
    pub u: Param<Tensor<1>>,
    /// Right vector, `[C_in·k·k]`, likewise.
    pub v: Param<Tensor<1>>,
}

impl SpectralConv {
    /// Kaiming-normal weights for fan-in and a linear function (variance 1/(C_in·k²)), no bias;
    /// random u and v after 15 power iterations.
    pub fn new(init: &mut Init<'_>, shape: ConvShape) -> Self {
        let ConvShape {
            inputs,
            outputs,
            kernel,
            bias,
        } = shape;
        let fan_in = inputs * kernel * kernel;
        let mut layer = Self {
            weight: normal(
                init,
                [outputs, inputs, kernel, kernel],
                (1.0 / fan_in as f32).sqrt(),
            ),
            bias: bias.then(|| filled(init, [outputs], 0.0)),
            u: normal(init, [outputs], 1.0).set_require_grad(false),
            v: normal(init, [fan_in], 1.0).set_require_grad(false),
        };
        // The norms of the initial u and v do not matter: an iteration recomputes u from v's direction,
        // then v.
        for _ in 0..FIRST_ITERATIONS {
            layer.iterate();
        }
        layer
    }

    /// One power iteration, u ← Wv/‖Wv‖, then v ← Wᵀu/‖Wᵀu‖, outside autodiff.
    pub fn iterate(&mut self) {
        let [outputs, inputs, k, _] = self.weight.dims();
        let n = inputs * k * k;
        let w = self.weight.val().inner().reshape([outputs, n]);
        let u = unit(w.clone().matmul(self.v.val().inner().reshape([n, 1])));
        let v = unit(w.transpose().matmul(u.clone()));
        self.u = replaced(&self.u, u.reshape([outputs]));
        self.v = replaced(&self.v, v.reshape([n]));
    }

    /// The layer after one more [power iteration](Self::iterate).
    pub fn iterated(mut self) -> Self {
        self.iterate();
        self
    }

    /// σ = uᵀWv, `[1]`: differentiable through W, with u and v constant.
    pub fn sigma(&self) -> Tensor<1> {
        let [outputs, inputs, k, _] = self.weight.dims();
        let n = inputs * k * k;
        let w = self.weight.val().reshape([outputs, n]);
        let u = self.u.val().inner().reshape([1, outputs]);
        let v = self.v.val().inner().reshape([n, 1]);
        u.matmul(w.matmul(v)).reshape([1])
    }

    /// W/σ, `[C_out, C_in, k, k]`.
    pub fn normalised(&self) -> Tensor<4> {
        self.weight.val() / self.sigma().reshape([1, 1, 1, 1])
    }

    /// The layer with W/σ computed once, on the plain device.
    pub fn frozen(&self) -> FrozenConv {
        let constant = |t: Tensor<1>| Param::from_tensor(t.inner()).set_require_grad(false);
        FrozenConv {
            weight: Param::from_tensor(self.clone().valid().normalised()).set_require_grad(false),
            bias: self.bias.as_ref().map(|bias| constant(bias.val())),
            #[cfg(feature = "kernels")]
            host: Host::default(),
        }
    }
}

impl Convolution for SpectralConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        convolve(x, self.normalised(), self.bias.as_ref().map(Param::val))
    }
}

/// The layer with fixed weights, differentiable in its input only.
#[derive(Module, Debug)]
pub struct FrozenConv {
    /// W/σ, `[C_out, C_in, k, k]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Option<Param<Tensor<1>>>,
    #[cfg(feature = "kernels")]
    #[module(skip)]
    host: Host,
}

/// W and bias as they were loaded: in a browser a device is read asynchronously only.
#[cfg(feature = "kernels")]
#[derive(Debug, Clone, Default)]
struct Host(Option<Arc<[Vec<f32>; 2]>>);

impl FrozenConv {
    /// W and the bias, which may be empty, on the host; `None` where they cannot be read at once, and in
    /// another precision than f32.
    #[cfg(feature = "kernels")]
    pub(super) fn on_host(&self) -> Option<Arc<[Vec<f32>; 2]>> {
        if self.precision() != DType::F32 {
            return None;
        }
        #[cfg(feature = "native")]
        if self.host.0.is_none() {
            let bias = self.bias.as_ref().map(|b| b.val().into_data());
            let bias = bias.map(|b| b.iter().collect()).unwrap_or_default();
            let weight = self.weight.val().into_data().iter().collect();
            return Some(Arc::new([weight, bias]));
        }
        self.host.0.clone()
    }

    /// The layer with its weights in another precision, in which it then computes.
    pub fn cast(self, to: DType) -> Self {
        Self {
            weight: self.weight.map(|w| cast(w, to)),
            bias: self.bias.map(|bias| bias.map(|b| cast(b, to))),
            #[cfg(feature = "kernels")]
            host: Host::default(),
        }
    }

    /// From ∂E/∂y to ∂E/∂x for y = W∗x + b, `[B, C_out, H, W]` → `[B, C_in, H, W]`.
    pub fn pull_back(&self, gradient: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let window = same(&weight);
        conv::convolve_transposed(gradient, weight, None, window, Layout::ChannelsFirst)
    }

    pub(super) fn save(&self, to: &mut DictBuilder, name: &str) {
        to.half(&format!("{name}.weight"), self.weight.val());
        if let Some(bias) = &self.bias {
            to.full(&format!("{name}.bias"), bias.val());
        }
    }

    pub(super) fn load(from: &Dict<'_>, name: &str, shape: ConvShape) -> Result<Self> {
        let (k, outputs) = (shape.kernel, shape.outputs);
        let (weight_name, bias_name) = (format!("{name}.weight"), format!("{name}.bias"));
        let dims = [outputs, shape.inputs, k, k];
        let weight = from.param(&weight_name, dims)?;
        let bias = shape
            .bias
            .then(|| from.param(&bias_name, [outputs]))
            .transpose()?;
        #[cfg(feature = "kernels")]
        let host = {
            let bias = shape.bias.then(|| from.values(&bias_name, &[outputs]));
            let bias = bias.transpose()?.unwrap_or_default();
            Host(Some(Arc::new([from.values(&weight_name, &dims)?, bias])))
        };
        Ok(Self {
            #[cfg(feature = "kernels")]
            host,
            weight: weight.set_require_grad(false),
            bias: bias.map(|bias| bias.set_require_grad(false)),
        })
    }
}

impl Convolution for FrozenConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        convolve(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    fn precision(&self) -> DType {
        self.weight.val().dtype()
    }
}

/// Casts to another precision; does nothing if it is the same.
pub(super) fn cast<const D: usize>(x: Tensor<D>, to: DType) -> Tensor<D> {
    match x.dtype() == to {
        true => x,
        false => x.cast(to),
    }
}
