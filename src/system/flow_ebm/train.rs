//! The recipe: the flow by maximum likelihood, frozen; then the tilt with negatives from persistent
//! chains in the flow's latent space; then export. ("MCMC Should Mix", §3; the settings are ours.)

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
    Architecture, COMPONENTS, FlowEbm, FlowStage, FlowTraining, LatentEnergy, Projection,
    TiltStage, TiltTraining, into_model,
};
use crate::{
    artifact::{self, Card, DataCard, KnownAnswer},
    data::{Dataset, Split},
    error::{Error, Result},
    nn::{
        ema::Ema,
        flow::{Flow, FlowConfig, LevelConfig},
        tilt::TiltConfig,
    },
    rng::{Purpose, Rng},
    sampler::{Run, SamplerConfig, SavedRun},
    train::{
        Batches, Correction, GuardConfig, HealthConfig, Intent, Learner, Negatives, Preset,
        Request, RunFolder, Session, Signs, Sink, Watch, adapted_steps, choose_recipe, dequantised,
        read_json, record_error, write_json,
    },
};

/// Everything that a training run depends on, beside the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order, noise and chains.
    pub seed: u64,
    /// Images in a batch.
    pub batch: usize,
    /// Bits that the 8-bit grey values are reduced to before dequantisation (Glow's n_bits).
    pub bits: u32,
    /// Decay of the moving averages of the weights.
    pub ema_decay: f64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// What is done about divergence.
    #[serde(default)]
    pub guard: GuardConfig,
    /// How the chains are looked at.
    #[serde(default)]
    pub health: HealthConfig,
    /// Stage 1.
    pub flow: FlowStage,
    /// Stage 2.
    pub tilt: TiltStage,
}

fn level(squeeze: usize, steps: usize, hidden: usize, kernel: usize) -> LevelConfig {
    LevelConfig {
        squeeze,
        steps,
        hidden,
        kernel,
    }
}

fn cpu() -> Recipe {
    Recipe {
        seed: 1,
        batch: 64,
        bits: 4,
        ema_decay: 0.998,
        checkpoint_seconds: 60.0,
        guard: GuardConfig::default(),
        health: HealthConfig::default(),
        flow: FlowStage {
            iterations: 6000,
            learning_rate: 5e-4,
            warmup: 300,
            clip_norm: 1.0,
            architecture: FlowConfig {
                shape: [1, 28, 28],
                levels: vec![level(4, 6, 96, 3), level(7, 8, 384, 1)],
                clamp: 2.0,
            },
        },
        tilt: TiltStage {
            // Longer or hotter gives sharper digits and chains that mix many times more slowly
            // (docs/experiments.md): the balance is the point of this model.
            iterations: 400,
            learning_rate: 2e-4,
            warmup: 50,
            l2: 1e-3,
            clip_norm: 1.0,
            chains: 64,
            transitions: 4,
            step_size: 0.15,
            target_accept: 0.574,
            architecture: TiltConfig::Conv { channels: 16 },
        },
    }
}

/// Short enough for a test, and of no use beyond.
fn smoke() -> Recipe {
    let mut r = cpu();
    r.batch = 16;
    r.checkpoint_seconds = 0.0;
    r.flow.iterations = 8;
    r.flow.warmup = 2;
    r.flow.architecture.levels = vec![level(4, 1, 8, 3), level(7, 1, 16, 1)];
    r.tilt.iterations = 6;
    r.tilt.warmup = 2;
    r.tilt.chains = 8;
    r.tilt.transitions = 2;
    r.tilt.architecture = TiltConfig::Conv { channels: 4 };
    r
}

fn gpu() -> Recipe {
    let mut r = cpu();
    r.batch = 256;
    r.ema_decay = 0.9995;
    r.flow.iterations = 60_000;
    r.flow.warmup = 1000;
    r.flow.architecture.levels = vec![
        level(2, 8, 192, 3),
        level(2, 16, 256, 3),
        level(7, 8, 512, 1),
    ];
    r.tilt.iterations = 20_000;
    r.tilt.warmup = 200;
    r.tilt.chains = 256;
    r.tilt.transitions = 20;
    r.tilt.architecture = TiltConfig::Conv { channels: 64 };
    r
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[("cpu", cpu), ("gpu", gpu), ("smoke", smoke)];

/// A value that a command waits for.
fn scalar(t: Tensor<1>) -> f64 {
    pollster::block_on(crate::device::scalar(t)).unwrap_or(f64::NAN)
}

impl FlowTraining {
    fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        self.flow
            .clone()
            .save_file(to.join("flow"))
            .map_err(&fail)?;
        self.ema
            .average()
            .clone()
            .save_file(to.join("flow_ema"))
            .map_err(&fail)?;
        self.optimiser
            .save(to.join("flow_optimiser"))
            .map_err(&fail)
    }

    fn load(mut self, from: &Path, iteration: u64, decay: f64) -> Result<Self> {
        let fail = record_error("read");
        self.flow = self.flow.try_load_file(from.join("flow")).map_err(&fail)?;
        let average = self
            .flow
            .valid()
            .try_load_file(from.join("flow_ema"))
            .map_err(&fail)?;
        self.ema = Ema::resumed(average, decay, iteration);
        self.optimiser = self
            .optimiser
            .load(from.join("flow_optimiser"))
            .map_err(&fail)?;
        self.iteration = iteration;
        Ok(self)
    }
}

impl TiltTraining {
    fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        self.tilt
            .clone()
            .save_file(to.join("tilt"))
            .map_err(&fail)?;
        self.ema
            .average()
            .clone()
            .save_file(to.join("tilt_ema"))
            .map_err(&fail)?;
        self.optimiser
            .save(to.join("tilt_optimiser"))
            .map_err(&fail)?;
        let chains = pollster::block_on(self.chains.save())?;
        write_json(&to.join("chains.json"), &chains)
    }

    fn load(mut self, from: &Path, iteration: u64, decay: f64) -> Result<Self> {
        let fail = record_error("read");
        self.tilt = self.tilt.try_load_file(from.join("tilt")).map_err(&fail)?;
        let average = self
            .tilt
            .valid()
            .try_load_file(from.join("tilt_ema"))
            .map_err(&fail)?;
        self.ema = Ema::resumed(average, decay, iteration);
        self.optimiser = self
            .optimiser
            .load(from.join("tilt_optimiser"))
            .map_err(&fail)?;
        self.chains
            .restore(read_json::<SavedRun>(&from.join("chains.json"))?)?;
        self.iteration = iteration;
        Ok(self)
    }
}

/// Mean and leading principal components of the first images of the training set.
pub(in crate::system) fn principal_components(
    data: &Dataset,
    bits: u32,
    device: &Device,
) -> Projection {
    use nalgebra::DMatrix;
    let n = data.count.min(5000);
    let dim = data.height * data.width * data.channels;
    let steps = f64::from(1u32 << bits);
    let rows = DMatrix::from_row_iterator(
        n,
        dim,
        data.images[..n * dim]
            .iter()
            .map(|&v| (f64::from(v >> (8 - bits)) + 0.5) / steps),
    );
    let mean = rows.row_mean();
    let centred = DMatrix::from_fn(n, dim, |i, j| rows[(i, j)] - mean[j]);
    let eigen = (centred.tr_mul(&centred) / (n - 1).max(1) as f64).symmetric_eigen();
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let mut directions = vec![0.0f32; dim * COMPONENTS];
    for (k, &column) in order.iter().take(COMPONENTS).enumerate() {
        let vector = eigen.eigenvectors.column(column);
        // An eigenvector's sign is arbitrary: make its largest entry positive.
        let sign = vector[vector.iamax()].signum();
        let sd = eigen.eigenvalues[column].max(1e-12).sqrt();
        for i in 0..dim {
            directions[i * COMPONENTS + k] = (sign * vector[i] / sd) as f32;
        }
    }
    let mean: Vec<f32> = mean.iter().map(|&v| v as f32).collect();
    Projection::new(
        Tensor::from_data(TensorData::new(mean, [dim]), device),
        Tensor::from_data(TensorData::new(directions, [dim, COMPONENTS]), device),
    )
}

/// Bits per dimension of the first `count` images: −log₂ q(x)/D + bits.
fn bits_per_dimension(
    flow: &Flow,
    data: &Dataset,
    bits: u32,
    count: usize,
    seed: u64,
    device: &Device,
) -> f64 {
    let rng = Rng::new(seed);
    let dim = flow.config().dim() as f64;
    let n = count.min(data.count);
    let mut sum = 0.0;
    for (step, start) in (0..n).step_by(100).enumerate() {
        let indices: Vec<usize> = (start..(start + 100).min(n)).collect();
        let x = dequantised(data, &indices, bits, &rng, step as u32, device);
        sum += scalar(flow.log_prob(x).0.sum());
    }
    -sum / n as f64 / dim / std::f64::consts::LN_2 + f64::from(bits)
}

/// Runs the flow stage in a plain loop, without a run folder: for small problems and tests.
///
/// # Errors
/// As [`FlowTraining`].
pub fn train_flow(
    stage: &FlowStage,
    seed: u64,
    mut batch: impl FnMut(u64) -> Tensor<2>,
) -> Result<Flow> {
    let mut training = FlowTraining::new(stage, 0.99, seed, batch(0))?;
    while training.iteration < stage.iterations {
        let x = batch(training.iteration);
        pollster::block_on(training.step(stage, x))?;
    }
    pollster::block_on(training.frozen())
}

/// Runs the tilt stage in a plain loop, without a run folder: for small problems and tests.
///
/// # Errors
/// As [`TiltTraining`].
pub fn train_tilt(
    stage: &TiltStage,
    seed: u64,
    flow: Flow,
    projection: Projection,
    mut batch: impl FnMut(u64) -> Tensor<2>,
) -> Result<FlowEbm> {
    let device = batch(0).device();
    let mut training = TiltTraining::new(stage, 0.99, seed, flow, projection, &device)?;
    while training.iteration < stage.iterations {
        let x = batch(training.iteration);
        pollster::block_on(training.step(stage, x))?;
    }
    Ok(training.model())
}

/// Stage 1 as the loop of every recipe sees it.
struct Density {
    training: FlowTraining,
    stage: FlowStage,
    batches: Batches,
    test: Arc<Dataset>,
    recipe: Recipe,
    device: Device,
}

impl Density {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        data: &Arc<Dataset>,
        test: &Arc<Dataset>,
        devices: (&Device, &[Device]),
    ) -> Result<Self> {
        let (device, others) = devices;
        let mut stage = recipe.flow.clone();
        stage.learning_rate *= correction.learning_rate;
        let seed = correction.seed(recipe.seed);
        let mut batches = Batches::new(data, seed, recipe.batch, recipe.bits, device);
        let mut training =
            FlowTraining::new(&stage, recipe.ema_decay, recipe.seed, batches.get(0))?;
        training.watched = true;
        training.others = others.to_vec();
        Ok(Self {
            training,
            stage,
            batches,
            test: test.clone(),
            recipe: recipe.clone(),
            device: device.clone(),
        })
    }
}

impl Learner for Density {
    const SIGNS: Signs = Signs::GRADIENT;

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        let step = pollster::block_on(self.training.step(&self.stage, x))?;
        let bits = step.loss / std::f64::consts::LN_2 + f64::from(self.recipe.bits);
        let norm = step.gradient.map(|v| ("gradient_norm", v));
        Ok([("bits_per_dimension", bits)]
            .into_iter()
            .chain(norm)
            .collect())
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        if !self.training.iteration.is_multiple_of(500) {
            return Ok(());
        }
        let flow = pollster::block_on(self.training.frozen())?;
        let Recipe { bits, seed, .. } = self.recipe;
        let bpd = bits_per_dimension(&flow, &self.test, bits, 1000, seed, &self.device);
        session.metrics(BTreeMap::from([("test_bits_per_dimension".into(), bpd)]))?;
        snapshot(session, &flow, &self.recipe)
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let decay = self.recipe.ema_decay;
        let training = self.training.load(from, iteration, decay)?;
        Ok(Self { training, ..self })
    }
}

/// Stage 2 as the loop of every recipe sees it.
struct Tilted {
    training: TiltTraining,
    stage: TiltStage,
    batches: Batches,
    recipe: Recipe,
}

impl Tilted {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        flow: &Flow,
        projection: &Projection,
        data: &Arc<Dataset>,
        (device, others): (&Device, &[Device]),
    ) -> Result<Self> {
        let mut stage = recipe.tilt.clone();
        stage.learning_rate *= correction.learning_rate;
        let seed = correction.seed(recipe.seed);
        let (flow, projection) = (flow.clone(), projection.clone());
        let (decay, begin) = (recipe.ema_decay, recipe.seed);
        let mut training = TiltTraining::new(&stage, decay, begin, flow, projection, device)?
            .corrected(seed, correction.step_size)
            .share(others);
        training.watched = true;
        Ok(Self {
            training,
            stage,
            batches: Batches::new(data, seed, recipe.batch, recipe.bits, device),
            recipe: recipe.clone(),
        })
    }
}

impl Learner for Tilted {
    const SIGNS: Signs = Signs {
        energies: Some(["tilt_data", "tilt_samples"]),
        gradient: Some("gradient_norm"),
        saturated: None,
    };

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        let step = pollster::block_on(self.training.step(&self.stage, x))?;
        let norm = step.gradient.map(|v| ("gradient_norm", v));
        Ok([
            ("tilt_data", step.data),
            ("tilt_samples", step.samples),
            ("acceptance", step.acceptance),
            ("step_size", step.step_size),
        ]
        .into_iter()
        .chain(norm)
        .collect())
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        if !self.training.iteration.is_multiple_of(100) {
            return Ok(());
        }
        let x = self.training.chains.point().x.clone();
        let x = x.narrow(0, 0, 64.min(self.stage.chains));
        let x = self.training.flow.inverse(x);
        session.grid("tilt", x, self.recipe.flow.architecture.shape)
    }

    fn scale_steps(&mut self, factor: f64) {
        self.training.chains.scale_steps(factor);
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn negatives(&self) -> Result<Option<Negatives>> {
        let chains = &self.training.chains;
        let target = chains.target().clone();
        let seed = self.training.iteration;
        Ok(Some(Negatives::of_latent_chains(chains, target, seed)))
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let training = self.training.load(from, iteration, self.recipe.ema_decay)?;
        Ok(Self { training, ..self })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let name = format!("flow-ebm-{}", request.data.slug());
    let run = request.run_name("flow-ebm");
    let folder = RunFolder::open(&request.runs, &run, request.intent)?;
    let recipe = choose_recipe(request, &folder, PRESETS)?;
    check(&recipe)?;
    let shape = recipe.flow.architecture.shape;
    let train_data = Arc::new(request.load(Split::Train, shape)?);
    let test_data = Arc::new(request.load(Split::Test, shape)?);

    let device = request.device.clone();
    let (mut session, resumed) = Session::open(
        request,
        folder,
        sink,
        "flow",
        &recipe,
        recipe.checkpoint_seconds,
    )?;
    let (checkpoint, resumed) = resumed.unzip();
    let phases = [
        ("flow", recipe.flow.iterations),
        ("tilt", recipe.tilt.iterations),
    ];
    session.started(run, &phases, resumed.as_ref())?;

    let frozen = session.folder.path().join("flow.safetensors");

    let watch = Watch {
        guard: recipe.guard.clone(),
        health: recipe.health.clone(),
        seed: recipe.seed,
        seconds: 0.0,
    };
    let resumed = checkpoint.zip(resumed);

    // Stage 1, unless a checkpoint is already past it.
    let (in_flow, in_tilt) = match resumed {
        Some((path, state)) if state.phase == "tilt" => (None, Some((path, state))),
        other => (other, None),
    };
    if in_tilt.is_none() {
        let devices = (&device, &request.others[..]);
        let make = &mut |c: &Correction| Density::new(&recipe, c, &train_data, &test_data, devices);
        let learner = session.drive("flow", recipe.flow.iterations, in_flow, &watch, make)?;
        let flow = pollster::block_on(learner.training.frozen())?;
        if request.intent == Intent::Export {
            return Err(Error::invalid(
                "run",
                "a checkpoint of the tilt",
                format!("the flow, at iteration {}", learner.training.iteration),
                "train on: a flow alone is no model of this system",
            ));
        }
        let mut dict = crate::nn::dict::DictBuilder::default();
        flow.save(&mut dict);
        artifact::write_atomically(&frozen, &dict.finish()?)?;
    }
    // As it is stored, and as it will be shipped: a resumed run tilts the same flow, to the last bit.
    let bytes = std::fs::read(&frozen).map_err(Error::io("read", &frozen))?;
    let dict = crate::nn::dict::Dict::open(&bytes, "checkpoint", &device)?;
    let flow = Flow::load(&dict, &recipe.flow.architecture)?;

    // Stage 2.
    let projection = principal_components(&train_data, recipe.bits, &device);
    let devices = (&device, &request.others[..]);
    let learner = session.drive("tilt", recipe.tilt.iterations, in_tilt, &watch, &mut |c| {
        Tilted::new(&recipe, c, &flow, &projection, &train_data, devices)
    })?;
    let training = learner.training;

    session.note("measuring and exporting")?;
    let (card, weights) = export(
        &name,
        &training,
        &recipe,
        &train_data,
        &test_data,
        &session,
        &device,
    )?;
    session.publish(&name, &card, &weights)
}

/// A grid of the flow's own samples at the seed's first 64 latents.
fn snapshot(session: &mut Session<'_, '_, '_>, flow: &Flow, recipe: &Recipe) -> Result<()> {
    let device = &session.request.device;
    let z = Rng::new(recipe.seed).normal_tensor(Purpose::Start, 1, 64, flow.config().dim(), device);
    session.grid("flow", flow.inverse(z), recipe.flow.architecture.shape)
}

fn check(recipe: &Recipe) -> Result<()> {
    recipe.flow.architecture.check()?;
    Error::unless_positive(&[
        ("batch", recipe.batch as f64),
        ("flow.iterations", recipe.flow.iterations as f64),
        ("flow.learning_rate", recipe.flow.learning_rate),
        ("flow.clip_norm", recipe.flow.clip_norm),
        ("tilt.learning_rate", recipe.tilt.learning_rate),
        ("tilt.clip_norm", recipe.tilt.clip_norm),
        ("tilt.chains", recipe.tilt.chains as f64),
        ("tilt.transitions", recipe.tilt.transitions as f64),
        ("tilt.step_size", recipe.tilt.step_size),
    ])?;
    if !(1..=8).contains(&recipe.bits) || !(0.0..1.0).contains(&recipe.ema_decay) {
        return Err(Error::invalid(
            "recipe",
            "bits from 1 to 8 and an ema_decay in [0, 1)",
            format!("{} and {}", recipe.bits, recipe.ema_decay),
            "change the recipe",
        ));
    }
    Ok(())
}

/// Measures the finished model and writes its card.
fn export(
    name: &str,
    training: &TiltTraining,
    recipe: &Recipe,
    train_data: &Dataset,
    test_data: &Dataset,
    session: &Session<'_, '_, '_>,
    device: &Device,
) -> Result<(Card, Vec<u8>)> {
    let weights = training.model().to_bytes()?;
    let architecture = Architecture {
        flow: recipe.flow.architecture.clone(),
        tilt: recipe.tilt.architecture.clone(),
    };
    // Everything below is measured on the stored, rounded weights.
    let dict = crate::nn::dict::Dict::open(&weights, name, device)?;
    let stored = Arc::new(FlowEbm::from_dict(&dict, &architecture)?);
    let model = into_model(stored.clone());
    let count = 10_000.min(test_data.count);
    let bpd = bits_per_dimension(
        &stored.flow,
        test_data,
        recipe.bits,
        count,
        recipe.seed,
        device,
    );
    let tilt = tilt_statistics(&stored, test_data, recipe, device);

    let (step_sizes, acceptance) = adapted_steps(&*model, recipe.seed, |space| {
        if space == "latent" { 0.15 } else { 0.01 }
    })?;
    let energies = pollster::block_on(artifact::start_energies(&*model, 0, 1.0, 4))?;
    let value = |v: f64| serde_json::json!(v);
    let card = Card {
        format: 1,
        name: name.into(),
        title: train_data.title.clone(),
        description: format!(
            "A Glow-type flow of {}, tilted by a small energy network: p(x) ∝ exp(−U(x)) q(x), the \
             neural-transport EBM of \"MCMC Should Mix\" (arXiv 2006.06897).",
            train_data.title
        ),
        system: "flow-ebm".into(),
        data: DataCard {
            name: train_data.name.clone(),
            classes: train_data.classes.clone(),
            shape: recipe.flow.architecture.shape,
            preprocessing: train_data.preparation(recipe.bits),
        },
        architecture: serde_json::to_value(&architecture)
            .map_err(|e| Error::model(name, e, "report this as a bug"))?,
        training: session.account("flow-ebm", recipe, train_data.count, recipe.flow.iterations + training.iteration),
        metrics: acceptance
            .into_iter()
            .map(|(name, v)| (name, value(v)))
            .chain([
            ("flow_test_bits_per_dimension".into(), value(bpd)),
            ("flow_test_images".into(), serde_json::json!(count)),
            ("tilt_mean_on_test_data".into(), value(tilt.data)),
            ("tilt_mean_on_flow_samples".into(), value(tilt.flow)),
            ("tilt_mean_on_model_samples".into(), value(tilt.model)),
            ("tilt_sd_on_flow_samples".into(), value(tilt.flow_sd)),
            ("tilt_samples".into(), serde_json::json!(TILT_SAMPLES)),
            ("seed".into(), serde_json::json!(recipe.seed)),
        ])
        .collect(),
        step_sizes,
        known_answer: KnownAnswer {
            seed: 0,
            start_scale: 1.0,
            energies,
            tolerance: 1e-3,
        },
        licence: "MIT OR Apache-2.0 (weights); the data set keeps its own".into(),
        known_failures: vec![
            "Some samples are strokes that belong to no class: the flow is small.".into(),
            "Flat images score as very typical under the flow's density; the energy is no detector of them.".into(),
            "At T ≠ 1 the pixel and the latent chain sample different distributions.".into(),
        ],
    };
    Ok((card, weights))
}

struct TiltStatistics {
    data: f64,
    flow: f64,
    flow_sd: f64,
    model: f64,
}

const TILT_SAMPLES: usize = 512;

/// Mean U on held-out data, on the flow's samples and on the model's (64 chains of MALA).
fn tilt_statistics(
    model: &Arc<FlowEbm>,
    test: &Dataset,
    recipe: &Recipe,
    device: &Device,
) -> TiltStatistics {
    let rng = Rng::new(recipe.seed);
    let host = |t: Tensor<1>| -> Vec<f64> { t.into_data().iter::<f64>().collect() };
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let indices: Vec<usize> = (0..TILT_SAMPLES.min(test.count)).collect();
    let data = host(
        model
            .tilt
            .forward(dequantised(test, &indices, recipe.bits, &rng, 0, device)),
    );
    let z = rng.normal_tensor(
        Purpose::Start,
        2,
        TILT_SAMPLES,
        model.flow.config().dim(),
        device,
    );
    let flow = host(model.tilt.forward(model.flow.inverse(z.clone())));
    let config = SamplerConfig {
        step_size: Some(0.15),
        warmup: 60,
        ..SamplerConfig::default()
    };
    let target = Arc::new(LatentEnergy(model.clone()));
    let samples = Run::new(target, &config, rng, z.narrow(0, 0, 64))
        .and_then(|mut run| pollster::block_on(run.advance(160)))
        .map(|draws| {
            // The last eight of every tenth: 64 × 8 = 512 values of U.
            draws
                .iter()
                .rev()
                .step_by(10)
                .take(8)
                .flat_map(|d| d.observed[0].iter().map(|&v| f64::from(v)))
                .collect::<Vec<f64>>()
        })
        .unwrap_or_default();
    let flow_mean = mean(&flow);
    let var = flow.iter().map(|v| (v - flow_mean).powi(2)).sum::<f64>() / (flow.len() - 1) as f64;
    TiltStatistics {
        data: mean(&data),
        flow: flow_mean,
        flow_sd: var.sqrt(),
        model: mean(&samples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::override_config;

    fn data(i: u64, device: &Device) -> Tensor<2> {
        Rng::new(3).normal_tensor(Purpose::Data, i as u32, 16, 16, device)
    }

    fn stages() -> (FlowStage, TiltStage) {
        let mut recipe = smoke();
        recipe.flow.iterations = 8;
        recipe.flow.architecture = FlowConfig {
            shape: [1, 4, 4],
            levels: vec![level(2, 2, 8, 3), level(2, 1, 8, 1)],
            clamp: 2.0,
        };
        recipe.tilt.architecture = TiltConfig::Conv { channels: 2 };
        (recipe.flow, recipe.tilt)
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mixwell-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Stopped after half, saved, loaded into a new process's worth of objects, and gone on with:
    /// the losses are those of the uninterrupted run, bit for bit.
    #[test]
    fn resumed_training_equals_uninterrupted_training() {
        let device = Device::flex();
        let (flow_stage, tilt_stage) = stages();
        let new = || FlowTraining::new(&flow_stage, 0.9, 1, data(0, &device)).unwrap();
        let run = |t: &mut FlowTraining, until: u64| -> Vec<f64> {
            let mut losses = Vec::new();
            while t.iteration < until {
                let x = data(t.iteration, &device);
                losses.push(pollster::block_on(t.step(&flow_stage, x)).unwrap().loss);
            }
            losses
        };
        let mut whole = new();
        let losses = run(&mut whole, 8);
        let mut half = new();
        run(&mut half, 4);
        let folder = scratch("resume");
        half.save(&folder).unwrap();
        let mut resumed = new().load(&folder, 4, 0.9).unwrap();
        assert_eq!(run(&mut resumed, 8), losses[4..]);
        let x = data(99, &device);
        let log_prob = |t: &FlowTraining| {
            pollster::block_on(t.frozen())
                .unwrap()
                .log_prob(x.clone())
                .0
                .into_data()
        };
        assert_eq!(log_prob(&resumed), log_prob(&whole), "the averages too");

        let flow = pollster::block_on(whole.frozen()).unwrap();
        let projection =
            || Projection::new(Tensor::zeros([16], &device), Tensor::ones([16, 1], &device));
        let new =
            || TiltTraining::new(&tilt_stage, 0.9, 1, flow.clone(), projection(), &device).unwrap();
        let run = |t: &mut TiltTraining, until: u64| -> Vec<f64> {
            let mut seen = Vec::new();
            while t.iteration < until {
                let x = data(t.iteration, &device);
                let step = pollster::block_on(t.step(&tilt_stage, x)).unwrap();
                seen.extend([step.data, step.samples, step.step_size]);
            }
            seen
        };
        let seen = run(&mut new(), 6);
        let mut half = new();
        run(&mut half, 2);
        half.save(&folder).unwrap();
        let mut resumed = new().load(&folder, 2, 0.9).unwrap();
        assert_eq!(run(&mut resumed, 6), seen[6..]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The chains' work on two processors, three, and a processor with a graphics adapter.
    #[test]
    fn a_tilt_is_learned_on_several_devices_as_on_one() {
        let device = Device::flex();
        let (flow_stage, mut tilt_stage) = stages();
        // Fast, so that copies of the tilt that are not renewed would walk elsewhere.
        (tilt_stage.learning_rate, tilt_stage.warmup) = (0.05, 0);
        let mut flow = FlowTraining::new(&flow_stage, 0.9, 1, data(0, &device)).unwrap();
        while flow.iteration < 8 {
            let x = data(flow.iteration, &device);
            pollster::block_on(flow.step(&flow_stage, x)).unwrap();
        }
        let flow = pollster::block_on(flow.frozen()).unwrap();
        let learn = |others: &[Device]| {
            let projection =
                Projection::new(Tensor::zeros([16], &device), Tensor::ones([16, 1], &device));
            let mut t = TiltTraining::new(&tilt_stage, 0.9, 1, flow.clone(), projection, &device)
                .unwrap()
                .share(others);
            t.watched = true;
            let mut seen = Vec::new();
            for i in 0..6 {
                let step = pollster::block_on(t.step(&tilt_stage, data(i, &device))).unwrap();
                let acceptance = [step.acceptance, step.step_size, step.gradient.unwrap()];
                seen.extend([[step.data, step.samples].as_slice(), &acceptance].concat());
            }
            let moved = seen[seen.len() - 5];
            let states = t.chains.states().into_data();
            seen.extend(states.iter::<f64>());
            (seen, moved)
        };
        let (alone, moved) = learn(&[]);
        assert!(moved.abs() > 0.1, "the tilt moved by {moved}");
        assert!(alone.iter().all(|v| v.is_finite()));
        let mut sets = vec![vec![device.clone()], vec![device.clone(); 2]];
        sets.extend(crate::device::tests_gpu().map(|gpu| vec![gpu]));
        for others in sets {
            for (a, b) in alone.iter().zip(learn(&others).0) {
                assert!(
                    (a - b).abs() < 1e-3 * a.abs().max(0.1),
                    "{a} alone, {b} with {others:?}"
                );
            }
        }
    }

    #[test]
    fn presets_fit_together_and_overrides_are_checked() {
        for (name, preset) in PRESETS {
            let recipe = preset();
            check(&recipe).unwrap();
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{name}");
        }
        let set = |s: &str| override_config(&cpu(), &[s.to_owned()]);
        assert_eq!(set("tilt.iterations=5").unwrap().tilt.iterations, 5);
        assert_eq!(set("flow.learning_rate=1").unwrap().flow.learning_rate, 1.0);
        for bad in [
            "tilt.iterations",
            "tilt.iteration=5",
            "nothing.x=1",
            "batch=many",
            "batch=-1",
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
        let mut recipe = cpu();
        recipe.flow.architecture.levels[0].squeeze = 3;
        assert!(check(&recipe).is_err());
    }

    #[test]
    fn dequantised_values_fall_into_their_bins() {
        let device = Device::flex();
        let data = Dataset {
            images: (0..=255).collect(),
            labels: vec![0],
            count: 1,
            height: 16,
            width: 16,
            channels: 1,
            ..Dataset::empty("test", Split::Train)
        };
        for bits in [1, 4, 8] {
            let x = dequantised(&data, &[0], bits, &Rng::new(1), 0, &device);
            for (v, x) in (0u32..).zip(x.into_data().iter::<f32>()) {
                let bin = (x * (1u32 << bits) as f32).floor() as u32;
                assert_eq!(bin, v >> (8 - bits), "value {v} at {bits} bits became {x}");
            }
        }
    }
}
