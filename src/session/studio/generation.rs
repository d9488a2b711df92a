//! A session of the Studio: images from noise, under conditions, and by inpainting.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::{
    super::arrays::{Bytes, Floats},
    info::{
        ClassifierInfo, ConditionSource, InpaintConfig, ReferenceSet, StudioConfig, StudioFrame,
        StudioModel, StudioTerm,
    },
    settings,
};
use crate::{
    artifact::{Card, scores::Scores},
    device::{read, read_all},
    energy::{Energy, Inpainting},
    error::{Error, Result},
    nn::augment::augment,
    pixels,
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    system::{
        self, Model,
        classifier::Classifier,
        clel::{
            Clel,
            compose::{ComposedEnergy, Condition, Role},
        },
        latent_prior,
    },
};

/// A model on the device, with its classifier and reference scores.
pub(super) struct Loaded {
    pub(super) card: Card,
    pub(super) model: Arc<dyn Model>,
    pub(super) classifier: Option<Classifier>,
    pub(super) scores: Option<Scores>,
    pub(super) space: &'static str,
    pub(super) sampler: SamplerConfig,
}

impl Loaded {
    pub(super) async fn verdict(&self, images: Tensor<2>) -> Result<Option<Floats>> {
        match &self.classifier {
            Some(classifier) => {
                let probabilities = read(classifier.probabilities(images)).await?;
                Ok(Some(Floats(probabilities)))
            }
            None => Ok(None),
        }
    }
}

/// A generation in progress.
struct Work {
    config: StudioConfig,
    sampler: SamplerConfig,
    /// The model's energy without conditions, in the sampled space.
    base: Arc<dyn Energy>,
    composed: Option<Arc<ComposedEnergy>>,
    inpainting: Option<Arc<Inpainting>>,
    target: Arc<dyn Energy>,
    run: Run,
    round: usize,
    names: Vec<(String, &'static str)>,
    /// Images of the last frame.
    seen: Tensor<2>,
}

/// A session on a device.
pub struct Studio {
    pub(super) device: Device,
    pub(super) loaded: Option<Loaded>,
    work: Option<Work>,
    pub(super) descent: Option<(usize, Tensor<2>)>,
}

impl Studio {
    /// A session without a model.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            loaded: None,
            work: None,
            descent: None,
        }
    }

    pub(super) fn loaded(&self) -> Result<&Loaded> {
        self.loaded
            .as_ref()
            .ok_or_else(|| Error::invalid("Studio", "a loaded model", "none", "load a model first"))
    }

    /// Loads a model, its classifier and its reference scores, and tests the device.
    ///
    /// # Errors
    /// [`Error::Model`] for files that are damaged or do not belong together.
    pub async fn load(
        &mut self,
        card: Card,
        weights: &[u8],
        classifier: Option<(Card, &[u8])>,
        scores: Option<&[u8]>,
    ) -> Result<StudioModel> {
        let model = system::load(&card, weights, &self.device)?;
        let classifier = classifier
            .map(|(card, weights)| Classifier::open(&card, weights, &self.device))
            .transpose()?;
        if let Some(classifier) = &classifier
            && classifier.shape != model.shape()
        {
            return Err(Error::model(
                &classifier.title,
                format!(
                    "expected a classifier of {:?} images, found one of {:?}",
                    model.shape(),
                    classifier.shape
                ),
                "load the classifier of the model's own data",
            ));
        }
        let scores = scores
            .map(|text| Scores::parse(text, &card.name))
            .transpose()?;
        let self_test = system::self_test(&*model, &card.known_answer).await?;
        let spaces = model.spaces();
        // If a model has both spaces, sample in the latent one: chains mix there.
        let space = if spaces.contains(&"latent") {
            "latent"
        } else {
            spaces[0]
        };
        let chains = model
            .downcast_ref::<Clel>()
            .and_then(|clel| clel.architecture().chains.clone());
        let sampler = match &chains {
            Some(chains) => chains.sampler(),
            None => SamplerConfig {
                sampler: "mala".into(),
                step_size: card.step_size(space, "mala"),
                warmup: 0,
                ..SamplerConfig::default()
            },
        };
        let augments = model
            .downcast_ref::<Clel>()
            .is_some_and(|clel| clel.architecture().augment.is_some());
        let defaults = StudioConfig {
            seed: settings::SEED.default_count() as u64,
            count: settings::COUNT.default_count(),
            steps: chains
                .as_ref()
                .map_or(settings::STEPS.default_count(), |c| c.steps),
            rounds: if augments { 10 } else { 1 },
            temperature: settings::TEMPERATURE.default_number(),
            truncation: settings::TRUNCATION.default_number(),
            beta: settings::BETA.default_number(),
            conditions: Vec::new(),
            inpaint: None,
        };
        let method = match &chains {
            Some(chains) => format!(
                "Each image starts as uniform noise. In every round it is {}then updated by {} steps x ← x − a∇E + σξ with a = {}, σ = {}, clamped to [0, 1]: a chain at T = σ²/(2a) = {:.1e}, far below the T = 1 of p ∝ exp(−E), as in training. The samples are those of this short, cold chain.",
                if augments { "cropped, flipped and recoloured at random, " } else { "" },
                chains.steps,
                chains.drift,
                chains.noise,
                chains.noise * chains.noise / (2.0 * chains.drift)
            ),
            None if latent_prior::of(&*model).is_some() => "Each image starts at z ~ N(0, I); Metropolis-adjusted Langevin then samples the learned prior p(z) ∝ exp(−E(z)/T) in latent space, and the generator decodes z to the pixels you see.".into(),
            None => "Each image starts as a draw from the flow, z ~ N(0, I); Metropolis-adjusted Langevin then samples p(z) ∝ exp(−E(z)/T) in latent space, and the flow decodes z to the pixels you see.".into(),
        };
        let sets = scores.iter().flat_map(|s| &s.sets);
        let info = StudioModel {
            name: card.name.clone(),
            title: card.title.clone(),
            system: card.system.clone(),
            shape: model.shape(),
            parameters: model.parameters(),
            classes: card.data.classes.clone(),
            latents: model
                .downcast_ref::<Clel>()
                .is_some_and(|c| c.has_latents()),
            classifier: classifier.as_ref().map(|c| ClassifierInfo {
                title: c.title.clone(),
                accuracy: c.accuracy,
            }),
            sets: sets
                .map(|s| ReferenceSet {
                    name: s.name.clone(),
                    title: s.title.clone(),
                    images: s.images,
                    auroc: s.auroc,
                    auroc_energy: s.auroc_energy,
                })
                .collect(),
            defaults,
            augments,
            method,
            self_test,
            known_failures: card.known_failures.clone(),
            licence: card.licence.clone(),
        };
        self.work = None;
        self.descent = None;
        self.loaded = Some(Loaded {
            card,
            model,
            classifier,
            scores,
            space,
            sampler,
        });
        Ok(info)
    }

    /// One image as model input, `[1, D]`.
    pub(super) fn image(&self, bytes: &[u8]) -> Result<Tensor<2>> {
        let [c, h, w] = self.loaded()?.model.shape();
        let dim = c * h * w;
        if bytes.len() != dim {
            return Err(Error::invalid(
                "image",
                format!("{c} × {h} × {w} bytes"),
                bytes.len(),
                "scale the image to the model's size first",
            ));
        }
        Ok(pixels::tensor(bytes, dim, &self.device))
    }

    /// Checks a config and makes the start images.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside its domain; the previous generation is kept.
    pub async fn begin(&mut self, config: StudioConfig) -> Result<StudioFrame> {
        let loaded = self.loaded()?;
        check(&config)?;
        let base = loaded.model.target(loaded.space)?;
        let (composed, names) = self.compose(loaded, &config).await?;
        let mut target: Arc<dyn Energy> = match &composed {
            Some(composed) => composed.clone(),
            None => base.clone(),
        };
        let inpainting = match &config.inpaint {
            Some(inpaint) => Some(Arc::new(self.keep(loaded, inpaint, target.clone())?)),
            None => None,
        };
        if let Some(inpainting) = &inpainting {
            target = inpainting.clone();
        }
        let sampler = loaded
            .sampler
            .clone()
            .with_temperature_factor(config.temperature);
        let rng = Rng::new(config.seed);
        let starts = loaded
            .model
            .starts(loaded.space, &rng, config.count, config.truncation)?;
        let run = self.round(
            loaded,
            &config,
            &sampler,
            &target,
            inpainting.as_deref(),
            0,
            starts,
        )?;
        let mut work = Work {
            seen: Tensor::zeros([1, 1], &self.device),
            config,
            sampler,
            base,
            composed,
            inpainting,
            target,
            run,
            round: 0,
            names,
        };
        work.seen = work.images();
        let frame = work.show(loaded, &[]).await?;
        self.work = Some(work);
        Ok(frame)
    }

    async fn compose(
        &self,
        loaded: &Loaded,
        config: &StudioConfig,
    ) -> Result<(Option<Arc<ComposedEnergy>>, Vec<(String, &'static str)>)> {
        let mut names = vec![("model".to_owned(), "model")];
        if config.conditions.is_empty() {
            return Ok((None, names));
        }
        let clel = loaded.model.downcast_ref::<Clel>().ok_or_else(|| {
            Error::invalid(
                "conditions",
                "a model with latents",
                &loaded.card.name,
                "choose a CLEL model, or remove the conditions",
            )
        })?;
        let classes = clel.class_latents()?;
        let [count, width] = classes.dims();
        let classes: Vec<f32> = read(classes).await?;
        let mut conditions = Vec::new();
        for condition in &config.conditions {
            let (name, latent) = match &condition.of {
                &ConditionSource::Class(k) if k < count => {
                    let class = loaded.card.data.classes.get(k);
                    let class = class.map_or("", String::as_str);
                    let latent = classes[k * width..(k + 1) * width].to_vec();
                    (format!("class {k}: {class}"), latent)
                }
                ConditionSource::Class(k) => {
                    let fix = "choose one of the model's classes";
                    let expected = format!("0 to {}", count.saturating_sub(1));
                    return Err(Error::invalid("class", expected, k, fix));
                }
                ConditionSource::Image(bytes) => {
                    let latent = read(clel.latent(self.image(bytes)?)?).await?;
                    ("image".to_owned(), latent)
                }
            };
            let role = match condition.role {
                Role::All => "all",
                Role::Any => "any",
                Role::None => "none",
            };
            names.push((name, role));
            conditions.push(Condition {
                latent,
                role: condition.role,
                weight: condition.weight,
            });
        }
        let composed = clel.composed(config.beta, &conditions)?;
        Ok((Some(Arc::new(composed)), names))
    }

    fn keep(
        &self,
        loaded: &Loaded,
        inpaint: &InpaintConfig,
        target: Arc<dyn Energy>,
    ) -> Result<Inpainting> {
        let [c, h, w] = loaded.model.shape();
        if loaded.space != "pixel"
            || inpaint.known.len() != h * w
            || inpaint.image.len() != c * h * w
        {
            return Err(Error::invalid(
                "pixels to keep",
                format!("a model sampled in pixel space, {h} × {w} flags, {c} × {h} × {w} bytes"),
                format!(
                    "{} space, {} flags, {} bytes",
                    loaded.space,
                    inpaint.known.len(),
                    inpaint.image.len()
                ),
                "choose a CLEL model, and an image of its size",
            ));
        }
        let known: Vec<Option<f32>> = inpaint
            .image
            .iter()
            .enumerate()
            .map(|(i, &v)| (inpaint.known[i % (h * w)] != 0).then(|| pixels::centre(v)))
            .collect();
        Inpainting::new(target, &known, &self.device)
    }

    /// The chains of a round, from complete states `[B, D]`.
    #[expect(clippy::too_many_arguments)]
    fn round(
        &self,
        loaded: &Loaded,
        config: &StudioConfig,
        sampler: &SamplerConfig,
        target: &Arc<dyn Energy>,
        inpainting: Option<&Inpainting>,
        round: usize,
        x: Tensor<2>,
    ) -> Result<Run> {
        let rng = Rng::new(config.seed).derived(Purpose::Data, round as u64);
        let strong = loaded
            .model
            .downcast_ref::<Clel>()
            .and_then(|clel| clel.architecture().augment.as_ref())
            .filter(|_| config.rounds > 1);
        let mut x = x;
        if let Some(strong) = strong {
            let [n, dim] = x.dims();
            let [c, h, w] = loaded.model.shape();
            x = augment(strong, &rng, 0, 0, x.reshape([n, c, h, w])).reshape([n, dim]);
        }
        if let Some(inpainting) = inpainting {
            x = inpainting.free(x);
        }
        Run::new(target.clone(), sampler, rng, x)
    }

    /// Makes up to `transitions` more transitions, within the number that the config asks for.
    ///
    /// # Errors
    /// [`Error::Invalid`] before [`begin`](Self::begin), [`Error::Diverged`] when energies are not
    /// finite, [`Error::Device`] when the device cannot be read.
    pub async fn advance(&mut self, transitions: usize) -> Result<StudioFrame> {
        let Some(mut work) = self.work.take() else {
            let fix = "begin first";
            return Err(Error::invalid(
                "Studio",
                "a generation in progress",
                "none",
                fix,
            ));
        };
        let outcome = self.continue_with(&mut work, transitions).await;
        self.work = Some(work);
        outcome
    }

    async fn continue_with(&self, work: &mut Work, transitions: usize) -> Result<StudioFrame> {
        let loaded = self.loaded()?;
        let mut left = transitions.min(work.of() - work.step());
        let mut draws = Vec::new();
        while left > 0 {
            let here = work.config.steps - work.run.transitions() as usize;
            if here == 0 {
                work.round += 1;
                let x = work.complete_states();
                work.run = self.round(
                    loaded,
                    &work.config,
                    &work.sampler,
                    &work.target,
                    work.inpainting.as_deref(),
                    work.round,
                    x,
                )?;
                continue;
            }
            let n = here.min(left);
            draws = work.run.advance(n).await?;
            left -= n;
        }
        let accept: Vec<f32> = draws.into_iter().flat_map(|d| d.accept).collect();
        let frame = work.show(loaded, &accept).await?;
        if frame.energies.0.iter().any(|e| !e.is_finite()) {
            return Err(Error::Diverged {
                problem: "an image's energy is not finite".into(),
                fix: "lower the temperature or β, and start again".into(),
            });
        }
        Ok(frame)
    }
}

fn check(config: &StudioConfig) -> Result<()> {
    settings::COUNT.check(config.count)?;
    settings::STEPS.check(config.steps)?;
    settings::ROUNDS.check(config.rounds)?;
    settings::TEMPERATURE.check(config.temperature)?;
    settings::TRUNCATION.check(config.truncation)?;
    settings::BETA.check(config.beta)?;
    for condition in &config.conditions {
        settings::WEIGHT.check(condition.weight)?;
    }
    Error::unless_within("conditions", config.conditions.len(), 0, 8)
}

impl Work {
    fn of(&self) -> usize {
        self.config.steps * self.config.rounds
    }

    fn step(&self) -> usize {
        self.round * self.config.steps + self.run.transitions() as usize
    }

    /// States with all coordinates, `[B, D]`.
    fn complete_states(&self) -> Tensor<2> {
        let x = self.run.states();
        match &self.inpainting {
            Some(inpainting) => inpainting.complete(x),
            None => x,
        }
    }

    /// Decoded images, `[B, C·H·W]`.
    fn images(&self) -> Tensor<2> {
        let x = self.complete_states();
        match self.base.to_image(x.clone()) {
            Some(images) => images.flatten(1, 3),
            None => x,
        }
    }

    async fn show(&mut self, loaded: &Loaded, accept: &[f32]) -> Result<StudioFrame> {
        let x = self.complete_states();
        let images = self.images();
        // Without conditions and a mask, the run has the model's energy already.
        let energy = match self.composed.is_none() && self.inpainting.is_none() {
            true => self
                .run
                .point()
                .energy
                .clone()
                .narrow(0, 0, self.run.chains()),
            false => self.base.evaluate(x.clone()).energy,
        };
        let moved = (images.clone() - self.seen.clone()).powi_scalar(2).mean();
        let mut parts = vec![energy, images.clone().flatten::<1>(0, 1), moved.sqrt()];
        if let Some(classifier) = &loaded.classifier {
            let seen = images.clone().clamp(0.0, 1.0);
            parts.push(classifier.probabilities(seen).flatten::<1>(0, 1));
        }
        let composed = self.composed.as_ref().map(|composed| composed.terms(x));
        if let Some(terms) = &composed {
            parts.push(terms.energies.clone().mean_dim(0).flatten::<1>(0, 1));
            parts.push(terms.cosines.clone().mean_dim(0).flatten::<1>(0, 1));
            parts.push(terms.conflict.clone());
        }
        // One reading back for all: each costs a round trip.
        let mut parts = read_all(parts).await?.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let (energies, values) = (next(), next());
        let displacement = next().first().map_or(f64::NAN, |&v| f64::from(v));
        let verdict = loaded.classifier.is_some().then(|| Floats(next()));
        let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
        let mut terms = vec![StudioTerm {
            name: self.names[0].0.clone(),
            role: self.names[0].1,
            energy: mean(&energies),
            cosine: None,
        }];
        let mut conflict: Vec<f32> = Vec::new();
        if composed.is_some() {
            let (wide, cosines) = (next(), next());
            conflict = next();
            let rest = self.names.iter().zip(&wide).skip(1).zip(&cosines);
            terms.extend(rest.map(|(((name, role), &energy), &cosine)| StudioTerm {
                name: name.clone(),
                role,
                energy: f64::from(energy),
                cosine: Some(f64::from(cosine)),
            }));
        }
        self.seen = images;
        let (drift, noise) = self.run.drift_and_noise();
        Ok(StudioFrame {
            step: self.step(),
            of: self.of(),
            round: self.round + 1,
            images: Bytes(values.into_iter().map(pixels::byte).collect()),
            energies: energies.into(),
            terms,
            conflict: conflict.into(),
            verdict,
            drift,
            noise,
            temperature: self.run.temperature(),
            acceptance: (!accept.is_empty()).then(|| mean(accept)),
            tested: self.run.has_test(),
            displacement,
        })
    }
}
