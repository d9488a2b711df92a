//! The objective, step by step: infer latents under the current prior, then take one step of the prior
//! and one of the generator (Xiao & Han 2022, algorithm 1).

use std::sync::Arc;

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use super::{
    density::tilt_of,
    infer::PosteriorEnergy,
    ratio::{Check, RatioConfig, RatioStep, RatioTraining},
};
use crate::{
    device::{
        scalar,
        shards::{self, Part},
    },
    error::{Error, Result},
    nn::{
        ema::Ema,
        generator::{Generator, GeneratorConfig, LatentEncoder},
        gradient::gradient_norm,
        layers::Init,
        tilt::Tilt,
    },
    rng::{Purpose, Rng},
    sampler::{SamplerConfig, walk},
};

/// Method of inferring the latents of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PosteriorKind {
    /// Short-run Langevin from N(0, I), as published.
    Langevin,
    /// An amortised encoder, trained with the generator on the evidence lower bound.
    Encoder,
}

/// Settings of the inference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posterior {
    /// Method.
    pub kind: PosteriorKind,
    /// Langevin steps.
    pub steps: usize,
    /// Langevin step size s: z ← z − (s²/2)∇E + sξ.
    pub step_size: f64,
    /// Channels of the encoder's first layer.
    pub width: usize,
}

/// Settings of the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentStage {
    /// Largest number of iterations; a finished adaptive prior ends the training earlier.
    pub iterations: u64,
    /// Largest number of seconds over all sessions, for comparisons at equal time; 0: no limit.
    pub seconds: f64,
    /// Batch size.
    pub batch: usize,
    /// Learning rate of Adam (β₁ = 0.5, β₂ = 0.999) for the generator and the encoder.
    pub learning_rate: f64,
    /// Half-life of the generator's moving average, in images.
    pub ema_half_life: f64,
    /// Standard deviation σ of the observation noise, for values in (−1, 1).
    pub sigma: f64,
    /// Iterations under N(0, I) before the training of the prior starts.
    pub warmup: u64,
    /// Held-out training images, whose latents the checks infer.
    pub held_out: usize,
    /// The inference.
    pub posterior: Posterior,
    /// The prior.
    pub prior: RatioConfig,
    /// The generator.
    pub generator: GeneratorConfig,
}

impl LatentStage {
    /// Checks all settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first number outside its domain.
    pub fn check(&self) -> Result<()> {
        self.generator.check()?;
        self.prior.check()?;
        Error::unless_positive(&[
            ("latent.iterations", self.iterations as f64),
            ("latent.batch", self.batch as f64),
            ("latent.learning_rate", self.learning_rate),
            ("latent.ema_half_life", self.ema_half_life),
            ("latent.sigma", self.sigma),
            ("latent.held_out", self.held_out as f64),
            ("latent.posterior.steps", self.posterior.steps as f64),
            ("latent.posterior.step_size", self.posterior.step_size),
            ("latent.posterior.width", self.posterior.width as f64),
        ])?;
        if !(self.seconds.is_finite() && self.seconds >= 0.0) {
            let found = self.seconds;
            let fix = "give 0 for no limit";
            return Err(Error::invalid("latent.seconds", "0 or more", found, fix));
        }
        Ok(())
    }

    /// Decay of the moving average per batch.
    pub(super) fn decay(&self) -> f64 {
        0.5f64.powf(self.batch as f64 / self.ema_half_life)
    }
}

/// Metrics of an iteration.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Mean squared error of the reconstructions per value, with values in [0, 1].
    pub mse: f64,
    /// Mean ‖z‖²/n of the latents: 1 under N(0, I).
    pub norm: f64,
    /// Shadow acceptance of the posterior's chains; NaN with the encoder.
    pub shadow: f64,
    /// Metrics of the prior.
    pub prior: RatioStep,
    /// Norm of the gradient of the generator's objective.
    pub gradient: f64,
}

/// The generator and the amortised posterior, which are trained together.
#[derive(Module, Debug)]
pub(super) struct Nets {
    pub(super) generator: Generator,
    pub(super) encoder: Option<LatentEncoder>,
}

/// State of a training.
pub struct Training {
    pub(super) nets: Nets,
    pub(super) average: Ema<Nets>,
    pub(super) optimiser: ModuleOptimizer,
    /// The prior.
    pub prior: RatioTraining,
    seed: u64,
    device: Device,
    /// Completed iterations.
    pub iteration: u64,
    /// Additional devices that share the inference of latents and the generator's gradient. The prior's
    /// small networks are trained on the first device alone.
    pub others: Vec<Device>,
}

impl Training {
    /// New networks.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bad settings.
    pub fn new(stage: &LatentStage, seed: u64, device: &Device) -> Result<Self> {
        stage.check()?;
        let tracked = device.clone().autodiff();
        let mut init = Init::new(seed, &tracked);
        let generator = Generator::new(&stage.generator, &mut init)?;
        let encoder = (stage.posterior.kind == PosteriorKind::Encoder)
            .then(|| LatentEncoder::new(&stage.generator, stage.posterior.width, &mut init));
        let nets = Nets { generator, encoder };
        Ok(Self {
            average: Ema::new(&nets, stage.decay()),
            nets,
            optimiser: AdamConfig::new().with_beta_1(0.5).with_beta_2(0.999).init(),
            prior: RatioTraining::new(&stage.prior, stage.generator.latent, seed, device)?,
            seed,
            device: device.clone(),
            iteration: 0,
            others: Vec::new(),
        })
    }

    /// Continues with the random numbers of another seed.
    pub fn reseeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.prior.reseed(seed);
        self
    }

    /// The averaged generator.
    pub fn generator(&self) -> &Generator {
        &self.average.average().generator
    }

    /// Infers latents of data `[B, D]` under the current prior, and differentiates the generator's
    /// objective. Returns the iteration's metrics without the prior's, the latents, and the gradients.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub(super) async fn objective(
        &self,
        stage: &LatentStage,
        x: Tensor<2>,
    ) -> Result<(Step, Tensor<2>, GradientsParams)> {
        let [batch, dim] = x.dims();
        let frozen = self.prior.prior();
        let rng = Rng::new(self.seed).derived(Purpose::Posterior, self.iteration);
        // Inferred latents (Langevin), or the noise of the encoder's reparameterisation.
        let (given, shadow) = match &self.nets.encoder {
            None => {
                let net = self.nets.generator.valid();
                let posterior = (net, &frozen[..], &self.others[..]);
                short_run(stage, posterior, x.clone(), &rng).await?
            }
            Some(_) => {
                let noise = normals(&rng, batch, stage.generator.latent, &self.device);
                (noise, f64::NAN)
            }
        };
        let objective = |nets: &Nets, rows: &[Tensor<2>]| {
            let (x, given) = (rows[0].clone(), rows[1].clone());
            let [batch, _] = x.dims();
            let [c, h, w] = stage.generator.shape;
            let image = x.reshape([batch, c, h, w]) * 2.0 - 1.0;
            let (latents, penalty, made) = match &nets.encoder {
                None => (given, None, Vec::new()),
                Some(encoder) => {
                    let (mean, log_variance) = encoder.forward(image.clone());
                    let z = mean.clone() + (log_variance.clone() * 0.5).exp() * given;
                    let kl = LatentEncoder::divergence(&mean, &log_variance);
                    let tilt = tilt_of(&on(&frozen, &image.device()), &z);
                    let made = vec![z.clone().inner()];
                    (z, Some((kl + tilt).mean()), made)
                }
            };
            let error = nets.generator.forward(latents) - image;
            let error = error.powi_scalar(2).sum() / batch as f64;
            let loss = error.clone() / (2.0 * stage.sigma * stage.sigma);
            Part {
                loss: match penalty {
                    Some(penalty) => loss + penalty,
                    None => loss,
                },
                means: vec![error.inner()],
                rows: made,
            }
        };
        let rows = vec![x, given.clone()];
        let mut whole = shards::gradient(&self.nets, rows, &self.others, objective).await?;
        let latents = whole.rows.pop().unwrap_or(given);
        let step = Step {
            mse: whole.means[0] / (4.0 * dim as f64),
            norm: scalar(latents.clone().powi_scalar(2).mean()).await?,
            shadow,
            prior: RatioStep::NONE,
            gradient: gradient_norm(&self.nets, &whole.gradients).await?,
        };
        if !(step.mse.is_finite() && step.norm.is_finite()) {
            return Err(Error::Diverged {
                problem: format!(
                    "at iteration {} the generator's loss is not finite: {step:?}",
                    self.iteration
                ),
                fix: "resume with a lower latent.learning_rate or posterior.step_size".into(),
            });
        }
        Ok((step, latents, whole.gradients))
    }

    /// One iteration on data `[B, D]` with values in [0, 1].
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss is not finite; [`Error::Device`] when the device cannot be read.
    pub async fn step(&mut self, stage: &LatentStage, x: Tensor<2>) -> Result<Step> {
        let (mut step, latents, gradients) = self.objective(stage, x).await?;
        if self.iteration >= stage.warmup {
            step.prior = self.prior.step(latents).await?;
        }
        self.nets = self
            .optimiser
            .step(stage.learning_rate, self.nets.clone(), gradients);
        self.average.update(&self.nets);
        self.iteration += 1;
        Ok(step)
    }

    /// Latents of images `[B, D]` by the averaged networks, under the current prior, for checks and for
    /// export. `which` selects the random stream.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn infer(&self, stage: &LatentStage, x: Tensor<2>, which: u64) -> Result<Tensor<2>> {
        let [batch, _] = x.dims();
        let rng = Rng::new(self.seed)
            .derived(Purpose::Posterior, self.iteration)
            .derived(Purpose::Choice, which);
        let nets = self.average.average();
        match &nets.encoder {
            None => {
                let frozen = self.prior.prior();
                let posterior = (nets.generator.clone(), &frozen[..], &self.others[..]);
                Ok(short_run(stage, posterior, x, &rng).await?.0)
            }
            Some(encoder) => {
                let [c, h, w] = stage.generator.shape;
                let (mean, log_variance) = encoder.forward(x.reshape([batch, c, h, w]) * 2.0 - 1.0);
                let noise = normals(&rng, batch, stage.generator.latent, &self.device);
                Ok(mean + (log_variance * 0.5).exp() * noise)
            }
        }
    }

    /// Computes the held-out loss on images `[B, D]`, if a check is due; see [`RatioTraining::check`].
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn check(
        &mut self,
        stage: &LatentStage,
        held_out: &Tensor<2>,
    ) -> Result<Option<(Check, Option<&'static str>)>> {
        if self.iteration < stage.warmup || !self.prior.check_due() {
            return Ok(None);
        }
        let z = self.infer(stage, held_out.clone(), 1).await?;
        self.prior.check(z).await.map(Some)
    }
}

fn normals(rng: &Rng, batch: usize, latent: usize, device: &Device) -> Tensor<2> {
    rng.normal_tensor(Purpose::Start, 0, batch, latent, device)
}

/// Copies of frozen networks on a device.
fn on(ratios: &[Tilt], device: &Device) -> Vec<Tilt> {
    let device = device.clone().inner();
    let copy = |ratio: &Tilt| ratio.clone().to_device(&device);
    ratios.iter().map(copy).collect()
}

/// Short-run Langevin on the posterior from N(0, I), on all devices. Returns the last states and the
/// shadow acceptance.
async fn short_run(
    stage: &LatentStage,
    (generator, ratios, others): (Generator, &[Tilt], &[Device]),
    x: Tensor<2>,
    rng: &Rng,
) -> Result<(Tensor<2>, f64)> {
    let start = normals(rng, x.dims()[0], stage.generator.latent, &x.device());
    let config = SamplerConfig {
        sampler: "ula".into(),
        step_size: Some(stage.posterior.step_size),
        warmup: 0,
        ..SamplerConfig::default()
    };
    let (chains, steps) = ((&config, *rng), stage.posterior.steps);
    walk(chains, steps, vec![start, x], others, |mut rows, device| {
        Arc::new(PosteriorEnergy {
            generator: generator.clone().to_device(device),
            ratios: on(ratios, device),
            images: rows.remove(0),
            sigma: stage.sigma,
        })
    })
    .await
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;
    use crate::system::latent_prior::PRESETS;

    /// Both inference methods, with a prior that has started training.
    #[test]
    fn training_on_several_devices_matches_one() {
        let (_, smoke) = PRESETS.iter().find(|(name, _)| *name == "smoke").unwrap();
        let device = Device::flex();
        let gpu = crate::test_support::gpu();
        for kind in [PosteriorKind::Langevin, PosteriorKind::Encoder] {
            let mut stage = smoke().latent;
            stage.posterior.kind = kind;
            let dim = stage.generator.shape.iter().product();
            let learn = |others: &[Device]| {
                let mut training = Training::new(&stage, 1, &device).unwrap();
                training.others = others.to_vec();
                let mut seen = Vec::new();
                for i in 0..5 {
                    let x = Rng::new(3).uniform_rows(Purpose::Data, i, 0, 8, dim, &device);
                    let s = pollster::block_on(training.step(&stage, x)).unwrap();
                    seen.extend([s.mse, s.norm, s.gradient]);
                    // NaN marks a missing value.
                    let sometimes = [s.shadow, s.prior.loss, s.prior.acceptance];
                    seen.extend(sometimes.into_iter().filter(|v| v.is_finite()));
                }
                let x = Rng::new(3).uniform_rows(Purpose::Data, 9, 0, 8, dim, &device);
                let z = pollster::block_on(training.infer(&stage, x, 1)).unwrap();
                let z: Vec<f32> = pollster::block_on(crate::device::read(z)).unwrap();
                seen.extend(z.into_iter().map(f64::from));
                seen
            };
            let alone = learn(&[]);
            assert!(alone.len() > 20 && alone.iter().all(|v| v.is_finite()));
            let mut sets = vec![vec![device.clone()], vec![device.clone(); 2]];
            sets.extend(gpu.clone().map(|gpu| vec![gpu]));
            for others in sets {
                let several = learn(&others);
                assert_eq!(several.len(), alone.len());
                for (a, b) in alone.iter().zip(&several) {
                    assert!(
                        (a - b).abs() < 1e-4 * a.abs().max(1.0),
                        "{kind:?}: {a} alone, {b} with {others:?}"
                    );
                }
            }
        }
    }
}
