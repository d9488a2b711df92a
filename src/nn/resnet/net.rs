//! The network: f and g, trained or frozen.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    super::{
        dict::{Dict, DictBuilder},
        layers::Init,
        spectral::{Convolution, FrozenConv, SpectralConv, trained_parameters},
    },
    config::EnergyNetConfig,
    parts::{Mlp, Normalise, Source, pool, unpool},
    trunk::{Planned, Precision, Trunk},
};
use crate::error::Result;

/// f and g with convolutions of kind C.
#[derive(Module, Debug)]
pub struct Net<C: Convolution> {
    trunks: Vec<Trunk<C>>,
    head: Mlp,
    projector: Mlp,
    #[module(skip)]
    normalise: Normalise,
}

/// The trainable network. Its convolutions compute W/σ at every pass, tracked by autodiff.
pub type EnergyNet = Net<SpectralConv>;

/// The network with fixed weights on the plain device, differentiable in x only.
pub type FrozenEnergyNet = Net<FrozenConv>;

impl<C: Planned> Net<C> {
    /// Builds the network for a checked config.
    fn build<S: Source<C>>(
        source: &mut S,
        config: &EnergyNetConfig,
        device: &Device,
    ) -> Result<Self, S::Error> {
        let last = config.stages[config.stages.len() - 1].0;
        let (hidden, features) = (config.hidden, config.features);
        Ok(Self {
            trunks: (0..config.scales)
                .map(|i| Trunk::build(source, &format!("energy.trunk.{i}"), config))
                .collect::<Result<_, _>>()?,
            head: source.mlp(
                "energy.head",
                [last * config.scales, hidden, features],
                true,
            )?,
            projector: source.mlp("energy.projector", [features, hidden, features], false)?,
            normalise: Normalise::new(config.shape, &config.mean, &config.std, device),
        })
    }

    /// f(x), `[B, D]` (flattened `[C, H, W]`) → `[B, features]`.
    pub fn features(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.normalise.forward(x);
        let pooled = self
            .trunks
            .iter()
            .enumerate()
            .map(|(i, trunk)| match i {
                0 => trunk.forward(x.clone()),
                _ => trunk.forward(pool(x.clone(), 1 << i)),
            })
            .collect();
        self.head.forward(Tensor::cat(pooled, 1))
    }

    /// E(x) = ½‖f(x)‖², `[B, D]` → `[B]`: minus the log of the marginal density of x, up to a constant
    /// (arXiv 2303.03023, §3).
    pub fn energy(&self, x: Tensor<2>) -> Tensor<1> {
        energy_of(self.features(x))
    }

    /// g(f), `[B, features]` → `[B, features]`; latents are compared with its [direction](super::unit_rows).
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        self.projector.forward(features)
    }

    fn convert<D: Planned>(self, to: &mut impl FnMut(C) -> D) -> Net<D> {
        Net {
            trunks: self.trunks.into_iter().map(|t| t.convert(to)).collect(),
            head: self.head,
            projector: self.projector,
            normalise: self.normalise,
        }
    }
}

/// ½‖f‖² of each row, `[B, features]` → `[B]`.
pub fn energy_of(features: Tensor<2>) -> Tensor<1> {
    let batch = features.dims()[0];
    features.powi_scalar(2).sum_dim(1).reshape([batch]) * 0.5
}

impl Net<SpectralConv> {
    /// A new network.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an invalid config.
    pub fn new(config: &EnergyNetConfig, init: &mut Init<'_>) -> Result<Self> {
        config.check()?;
        let device = init.device().clone();
        let Ok(net) = Self::build(init, config, &device);
        Ok(net)
    }

    /// One power iteration of every convolution. torch does this at each forward pass in training mode;
    /// here it is done once per change of the weights.
    pub fn iterate(&mut self) {
        *self = self.clone().iterated();
    }

    /// The network after one more [power iteration](Self::iterate).
    pub fn iterated(self) -> Self {
        self.convert(&mut SpectralConv::iterated)
    }

    /// The network with W/σ computed once. A moving average of networks also averages u and v, which
    /// shortens them slightly: iterate the average before freezing it.
    pub fn frozen(&self) -> FrozenEnergyNet {
        self.clone().valid().convert(&mut |conv| conv.frozen())
    }

    /// Number of trained parameters, including those of g, without u and v.
    pub fn parameters(&self) -> usize {
        trained_parameters(self)
    }
}

impl Net<FrozenConv> {
    /// The network with trunks that compute in another [`Precision`].
    pub fn in_precision(self, precision: Precision) -> Self {
        match precision {
            Precision::F32 => self,
            other => self.convert(&mut |conv: FrozenConv| conv.cast(other.dtype())),
        }
    }

    /// An energy that depends on x through f alone, and its gradient in x: `[B, D]` → (`[B]`,
    /// `[B, D]`). `energy` gets features `[B, features]` under autodiff.
    ///
    /// The backward pass of the network is written by hand: its weights are fixed and the adjoints of its
    /// layers known. This costs about half as much as autodiff and keeps no tape. (A test compares the two.)
    pub fn differentiate(
        &self,
        x: Tensor<2>,
        energy: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> (Tensor<1>, Tensor<2>) {
        self.through(x, |features| {
            let leaf = features.autodiff().require_grad();
            let value = energy(leaf.clone());
            let mut grads = value.clone().sum().backward();
            let gradient = leaf
                .grad_remove(&mut grads)
                .unwrap_or_else(|| leaf.clone().inner().zeros_like());
            (value.inner(), gradient)
        })
    }

    /// E(x) = ½‖f(x)‖² and its gradient, without autodiff: `[B, D]` → (`[B]`, `[B, D]`).
    pub fn energy_and_gradient(&self, x: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        self.through(x, |features| (energy_of(features.clone()), features))
    }

    /// From features to an energy and its gradient in them; from x to the energy and its gradient in x.
    fn through(
        &self,
        x: Tensor<2>,
        energy: impl FnOnce(Tensor<2>) -> (Tensor<1>, Tensor<2>),
    ) -> (Tensor<1>, Tensor<2>) {
        let [batch, dim] = x.dims();
        let x = self.normalise.forward(x);
        let [_, _, height, width] = x.dims();
        let (mut pooled, mut tapes) = (Vec::new(), Vec::new());
        for (i, trunk) in self.trunks.iter().enumerate() {
            let seen = match i {
                0 => x.clone(),
                _ => pool(x.clone(), 1 << i),
            };
            let (features, tape) = trunk.forward_taped(seen);
            pooled.push(features);
            tapes.push(tape);
        }
        let (features, hidden) = self.head.forward_taped(Tensor::cat(pooled, 1));
        let (value, gradient) = energy(features);
        let pulled = self.head.pull_back(gradient, hidden);
        let each = pulled.dims()[1] / self.trunks.len();
        let mut total: Option<Tensor<4>> = None;
        for (i, (trunk, tape)) in self.trunks.iter().zip(tapes).enumerate() {
            let gradient = trunk.pull_back(pulled.clone().narrow(1, i * each, each), tape);
            total = Some(match total {
                None => gradient,
                Some(total) => total + unpool(gradient, 1 << i, [height, width]),
            });
        }
        // At least one trunk, as the config's check demands.
        let total = total.unwrap_or_else(|| x.zeros_like());
        let gradient = self.normalise.pull_back(total).reshape([batch, dim]);
        (value, gradient)
    }

    /// Number of stored parameters, including those of g.
    pub fn parameters(&self) -> usize {
        self.num_params()
    }

    /// Adds all weights to `to` under `energy.…`: W/σ and matrices in f16, biases in f32.
    pub fn save(&self, to: &mut DictBuilder) {
        for (i, trunk) in self.trunks.iter().enumerate() {
            let name = format!("energy.trunk.{i}");
            trunk.stem.save(to, &format!("{name}.stem"));
            for (j, block) in trunk.blocks.iter().enumerate() {
                let name = format!("{name}.block.{j}");
                block.first.save(to, &format!("{name}.first"));
                block.second.save(to, &format!("{name}.second"));
                if let Some(shortcut) = &block.shortcut {
                    shortcut.save(to, &format!("{name}.shortcut"));
                }
            }
        }
        for (mlp, name) in [(&self.head, "head"), (&self.projector, "projector")] {
            for (layer, part) in [(&mlp.first, "first"), (&mlp.second, "second")] {
                let name = format!("energy.{name}.{part}");
                to.half(&format!("{name}.weight"), layer.weight.val());
                if let Some(bias) = &layer.bias {
                    to.full(&format!("{name}.bias"), bias.val());
                }
            }
        }
    }

    /// Reads a network of this architecture.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) for missing or misshapen tensors, [`Error::Invalid`](crate::Error::Invalid) for a bad config.
    pub fn load(from: &Dict<'_>, config: &EnergyNetConfig) -> Result<Self> {
        config.check()?;
        Self::build(&mut { from }, config, from.device())
    }
}
