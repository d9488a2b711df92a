//! The objectives, step by step: the flow by maximum likelihood, then the tilt with negatives from
//! persistent chains in the flow's latent space. Asynchronous, so that the page can train too.

use std::sync::Arc;

use burn::{
    grad_clipping::GradientClippingConfig,
    module::Module,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use super::model::{FlowEbm, LatentEnergy};
#[cfg(feature = "native")]
use crate::energy::Shared;
use crate::{
    device::{
        scalar,
        shards::{Part, gradient},
    },
    energy::Energy,
    error::{Error, Result},
    nn::{
        ema::Ema,
        flow::{Flow, FlowConfig, TrainableFlow, log_normal, to_channels_last},
        gradient::gradient_norm,
        layers::Init,
        tilt::{Tilt, TiltConfig},
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    system::projection::Projection,
};

/// Settings for training the flow by maximum likelihood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowStage {
    /// Iterations.
    pub iterations: u64,
    /// Peak learning rate of Adam.
    pub learning_rate: f64,
    /// Iterations of linear warm-up, followed by cosine decay to 1 %.
    pub warmup: u64,
    /// Bound on each parameter's gradient norm.
    pub clip_norm: f64,
    /// Architecture.
    pub architecture: FlowConfig,
}

/// Settings for training the tilt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiltStage {
    /// Iterations.
    pub iterations: u64,
    /// Peak learning rate of Adam (β₁ = 0, β₂ = 0.999).
    pub learning_rate: f64,
    /// Iterations of linear warm-up, followed by cosine decay to 1 %.
    pub warmup: u64,
    /// Weight of the mean of U² over data and samples.
    pub l2: f64,
    /// Bound on each parameter's gradient norm.
    pub clip_norm: f64,
    /// Persistent latent chains.
    pub chains: usize,
    /// MALA transitions of each chain per iteration, before one independence jump.
    pub transitions: usize,
    /// Initial step size; it then adapts to the acceptance.
    pub step_size: f64,
    /// Target acceptance.
    pub target_accept: f64,
    /// Architecture.
    pub architecture: TiltConfig,
}

/// Linear warm-up, then cosine decay to 1 % of the peak.
fn schedule(peak: f64, warmup: u64, total: u64, iteration: u64) -> f64 {
    if iteration < warmup {
        return peak * (iteration + 1) as f64 / warmup as f64;
    }
    let t = (iteration - warmup) as f64 / (total - warmup).max(1) as f64;
    peak * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * t.min(1.0)).cos()))
}

fn adam(beta_1: f32, clip_norm: f64) -> ModuleOptimizer {
    AdamConfig::new()
        .with_beta_1(beta_1)
        .with_beta_2(0.999)
        .with_epsilon(1e-8)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(clip_norm as f32)))
        .init()
}

/// Trains a flow by maximum likelihood; [`step`](Self::step) may be called from any loop.
pub struct FlowTraining {
    pub(super) config: FlowConfig,
    pub(super) flow: TrainableFlow,
    pub(super) ema: Ema<TrainableFlow>,
    pub(super) optimiser: ModuleOptimizer,
    /// Completed iterations.
    pub iteration: u64,
    /// Whether the gradient's norm is computed, which costs one more read.
    pub watched: bool,
    /// Additional devices that share each gradient.
    pub others: Vec<Device>,
}

/// Metrics of one iteration of the flow.
#[derive(Debug, Clone, Copy)]
pub struct FlowStep {
    /// −log q(x)/D in nats.
    pub loss: f64,
    /// Norm of its gradient; `None` unless watched.
    pub gradient: Option<f64>,
}

impl FlowTraining {
    /// A new flow, with actnorms initialised from the first batch (`[B, D]`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad architecture.
    pub fn new(stage: &FlowStage, ema_decay: f64, seed: u64, first: Tensor<2>) -> Result<Self> {
        let device = first.device().autodiff();
        let mut init = Init::new(seed, &device);
        let config = stage.architecture.clone();
        let flow = TrainableFlow::new(&config, &mut init)?;
        let flow = flow.initialised_from(to_channels_last(first, config.shape));
        Ok(Self {
            ema: Ema::new(&flow, ema_decay),
            flow,
            optimiser: adam(0.9, stage.clip_norm),
            config,
            iteration: 0,
            watched: false,
            others: Vec::new(),
        })
    }

    /// One step of Adam on a batch `[B, D]`.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is not finite (no step is taken then); [`Error::Device`] when
    /// it cannot be read.
    pub async fn step(&mut self, stage: &FlowStage, x: Tensor<2>) -> Result<FlowStep> {
        let dim = self.config.dim() as f64;
        let shape = self.config.shape;
        let loss = |flow: &TrainableFlow, rows: &[Tensor<2>]| {
            let x = to_channels_last(rows[0].clone(), shape);
            Part::from(flow.log_prob(x).mean() / -dim)
        };
        let whole = gradient(&self.flow, vec![x], &self.others, loss).await?;
        let (value, grads) = (whole.loss, whole.gradients);
        if !value.is_finite() {
            return Err(Error::Diverged {
                problem: format!("the flow's loss is {value} at iteration {}", self.iteration),
                fix: "start again with a lower flow.learning_rate".into(),
            });
        }
        let norm = match self.watched {
            true => Some(gradient_norm(&self.flow, &grads).await?),
            false => None,
        };
        let rate = schedule(
            stage.learning_rate,
            stage.warmup,
            stage.iterations,
            self.iteration,
        );
        self.flow = self.optimiser.step(rate, self.flow.clone(), grads);
        self.ema.update(&self.flow);
        self.iteration += 1;
        Ok(FlowStep {
            loss: value,
            gradient: norm,
        })
    }

    /// The averaged flow, frozen.
    ///
    /// # Errors
    /// [`Error::Diverged`] when it is not invertible.
    pub async fn frozen(&self) -> Result<Flow> {
        self.ema.average().frozen(&self.config).await
    }
}

/// Trains the tilt of a frozen flow.
pub struct TiltTraining {
    pub(super) flow: Flow,
    pub(super) projection: Projection,
    pub(super) tilt: Tilt,
    pub(super) ema: Ema<Tilt>,
    pub(super) optimiser: ModuleOptimizer,
    pub(super) chains: Run,
    pub(super) seed: u64,
    /// Completed iterations.
    pub iteration: u64,
    /// Whether the gradient's norm is computed, which costs one more read.
    pub watched: bool,
    /// Additional devices that share the chains' work, with their copies of the fixed parts. The tilt's
    /// gradient, one evaluation of a small network, stays on the first device.
    #[cfg(feature = "native")]
    away: Vec<(Device, Flow, Projection)>,
}

/// Metrics of one iteration of the tilt.
#[derive(Debug, Clone, Copy)]
pub struct TiltStep {
    /// Mean U of the data.
    pub data: f64,
    /// Mean U of the chains.
    pub samples: f64,
    /// Mean acceptance.
    pub acceptance: f64,
    /// Step size ε.
    pub step_size: f64,
    /// Norm of the objective's gradient; `None` unless watched.
    pub gradient: Option<f64>,
}

impl TiltTraining {
    /// A new tilt. Its chains start in equilibrium, from N(0, I), since U ≈ 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bad settings.
    pub fn new(
        stage: &TiltStage,
        ema_decay: f64,
        seed: u64,
        flow: Flow,
        projection: Projection,
        device: &Device,
    ) -> Result<Self> {
        let tracked = device.clone().autodiff();
        let mut init = Init::new(seed ^ 0x7117, &tracked);
        let shape = flow.config().shape;
        let tilt = Tilt::new(&stage.architecture, shape, &mut init);
        let rng = Rng::new(seed);
        let start = rng.normal_tensor(Purpose::Start, 0, stage.chains, flow.config().dim(), device);
        let config = SamplerConfig {
            sampler: "mala".into(),
            step_size: Some(stage.step_size),
            warmup: 0,
            ..SamplerConfig::default()
        };
        let target = latent(&flow, tilt.valid(), &projection);
        Ok(Self {
            chains: Run::new(target, &config, rng, start)?,
            ema: Ema::new(&tilt, ema_decay),
            optimiser: adam(0.0, stage.clip_norm),
            tilt,
            flow,
            projection,
            seed,
            iteration: 0,
            watched: false,
            #[cfg(feature = "native")]
            away: Vec::new(),
        })
    }

    /// Shares the chains' work with additional devices from the next step on.
    #[cfg(feature = "native")]
    pub fn share(mut self, others: &[Device]) -> Self {
        let copies = others.iter().map(|device| {
            let projection = self.projection.to_device(device);
            (device.clone(), self.flow.to_device(device), projection)
        });
        self.away = copies.collect();
        self
    }

    /// The latent target under the current tilt, on all devices.
    fn target(&self) -> Result<Arc<dyn Energy>> {
        let tilt = self.tilt.valid();
        #[cfg(feature = "native")]
        if !self.away.is_empty() {
            let away = self.away.iter().map(|(device, flow, projection)| {
                let tilt = tilt.clone().to_device(device);
                let target: Arc<dyn Energy> = latent(flow, tilt, projection);
                (device.clone(), target)
            });
            let away = away.collect();
            let home = self.chains.point().x.device();
            let here = latent(&self.flow, tilt.clone(), &self.projection);
            return Ok(Arc::new(Shared::new((home, here), away)?));
        }
        Ok(latent(&self.flow, tilt, &self.projection))
    }

    /// One step of Adam: lowers U on the data `[B, D]`, raises it on the chains' samples.
    ///
    /// # Errors
    /// [`Error::Diverged`] when an energy is not finite, [`Error::Device`] when the device cannot be
    /// read.
    pub async fn step(&mut self, stage: &TiltStage, x: Tensor<2>) -> Result<TiltStep> {
        self.chains.retarget(self.target()?)?;
        let draws = self.chains.advance(stage.transitions).await?;
        let count = draws.iter().map(|d| d.accept.len()).sum::<usize>() as f64;
        let acceptance = draws
            .iter()
            .flat_map(|d| &d.accept)
            .map(|&a| f64::from(a))
            .sum::<f64>()
            / count;
        // The paper's rule: 2 % up or down, throughout training, since the energy keeps changing.
        self.chains
            .scale_steps(if acceptance > stage.target_accept {
                1.02
            } else {
                1.0 / 1.02
            });
        // Local chains cannot move mass between modes that the flow separates, and the tilt would keep
        // drifting. Independence jumps from the flow can, where U accepts them.
        let (chains, dim) = (stage.chains, self.flow.config().dim());
        let z = self.chains.point().x.clone();
        let device = z.device();
        let fresh = Rng::new(self.seed).normal_tensor(
            Purpose::Proposed,
            self.iteration as u32,
            chains,
            dim,
            &device,
        );
        let log_ratio = log_normal(z) - log_normal(fresh.clone());
        self.chains.jump(fresh, log_ratio, self.iteration as u32);
        let negatives = self.flow.inverse(self.chains.point().x.clone());
        let (b, n) = (x.dims()[0], negatives.dims()[0]);
        let u = self.tilt.forward(Tensor::cat(vec![x, negatives], 0));
        let (data, samples) = (u.clone().narrow(0, 0, b), u.narrow(0, b, n));
        let penalty = data.clone().powi_scalar(2).mean() + samples.clone().powi_scalar(2).mean();
        let (data, samples) = (data.mean(), samples.mean());
        let loss = data.clone() - samples.clone() + penalty * stage.l2;
        let mut out = TiltStep {
            data: scalar(data.inner()).await?,
            samples: scalar(samples.inner()).await?,
            acceptance,
            step_size: self.chains.step_sizes()[0],
            gradient: None,
        };
        if !(out.data.is_finite() && out.samples.is_finite()) {
            return Err(Error::Diverged {
                problem: format!(
                    "at iteration {} the tilt is not finite: {out:?}",
                    self.iteration
                ),
                fix: "resume with a lower tilt.learning_rate".into(),
            });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &self.tilt);
        if self.watched {
            out.gradient = Some(gradient_norm(&self.tilt, &grads).await?);
        }
        let rate = schedule(
            stage.learning_rate,
            stage.warmup,
            stage.iterations,
            self.iteration,
        );
        self.tilt = self.optimiser.step(rate, self.tilt.clone(), grads);
        self.ema.update(&self.tilt);
        self.iteration += 1;
        Ok(out)
    }

    /// Continues with the random numbers of another seed, and with step sizes scaled by `step_size`.
    pub fn corrected(mut self, seed: u64, step_size: f64) -> Self {
        self.seed = seed;
        self.chains.reseed(Rng::new(seed));
        self.chains.scale_steps(step_size);
        self
    }

    /// The model with the averaged tilt.
    pub fn model(&self) -> FlowEbm {
        FlowEbm {
            flow: self.flow.clone(),
            tilt: self.ema.average().clone(),
            projection: self.projection.clone(),
        }
    }
}

fn latent(flow: &Flow, tilt: Tilt, projection: &Projection) -> Arc<LatentEnergy> {
    Arc::new(LatentEnergy(Arc::new(FlowEbm {
        flow: flow.clone(),
        tilt,
        projection: projection.clone(),
    })))
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;

    #[test]
    fn schedule_warms_up_and_decays() {
        let rate = |i| schedule(2.0, 10, 110, i);
        assert!((rate(0) - 0.2).abs() < 1e-12 && (rate(9) - 2.0).abs() < 1e-12);
        assert!((rate(60) - 1.01).abs() < 1e-12 && (rate(110) - 0.02).abs() < 1e-12);
    }

    /// The flow that is frozen and the tilt of the model are the averages, not the networks in training.
    #[test]
    fn what_is_kept_is_the_average() {
        let device = burn::tensor::Device::flex();
        let recipe = super::super::recipe::smoke();
        let dim = recipe.flow.architecture.dim();
        let x = Rng::new(3).uniform_rows(Purpose::Data, 0, 0, 8, dim, &device);
        let host = |t: Tensor<1>| t.into_data().iter::<f64>().collect::<Vec<_>>();
        let far = |a: &[f64], b: &[f64]| {
            let scale = a.iter().fold(1e-9, |m: f64, v| m.max(v.abs()));
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs() / scale)
                .fold(0.0, f64::max)
        };
        let mut stage = recipe.flow.clone();
        (stage.learning_rate, stage.warmup) = (0.01, 1);
        let mut training = FlowTraining::new(&stage, 0.9, 1, x.clone()).unwrap();
        for _ in 0..3 {
            pollster::block_on(training.step(&stage, x.clone())).unwrap();
        }
        let channels_last = to_channels_last(x.clone(), stage.architecture.shape);
        let frozen = pollster::block_on(training.frozen()).unwrap();
        let kept = host(frozen.log_prob(x.clone()).0);
        let average = host(training.ema.average().log_prob(channels_last.clone()));
        let trained = host(training.flow.log_prob(channels_last).inner());
        assert!(far(&kept, &average) < 2e-3, "{}", far(&kept, &average));
        assert!(far(&kept, &trained) > 1e-2, "{}", far(&kept, &trained));

        let projection = Projection::new(
            Tensor::zeros([dim], &device),
            Tensor::zeros([dim, crate::system::COMPONENTS], &device),
        );
        let mut stage = recipe.tilt.clone();
        (stage.learning_rate, stage.warmup) = (0.05, 1);
        let mut training = TiltTraining::new(&stage, 0.9, 1, frozen, projection, &device).unwrap();
        // Its last layer starts near zero: training starts at the flow itself.
        let start = host(training.tilt.valid().forward(x.clone()));
        assert!(start.iter().all(|u| u.abs() < 0.1), "{start:?}");
        for _ in 0..3 {
            pollster::block_on(training.step(&stage, x.clone())).unwrap();
        }
        let kept = host(training.model().tilt.forward(x.clone()));
        let average = host(training.ema.average().forward(x.clone()));
        let trained = host(training.tilt.valid().forward(x));
        assert!(far(&kept, &average) < 1e-6);
        assert!(far(&kept, &trained) > 1e-2, "{kept:?} and {trained:?}");
    }
}
