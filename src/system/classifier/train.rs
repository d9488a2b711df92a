//! How the classifier is trained: cross-entropy, Adam, horizontal flips for photographs and clothes.

use std::{collections::BTreeMap, path::PathBuf};

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, activation::log_softmax},
};
use serde::{Deserialize, Serialize};

use super::{Architecture, NAME, verdict};
use crate::{
    artifact::{self, Card, DataCard, KnownAnswer},
    data::{self, Dataset, DatasetName, Split},
    device::{read, scalar},
    error::{Error, Result},
    nn::{
        augment::{AugmentConfig, augment},
        dict::DictBuilder,
        encoder::{Encoder, EncoderConfig, FrozenEncoder},
        layers::Init,
    },
    rng::{Purpose, Rng},
    train::{
        Batches, Event, Preset, Request, RunFolder, Session, Sink, choose_recipe, record_error,
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

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let name = format!("{NAME}-{}", request.data);
    let run = request.name.clone().unwrap_or_else(|| name.clone());
    let folder = RunFolder::open(&request.runs, &run, request.resume)?;
    let mut recipe = choose_recipe(request, &folder, PRESETS)?;
    if request.data == DatasetName::Mnist {
        recipe.flip = 0.0;
    }
    check(&recipe)?;
    let data = data::load(request.data, Split::Train, &request.source)?;
    let test = data::load(request.data, Split::Test, &request.source)?;
    let (mean, std) = statistics(&data);
    let classes = request.data.spec().class_names.len();
    let config = EncoderConfig {
        shape: data.shape(),
        stages: recipe.stages.clone(),
        hidden: recipe.hidden,
        latent: classes,
        mean,
        std,
    };
    folder.write_config(&recipe)?;
    let device = request.device.clone();
    let (mut session, resumed) =
        Session::open(request, folder, sink, NAME, recipe.checkpoint_seconds)?;
    let state = resumed.as_ref().map(|(_, state)| state);
    session.started(run, &[(NAME, recipe.iterations)], state);
    let tracked = device.clone().autodiff();
    let mut net = Encoder::new(&config, &mut Init::new(recipe.seed, &tracked))?;
    let mut optimiser: ModuleOptimizer = AdamConfig::new().init();
    let mut iteration = 0;
    if let Some((path, state)) = &resumed {
        let fail = record_error("read");
        net = net.try_load_file(path.join("net")).map_err(&fail)?;
        optimiser = optimiser.load(path.join("optimiser")).map_err(&fail)?;
        iteration = state.iteration;
    }
    let flips = AugmentConfig {
        flip: recipe.flip,
        ..AugmentConfig::none()
    };
    let mut batches = Batches::new(&data, recipe.seed, recipe.batch, 8, &device);
    let rng = Rng::new(recipe.seed);
    let [c, h, w] = data.shape();
    while iteration < recipe.iterations {
        let (indices, x) = batches.get_labelled(iteration);
        let n = indices.len();
        let labels: Vec<i32> = indices.iter().map(|&i| i32::from(data.labels[i])).collect();
        let labels = Tensor::<1, Int>::from_ints(&labels[..], &device).reshape([n, 1]);
        let source = rng.derived(Purpose::Data, iteration);
        let x = augment(&flips, &source, 0, 0, x.reshape([n, c, h, w])).reshape([n, c * h * w]);
        let log_p = log_softmax(net.forward_train(x), 1);
        let chosen = log_p.clone().gather(1, labels);
        let loss = -chosen.mean();
        let value = pollster::block_on(scalar(loss.clone().inner()))?;
        if !value.is_finite() {
            return Err(Error::Diverged {
                problem: format!("at iteration {iteration} the loss is {value}"),
                fix: "resume from the last checkpoint with a lower learning_rate".into(),
            });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let t = iteration as f64 / recipe.iterations as f64;
        let rate = recipe.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * t).cos());
        net = optimiser.step(rate, net, grads);
        iteration += 1;
        session.tick(iteration, recipe.iterations, &[("cross_entropy", value)])?;
        if session.checkpoint_due(recipe.iterations) {
            session.checkpoint(|to| {
                let fail = record_error("write");
                net.clone().save_file(to.join("net")).map_err(&fail)?;
                optimiser.save(to.join("optimiser")).map_err(&fail)
            })?;
        }
    }

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
    let dataset = request.data.spec();
    let card = Card {
        format: 1,
        name: name.clone(),
        title: format!("{} classifier", dataset.title),
        description: format!(
            "A small classifier of {}. It had no part in any energy: it judges samples.",
            dataset.title
        ),
        system: NAME.into(),
        data: DataCard {
            name: request.data.to_string(),
            classes: dataset.class_names.iter().map(|&c| c.to_owned()).collect(),
            shape: data.shape(),
            preprocessing: "8-bit values, uniformly dequantised, scaled to [0, 1)".into(),
        },
        architecture: serde_json::to_value(Architecture { encoder: config })
            .map_err(|e| Error::model(&name, e, "report this as a bug"))?,
        training: session.account(NAME, &recipe, data.count, recipe.iterations),
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
    let model = request.models.join(&name);
    artifact::write_model(&model, &card, &weights)?;
    artifact::write_manifest(&request.models)?;
    (session.sink)(&Event::Done {
        model: model.clone(),
    });
    Ok(model)
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
