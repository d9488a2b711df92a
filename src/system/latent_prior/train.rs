//! The recipe: presets, the loop, checkpoints, export.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::{
    Architecture, LatentPrior, NAME, PriorEnergy, Reference, into_model,
    learn::{LatentStage, Posterior, PosteriorKind, Step, Training},
    ratio::{Arm, Book, RatioConfig, Rule},
    sir,
};
use crate::{
    artifact::{self, Card, DataCard, KnownAnswer},
    data::{self, Dataset, Split},
    device::read,
    error::{Error, Result},
    nn::{dict::Dict, ema::Ema, generator::GeneratorConfig},
    prior::STEPS,
    rng::Rng,
    sampler::SavedRun,
    system::flow_ebm::principal_components,
    train::{
        Batches, Correction, GuardConfig, HealthConfig, Learner, Negatives, Preset, Request,
        RunFolder, Session, Signs, Sink, Watch, adapted_steps, choose_recipe, read_json,
        record_error, write_json,
    },
};

/// Everything that a training run depends on, beside the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of weights, data order, latents and chains.
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
    pub latent: LatentStage,
}

/// Grey 28×28 images on a CPU.
pub(super) fn cpu() -> Recipe {
    Recipe {
        seed: 1,
        checkpoint_seconds: 60.0,
        guard: GuardConfig::default(),
        health: HealthConfig::default(),
        latent: LatentStage {
            iterations: 5000,
            seconds: 0.0,
            batch: 64,
            learning_rate: 5e-4,
            ema_half_life: 6400.0,
            sigma: 0.3,
            warmup: 1500,
            held_out: 500,
            posterior: Posterior {
                kind: PosteriorKind::Langevin,
                steps: 20,
                step_size: 0.1,
                width: 32,
            },
            prior: RatioConfig {
                arm: Arm::Adaptive,
                hidden: 100,
                layers: 2,
                learning_rate: 1e-3,
                ema_decay: 0.99,
                chains: 256,
                transitions: 5,
                step_size: 0.3,
                burn_in: 200,
                anneal: true,
                bound: 5.0,
                resample: true,
                inherit: true,
                bridges: 4,
                rule: Rule {
                    check_every: 50,
                    tolerance: 0.005,
                    patience: 3,
                    longest: 600,
                    chance: 0.685,
                    stages: 8,
                },
            },
            generator: GeneratorConfig::grey28(16, 12),
        },
    }
}

/// The same with the networks and iterations of a GPU.
fn gpu() -> Recipe {
    let mut r = cpu();
    r.latent.iterations = 60_000;
    r.latent.batch = 128;
    r.latent.warmup = 15_000;
    r.latent.ema_half_life = 20_000.0;
    r.latent.prior.hidden = 200;
    r.latent.prior.chains = 512;
    r.latent.prior.learning_rate = 2e-4;
    // Rates are annealed over the longest time: a plateau is to be one of low rates, too.
    r.latent.prior.rule.check_every = 250;
    r.latent.prior.rule.patience = 6;
    r.latent.prior.rule.longest = 5_000;
    r.latent.generator = GeneratorConfig::grey28(32, 64);
    r
}

/// CIFAR-10 with the small generator of the published comparisons (128 latents, 8.9 M parameters);
/// steps, step size and σ as in DAMC's code.
fn cifar10() -> Recipe {
    let mut r = gpu();
    r.checkpoint_seconds = 300.0;
    r.latent.iterations = 100_000;
    r.latent.batch = 100;
    r.latent.learning_rate = 1e-4;
    r.latent.warmup = 25_000;
    r.latent.sigma = 0.1;
    r.latent.posterior.steps = 30;
    r.latent.prior.learning_rate = 5e-5;
    r.latent.prior.rule.check_every = 450;
    r.latent.prior.rule.longest = 9_000;
    r.latent.generator = GeneratorConfig::cifar(128, 128);
    r
}

/// Seconds of work, for tests.
fn smoke() -> Recipe {
    let mut r = cpu();
    r.checkpoint_seconds = 0.0;
    r.latent.iterations = 16;
    r.latent.batch = 8;
    r.latent.warmup = 2;
    r.latent.held_out = 16;
    r.latent.posterior.steps = 3;
    r.latent.prior.hidden = 8;
    r.latent.prior.chains = 16;
    r.latent.prior.burn_in = 4;
    r.latent.prior.rule = Rule {
        check_every: 2,
        tolerance: 0.003,
        patience: 2,
        longest: 4,
        // Never at chance: the smoke is to have stages.
        chance: 10.0,
        stages: 2,
    };
    r.latent.generator = GeneratorConfig::grey28(4, 2);
    r
}

/// Every preset.
pub const PRESETS: &[Preset<Recipe>] = &[
    ("cpu", cpu),
    ("gpu", gpu),
    ("cifar10", cifar10),
    ("smoke", smoke),
];

const STAGES: &str = "stages.json";

impl Training {
    /// Writes everything that the future of the run depends on, beside recipe and data.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Device`].
    pub fn save(&self, to: &Path) -> Result<()> {
        let fail = record_error("write");
        let prior = &self.prior;
        self.nets
            .clone()
            .save_file(to.join("nets"))
            .map_err(&fail)?;
        let average = self.average.average().clone();
        average.save_file(to.join("nets_ema")).map_err(&fail)?;
        self.optimiser
            .save(to.join("nets_optimiser"))
            .map_err(&fail)?;
        prior
            .bank
            .clone()
            .save_file(to.join("ratio"))
            .map_err(&fail)?;
        let average = prior.average.average().clone();
        average.save_file(to.join("ratio_ema")).map_err(&fail)?;
        prior
            .optimiser
            .save(to.join("ratio_optimiser"))
            .map_err(&fail)?;
        for (k, ratio) in prior.frozen.iter().enumerate() {
            ratio
                .clone()
                .save_file(to.join(format!("stage_{k}")))
                .map_err(&fail)?;
        }
        for (name, chains) in CHAINS.iter().zip(&prior.chains) {
            write_json(&to.join(name), &pollster::block_on(chains.save())?)?;
        }
        write_json(&to.join(STAGES), &prior.book)
    }

    /// Goes on from what [`save`](Self::save) wrote after `iteration` iterations.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Data`].
    pub fn load(mut self, stage: &LatentStage, from: &Path, iteration: u64) -> Result<Self> {
        let fail = record_error("read");
        self.nets = self.nets.try_load_file(from.join("nets")).map_err(&fail)?;
        let average = self.nets.valid().try_load_file(from.join("nets_ema"));
        self.average = Ema::resumed(average.map_err(&fail)?, stage.decay(), iteration);
        self.optimiser = self
            .optimiser
            .load(from.join("nets_optimiser"))
            .map_err(&fail)?;
        let book: Book = read_json(&from.join(STAGES))?;
        let prior = &mut self.prior;
        if !prior.bank.nets.is_empty() {
            let bank = prior.bank.clone().try_load_file(from.join("ratio"));
            prior.bank = bank.map_err(&fail)?;
            let average = prior.bank.valid().try_load_file(from.join("ratio_ema"));
            let updates = book.stages.last().map_or(0, |s| s.iterations);
            prior.average = Ema::resumed(average.map_err(&fail)?, stage.prior.ema_decay, updates);
            let optimiser = prior.optimiser.clone().load(from.join("ratio_optimiser"));
            prior.optimiser = optimiser.map_err(&fail)?;
        }
        let mut frozen = Vec::new();
        if stage.prior.arm == Arm::Adaptive {
            for k in 0..book.kept() {
                let blank = prior.blank().nets.remove(0);
                let ratio = blank.try_load_file(from.join(format!("stage_{k}")));
                frozen.push(ratio.map_err(&fail)?);
            }
        }
        prior.restored(frozen, book)?;
        for (name, chains) in CHAINS.iter().zip(&mut prior.chains) {
            chains.restore(read_json::<SavedRun>(&from.join(name))?)?;
        }
        self.iteration = iteration;
        Ok(self)
    }
}

const CHAINS: [&str; 2] = ["chains.json", "held_out_chains.json"];

/// The training as the loop of every recipe sees it.
struct Staged {
    training: Training,
    stage: LatentStage,
    batches: Batches,
    held_out: Tensor<2>,
    /// The stage that the last iteration belonged to.
    number: usize,
}

impl Staged {
    fn new(
        recipe: &Recipe,
        correction: &Correction,
        data: &Arc<Dataset>,
        held_out: &Tensor<2>,
        (device, others): (&Device, &[Device]),
    ) -> Result<Self> {
        let mut stage = recipe.latent.clone();
        stage.learning_rate *= correction.learning_rate;
        stage.prior.learning_rate *= correction.learning_rate;
        stage.posterior.step_size *= correction.step_size;
        let seed = correction.seed(recipe.seed);
        let mut training = Training::new(&stage, recipe.seed, device)?.reseeded(seed);
        training.others = others.to_vec();
        Ok(Self {
            number: training.prior.stage(),
            training,
            batches: Batches::new(data, seed, stage.batch, 8, device),
            held_out: held_out.clone(),
            stage,
        })
    }
}

impl Learner for Staged {
    const SIGNS: Signs = Signs::GRADIENT;

    fn iteration(&self) -> u64 {
        self.training.iteration
    }

    fn finished(&self) -> bool {
        self.training.prior.book.finished
    }

    fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let x = self.batches.get(self.training.iteration);
        self.number = self.training.prior.stage();
        let step: Step = pollster::block_on(self.training.step(&self.stage, x))?;
        // Numbers that there are; a phase without chains has no acceptance.
        let numbers = [
            ("reconstruction_mse", step.mse),
            ("latent_norm", step.norm),
            ("posterior_shadow_acceptance", step.shadow),
            ("prior_loss", step.prior.loss),
            ("prior_acceptance", step.prior.acceptance),
        ];
        Ok(numbers
            .into_iter()
            .filter(|(_, v)| v.is_finite())
            .chain([
                ("gradient_norm", step.gradient),
                ("stage", self.number as f64),
            ])
            .collect())
    }

    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        let due = pollster::block_on(self.training.check(&self.stage, &self.held_out))?;
        if let Some((check, ended)) = due {
            session.metrics(BTreeMap::from([
                ("held_out_loss".to_owned(), check.loss),
                ("held_out_accuracy".to_owned(), check.accuracy),
                ("stage".to_owned(), self.number as f64),
            ]))?;
            if let Some(why) = ended {
                session.note(format!(
                    "stage {} ended after {} iterations ({why}): held-out loss {:.4}, accuracy {:.3}",
                    self.number, check.iteration, check.loss, check.accuracy
                ))?;
                grid(session, &self.training, &self.stage)?;
            }
        }
        if self.training.iteration.is_multiple_of(500) {
            grid(session, &self.training, &self.stage)?;
        }
        Ok(())
    }

    fn waited(&self) -> f64 {
        self.batches.waited()
    }

    fn negatives(&self) -> Result<Option<Negatives>> {
        let prior = &self.training.prior;
        // N(0, I) is drawn from exactly: until there is a stage there are no chains to look at.
        let ratios = prior.learned();
        if ratios.is_empty() {
            return Ok(None);
        }
        let latent = self.stage.generator.latent;
        let target = Arc::new(PriorEnergy { latent, ratios });
        let seed = self.training.iteration;
        let chains = &prior.chains[0];
        Ok(Some(Negatives::of_latent_chains(chains, target, seed)))
    }

    fn save(&self, to: &Path) -> Result<()> {
        self.training.save(to)
    }

    fn load(self, from: &Path, iteration: u64) -> Result<Self> {
        let training = self.training.load(&self.stage, from, iteration)?;
        Ok(Self {
            number: training.prior.stage(),
            training,
            ..self
        })
    }
}

/// Trains from the command line; returns the model's folder.
pub(super) fn train(request: &Request, sink: &mut Sink<'_>) -> Result<PathBuf> {
    let run = request.run_name(NAME);
    let folder = RunFolder::open(&request.runs, &run, request.intent)?;
    let recipe = choose_recipe(request, &folder, PRESETS)?;
    let stage = &recipe.latent;
    stage.check()?;
    let all = request.load(Split::Train, stage.generator.shape)?;
    let test = request.load(Split::Test, stage.generator.shape)?;
    let (train, held_out) = split(all, stage.held_out)?;
    let device = request.device.clone();
    let (mut session, resumed) = Session::open(
        request,
        folder,
        sink,
        "latent",
        &recipe,
        recipe.checkpoint_seconds,
    )?;
    let state = resumed.as_ref().map(|(_, state)| state);
    session.started(run, &[("latent", stage.iterations)], state)?;
    let order: Vec<usize> = (0..held_out.count).collect();
    let held_out = data::images(&held_out, &order, &device);
    let train = Arc::new(train);
    let devices = (&device, &request.others[..]);
    let watch = Watch {
        guard: recipe.guard.clone(),
        health: recipe.health.clone(),
        seed: recipe.seed,
        seconds: stage.seconds,
    };
    let staged = session.drive(
        "latent",
        stage.iterations,
        resumed,
        &watch,
        &mut |correction| Staged::new(&recipe, correction, &train, &held_out, devices),
    )?;
    // After the last checkpoint: a run that goes on with more iterations goes on with its stage.
    let mut training = staged.training;
    pollster::block_on(training.prior.finish())?;
    session.note("measuring and exporting")?;
    let name = match stage.prior.arm {
        Arm::Adaptive => format!("{NAME}-{}", request.data.slug()),
        arm => format!("{NAME}-{}-{}", request.data.slug(), arm.name()),
    };
    let (card, weights) = export(
        &name,
        &training,
        &recipe,
        [&train, &test],
        &session,
        &device,
    )?;
    session.publish(&name, &card, &weights)
}

/// The last `count` images apart from the others.
pub(super) fn split(mut data: Dataset, count: usize) -> Result<(Dataset, Dataset)> {
    Error::unless_within("latent.held_out", count, 1, data.count / 2)?;
    let dim: usize = data.shape().iter().product();
    let kept = data.count - count;
    let held_out = Dataset {
        images: data.images.split_off(kept * dim),
        labels: data.labels.split_off(kept),
        count,
        ..data.clone()
    };
    data.count = kept;
    Ok((data, held_out))
}

/// The prior's chains, decoded.
fn grid(session: &mut Session<'_, '_, '_>, training: &Training, stage: &LatentStage) -> Result<()> {
    let z = training.prior.chains[0].states();
    let n = 64.min(z.dims()[0]);
    let x = training.generator().forward(z.narrow(0, 0, n));
    let shape @ [c, h, w] = stage.generator.shape;
    session.grid("prior", x.reshape([n, c * h * w]) * 0.5 + 0.5, shape)
}

/// Training images whose latents the model carries.
const LATENTS: usize = 512;

/// Latents of the first training images under the learned prior, and their principal plane.
fn reference(
    training: &Training,
    stage: &LatentStage,
    data: &Dataset,
    device: &Device,
) -> Result<Reference> {
    let n = stage.generator.latent;
    let count = LATENTS.min(data.count);
    let order: Vec<usize> = (0..count).collect();
    let mut values: Vec<f32> = Vec::new();
    for (which, chunk) in order.chunks(128).enumerate() {
        let x = data::images(data, chunk, device);
        let z = pollster::block_on(training.infer(stage, x, 2 + which as u64))?;
        values.extend(pollster::block_on(read::<2, f32>(z))?);
    }
    let rows = DMatrix::from_row_iterator(count, n, values.iter().map(|&v| f64::from(v)));
    let mean = rows.row_mean();
    let centred = DMatrix::from_fn(count, n, |i, j| rows[(i, j)] - mean[j]);
    let eigen = (centred.tr_mul(&centred) / (count - 1).max(1) as f64).symmetric_eigen();
    let mut axes: Vec<usize> = (0..n).collect();
    axes.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let total: f64 = eigen.eigenvalues.iter().sum();
    let mut directions = vec![0.0f32; n * 2];
    let mut explained = [0.0f32; 2];
    for (k, &axis) in axes.iter().take(2).enumerate() {
        let vector = eigen.eigenvectors.column(axis);
        let sign = vector[vector.iamax()].signum();
        for i in 0..n {
            directions[i * 2 + k] = (sign * vector[i]) as f32;
        }
        explained[k] = (eigen.eigenvalues[axis] / total) as f32;
    }
    let mean: Vec<f32> = mean.iter().map(|&v| v as f32).collect();
    Ok(Reference {
        latents: Tensor::from_data(TensorData::new(values, [count, n]), device),
        labels: data.labels[..count].to_vec(),
        mean: Tensor::from_data(TensorData::new(mean, [n]), device),
        directions: Tensor::from_data(TensorData::new(directions, [n, 2]), device),
        explained,
    })
}

/// Mean squared error of reconstructions of the first `count` images, values in [0, 1].
fn reconstruction(
    model: &LatentPrior,
    data: &Dataset,
    count: usize,
    device: &Device,
) -> Result<f64> {
    let order: Vec<usize> = (0..count.min(data.count)).collect();
    let mut sum = 0.0;
    for chunk in order.chunks(100) {
        let posterior = model.posterior(data::images(data, chunk, device));
        let (z, _) = pollster::block_on(posterior.descend(model.drift(), STEPS))?;
        let mse: Vec<f64> = pollster::block_on(read(posterior.terms(&z).mse))?;
        sum += mse.iter().sum::<f64>();
    }
    Ok(sum / order.len() as f64)
}

/// Measures the finished model and writes its card.
fn export(
    name: &str,
    training: &Training,
    recipe: &Recipe,
    [train, test]: [&Dataset; 2],
    session: &Session<'_, '_, '_>,
    device: &Device,
) -> Result<(Card, Vec<u8>)> {
    let stage = &recipe.latent;
    let ratios = training.prior.learned();
    let architecture = Architecture {
        generator: stage.generator.clone(),
        sigma: stage.sigma,
        ratio: stage.prior.network(),
        stages: ratios.len(),
        posterior_step: stage.posterior.step_size,
        latents: LATENTS.min(train.count),
    };
    let weights = LatentPrior::new(
        training.generator().clone(),
        ratios,
        principal_components(train, 8, device),
        reference(training, stage, train, device)?,
        architecture.clone(),
    )
    .to_bytes()?;
    // Everything below is measured on the stored, rounded weights.
    let dict = Dict::open(&weights, name, device)?;
    let stored = Arc::new(LatentPrior::from_dict(&dict, &architecture)?);
    let model = into_model(stored.clone());
    let mse = reconstruction(&stored, test, 1000, device)?;
    let mut sir_ess = Vec::new();
    for k in 0..=architecture.stages {
        let drawn = pollster::block_on(sir::resample(
            &stored.ratios[..k],
            stage.generator.latent,
            &Rng::new(recipe.seed),
            [64, SIR_PROPOSALS],
            1.0,
            device,
        ))?;
        sir_ess.push(drawn.ess);
    }
    let (step_sizes, acceptance) = adapted_steps(&*model, recipe.seed, |space| {
        if space == "latent" { 0.3 } else { 0.02 }
    })?;
    let energies = pollster::block_on(artifact::start_energies(&*model, 0, 1.0, 4))?;
    let value = |v: f64| serde_json::json!(v);
    let book = &training.prior.book;
    let card = Card {
        format: 1,
        name: name.into(),
        title: format!("{} (latent prior)", train.title),
        description: format!(
            "A generator of {} whose latent prior was learned in {} stage(s) by density-ratio \
             estimation (arXiv 2209.08739): p(z) ∝ N(z; 0, I) exp(f₁(z) + f₂(z) + …).",
            train.title, architecture.stages
        ),
        system: NAME.into(),
        data: DataCard {
            name: train.name.clone(),
            classes: train.classes.clone(),
            shape: stage.generator.shape,
            preprocessing: format!(
                "{}; the generator's own range is (−1, 1)",
                train.preparation(8)
            ),
        },
        architecture: serde_json::to_value(&architecture)
            .map_err(|e| Error::model(name, e, "report this as a bug"))?,
        training: session.account(NAME, recipe, train.count, training.iteration),
        metrics: acceptance
            .into_iter()
            .map(|(name, v)| (name, value(v)))
            .chain([
                ("reconstruction_mse".into(), value(mse)),
                ("reconstruction_images".into(), serde_json::json!(1000.min(test.count))),
                ("reconstruction_steps".into(), serde_json::json!(STEPS)),
                ("stages".into(), serde_json::json!(book.stages)),
                ("sir_ess".into(), serde_json::json!(sir_ess)),
                ("sir_proposals".into(), serde_json::json!(SIR_PROPOSALS)),
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
            "Reconstructions are smoother than images: the generator is small and σ large.".into(),
            "The prior is judged where the training images' latents are; far away its energy is extrapolated.".into(),
            "In pixel space a state is an image and its latent together: the chain moves an image only as far as the noise σ allows.".into(),
        ],
    };
    Ok((card, weights))
}

/// Proposals that the card's ESS of importance weights is measured with.
const SIR_PROPOSALS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::override_config;

    #[test]
    fn presets_fit_together_and_overrides_are_checked() {
        for (name, preset) in PRESETS {
            let recipe = preset();
            recipe.latent.check().unwrap();
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{name}");
        }
        let set = |s: &str| override_config(&cpu(), &[s.to_owned()]);
        assert_eq!(
            set("latent.prior.arm=nce").unwrap().latent.prior.arm,
            Arm::Nce
        );
        for bad in [
            "latent.prior.arm=best",
            "latent.sigma=wide",
            "latent.steps=3",
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
        let mut recipe = cpu();
        recipe.latent.generator.layers[1].stride = 3;
        assert!(recipe.latent.check().is_err());
        recipe = cpu();
        recipe.latent.sigma = 0.0;
        assert!(recipe.latent.check().is_err());
    }

    /// Stopped in the middle of a stage, saved, loaded and gone on with: every number is that of the
    /// uninterrupted run, bit for bit, for every arm.
    #[test]
    fn resumed_training_equals_uninterrupted_training() {
        let device = Device::flex();
        let folder = std::env::temp_dir().join(format!("mixwell-latent-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let arms = [
            Arm::Adaptive,
            Arm::Lebm,
            Arm::Nce,
            Arm::Bridges,
            Arm::Gaussian,
        ];
        for arm in arms {
            for kind in [PosteriorKind::Langevin, PosteriorKind::Encoder] {
                if kind == PosteriorKind::Encoder && arm != Arm::Adaptive {
                    continue;
                }
                let mut stage = smoke().latent;
                stage.prior.arm = arm;
                stage.posterior.kind = kind;
                stage.posterior.width = 4;
                let data = |i: u64| -> Tensor<2> {
                    Rng::new(3).uniform_rows(
                        crate::rng::Purpose::Data,
                        i as u32,
                        0,
                        8,
                        784,
                        &device,
                    )
                };
                let new = || Training::new(&stage, 1, &device).unwrap();
                let run = |t: &mut Training, until: u64| {
                    let mut seen = Vec::new();
                    while t.iteration < until && !t.prior.book.finished {
                        let x = data(t.iteration);
                        let step = pollster::block_on(t.step(&stage, x)).unwrap();
                        let check = pollster::block_on(t.check(&stage, &data(999))).unwrap();
                        seen.push(format!("{step:?} {check:?}"));
                    }
                    seen
                };
                let mut whole = new();
                let seen = run(&mut whole, 12);
                let mut half = new();
                run(&mut half, 7);
                half.save(&folder).unwrap();
                let mut resumed = new().load(&stage, &folder, 7).unwrap();
                assert_eq!(run(&mut resumed, 12), seen[7..], "{arm:?} {kind:?}");
                assert_eq!(resumed.prior.book, whole.prior.book);
                if arm == Arm::Adaptive {
                    assert!(whole.prior.book.kept() >= 1, "{:?}", whole.prior.book);
                }
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
