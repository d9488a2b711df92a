//! A session of the room Prior: sampling a latent prior at one of its stages.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{
    super::arrays::{Bytes, Floats},
    info::{
        PathInfo, PosteriorInfo, PriorConfig, PriorDiagnostic, PriorFrame, PriorModel,
        RatioHistogram, SAMPLERS, ScoreSet, StageInfo, Weights,
    },
    settings,
};
use crate::{
    artifact::{Card, scores::Scores},
    device::read,
    diagnostics::{self, Rule},
    error::{Error, Result},
    pixels,
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig, Trace},
    system::{
        self,
        latent_prior::{
            self, LatentPrior, STEPS, StageEnergy,
            ratio::StageRecord,
            sir::{self, Resampled},
        },
    },
};

/// A model on the device.
pub(super) struct Loaded {
    pub(super) card: Card,
    pub(super) model: Arc<LatentPrior>,
    pub(super) scores: Option<Scores>,
}

struct Work {
    config: PriorConfig,
    target: Arc<StageEnergy>,
    run: Run,
    trace: Trace,
    /// Log ratios of the stage's classifier at the training images' latents; none at stage 0.
    posterior: Option<Vec<f32>>,
}

/// A session on a device.
pub struct Prior {
    pub(super) device: Device,
    pub(super) loaded: Option<Loaded>,
    work: Option<Work>,
    pub(super) drawn: Option<PriorFrame>,
}

/// Chains whose paths are plotted.
const PATHS: usize = 8;
const BINS: usize = 30;

impl Prior {
    /// A session without a model.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            loaded: None,
            work: None,
            drawn: None,
        }
    }

    pub(super) fn loaded(&self) -> Result<&Loaded> {
        self.loaded
            .as_ref()
            .ok_or_else(|| Error::invalid("Prior", "a loaded model", "none", "load a model first"))
    }

    /// Loads a model and its reference scores, and tests the device.
    ///
    /// # Errors
    /// [`Error::Model`] for files that are damaged, belong to another system, or do not belong together.
    pub async fn load(
        &mut self,
        card: Card,
        weights: &[u8],
        scores: Option<&[u8]>,
    ) -> Result<PriorModel> {
        let model = Arc::new(latent_prior::open(&card, weights, &self.device)?);
        let scores = scores
            .map(|text| Scores::parse(text, &card.name))
            .transpose()?;
        let shared = latent_prior::into_model(model.clone());
        let self_test = system::self_test(&*shared, &card.known_answer).await?;
        let reference = &model.reference;
        let plane: Vec<f32> = read(reference.project(reference.latents.clone())).await?;
        let architecture = model.architecture();
        let records: Vec<StageRecord> = card
            .metrics
            .get("stages")
            .and_then(|v| serde_json::from_value(v.clone()).ok())
            .unwrap_or_default();
        let mut kept = records.into_iter().filter(|r| r.kept);
        let stages = (0..=architecture.stages)
            .map(|stage| {
                let record = if stage > 0 { kept.next() } else { None };
                let record = record.unwrap_or_default();
                StageInfo {
                    stage,
                    iterations: record.iterations,
                    ended: record.ended,
                    checks: record.checks,
                }
            })
            .collect();
        let info = PriorModel {
            name: card.name.clone(),
            title: card.title.clone(),
            shape: architecture.generator.shape,
            latent: architecture.generator.latent,
            sigma: architecture.sigma / 2.0,
            parameters: shared.parameters(),
            classes: card.data.classes.clone(),
            stages,
            posterior: PosteriorInfo {
                plane: plane.into(),
                labels: Bytes(reference.labels.clone()),
            },
            explained: reference.explained,
            sets: scores
                .iter()
                .flat_map(|s| &s.sets)
                .map(|s| ScoreSet {
                    name: s.name.clone(),
                    title: s.title.clone(),
                    images: s.images,
                    auroc: s.auroc_energy,
                })
                .collect(),
            defaults: PriorConfig {
                seed: settings::SEED.default_count() as u64,
                stage: architecture.stages,
                sampler: "mala".into(),
                count: settings::COUNT.default_count(),
                step_size: None,
                warmup: settings::WARMUP.default_count(),
                start_scale: settings::START_SCALE.default_number(),
                temperature: settings::TEMPERATURE.default_number(),
                proposals: settings::PROPOSALS.default_count(),
            },
            steps: STEPS,
            method: format!(
                "Each chain starts at z ~ N(0, s²) and samples p_k(z) ∝ N(z; 0, I) exp(f₁(z) + … + f_k(z)) in the {} coordinates of z; the generator g decodes z to the image you see, without the noise σ.",
                architecture.generator.latent
            ),
            self_test,
            known_failures: card.known_failures.clone(),
            licence: card.licence.clone(),
        };
        self.loaded = Some(Loaded {
            card,
            model,
            scores,
        });
        (self.work, self.drawn) = (None, None);
        Ok(info)
    }

    /// Checks a config and returns the frame of its starts; "sir" draws all its samples at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside its domain; the previous run is kept.
    pub async fn begin(&mut self, config: PriorConfig) -> Result<PriorFrame> {
        let loaded = self.loaded()?;
        let stages = loaded.model.architecture().stages;
        settings::COUNT.check(config.count)?;
        settings::WARMUP.check(config.warmup)?;
        settings::START_SCALE.check(config.start_scale)?;
        settings::TEMPERATURE.check(config.temperature)?;
        settings::PROPOSALS.check(config.proposals)?;
        Error::unless_within("stage", config.stage, 0, stages)?;
        Error::unless_within("proposals", config.proposals, config.count, usize::MAX)?;
        let target = Arc::new(StageEnergy::new(loaded.model.clone(), config.stage, true)?);
        let latents = loaded.model.reference.latents.clone();
        if config.sampler == "sir" {
            let posterior = log_ratios(&target, latents).await?;
            let frame = self
                .resampled(&config, &target, posterior.as_deref())
                .await?;
            (self.work, self.drawn) = (None, Some(frame.clone()));
            return Ok(frame);
        }
        if !SAMPLERS.contains(&config.sampler.as_str()) {
            return Err(Error::invalid(
                "sampler",
                format!("{} or sir", SAMPLERS.join(", ")),
                &config.sampler,
                "choose one of these",
            ));
        }
        let step_size = config
            .step_size
            .or_else(|| loaded.card.step_size("latent", &config.sampler));
        let sampler = SamplerConfig {
            sampler: config.sampler.clone(),
            step_size,
            temperature: config.temperature,
            warmup: config.warmup,
            ..SamplerConfig::default()
        };
        let rng = Rng::new(config.seed);
        let latent = loaded.model.architecture().generator.latent;
        let z = rng.normal_tensor(Purpose::Start, 0, config.count, latent, &self.device)
            * config.start_scale;
        let trace = Trace::new(crate::energy::Energy::observables(&*target), config.count);
        let run = Run::new(target.clone(), &sampler, rng, z)?;
        let posterior = log_ratios(&target, latents).await?;
        self.drawn = None;
        self.work = Some(Work {
            config,
            target,
            run,
            trace,
            posterior,
        });
        self.advance(0).await
    }

    /// Makes up to 1000 more transitions; for "sir" returns the last frame.
    ///
    /// # Errors
    /// [`Error::Invalid`] before [`begin`](Self::begin), [`Error::Device`] when the device cannot be
    /// read.
    pub async fn advance(&mut self, transitions: usize) -> Result<PriorFrame> {
        if let Some(frame) = &self.drawn {
            return Ok(frame.clone());
        }
        let Some(work) = &mut self.work else {
            return Err(Error::invalid(
                "Prior",
                "a run in progress",
                "none",
                "begin first",
            ));
        };
        let draws = work.run.advance(transitions.min(1000)).await?;
        for draw in &draws {
            work.trace.push(draw);
        }
        let paths = PATHS.min(work.config.count);
        let axes = work.trace.names().len() - 1;
        let points: Vec<f32> = draws
            .iter()
            .flat_map(|draw| {
                let [x, y] = [axes - 2, axes - 1].map(|k| &draw.observed[k]);
                (0..paths).flat_map(move |c| [x[c], y[c]])
            })
            .collect();
        let accepted: Vec<f64> = draws
            .iter()
            .flat_map(|d| &d.accept)
            .map(|&a| f64::from(a))
            .collect();
        let rule = Rule::default();
        let summaries = match work.trace.draws() >= diagnostics::MIN_DRAWS {
            true => work.trace.summaries(&rule)?,
            false => Vec::new(),
        };
        let diagnostics: Vec<PriorDiagnostic> = summaries
            .iter()
            .map(|s| PriorDiagnostic {
                name: match s.name.as_str() {
                    "tilt" => "log ratio".into(),
                    name => name.into(),
                },
                rhat: s.rhat,
                bulk_ess: s.ess_bulk,
                tail_ess: s.ess_tail,
            })
            .collect();
        let converged = !summaries.is_empty()
            && summaries
                .iter()
                .all(|s| s.status == diagnostics::Status::Converged);
        let (drift, noise) = work.run.drift_and_noise();
        let frame = PriorFrame {
            transitions: work.run.transitions(),
            warmup: work.run.warming_up(),
            path: PathInfo {
                chains: paths,
                points: points.into(),
            },
            diagnostics,
            converged,
            acceptance: (!accepted.is_empty())
                .then(|| accepted.iter().sum::<f64>() / accepted.len() as f64),
            tested: work.run.has_test(),
            step_size: work.run.step_sizes()[0],
            drift,
            noise,
            temperature: work.run.temperature(),
            gradients: work.run.gradients(),
            ..PriorFrame::blank(&work.config)
        };
        let (z, energy) = (work.run.states(), work.run.point().energy.clone());
        let (target, posterior) = (work.target.clone(), work.posterior.clone());
        self.with_states(frame, &target, z, energy, posterior.as_deref())
            .await
    }

    /// Adds images, plane coordinates, energies and log ratios of the states to a frame.
    async fn with_states(
        &self,
        frame: PriorFrame,
        target: &StageEnergy,
        z: Tensor<2>,
        energy: Tensor<1>,
        posterior: Option<&[f32]>,
    ) -> Result<PriorFrame> {
        let model = &self.loaded()?.model;
        let images: Vec<f32> = read(model.decode(z.clone())).await?;
        let plane: Vec<f32> = read(model.reference.project(z.clone())).await?;
        let energies: Vec<f32> = read(energy).await?;
        let ratio = log_ratios(target, z).await?.zip(posterior);
        let ratio = ratio.map(|(prior, posterior)| histogram(&prior, posterior));
        Ok(PriorFrame {
            images: Bytes(images.into_iter().map(pixels::byte).collect()),
            plane: plane.into(),
            energies: energies.into(),
            ratio,
            ..frame
        })
    }

    async fn resampled(
        &self,
        config: &PriorConfig,
        target: &StageEnergy,
        posterior: Option<&[f32]>,
    ) -> Result<PriorFrame> {
        let model = &self.loaded()?.model;
        let Resampled {
            z,
            ess,
            proposals,
            distinct,
        } = sir::resample(
            model.stage(config.stage)?,
            model.architecture().generator.latent,
            &Rng::new(config.seed),
            [config.count, config.proposals],
            config.temperature,
            &self.device,
        )
        .await?;
        let energy = crate::energy::Energy::evaluate(target, z.clone()).energy;
        let frame = PriorFrame {
            sir: Some(Weights {
                ess,
                proposals,
                distinct,
            }),
            temperature: config.temperature,
            ..PriorFrame::blank(config)
        };
        self.with_states(frame, target, z, energy, posterior).await
    }
}

/// f = −U of a stage's classifier at latents; none at stage 0.
async fn log_ratios(target: &StageEnergy, z: Tensor<2>) -> Result<Option<Vec<f32>>> {
    match target.last() {
        Some(ratio) => Ok(Some(read(ratio.forward(z).neg()).await?)),
        None => Ok(None),
    }
}

/// Histogram shares of two samples in common bins.
fn histogram(prior: &[f32], posterior: &[f32]) -> RatioHistogram {
    let finite = prior.iter().chain(posterior).filter(|v| v.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
        (low.min(v), high.max(v))
    });
    let (low, high) = if low < high {
        (low, high)
    } else {
        (low - 0.5, low + 0.5)
    };
    let width = (high - low) / BINS as f32;
    let shares = |values: &[f32]| -> Floats {
        let mut counts = vec![0.0f32; BINS];
        for &v in values {
            let bin = ((v - low) / width).floor().clamp(0.0, (BINS - 1) as f32);
            counts[bin as usize] += 1.0 / values.len() as f32;
        }
        counts.into()
    };
    RatioHistogram {
        edges: (0..=BINS)
            .map(|k| low + width * k as f32)
            .collect::<Vec<_>>()
            .into(),
        prior: shares(prior),
        posterior: shares(posterior),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_shares_sum_to_one() {
        let h = histogram(&[0.0, 1.0, 1.0], &[-1.0, 2.0]);
        let sum = |f: &Floats| f.0.iter().sum::<f32>();
        assert!((sum(&h.prior) - 1.0).abs() < 1e-6 && (sum(&h.posterior) - 1.0).abs() < 1e-6);
        assert_eq!((h.edges.0[0], h.edges.0[BINS]), (-1.0, 2.0));
        assert_eq!(sum(&histogram(&[3.0], &[3.0]).prior), 1.0);
    }
}
