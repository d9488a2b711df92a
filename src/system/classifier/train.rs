//! How the classifier is trained: cross-entropy, Adam, horizontal flips for photographs and clothes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, activation::log_softmax},
};
use serde::{Deserialize, Serialize};

use super::{Architecture, NAME, verdict};
use crate::{
    artifact::{Card, DataCard, KnownAnswer},
    data::{self, DataRef, Dataset, DatasetName, Split},
    device::{read, scalar},
    error::{Error, Result},
    nn::{
        augment::{AugmentConfig, augment},
        dict::DictBuilder,
        encoder::{Encoder, EncoderConfig, FrozenEncoder},
        gradient::gradient_norm,
        layers::Init,
    },
    rng::{Purpose, Rng},
    train::{
        Batches, Correction, GuardConfig, HealthConfig, Learner, Preset, Request, RunFolder,
        Session, Signs, Sink, Watch, choose_recipe, record_error,
    },
};

/// Everything that a training run depends on, beside the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order and flips.
    pub seed: u64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// Iterations.
    pub iterations: u64,
    /// Images of an iteration.
    pub batch: usize,
    /// Peak learning rate of Adam; a cosine to 0 over the run.
    pub learning_rate: f64,
    /// Channels and blocks of each stage.
    pub stages: Vec<(usize, usize)>,
    /// Hidden units of the head.
    pub hidden: usize,
    /// Probability of a horizontal flip. Digits have none: a mirrored 5 is no 5.
    pub flip: f64,
    /// What is done about divergence.
    #[serde(default)]
    pub guard: GuardConfig,
    /// `[channels, height, width]` that images of one's own are cut and scaled to.
    #[serde(default = "grey28")]
    pub shape: [usize; 3],
}

fn grey28() -> [usize; 3] {
    [1, 28, 28]
}

fn cpu() -> Recipe {
    Recipe {
        seed: 1,
        checkpoint_seconds: 60.0,
        iterations: 2000,
        batch: 64,
        learning_rate: 2e-3,
        stages: vec![(16, 1), (32, 1), (64, 1), (64, 1)],
        hidden: 128,
        flip: 0.5,
        guard: GuardConfig::default(),
        shape: grey28(),
    }
}

fn smoke() -> Recipe {
    Recipe {
        iterations: 4,
        batch: 16,
        stages: vec![(4, 1), (8, 1)],
        hidden: 16,
        checkpoint_seconds: 0.0,
        ..cpu()
    }
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[("cpu", cpu), ("smoke", smoke)];

fn check(recipe: &Recipe) -> Result<()> {
    let fine = recipe.iterations > 0
        && recipe.batch > 1
        && recipe.learning_rate.is_finite()
        && recipe.learning_rate > 0.0
        && (0.0..=1.0).contains(&recipe.flip);
    fine.then_some(()).ok_or_else(|| {
        Error::invalid(
            "recipe",
            "positive iterations and learning rate, a batch of 2 or more, a flip in [0, 1]",
            format!("{recipe:?}"),
            "change the recipe",
        )
    })
}

/// Mean and standard deviation of each channel over the data, in [0, 1].
fn statistics(data: &Dataset) -> (Vec<f64>, Vec<f64>) {
    let [channels, h, w] = data.shape();
    let count = (data.count * h * w) as f64;
    let moments = (0..channels).map(|c| {
        let values = || {
            data.images
                .chunks(h * w)
                .skip(c)
                .step_by(channels)
                .flatten()
                .map(|&v| f64::from(crate::pixels::centre(v)))
        };
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt().max(1e-3))
    });
    moments.unzip()
}

/// The training as the loop of every recipe sees it.
struct Judging {
    net: Encoder,
    optimiser: ModuleOptimizer,
    recipe: Recipe,
    flips: AugmentConfig,
    batches: Batches,
    data: Arc<Dataset>,
    rng: Rng,
    device: Device,
    iteration: u64,
}

impl Judging {
    fn new(
        recipe: &Recipe,
        config: &EncoderConfig,
        correction: &Correction,
        data: &Arc<Dataset>,
        device: &Device,
    ) -> Result<Self> {
        let tracked = device.clone().autodiff();
        let seed = correction.seed(recipe.seed);
        Ok(Self {
            net: Encoder::new(config, &mut Init::new(recipe.seed, &tracked))?,
            optimiser: AdamConfig::new().init(),
            flips: AugmentConfig {
                flip: recipe.flip,
                ..AugmentConfig::none()
            },
            recipe: Recipe {
                learning_rate: recipe.learning_rate * correction.learning_rate,
                ..recipe.clone()
            },
            batches: Batches::new(data, seed, recipe.batch, 8, device),
            data: data.clone(),
            rng: Rng::new(seed),
            device: device.clone(),
            iteration: 0,
        })
    }
}

impl Learner for Judging {
    const SIGNS: Signs = Signs::GRADIENT;

    fn iteration(&self) -> u64 {
        self.iteration
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (indices, x) = self.batches.get_labelled(self.iteration);
        let n = indices.len();
        let [c, h, w] = self.data.shape();
        let labels: Vec<i32> = indices
            .iter()
            .map(|&i| i32::from(self.data.labels[i]))
            .collect();
        let labels = Tensor::<1, Int>::from_ints(&labels[..], &self.device).reshape([n, 1]);
        let source = self.rng.derived(Purpose::Data, self.iteration);
        let x = augment(&self.flips, &source, 0, 0, x.reshape([n, c, h, w]));
        let log_p = log_softmax(self.net.forward_train(x.reshape([n, c * h * w])), 1);
        let loss = -log_p.gather(1, labels).mean();
        let value = pollster::block_on(scalar(loss.clone().inner()))?;
        if !value.is_finite() {
            return Err(Error::Diverged {
                problem: format!("at iteration {} the loss is {value}", self.iteration),
                fix: "begin anew with a lower learning_rate".into(),
            });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &self.net);
        let norm = pollster::block_on(gradient_norm(&self.net, &grads))?;
        let t = self.iteration as f64 / self.recipe.iterations as f64;
        let rate = self.recipe.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * t).cos());
        self.net = self.optimiser.step(rate, self.net.clone(), grads);
        self.iteration += 1;
        Ok(vec![("cross_entropy", value), ("gradient_norm", norm)])
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        self.net.clone().save_file(to.join("net")).map_err(&fail)?;
        self.optimiser.save(to.join("optimiser")).map_err(&fail)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let fail = record_error("read");
        Ok(Self {
            net: self.net.try_load_file(from.join("net")).map_err(&fail)?,
            optimiser: self.optimiser.load(from.join("optimiser")).map_err(&fail)?,
            iteration,
            ..self
        })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    request.one_device(NAME)?;
    let name = format!("{NAME}-{}", request.data.slug());
    let run = request.run_name(NAME);
    let folder = RunFolder::open(&request.runs, &run, request.intent)?;
    let mut recipe = choose_recipe(request, &folder, PRESETS)?;
    if let DataRef::Known(name) = request.data {
        let spec = name.spec();
        recipe.shape = [spec.channels, spec.height, spec.width];
        if name == DatasetName::Mnist {
            recipe.flip = 0.0;
        }
    }
    check(&recipe)?;
    let data = Arc::new(request.load(Split::Train, recipe.shape)?);
    let test = request.load(Split::Test, recipe.shape)?;
    let (mean, std) = statistics(&data);
    let classes = data.classes.len();
    let config = EncoderConfig {
        shape: data.shape(),
        stages: recipe.stages.clone(),
        hidden: recipe.hidden,
        latent: classes,
        mean,
        std,
    };
    let device = request.device.clone();
    let (mut session, resumed) = Session::open(
        request,
        folder,
        sink,
        NAME,
        &recipe,
        recipe.checkpoint_seconds,
    )?;
    let state = resumed.as_ref().map(|(_, state)| state);
    session.started(run, &[(NAME, recipe.iterations)], state)?;
    let watch = Watch {
        guard: recipe.guard.clone(),
        health: HealthConfig::default(),
        seed: recipe.seed,
        seconds: 0.0,
    };
    let learner = session.drive(
        NAME,
        recipe.iterations,
        resumed,
        &watch,
        &mut |correction| Judging::new(&recipe, &config, correction, &data, &device),
    )?;
    let iteration = learner.iteration;
    let net = learner.net;

    let frozen = net.frozen();
    let mut dict = DictBuilder::default();
    frozen.save(&mut dict, NAME);
    let weights = dict.finish()?;
    let stored = FrozenEncoder::load(
        &crate::nn::dict::Dict::open(&weights, &name, &device)?,
        NAME,
        &config,
    )?;
    let accuracy = accuracy(&stored, &test, classes, &device)?;
    let card = Card {
        format: 1,
        name: name.clone(),
        title: format!("{} classifier", data.title),
        description: format!(
            "A small classifier of {}. It had no part in any energy: it judges samples.",
            data.title
        ),
        system: NAME.into(),
        data: DataCard {
            name: data.name.clone(),
            classes: data.classes.clone(),
            shape: data.shape(),
            preprocessing: data.preparation(8),
        },
        architecture: serde_json::to_value(Architecture { encoder: config })
            .map_err(|e| Error::model(&name, e, "report this as a bug"))?,
        training: session.account(NAME, &recipe, data.count, iteration),
        metrics: BTreeMap::from([
            ("test_accuracy".to_owned(), serde_json::json!(accuracy)),
            ("test_images".to_owned(), serde_json::json!(test.count)),
            (
                "parameters".to_owned(),
                serde_json::json!(stored.parameters()),
            ),
            ("seed".to_owned(), serde_json::json!(recipe.seed)),
        ]),
        step_sizes: BTreeMap::new(),
        known_answer: KnownAnswer {
            seed: 0,
            start_scale: 1.0,
            energies: BTreeMap::new(),
            tolerance: 1e-3,
        },
        licence: "MIT OR Apache-2.0 (weights); the data set keeps its own".into(),
        known_failures: vec![
            "It gives every image one of its classes, noise too: a verdict is no proof of quality."
                .into(),
        ],
    };
    session.publish(&name, &card, &weights)
}

/// Share of a labelled set that the classifier gets right.
fn accuracy(net: &FrozenEncoder, data: &Dataset, classes: usize, device: &Device) -> Result<f64> {
    let order: Vec<usize> = (0..data.count).collect();
    let mut right = 0usize;
    for chunk in order.chunks(250) {
        let logits: Vec<f32> =
            pollster::block_on(read(net.forward(data::images(data, chunk, device))))?;
        right += chunk
            .iter()
            .zip(logits.chunks(classes))
            .filter(|&(&i, row)| verdict(row) == usize::from(data.labels[i]))
            .count();
    }
    Ok(right as f64 / data.count as f64)
}
