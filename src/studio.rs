//! The Studio: images from noise, under conditions, around kept pixels; and a visitor's own image
//! under the model's eyes. The rooms Generate, Compose and Score.
//!
//! Like [`play`](crate::play) it knows no page: `web` hands these structs on as they are, and
//! `www/studio-protocol.d.ts` has the same shapes in TypeScript.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    artifact::{self, Card, SelfTest},
    device::read,
    energy::{Energy, Inpainting},
    error::{Error, Result},
    nn::augment::augment,
    pixels,
    play::{Bytes, Floats},
    prior,
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    scores::{Interval, Percentile, Scores, percentile},
    system::{
        Model,
        classifier::Classifier,
        clel::compose::{ComposedEnergy, Condition, Role},
    },
};

/// What a condition is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// A class's mean latent.
    Class(usize),
    /// The latent of an image, bytes `[C, H, W]`.
    Image(Vec<u8>),
}

/// One condition of a composition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionConfig {
    /// What it is made of.
    pub of: Of,
    /// Its part.
    pub role: Role,
    /// What β is multiplied by, (0, 10].
    pub weight: f64,
}

/// Pixels to keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InpaintConfig {
    /// Bytes `[C, H, W]`.
    pub image: Vec<u8>,
    /// 1 where the pixel is kept, `[H, W]`.
    pub known: Vec<u8>,
}

/// Everything that a generation depends on, beside the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudioConfig {
    /// Seed of starts, noise and augmentations.
    pub seed: u64,
    /// Images, 1 to 256.
    pub count: usize,
    /// Transitions of a round, 1 to 2000.
    pub steps: usize,
    /// Rounds, 1 to 50, each of which begins by augmenting; 1: no augmentation.
    pub rounds: usize,
    /// Multiple of the model's own temperature, [0.01, 100].
    pub temperature: f64,
    /// Scale of the start noise, (0, 2].
    pub truncation: f64,
    /// β of the conditions, [0, 1000].
    pub beta: f64,
    /// Conditions; needs a model with latents.
    pub conditions: Vec<ConditionConfig>,
    /// Pixels to keep; needs a model that walks in pixel space.
    pub inpaint: Option<InpaintConfig>,
}

/// What the page needs to know of a loaded model.
#[derive(Debug, Clone, Serialize)]
pub struct StudioModel {
    name: String,
    title: String,
    system: String,
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    parameters: usize,
    /// Names of the data's classes.
    pub classes: Vec<String>,
    latents: bool,
    classifier: Option<Judge>,
    /// Sets that scores are placed in.
    pub sets: Vec<ReferenceSet>,
    /// What a newcomer meets.
    pub defaults: StudioConfig,
    augments: bool,
    method: String,
    self_test: SelfTest,
    known_failures: Vec<String>,
    licence: String,
}

#[derive(Debug, Clone, Serialize)]
struct Judge {
    title: String,
    accuracy: f64,
}

/// A set that scores are placed in.
#[derive(Debug, Clone, Serialize)]
pub struct ReferenceSet {
    name: String,
    /// Name for people.
    pub title: String,
    images: usize,
    auroc: Option<Interval>,
    auroc_energy: Option<Interval>,
}

/// Where a generation stands.
#[derive(Debug, Clone, Serialize)]
pub struct StudioFrame {
    /// Transitions so far, of [`of`](Self::of).
    pub step: usize,
    /// Transitions in all.
    pub of: usize,
    /// Round of the last transition, from 1.
    pub round: usize,
    /// `[count, C, H, W]`
    pub images: Bytes,
    /// E of the model alone.
    pub energies: Floats,
    /// The parts of what the chains walk on.
    pub terms: Vec<StudioTerm>,
    /// Mean cosine between the gradients of two terms, terms × terms.
    pub conflict: Floats,
    /// Probabilities, count × classes.
    pub verdict: Option<Floats>,
    /// a of x ← x − a∇E + σξ.
    pub drift: f64,
    /// σ.
    pub noise: f64,
    /// σ²/(2a).
    pub temperature: f64,
    /// Mean over chains and the last transitions.
    pub acceptance: Option<f64>,
    /// Whether the sampler has the test.
    pub tested: bool,
    /// Root mean square change of a pixel since the last frame.
    pub displacement: f64,
}

/// One term.
#[derive(Debug, Clone, Serialize)]
pub struct StudioTerm {
    /// "model", "class 3: dress", "image".
    pub name: String,
    /// "model" or the condition's role.
    pub role: &'static str,
    /// Mean over the images.
    pub energy: f64,
    /// Mean cosine; `None` for the model.
    pub cosine: Option<f64>,
}

/// An image under the model's eyes.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// E.
    pub energy: f64,
    /// The out-of-distribution score.
    pub ood: Option<f64>,
    /// Where both stand in every reference set.
    pub percentiles: Vec<Percentiles>,
    /// ∇E, `[C, H, W]`.
    pub gradient: Floats,
    /// cos with every class mean.
    pub class_cosines: Option<Floats>,
    /// Probabilities of the classes.
    pub verdict: Option<Floats>,
}

/// Both scores in one set.
#[derive(Debug, Clone, Serialize)]
pub struct Percentiles {
    /// By E.
    pub energy: Percentile,
    /// By the out-of-distribution score.
    pub ood: Option<Percentile>,
}

/// A walk downhill.
#[derive(Debug, Clone, Serialize)]
pub struct Descent {
    /// Steps so far.
    pub step: usize,
    /// Bytes `[C, H, W]`.
    pub image: Bytes,
    /// E there.
    pub energy: f64,
    /// Root mean square of ∇E there.
    pub gradient: f64,
}

struct Loaded {
    card: Card,
    model: Arc<dyn Model>,
    classifier: Option<Classifier>,
    scores: Option<Scores>,
    space: &'static str,
    sampler: SamplerConfig,
}

/// A generation under way.
struct Work {
    config: StudioConfig,
    sampler: SamplerConfig,
    /// What the model alone walks on, in its own space.
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
    device: Device,
    loaded: Option<Loaded>,
    work: Option<Work>,
    descent: Option<(usize, Tensor<2>)>,
}

impl Studio {
    /// Without a model yet.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            loaded: None,
            work: None,
            descent: None,
        }
    }

    fn loaded(&self) -> Result<&Loaded> {
        self.loaded
            .as_ref()
            .ok_or_else(|| Error::invalid("Studio", "a loaded model", "none", "load a model first"))
    }

    /// Loads a model, the judge of its classes and its reference scores, and tests the device.
    ///
    /// # Errors
    /// [`Error::Model`] for files that are damaged or do not belong together.
    pub async fn load(
        &mut self,
        card: Card,
        weights: &[u8],
        judge: Option<(Card, &[u8])>,
        scores: Option<&[u8]>,
    ) -> Result<StudioModel> {
        let model = card.load(weights, &self.device)?;
        let classifier = judge
            .map(|(card, weights)| Classifier::open(&card, weights, &self.device))
            .transpose()?;
        if let Some(classifier) = &classifier
            && classifier.shape != model.shape()
        {
            return Err(Error::model(
                &classifier.title,
                format!(
                    "expected a judge of {:?} images, found one of {:?}",
                    model.shape(),
                    classifier.shape
                ),
                "load the classifier of the model's own data",
            ));
        }
        let scores = scores
            .map(|text| Scores::parse(text, &card.name))
            .transpose()?;
        let self_test = artifact::self_test(&*model, &card.known_answer).await?;
        let spaces = model.spaces();
        // Where a model has both, its chains mix in the latent space.
        let space = if spaces.contains(&"latent") {
            "latent"
        } else {
            spaces[0]
        };
        let chains = model
            .contrastive()
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
            .contrastive()
            .is_some_and(|clel| clel.architecture().augment.is_some());
        let defaults = StudioConfig {
            seed: 1,
            count: 36,
            steps: chains.as_ref().map_or(100, |c| c.steps),
            rounds: if augments { 10 } else { 1 },
            temperature: 1.0,
            truncation: 1.0,
            beta: 0.3,
            conditions: Vec::new(),
            inpaint: None,
        };
        let method = match &chains {
            Some(chains) => format!(
                "Each image starts as uniform noise. In every round it is {}then follows {} steps x ← x − a∇E + σξ with a = {}, σ = {}, kept in [0, 1]: a chain at T = σ²/(2a) = {:.1e}, far colder than the T = 1 of p ∝ exp(−E), as this model was trained. These are samples of that short, cold dynamics.",
                if augments { "cropped, flipped and recoloured at random, " } else { "" },
                chains.steps,
                chains.drift,
                chains.noise,
                chains.noise * chains.noise / (2.0 * chains.drift)
            ),
            None if model.latent_prior().is_some() => "Each image starts as z ~ N(0, I); Metropolis-adjusted Langevin then walks in the latent space towards the learned prior p(z) ∝ exp(−E(z)/T), and the generator turns z into the pixels you see.".into(),
            None => "Each image starts as a draw of the flow, z ~ N(0, I); Metropolis-adjusted Langevin then walks in the latent space towards p(z) ∝ exp(−E(z)/T), and z is decoded to the pixels you see.".into(),
        };
        let sets = scores.iter().flat_map(|s| &s.sets);
        let info = StudioModel {
            name: card.name.clone(),
            title: card.title.clone(),
            system: card.system.clone(),
            shape: model.shape(),
            parameters: model.parameters(),
            classes: card.data.classes.clone(),
            latents: model.contrastive().is_some_and(|c| c.has_latents()),
            classifier: classifier.as_ref().map(|c| Judge {
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

    /// One image as the model sees it, `[1, D]`.
    fn image(&self, bytes: &[u8]) -> Result<Tensor<2>> {
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
    /// [`Error::Invalid`] naming the first setting out of its domain; the last generation stays.
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
        let mut sampler = loaded.sampler.clone();
        match &mut sampler.noise {
            Some(noise) => *noise *= config.temperature.sqrt(),
            None => sampler.temperature = config.temperature,
        }
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
        let clel = loaded.model.contrastive().ok_or_else(|| {
            Error::invalid(
                "conditions",
                "a model with latents",
                &loaded.card.name,
                "choose a CLEL model, or take the conditions away",
            )
        })?;
        let classes = clel.class_latents()?;
        let [count, width] = classes.dims();
        let classes: Vec<f32> = read(classes).await?;
        let mut conditions = Vec::new();
        for condition in &config.conditions {
            let (name, latent) = match &condition.of {
                &Of::Class(k) if k < count => {
                    let class = loaded.card.data.classes.get(k);
                    let class = class.map_or("", String::as_str);
                    let latent = classes[k * width..(k + 1) * width].to_vec();
                    (format!("class {k}: {class}"), latent)
                }
                Of::Class(k) => {
                    let fix = "choose one of the model's classes";
                    let expected = format!("0 to {}", count.saturating_sub(1));
                    return Err(Error::invalid("class", expected, k, fix));
                }
                Of::Image(bytes) => {
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
                format!(
                    "a model that walks in pixel space, {h} × {w} flags, {c} × {h} × {w} bytes"
                ),
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

    /// The chains of a round, from whole states `[B, D]`.
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
            .contrastive()
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

    /// Makes so many transitions more, but no more than the config asks for.
    ///
    /// # Errors
    /// [`Error::Invalid`] before [`begin`](Self::begin), [`Error::Diverged`] when energies are not
    /// finite, [`Error::Device`] when the device cannot be read.
    pub async fn advance(&mut self, transitions: usize) -> Result<StudioFrame> {
        let Some(mut work) = self.work.take() else {
            let fix = "begin first";
            return Err(Error::invalid(
                "Studio",
                "a generation under way",
                "none",
                fix,
            ));
        };
        let outcome = self.go_on(&mut work, transitions).await;
        self.work = Some(work);
        outcome
    }

    async fn go_on(&self, work: &mut Work, transitions: usize) -> Result<StudioFrame> {
        let loaded = self.loaded()?;
        let mut left = transitions.min(work.of() - work.step());
        let mut draws = Vec::new();
        while left > 0 {
            let here = work.config.steps - work.run.transitions() as usize;
            if here == 0 {
                work.round += 1;
                let x = work.whole();
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
                fix: "lower the temperature or β, and begin again".into(),
            });
        }
        Ok(frame)
    }

    /// Scores one image.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size, [`Error::Device`] when the device cannot be
    /// read.
    pub async fn score(&mut self, bytes: &[u8]) -> Result<Score> {
        let x = self.image(bytes)?;
        let loaded = self.loaded()?;
        let (energy, slope) = match loaded.model.latent_prior() {
            Some(model) => model.score(x.clone(), prior::STEPS).await?,
            None => {
                let point = loaded.model.target("pixel")?.point(x.clone());
                (point.energy, point.gradient)
            }
        };
        let gradient: Vec<f32> = read(slope).await?;
        let energy = first(energy).await?;
        let clel = loaded.model.contrastive();
        let ood = match clel.and_then(|clel| clel.scores(x.clone()).1) {
            Some(ood) => Some(first(ood).await?),
            None => None,
        };
        let sets = loaded.scores.iter().flat_map(|s| &s.sets);
        let percentiles = sets
            .map(|set| Percentiles {
                energy: percentile(&set.energy, set.images, energy),
                ood: ood
                    .zip(set.ood.as_deref())
                    .map(|(v, q)| percentile(q, set.images, v)),
            })
            .collect();
        let class_cosines = match clel.filter(|clel| clel.has_latents()) {
            Some(clel) => {
                let cosines = clel
                    .latent(x.clone())?
                    .matmul(clel.class_latents()?.transpose());
                Some(Floats(read(cosines).await?))
            }
            None => None,
        };
        Ok(Score {
            energy,
            ood,
            percentiles,
            gradient: gradient.into(),
            class_cosines,
            verdict: loaded.verdict(x).await?,
        })
    }

    /// Follows −∇E without noise, from an image or on from where the last walk stands.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size or none yet, [`Error::Device`] when the device
    /// cannot be read.
    pub async fn descend(&mut self, image: Option<&[u8]>, steps: usize) -> Result<Descent> {
        let (mut step, mut x) = match image {
            Some(bytes) => (0, self.image(bytes)?),
            None => self.descent.clone().ok_or_else(|| {
                Error::invalid(
                    "walk",
                    "an image to start from",
                    "none",
                    "score an image first",
                )
            })?,
        };
        Error::unless_within("steps", steps, 0, 1000)?;
        let loaded = self.loaded()?;
        if loaded.model.latent_prior().is_some() {
            return Err(Error::invalid(
                "walk",
                "a model whose energy is one of the image alone",
                "a generator with a latent prior",
                "reconstruct the image instead",
            ));
        }
        let target = loaded.model.target("pixel")?;
        // The drift of the model's own chains in pixel space.
        let epsilon = match loaded.space {
            "pixel" => loaded.sampler.step_size,
            _ => loaded.card.step_size("pixel", "mala"),
        };
        let drift = epsilon.map_or(1e-3, |e| e * e / 2.0);
        let mut point = target.point(x.clone());
        for _ in 0..steps {
            x = (x - point.gradient * drift).clamp(0.0, 1.0);
            point = target.point(x.clone());
            step += 1;
        }
        let bytes: Vec<f32> = read(x.clone()).await?;
        let gradient = point.gradient.powi_scalar(2).mean().sqrt();
        let descent = Descent {
            step,
            image: Bytes(bytes.into_iter().map(pixels::byte).collect()),
            energy: first(point.energy).await?,
            gradient: first(gradient).await?,
        };
        self.descent = Some((step, x));
        Ok(descent)
    }
}

async fn first(tensor: Tensor<1>) -> Result<f64> {
    crate::device::scalar(tensor).await
}

fn check(config: &StudioConfig) -> Result<()> {
    for (what, value, most) in [
        ("images", config.count, 256),
        ("steps", config.steps, 2000),
        ("rounds", config.rounds, 50),
    ] {
        Error::unless_within(what, value, 1, most)?;
    }
    let within = |what: &str, value: f64, low: f64, high: f64| {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        let expected = format!("a number from {low} to {high}");
        Err(Error::invalid(
            what,
            expected,
            value,
            "give a value in that range",
        ))
    };
    within("temperature", config.temperature, 0.01, 100.0)?;
    within("truncation", config.truncation, 0.0, 2.0)?;
    within("β", config.beta, 0.0, 1000.0)?;
    for condition in &config.conditions {
        within("weight", condition.weight, 1e-3, 10.0)?;
    }
    Error::unless_within("conditions", config.conditions.len(), 0, 8)
}

impl Loaded {
    async fn verdict(&self, images: Tensor<2>) -> Result<Option<Floats>> {
        match &self.classifier {
            Some(judge) => Ok(Some(Floats(read(judge.probabilities(images)).await?))),
            None => Ok(None),
        }
    }
}

impl Work {
    fn of(&self) -> usize {
        self.config.steps * self.config.rounds
    }

    fn step(&self) -> usize {
        self.round * self.config.steps + self.run.transitions() as usize
    }

    /// States with every coordinate, `[B, D]`.
    fn whole(&self) -> Tensor<2> {
        let x = self.run.states();
        match &self.inpainting {
            Some(inpainting) => inpainting.complete(x),
            None => x,
        }
    }

    /// Decoded images, `[B, C·H·W]`.
    fn images(&self) -> Tensor<2> {
        let x = self.whole();
        match self.base.to_image(x.clone()) {
            Some(images) => images.flatten(1, 3),
            None => x,
        }
    }

    async fn show(&mut self, loaded: &Loaded, accept: &[f32]) -> Result<StudioFrame> {
        let x = self.whole();
        let images = self.images();
        let energies: Vec<f32> = read(self.base.evaluate(x.clone()).energy).await?;
        let values: Vec<f32> = read(images.clone()).await?;
        let moved = (images.clone() - self.seen.clone()).powi_scalar(2).mean();
        let displacement = first(moved.sqrt()).await?;
        let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
        let mut terms = vec![StudioTerm {
            name: self.names[0].0.clone(),
            role: self.names[0].1,
            energy: mean(&energies),
            cosine: None,
        }];
        let mut conflict: Vec<f32> = Vec::new();
        if let Some(composed) = &self.composed {
            let parts = composed.terms(x);
            let wide: Vec<f32> = read(parts.energies.mean_dim(0)).await?;
            let cosines: Vec<f32> = read(parts.cosines.mean_dim(0)).await?;
            conflict = read(parts.conflict).await?;
            let rest = self.names.iter().zip(&wide).skip(1).zip(&cosines);
            terms.extend(rest.map(|(((name, role), &energy), &cosine)| StudioTerm {
                name: name.clone(),
                role,
                energy: f64::from(energy),
                cosine: Some(f64::from(cosine)),
            }));
        }
        let verdict = loaded.verdict(images.clone().clamp(0.0, 1.0)).await?;
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
