//! The room Prior: a latent prior stage by stage, images inferred into it, the way between two, and how
//! unlike the data an image is.
//!
//! Like [`studio`](crate::studio) it knows no page: `web` hands these structs on as they are, and
//! `www/prior-protocol.d.ts` has the same shapes in TypeScript.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{
    artifact::{self, Card, SelfTest},
    device::read,
    diagnostics::{self, Rule},
    error::{Error, Result},
    pixels,
    play::{Bytes, Floats},
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig, Trace},
    scores::{Interval, Percentile, Scores, percentile},
    system::latent_prior::{
        self, LatentPrior, StageEnergy,
        ratio::StageRecord,
        sir::{self, Resampled},
    },
};

/// What a sampling of a prior depends on, beside the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorConfig {
    /// Seed of starts and noise.
    pub seed: u64,
    /// Which prior: 0 to the number of stages.
    pub stage: usize,
    /// A sampler's name, or "sir".
    pub sampler: String,
    /// Chains, 4 to 256.
    pub count: usize,
    /// Step size; `None`: the card's.
    pub step_size: Option<f64>,
    /// Transitions that adapt the step size, at most 1000.
    pub warmup: usize,
    /// Scale of the starts, (0, 3].
    pub start_scale: f64,
    /// Temperature, [0.05, 20].
    pub temperature: f64,
    /// Proposals of "sir".
    pub proposals: usize,
}

/// The samplers that are offered, "sir" beside them.
pub const SAMPLERS: [&str; 3] = ["ula", "mala", "hmc"];

/// What the page needs to know of a loaded model.
#[derive(Debug, Clone, Serialize)]
pub struct PriorModel {
    name: String,
    title: String,
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    /// Dimension of z.
    pub latent: usize,
    sigma: f64,
    parameters: usize,
    classes: Vec<String>,
    /// Stage 0, then one for each ratio.
    pub stages: Vec<StageInfo>,
    posterior: Shown,
    explained: [f32; 2],
    /// Sets that scores are placed in.
    pub sets: Vec<ScoreSet>,
    /// What a newcomer meets.
    pub defaults: PriorConfig,
    /// Gradient steps of a reconstruction.
    pub steps: usize,
    method: String,
    self_test: SelfTest,
    known_failures: Vec<String>,
    licence: String,
}

/// A stage and the evidence that ended it.
#[derive(Debug, Clone, Serialize)]
pub struct StageInfo {
    stage: usize,
    /// Iterations of its training.
    pub iterations: u64,
    /// Why it ended.
    pub ended: String,
    /// Held-out losses.
    pub checks: Vec<latent_prior::ratio::Check>,
}

#[derive(Debug, Clone, Serialize)]
struct Shown {
    plane: Floats,
    labels: Bytes,
}

/// A set that scores are placed in.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreSet {
    name: String,
    /// Name for people.
    pub title: String,
    images: usize,
    auroc: Option<Interval>,
}

/// Where a sampling stands.
#[derive(Debug, Clone, Serialize)]
pub struct PriorFrame {
    stage: usize,
    sampler: String,
    /// Transitions so far.
    pub transitions: u32,
    warmup: bool,
    /// `[count, C, H, W]`
    pub images: Bytes,
    plane: Floats,
    path: Path,
    energies: Floats,
    /// Of the draws after the warm-up.
    pub diagnostics: Vec<PriorDiagnostic>,
    /// Whether all of them pass.
    pub converged: bool,
    /// How the stage's classifier tells the chains from the posterior.
    pub ratio: Option<RatioHistogram>,
    /// Mean acceptance.
    pub acceptance: Option<f64>,
    tested: bool,
    step_size: f64,
    drift: f64,
    noise: f64,
    temperature: f64,
    /// Gradient evaluations of each chain.
    pub gradients: f64,
    /// Of "sir".
    pub sir: Option<Weights>,
}

#[derive(Debug, Clone, Serialize)]
struct Path {
    chains: usize,
    points: Floats,
}

/// R-hat and ESS of one quantity.
#[derive(Debug, Clone, Serialize)]
pub struct PriorDiagnostic {
    /// The quantity.
    pub name: String,
    /// R-hat.
    pub rhat: Option<f64>,
    /// Bulk ESS.
    pub bulk_ess: Option<f64>,
    /// Tail ESS.
    pub tail_ess: Option<f64>,
}

/// Shares of two sets in bins of a log ratio.
#[derive(Debug, Clone, Serialize)]
pub struct RatioHistogram {
    edges: Floats,
    /// Under the chains.
    pub prior: Floats,
    /// Under the training images' posteriors.
    pub posterior: Floats,
}

/// What importance weights were worth.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Weights {
    /// (Σw)²/Σw².
    pub ess: f64,
    /// Of so many proposals.
    pub proposals: usize,
    /// Different ones that were drawn.
    pub distinct: usize,
}

/// An image, inferred.
#[derive(Debug, Clone, Serialize)]
pub struct Reconstruction {
    /// z.
    pub latent: Floats,
    plane: Floats,
    image: Bytes,
    /// Mean squared difference a value, in [0, 1].
    pub mse: f64,
    /// The anomaly score.
    pub score: f64,
    terms: ScoreTerms,
    /// Where it stands in each set.
    pub percentiles: Vec<Percentile>,
    trace: Floats,
}

#[derive(Debug, Clone, Serialize)]
struct ScoreTerms {
    reconstruction: f64,
    gaussian: f64,
    ratios: Floats,
}

/// The way between two latents.
#[derive(Debug, Clone, Serialize)]
pub struct Interpolation {
    images: Bytes,
    /// E_K along it.
    pub energies: Floats,
    plane: Floats,
}

struct Loaded {
    card: Card,
    model: Arc<LatentPrior>,
    scores: Option<Scores>,
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
    device: Device,
    loaded: Option<Loaded>,
    work: Option<Work>,
    drawn: Option<PriorFrame>,
}

/// Gradient steps of a reconstruction if not told otherwise.
pub const STEPS: usize = 100;
/// Chains whose paths are drawn.
const PATHS: usize = 8;
const BINS: usize = 30;

impl Prior {
    /// Without a model yet.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            loaded: None,
            work: None,
            drawn: None,
        }
    }

    fn loaded(&self) -> Result<&Loaded> {
        self.loaded
            .as_ref()
            .ok_or_else(|| Error::invalid("Prior", "a loaded model", "none", "load a model first"))
    }

    /// Loads a model and its reference scores, and tests the device.
    ///
    /// # Errors
    /// [`Error::Model`] for files that are damaged, another system's, or do not belong together.
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
        let self_test = artifact::self_test(&*shared, &card.known_answer).await?;
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
            posterior: Shown {
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
                seed: 1,
                stage: architecture.stages,
                sampler: "mala".into(),
                count: 36,
                step_size: None,
                warmup: 50,
                start_scale: 1.2,
                temperature: 1.0,
                proposals: 10_000,
            },
            steps: STEPS,
            method: format!(
                "Each chain starts as z ~ N(0, s²) and walks in the {} coordinates of z towards p_k(z) ∝ N(z; 0, I) exp(f₁(z) + … + f_k(z)); the generator g turns z into the image you see, without the noise σ.",
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

    /// Checks a config and shows its starts; "sir" is done at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting out of its domain; the last run stays then.
    pub async fn begin(&mut self, config: PriorConfig) -> Result<PriorFrame> {
        let loaded = self.loaded()?;
        let stages = loaded.model.architecture().stages;
        for (what, value, low, high) in [
            ("stage", config.stage, 0, stages),
            ("count", config.count, 4, 256),
            ("warm-up", config.warmup, 0, 1000),
            ("proposals", config.proposals, config.count, 100_000),
        ] {
            Error::unless_within(what, value, low, high)?;
        }
        for (what, value, low, high) in [
            ("start scale", config.start_scale, 1e-3, 3.0),
            ("temperature", config.temperature, 0.05, 20.0),
        ] {
            Error::unless_within(what, value, low, high)?;
        }
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

    /// So many transitions more; "sir" answers its last frame.
    ///
    /// # Errors
    /// [`Error::Invalid`] before a run has begun, [`Error::Device`] when the device cannot be read.
    pub async fn advance(&mut self, transitions: usize) -> Result<PriorFrame> {
        if let Some(frame) = &self.drawn {
            return Ok(frame.clone());
        }
        let Some(work) = &mut self.work else {
            return Err(Error::invalid(
                "Prior",
                "a begun run",
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
            path: Path {
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
        self.seen(frame, &target, z, energy, posterior.as_deref())
            .await
    }

    /// A frame with what is seen of its states.
    async fn seen(
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
        self.seen(frame, target, z, energy, posterior).await
    }

    fn image(&self, bytes: &[u8]) -> Result<Tensor<2>> {
        let shape @ [c, h, w] = self.loaded()?.model.architecture().generator.shape;
        if bytes.len() != c * h * w {
            return Err(Error::invalid(
                "image",
                format!("{} bytes, as many as {shape:?} has", c * h * w),
                bytes.len(),
                "scale the image to the model's size",
            ));
        }
        Ok(pixels::tensor(bytes, c * h * w, &self.device))
    }

    /// Infers z of an image by `steps` gradient steps on its posterior energy from z = 0, and scores it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size, or steps outside 1 to 2000.
    pub async fn reconstruct(&self, image: &[u8], steps: usize) -> Result<Reconstruction> {
        Error::unless_within("steps", steps, 1, 2000)?;
        let loaded = self.loaded()?;
        let model = &loaded.model;
        let posterior = model.posterior(self.image(image)?);
        let (z, trace) = posterior.descend(model.drift(), steps).await?;
        let terms = posterior.terms(&z);
        let one = |t: Tensor<1>| async move { crate::device::scalar(t).await };
        let mut ratios = Vec::new();
        for ratio in &model.ratios {
            ratios.push(one(ratio.forward(z.clone()).neg()).await?);
        }
        let reconstruction = one(terms.reconstruction).await?;
        let gaussian = one(terms.gaussian).await?;
        let score = reconstruction + gaussian - ratios.iter().sum::<f64>();
        let shown: Vec<f32> = read(model.decode(z.clone())).await?;
        let plane: Vec<f32> = read(model.reference.project(z.clone())).await?;
        let latent: Vec<f32> = read(z).await?;
        Ok(Reconstruction {
            latent: latent.into(),
            plane: plane.into(),
            image: Bytes(shown.into_iter().map(pixels::byte).collect()),
            mse: one(terms.mse).await?,
            score,
            terms: ScoreTerms {
                reconstruction,
                gaussian,
                ratios: ratios.into(),
            },
            percentiles: loaded
                .scores
                .iter()
                .flat_map(|s| &s.sets)
                .map(|set| percentile(&set.energy, set.images, score))
                .collect(),
            trace: trace.into(),
        })
    }

    /// Decodes `frames` points of the way between two latents: a straight line, or a great circle's arc
    /// with the norms interpolated.
    ///
    /// # Errors
    /// [`Error::Invalid`] for latents of another dimension, or frames outside 2 to 64.
    pub async fn interpolate(
        &self,
        from: &[f32],
        to: &[f32],
        frames: usize,
        sphere: bool,
    ) -> Result<Interpolation> {
        Error::unless_within("frames", frames, 2, 64)?;
        let model = &self.loaded()?.model;
        let n = model.architecture().generator.latent;
        if from.len() != n || to.len() != n {
            return Err(Error::invalid(
                "latents",
                format!("two of {n} numbers"),
                format!("{} and {}", from.len(), to.len()),
                "reconstruct two images with this model first",
            ));
        }
        let values = way(from, to, frames, sphere);
        let z = Tensor::<2>::from_data(TensorData::new(values, [frames, n]), &self.device);
        let stages = model.architecture().stages;
        let target = StageEnergy::new(model.clone(), stages, false)?;
        let energies: Vec<f32> =
            read(crate::energy::Energy::evaluate(&target, z.clone()).energy).await?;
        let images: Vec<f32> = read(model.decode(z.clone())).await?;
        let plane: Vec<f32> = read(model.reference.project(z)).await?;
        Ok(Interpolation {
            images: Bytes(images.into_iter().map(pixels::byte).collect()),
            energies: energies.into(),
            plane: plane.into(),
        })
    }
}

impl PriorFrame {
    fn blank(config: &PriorConfig) -> Self {
        Self {
            stage: config.stage,
            sampler: config.sampler.clone(),
            transitions: 0,
            warmup: false,
            images: Bytes::default(),
            plane: Floats::default(),
            path: Path {
                chains: 0,
                points: Floats::default(),
            },
            energies: Floats::default(),
            diagnostics: Vec::new(),
            converged: false,
            ratio: None,
            acceptance: None,
            tested: false,
            step_size: 0.0,
            drift: 0.0,
            noise: 0.0,
            temperature: config.temperature,
            gradients: 0.0,
            sir: None,
        }
    }
}

/// f = −U of a stage's classifier at latents; none at stage 0.
async fn log_ratios(target: &StageEnergy, z: Tensor<2>) -> Result<Option<Vec<f32>>> {
    match target.last() {
        Some(ratio) => Ok(Some(read(ratio.forward(z).neg()).await?)),
        None => Ok(None),
    }
}

/// Points of the way between two vectors, both ends included.
fn way(from: &[f32], to: &[f32], frames: usize, sphere: bool) -> Vec<f32> {
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let (a, b) = (norm(from), norm(to));
    let dot: f64 = from
        .iter()
        .zip(to)
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum();
    let angle = (dot / (a * b).max(1e-12)).clamp(-1.0, 1.0).acos();
    // Opposite or equal directions have no one arc between them.
    let arc = sphere && angle.sin() > 1e-6;
    (0..frames)
        .flat_map(|k| {
            let t = k as f64 / (frames - 1) as f64;
            let (u, v) = if arc {
                let length = a + (b - a) * t;
                (
                    length / a * ((1.0 - t) * angle).sin() / angle.sin(),
                    length / b * (t * angle).sin() / angle.sin(),
                )
            } else {
                (1.0 - t, t)
            };
            from.iter()
                .zip(to)
                .map(move |(&x, &y)| (u * f64::from(x) + v * f64::from(y)) as f32)
        })
        .collect()
}

/// Shares of two samples in common bins.
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
    fn ways_end_where_they_should_and_arcs_keep_their_norms() {
        let (from, to) = ([1.0f32, 0.0, 0.0], [0.0f32, 2.0, 0.0]);
        for sphere in [false, true] {
            let way = way(&from, &to, 5, sphere);
            assert_eq!((&way[..3], way.len()), (&from[..], 15));
            assert!(way[12..].iter().zip(&to).all(|(a, b)| (a - b).abs() < 1e-6));
            let middle = (way[6].powi(2) + way[7].powi(2) + way[8].powi(2)).sqrt();
            let expected = if sphere { 1.5 } else { 1.25f32.sqrt() };
            assert!((middle - expected).abs() < 1e-6, "{middle}");
        }
        // No arc between a vector and itself, or its opposite: the line.
        let way = way(&from, &[-1.0, 0.0, 0.0], 3, true);
        assert_eq!(&way[3..6], &[0.0; 3]);
    }

    #[test]
    fn histograms_hold_all_of_both() {
        let h = histogram(&[0.0, 1.0, 1.0], &[-1.0, 2.0]);
        let sum = |f: &Floats| f.0.iter().sum::<f32>();
        assert!((sum(&h.prior) - 1.0).abs() < 1e-6 && (sum(&h.posterior) - 1.0).abs() < 1e-6);
        assert_eq!((h.edges.0[0], h.edges.0[BINS]), (-1.0, 2.0));
        assert_eq!(sum(&histogram(&[3.0], &[3.0]).prior), 1.0);
    }
}
