//! One iteration of CLEL: negatives from the buffer, the energy's objective, the encoder's objective.
//!
//! The arms of the ablation are settings of one recipe: `guided` (β and the encoder),
//! `generated_negatives` in the encoder's loss, `buffer_augmentation` before the chains' steps.

use burn::{
    module::Module,
    optim::{
        AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig,
        momentum::MomentumConfig,
    },
    tensor::{Device, Tensor, TensorData},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{
    buffer::{ReplayBuffer, Taken},
    energy::MarginalEnergy,
    objective::{Weights, contrastive_loss, energy_loss},
};
use crate::{
    device::{
        read, scalar,
        shards::{self, Part},
    },
    error::{Error, Result},
    nn::{
        augment::{AugmentConfig, augment},
        ema::Ema,
        encoder::{Encoder, EncoderConfig},
        gradient::gradient_norm,
        layers::Init,
        resnet::{EnergyNet, EnergyNetConfig, FrozenEnergyNet, Precision},
    },
    rng::{Purpose, Rng},
    sampler::{SamplerConfig, walk},
};

/// The chains that generate negatives: x ← clamp(x − a∇E(x) + σξ, 0, 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainStage {
    /// Steps per iteration.
    pub steps: usize,
    /// Drift a.
    pub drift: f64,
    /// Noise σ; the effective temperature is σ²/(2a).
    pub noise: f64,
    /// Images in the buffer.
    pub buffer: usize,
    /// Probability that an image taken from the buffer is reset to noise.
    pub reinit: f64,
}

impl ChainStage {
    /// The sampler config of these chains.
    pub fn sampler(&self) -> SamplerConfig {
        SamplerConfig {
            step_size: Some((2.0 * self.drift).sqrt()),
            warmup: 0,
            ..SamplerConfig::new("sgld")
                .with("noise", self.noise)
                .with("clamp", true)
        }
    }
}

/// Everything an iteration depends on, besides data and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Iterations.
    pub iterations: u64,
    /// Batch size, of data and of negatives.
    pub batch: usize,
    /// Learning rate of the energy's Adam (β₁ = 0, β₂ = 0.999).
    pub learning_rate: f64,
    /// Iterations of its linear warm-up.
    pub warmup: u64,
    /// Half-life of the moving average of the energy's weights, in images.
    pub ema_half_life: f64,
    /// Weight α of the squared energies.
    pub alpha: f64,
    /// Weight β of the guidance.
    pub beta: f64,
    /// Whether an encoder is trained and guides the energy; without it, the baseline arm.
    pub guided: bool,
    /// Whether latents of generated images are additional negatives in the encoder's loss.
    pub generated_negatives: bool,
    /// Whether images from the buffer are augmented before the chains continue from them.
    pub buffer_augmentation: bool,
    /// Temperature of the encoder's loss.
    pub temperature: f64,
    /// Peak learning rate of the encoder's SGD, with cosine decay to 0 over the run.
    pub encoder_learning_rate: f64,
    /// Momentum of the encoder's SGD.
    pub encoder_momentum: f64,
    /// Weight decay of the encoder.
    pub encoder_weight_decay: f64,
    /// Precision of the chains' energies and gradients, which are nearly all of an iteration's work.
    /// Their states, the objective and the weights stay in f32.
    #[serde(default)]
    pub precision: Precision,
    /// The chains of the negatives.
    pub chains: ChainStage,
    /// Augmentation of the views, of the targets and of images from the buffer.
    pub augment: AugmentConfig,
    /// Networks f and g.
    pub energy: EnergyNetConfig,
    /// Encoder h.
    pub encoder: EncoderConfig,
}

/// Metrics of an iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Mean E of the data.
    pub data: f64,
    /// Mean E of the negatives.
    pub samples: f64,
    /// Mean cos(g(f(x)), z); 0 unguided.
    pub guidance: f64,
    /// The encoder's loss in nats; 0 unguided.
    pub contrastive: f64,
    /// Share of views whose positive is nearest; 0 unguided.
    pub nearest: f64,
    /// Root mean square displacement of the chains, per pixel.
    pub displacement: f64,
    /// Share of the negatives' pixels at 0 or 1.
    pub saturated: f64,
    /// Shadow acceptance: that of the Metropolis test that SGLD omits.
    pub shadow: f64,
    /// Norm of the gradient of the energy's objective.
    pub gradient: f64,
}

/// State of a CLEL training.
pub struct Training {
    pub(super) net: EnergyNet,
    pub(super) average: Ema<EnergyNet>,
    pub(super) net_optimiser: ModuleOptimizer,
    pub(super) encoder: Option<Encoder>,
    pub(super) encoder_optimiser: ModuleOptimizer,
    pub(super) buffer: ReplayBuffer,
    seed: u64,
    device: Device,
    /// Completed iterations.
    pub iteration: u64,
    /// Additional devices that share the chains and the gradient of the energy's objective. The encoder
    /// trains on the first device alone, since its batch statistics and its loss need whole batches.
    pub others: Vec<Device>,
}

/// Streams of randomness of one iteration.
#[derive(Clone, Copy)]
enum Stream {
    Buffer = 0,
    Chains = 1,
    Start = 2,
    Target = 3,
    First = 4,
    Second = 5,
}

impl Training {
    /// New networks and a buffer of noise.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bad settings.
    pub fn new(stage: &Stage, seed: u64, device: &Device) -> Result<Self> {
        let tracked = device.clone().autodiff();
        let mut init = Init::new(seed, &tracked);
        let net = EnergyNet::new(&stage.energy, &mut init)?;
        let encoder = stage
            .guided
            .then(|| Encoder::new(&stage.encoder, &mut init))
            .transpose()?;
        stage.augment.check()?;
        let sgd = SgdConfig::new()
            .with_momentum(Some(
                MomentumConfig::new()
                    .with_momentum(stage.encoder_momentum)
                    .with_dampening(0.0)
                    .with_nesterov(false),
            ))
            .with_weight_decay(Some(WeightDecayConfig::new(
                stage.encoder_weight_decay as f32,
            )));
        Ok(Self {
            average: Ema::new(&net, Self::decay(stage)),
            net,
            net_optimiser: AdamConfig::new()
                .with_beta_1(0.0)
                .with_beta_2(0.999)
                .with_epsilon(1e-8)
                .init(),
            encoder,
            encoder_optimiser: sgd.init(),
            buffer: ReplayBuffer::new(
                stage.chains.buffer,
                stage.energy.dim(),
                &Rng::new(seed).derived(Purpose::Start, 0),
            ),
            seed,
            device: device.clone(),
            iteration: 0,
            others: Vec::new(),
        })
    }

    /// Continues with the random numbers of another seed.
    pub fn reseeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Decay of the moving average per batch.
    pub(super) fn decay(stage: &Stage) -> f64 {
        0.5f64.powf(stage.batch as f64 / stage.ema_half_life)
    }

    fn stream(&self, stream: Stream) -> Rng {
        let iteration = Rng::new(self.seed).derived(Purpose::Shuffle, self.iteration);
        iteration.derived(Purpose::Data, stream as u64)
    }

    /// One augmented view of images `[B, D]`.
    fn view(&self, stage: &Stage, x: Tensor<2>, stream: Stream) -> Tensor<2> {
        let [n, dim] = x.dims();
        let [c, h, w] = stage.energy.shape;
        let images = x.reshape([n, c, h, w]);
        augment(&stage.augment, &self.stream(stream), 0, 0, images).reshape([n, dim])
    }

    /// Negatives: images from the buffer, augmented, updated by the chains, and written back. Returns
    /// them (`[B, D]`) with displacement, saturated share and shadow acceptance.
    async fn negatives(&mut self, stage: &Stage) -> Result<(Tensor<2>, [f64; 3])> {
        self.net.iterate();
        let net = self.net.frozen().in_precision(stage.precision);
        let rng = self.stream(Stream::Buffer);
        let Taken { slots, images } = self.buffer.take(stage.batch, stage.chains.reinit, &rng);
        let shape = [slots.len(), stage.energy.dim()];
        let mut x = Tensor::from_data(TensorData::new(images, shape), &self.device);
        if stage.buffer_augmentation {
            x = self.view(stage, x, Stream::Start);
        }
        let (config, chains) = (stage.chains.sampler(), self.stream(Stream::Chains));
        let (chains, steps) = ((&config, chains), stage.chains.steps);
        let (end, shadow) = walk(chains, steps, vec![x.clone()], &self.others, |_, device| {
            let net = net.clone().to_device(device);
            Arc::new(MarginalEnergy::new(net, stage.energy.shape))
        })
        .await?;
        let displacement = (end.clone() - x).powi_scalar(2).mean().sqrt();
        let values: Vec<f32> = read(end.clone()).await?;
        let edge = values.iter().filter(|&&v| v <= 0.0 || v >= 1.0).count();
        self.buffer.put(&slots, &values, &rng);
        Ok((
            end,
            [
                scalar(displacement).await?,
                edge as f64 / values.len() as f64,
                shadow,
            ],
        ))
    }

    /// One iteration on data `[B, D]` with values in [0, 1], where B is the stage's batch size.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another number of images; [`Error::Diverged`] when an energy is not finite;
    /// [`Error::Device`] when the device cannot be read.
    pub async fn step(&mut self, stage: &Stage, x: Tensor<2>) -> Result<Step> {
        let [n, _] = x.dims();
        if n != stage.batch {
            return Err(Error::invalid(
                "images of an iteration",
                format!(
                    "{}, the value of clel.batch, for as many negatives",
                    stage.batch
                ),
                n,
                "give whole batches",
            ));
        }
        let (negatives, [displacement, saturated, shadow]) = self.negatives(stage).await?;
        let targets = self.encoder.as_ref().map(|encoder| {
            // Batch statistics, as in the authors' code; the views below update the running ones.
            let mut plain = encoder.valid();
            plain.latent_train(self.view(stage, x.clone(), Stream::Target))
        });
        let weights = Weights {
            alpha: stage.alpha,
            beta: stage.beta,
        };
        let mut rows = vec![x.clone(), negatives];
        rows.extend(targets);
        let objective = |net: &EnergyNet, rows: &[Tensor<2>]| {
            let [n, _] = rows[0].dims();
            let features = net.features(Tensor::cat(rows[..2].to_vec(), 0));
            let data = features.clone().narrow(0, 0, n);
            let samples = features.narrow(0, n, n);
            let targets = rows.get(2).cloned();
            let guidance = targets.map(|z| (net.project(data.clone()), z));
            let generated = net.project(samples.clone()).inner();
            let loss = energy_loss(data, samples, guidance, weights);
            let means = [loss.data, loss.samples, loss.guidance];
            Part {
                loss: loss.total,
                means: means.map(Tensor::inner).to_vec(),
                rows: vec![generated],
            }
        };
        let mut whole = shards::gradient(&self.net, rows, &self.others, objective).await?;
        let mut step = Step {
            data: whole.means[0],
            samples: whole.means[1],
            guidance: whole.means[2],
            contrastive: 0.0,
            nearest: 0.0,
            displacement,
            saturated,
            shadow,
            gradient: gradient_norm(&self.net, &whole.gradients).await?,
        };
        // Check before either optimiser steps: no checkpoint may hold non-finite weights.
        self.check(&step)?;
        let generated = whole.rows.remove(0);
        let warm = (self.iteration + 1) as f64 / stage.warmup.max(1) as f64;
        let rate = stage.learning_rate * warm.min(1.0);
        let net = self.net.clone();
        self.net = self.net_optimiser.step(rate, net, whole.gradients);
        self.average.update(&self.net);

        if let Some(mut encoder) = self.encoder.take() {
            let views = [Stream::First, Stream::Second].map(|s| self.view(stage, x.clone(), s));
            let z = encoder.forward_train(Tensor::cat(views.into(), 0));
            let extra = stage.generated_negatives.then_some(generated);
            let (first, second) = (z.clone().narrow(0, 0, n), z.narrow(0, n, n));
            let (loss, nearest) = contrastive_loss(first, second, extra, stage.temperature);
            step.contrastive = scalar(loss.clone().inner()).await?;
            step.nearest = scalar(nearest.inner()).await?;
            self.check(&step)?;
            let grads = GradientsParams::from_grads(loss.backward(), &encoder);
            let t = self.iteration as f64 / stage.iterations.max(1) as f64;
            let rate = stage.encoder_learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * t).cos());
            self.encoder = Some(self.encoder_optimiser.step(rate, encoder, grads));
        }
        self.iteration += 1;
        Ok(step)
    }

    fn check(&self, step: &Step) -> Result<()> {
        let numbers = [
            step.data,
            step.samples,
            step.guidance,
            step.contrastive,
            step.gradient,
        ];
        if numbers.iter().all(|v| v.is_finite()) {
            return Ok(());
        }
        Err(Error::Diverged {
            problem: format!(
                "at iteration {} a loss is not finite: {step:?}",
                self.iteration
            ),
            fix: "resume from the last checkpoint with a lower learning_rate".into(),
        })
    }

    /// The averaged energy network, frozen. Averaging shortens the vectors of the spectral norm's power
    /// iteration, so it is iterated again.
    pub fn frozen(&self) -> FrozenEnergyNet {
        let mut net = self.average.average().clone();
        for _ in 0..10 {
            net.iterate();
        }
        net.frozen()
    }

    /// The encoder, if there is one.
    pub fn encoder(&self) -> Option<&Encoder> {
        self.encoder.as_ref()
    }

    /// The replay buffer.
    pub fn buffer(&self) -> &ReplayBuffer {
        &self.buffer
    }
}
