//! The recipe of CLEL: presets, the loop, checkpoints, export.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use serde::{Deserialize, Serialize};

use super::{
    Architecture, Clel, MarginalEnergy,
    buffer::ReplayBuffer,
    learn::{ChainStage, Stage, Step, Training},
};
use crate::{
    artifact::{self, Card, DataCard, KnownAnswer},
    data::{self, Dataset, Split},
    device::read,
    error::{Error, Result},
    nn::{
        augment::AugmentConfig,
        dict::{Dict, DictBuilder},
        ema::Ema,
        encoder::{EncoderConfig, FrozenEncoder},
        resnet::{EnergyNetConfig, Precision},
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig},
    system::Model as _,
    train::{
        Batches, Correction, GuardConfig, HealthConfig, Learner, Negatives, Preset, Request,
        RunFolder, Session, Signs, Sink, Watch, choose_recipe, record_error,
    },
};

/// Everything that a training run depends on, beside the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order, augmentations, buffer and chains.
    pub seed: u64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// What is done about divergence.
    #[serde(default)]
    pub guard: GuardConfig,
    /// How the chains are looked at.
    #[serde(default)]
    pub health: HealthConfig,
    /// The objective and its networks.
    pub clel: Stage,
}

/// Fashion-MNIST's mean and standard deviation, of grey values in [0, 1].
const FASHION: ([f64; 1], [f64; 1]) = ([0.2860], [0.3530]);

/// The published settings for a network: systems A3 to A5 of the authors' code.
fn published(energy: EnergyNetConfig, encoder: EncoderConfig, channels: usize) -> Recipe {
    Recipe {
        seed: 1,
        checkpoint_seconds: 60.0,
        guard: GuardConfig::default(),
        health: HealthConfig::default(),
        clel: Stage {
            iterations: 100_000,
            batch: 64,
            learning_rate: 1e-4,
            warmup: 2000,
            ema_half_life: 20_000.0,
            alpha: 1.0,
            beta: 0.01,
            guided: true,
            generated_negatives: true,
            buffer_augmentation: true,
            temperature: 0.2,
            encoder_learning_rate: 0.03,
            encoder_momentum: 0.9,
            encoder_weight_decay: 5e-4,
            chains: ChainStage {
                steps: 60,
                drift: 100.0,
                noise: 0.001,
                buffer: 10_000,
                reinit: 0.001,
            },
            precision: Precision::F32,
            augment: AugmentConfig::strong(channels),
            energy,
            encoder,
        },
    }
}

/// Grey 28×28 images on a CPU. What shrinks: networks, iterations, the buffer and the steps of a
/// visit, of which the smaller network needs fewer to follow a faster schedule.
fn cpu() -> Recipe {
    let (mean, std) = FASHION;
    let shape = [1, 28, 28];
    let mut r = published(
        EnergyNetConfig::tiny(shape, &mean, &std),
        EncoderConfig::small(shape, &mean, &std),
        1,
    );
    r.clel.iterations = 1000;
    r.clel.batch = 32;
    r.clel.learning_rate = 3e-4;
    r.clel.warmup = 100;
    r.clel.ema_half_life = 3200.0;
    r.clel.chains.steps = 20;
    r.clel.chains.buffer = 1000;
    r
}

/// CIFAR-10's mean and standard deviation of each channel, of values in [0, 1].
const CIFAR: ([f64; 3], [f64; 3]) = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);

/// Published settings for CIFAR-10 with one of the authors' energy networks and ResNet-18.
fn cifar(net: fn([usize; 3], &[f64], &[f64]) -> EnergyNetConfig) -> Recipe {
    let (mean, std) = CIFAR;
    let shape = [3, 32, 32];
    let encoder = EncoderConfig::resnet18(shape, &mean, &std);
    let mut r = published(net(shape, &mean, &std), encoder, 3);
    // A checkpoint holds the buffer of 10,000 images, 123 MB.
    r.checkpoint_seconds = 600.0;
    r
}

/// The authors' `resnet_small`, 1.73 M parameters.
fn small() -> Recipe {
    cifar(EnergyNetConfig::small)
}

/// CLEL-Base, 6.96 M.
fn base() -> Recipe {
    cifar(EnergyNetConfig::base)
}

/// CLEL-Large, 30.7 M.
fn large() -> Recipe {
    cifar(EnergyNetConfig::large)
}

/// Seconds of work, for tests.
fn smoke() -> Recipe {
    let mut r = cpu();
    r.clel.iterations = 6;
    r.clel.batch = 8;
    r.clel.chains.steps = 3;
    r.clel.chains.buffer = 32;
    for stages in [&mut r.clel.energy.stages, &mut r.clel.encoder.stages] {
        *stages = vec![(8, 1), (8, 1)];
    }
    (r.clel.energy.hidden, r.clel.encoder.hidden) = (32, 32);
    (r.clel.energy.features, r.clel.encoder.latent) = (16, 16);
    r.checkpoint_seconds = 0.0;
    r
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[
    ("cpu", cpu),
    ("small", small),
    ("base", base),
    ("large", large),
    ("smoke", smoke),
];

/// The replay buffer's file in a checkpoint.
const BUFFER: &str = "buffer.safetensors";

impl Training {
    /// Writes everything that the future of the run depends on, beside recipe and data.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Io`].
    pub fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        let net = self.net.clone();
        net.save_file(to.join("energy")).map_err(&fail)?;
        let average = self.average.average().clone();
        average.save_file(to.join("energy_ema")).map_err(&fail)?;
        self.net_optimiser
            .save(to.join("energy_optimiser"))
            .map_err(&fail)?;
        if let Some(encoder) = &self.encoder {
            let encoder = encoder.clone();
            encoder.save_file(to.join("encoder")).map_err(&fail)?;
            self.encoder_optimiser
                .save(to.join("encoder_optimiser"))
                .map_err(&fail)?;
        }
        artifact::write_atomically(&to.join(BUFFER), &self.buffer.to_bytes()?)
    }

    /// Goes on from what [`save`](Self::save) wrote after `iteration` iterations.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Data`].
    pub fn load(mut self, stage: &Stage, from: &Path, iteration: u64) -> Result<Self> {
        let fail = record_error("read");
        self.net = self.net.try_load_file(from.join("energy")).map_err(&fail)?;
        let average = self
            .net
            .valid()
            .try_load_file(from.join("energy_ema"))
            .map_err(&fail)?;
        self.average = Ema::resumed(average, Self::decay(stage), iteration);
        self.net_optimiser = self
            .net_optimiser
            .load(from.join("energy_optimiser"))
            .map_err(&fail)?;
        if let Some(encoder) = self.encoder.take() {
            let encoder = encoder.try_load_file(from.join("encoder"));
            self.encoder = Some(encoder.map_err(&fail)?);
            self.encoder_optimiser = self
                .encoder_optimiser
                .load(from.join("encoder_optimiser"))
                .map_err(&fail)?;
        }
        let path = from.join(BUFFER);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let (size, dim) = (stage.chains.buffer, stage.energy.dim());
        self.buffer = ReplayBuffer::from_bytes(&bytes, size, dim)?;
        self.iteration = iteration;
        Ok(self)
    }
}

/// The training as the loop of every recipe sees it.
struct Guided {
    training: Training,
    stage: Stage,
    batches: Batches,
    device: Device,
}

impl Guided {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        data: &Arc<Dataset>,
        (device, others): (&Device, &[Device]),
    ) -> Result<Self> {
        let mut stage = recipe.clel.clone();
        stage.learning_rate *= correction.learning_rate;
        stage.encoder_learning_rate *= correction.learning_rate;
        // a = ε²/2; T = σ²/(2a) stays.
        stage.chains.drift *= correction.step_size.powi(2);
        stage.chains.noise *= correction.step_size;
        let seed = correction.seed(recipe.seed);
        let mut training = Training::new(&stage, recipe.seed, device)?.reseeded(seed);
        training.others = others.to_vec();
        Ok(Self {
            training,
            batches: Batches::new(data, seed, stage.batch, 8, device),
            stage,
            device: device.clone(),
        })
    }

    /// The first images of the buffer, `[n, D]`.
    fn buffered(&self, most: usize) -> Tensor<2> {
        let n = most.min(self.training.buffer().len());
        let dim = self.stage.energy.dim();
        let images = self.training.buffer().images()[..n * dim].to_vec();
        Tensor::from_data(TensorData::new(images, [n, dim]), &self.device)
    }
}

impl Learner for Guided {
    const SIGNS: Signs = Signs {
        energies: Some(["energy_data", "energy_samples"]),
        gradient: Some("gradient_norm"),
        saturated: Some("saturated"),
    };

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        let step: Step = pollster::block_on(self.training.step(&self.stage, x))?;
        Ok(vec![
            ("energy_data", step.data),
            ("energy_samples", step.samples),
            ("energy_gap", step.data - step.samples),
            ("guidance", step.guidance),
            ("contrastive_loss", step.contrastive),
            ("nearest_view", step.nearest),
            ("displacement", step.displacement),
            ("saturated", step.saturated),
            ("shadow_acceptance", step.shadow),
            ("gradient_norm", step.gradient),
        ])
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        if self.training.iteration.is_multiple_of(250) {
            session.grid("buffer", self.buffered(64), self.stage.energy.shape)?;
        }
        Ok(())
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn negatives(&self) -> Result<Option<Negatives>> {
        let states = self.buffered(64);
        let [n, dim] = states.dims();
        let rng = Rng::new(self.training.iteration);
        let net = self.training.net.frozen();
        Ok(Some(Negatives {
            target: Arc::new(MarginalEnergy::new(net, self.stage.energy.shape)),
            sampler: self.stage.chains.sampler(),
            starts: rng.uniform_rows(Purpose::Health, 0, 0, n, dim, &self.device),
            states,
        }))
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        Ok(Self {
            training: self.training.load(&self.stage, from, iteration)?,
            ..self
        })
    }
}

fn check(recipe: &Recipe) -> Result<()> {
    let stage = &recipe.clel;
    stage.energy.check()?;
    stage.encoder.check()?;
    stage.augment.check()?;
    Error::unless_positive(&[
        ("clel.iterations", stage.iterations as f64),
        ("clel.batch", stage.batch as f64),
        ("clel.learning_rate", stage.learning_rate),
        ("clel.ema_half_life", stage.ema_half_life),
        ("clel.temperature", stage.temperature),
        ("clel.encoder_learning_rate", stage.encoder_learning_rate),
        ("clel.chains.steps", stage.chains.steps as f64),
        ("clel.chains.drift", stage.chains.drift),
        ("clel.chains.noise", stage.chains.noise),
    ])?;
    if stage.chains.buffer < stage.batch || !(0.0..=1.0).contains(&stage.chains.reinit) {
        return Err(Error::invalid(
            "clel.chains",
            format!(
                "a buffer of at least a batch ({}) and a reinit in [0, 1]",
                stage.batch
            ),
            format!("{} and {}", stage.chains.buffer, stage.chains.reinit),
            "change the recipe",
        ));
    }
    if stage.encoder.shape != stage.energy.shape {
        return Err(Error::invalid(
            "clel.encoder.shape",
            format!("{:?}, as clel.energy.shape", stage.energy.shape),
            format!("{:?}", stage.encoder.shape),
            "give both networks the images' shape",
        ));
    }
    if stage.guided && stage.energy.features != stage.encoder.latent {
        return Err(Error::invalid(
            "clel.encoder.latent",
            stage.energy.features,
            stage.encoder.latent,
            "give features and latents one dimension: their directions are compared",
        ));
    }
    stage.chains.sampler().build().map(|_| ())
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let run = request.run_name("clel");
    let folder = RunFolder::open(&request.runs, &run, request.intent)?;
    let recipe = choose_recipe(request, &folder, PRESETS)?;
    check(&recipe)?;
    let stage = &recipe.clel;
    let mut devices = std::iter::once(&request.device).chain(&request.others);
    if let Some(device) = devices.position(|device| !stage.precision.is_supported(device)) {
        return Err(Error::invalid(
            "clel.precision",
            format!(
                "f32, or what every device computes in ({})",
                request.device_name
            ),
            format!(
                "{}, which number {} does not",
                format!("{:?}", stage.precision).to_lowercase(),
                device + 1
            ),
            "leave clel.precision at f32 there",
        ));
    }
    let arm = if stage.guided { "" } else { "-unguided" };
    let name = format!("clel-{}{arm}", request.data.slug());
    let data = request.load(Split::Train, stage.energy.shape)?;
    let device = request.device.clone();
    let (mut session, resumed) = Session::open(
        request,
        folder,
        sink,
        "clel",
        &recipe,
        recipe.checkpoint_seconds,
    )?;
    let state = resumed.as_ref().map(|(_, state)| state);
    session.started(run, &[("clel", stage.iterations)], state)?;
    let watch = Watch {
        guard: recipe.guard.clone(),
        health: recipe.health.clone(),
        seed: recipe.seed,
        seconds: 0.0,
    };
    let data = Arc::new(data);
    let guided = session.drive(
        "clel",
        stage.iterations,
        resumed,
        &watch,
        &mut |correction| Guided::new(&recipe, correction, &data, (&device, &request.others)),
    )?;
    let chains = guided.stage.chains;
    let training = guided.training;
    session.note("measuring and exporting")?;
    let (card, weights) = export(
        &name,
        &training,
        (&recipe, &chains),
        &data,
        &mut session,
        &device,
    )?;
    session.publish(&name, &card, &weights)
}

/// Images that class means are taken over, spread over the data: a thousand of each class are plenty.
const MEANS_OVER: usize = 10_000;

/// The direction of each class's mean latent over the data, `[classes, latent]`, row by row.
fn class_latents(
    encoder: &FrozenEncoder,
    data: &Dataset,
    classes: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let mut sums: Vec<Vec<f64>> = vec![Vec::new(); classes];
    let stride = data.count.div_ceil(MEANS_OVER);
    let order: Vec<usize> = (0..data.count).step_by(stride.max(1)).collect();
    for chunk in order.chunks(250) {
        let x = data::images(data, chunk, device);
        let z: Vec<f32> = pollster::block_on(read(encoder.latent(x)))?;
        for (&i, z) in chunk.iter().zip(z.chunks(z.len() / chunk.len())) {
            let sum = &mut sums[usize::from(data.labels[i])];
            sum.resize(z.len(), 0.0);
            sum.iter_mut().zip(z).for_each(|(s, &v)| *s += f64::from(v));
        }
    }
    // A class of which no image was seen has no direction.
    let width = sums.iter().map(Vec::len).max().unwrap_or(0);
    sums.iter_mut().for_each(|sum| sum.resize(width, 0.0));
    Ok(sums
        .iter()
        .flat_map(|sum| {
            let norm = sum.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            sum.iter().map(move |v| (v / norm) as f32)
        })
        .collect())
}

/// Rounds of augmentation and chain steps from fresh noise that the card's samples take: the authors'
/// evaluation.
const ROUNDS: usize = 10;

/// Writes the averaged network, measures the stored weights, and says so on the card.
fn export(
    name: &str,
    training: &Training,
    (recipe, chains): (&Recipe, &ChainStage),
    data: &Dataset,
    session: &mut Session<'_, '_, '_>,
    device: &Device,
) -> Result<(Card, Vec<u8>)> {
    let stage = &recipe.clel;
    let classes = data.classes.len();
    let architecture = Architecture {
        energy: stage.energy.clone(),
        beta: if stage.guided { stage.beta } else { 0.0 },
        encoder: stage.guided.then(|| stage.encoder.clone()),
        classes: if stage.guided { classes } else { 0 },
        augment: stage.buffer_augmentation.then(|| stage.augment.clone()),
        // As incidents have left them.
        chains: Some(chains.clone()),
    };
    let mut dict = DictBuilder::default();
    training.frozen().save(&mut dict);
    if let Some(encoder) = training.encoder() {
        let encoder = encoder.frozen();
        encoder.save(&mut dict, "encoder");
        let means = class_latents(&encoder, data, classes, device)?;
        dict.full_values("class_latents", &means, &[classes, stage.encoder.latent]);
    }
    let weights = dict.finish()?;
    let stored = Clel::from_dict(&Dict::open(&weights, name, device)?, &architecture)?;

    // Samples from noise, by the stored weights.
    let rng = Rng::new(recipe.seed).derived(Purpose::Start, 1);
    let mut x = stored.starts("pixel", &rng, 64, 1.0)?;
    let target = stored.target("pixel")?;
    let mut energy = 0.0;
    for round in 0..ROUNDS as u64 {
        let rng = rng.derived(Purpose::Data, round);
        if stage.buffer_augmentation {
            let [c, h, w] = stage.energy.shape;
            let [n, dim] = x.dims();
            let view =
                crate::nn::augment::augment(&stage.augment, &rng, 0, 0, x.reshape([n, c, h, w]));
            x = view.reshape([n, dim]);
        }
        let mut run = Run::new(target.clone(), &chains.sampler(), rng, x)?;
        let draws = pollster::block_on(run.advance(chains.steps))?;
        x = run.states();
        if let Some(last) = draws.last() {
            energy = last.energy.iter().map(|&e| f64::from(e)).sum::<f64>() / 64.0;
        }
    }
    session.grid("samples", x, stage.energy.shape)?;

    let SamplerConfig { step_size, .. } = chains.sampler();
    let energies = pollster::block_on(artifact::start_energies(&stored, 0, 1.0, 4))?;
    let value = |v: f64| serde_json::json!(v);
    let card = Card {
        format: 1,
        name: name.into(),
        title: format!("{} (CLEL)", data.title),
        description: format!(
            "A contrastive-latent guided energy-based model of {}: p(x) ∝ exp(−½‖f(x)‖²) \
             (arXiv 2303.03023).",
            data.title
        ),
        system: "clel".into(),
        data: DataCard {
            name: data.name.clone(),
            classes: data.classes.clone(),
            shape: stage.energy.shape,
            preprocessing: data.preparation(8),
        },
        architecture: serde_json::to_value(&architecture)
            .map_err(|e| Error::model(name, e, "report this as a bug"))?,
        training: session.account("clel", recipe, data.count, training.iteration),
        metrics: BTreeMap::from([
            ("energy_of_samples".to_owned(), value(energy)),
            ("samples".to_owned(), serde_json::json!(64)),
            ("sample_rounds".to_owned(), serde_json::json!(ROUNDS)),
            ("buffer_mean_age".to_owned(), value(training.buffer().mean_age())),
            ("seed".to_owned(), serde_json::json!(recipe.seed)),
        ]),
        step_sizes: BTreeMap::from([(
            "pixel".to_owned(),
            step_size
                .map(|s| BTreeMap::from([("sgld".to_owned(), s)]))
                .unwrap_or_default(),
        )]),
        known_answer: KnownAnswer {
            seed: 0,
            start_scale: 1.0,
            energies,
            tolerance: 1e-3,
        },
        licence: "MIT OR Apache-2.0 (weights); the data set keeps its own".into(),
        known_failures: vec![
            format!(
                "The step size belongs to --sampler sgld --noise {} --clamp; other samplers need one of their own.",
                chains.noise
            ),
            "Its chains are far colder than T = 1: what they give are samples of the training's own \
             short, clamped dynamics, not of exp(−E)."
                .into(),
        ],
    };
    Ok((card, weights))
}
